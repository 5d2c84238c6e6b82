"""A plan names only what is there: devices, methods, sketches, and models that can be made."""

import pytest

from rmmbench.errors import Exit, UnknownNameError, UsageError
from rmmbench.running.sweep_plan import (
    DEVICES,
    check_cores,
    check_installed,
    check_names,
    make_plan,
    resolve,
)
from rmmbench.spec.profile import Profile


def profile(**axes):
    """Return a profile of one grid of small linear layers."""
    grid = {"model": ["linear:8x8"], "batch_size": [4], "rho": [0.5]} | axes
    return Profile.model_validate({"version": 1, "title": "", "grid": [grid]})


def refused(action, kind=UsageError):
    """Return the one line with which a plan is refused, as wrong usage."""
    with pytest.raises(kind) as caught:
        action()
    assert caught.value.exit_code == Exit.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("device", "without", "with_gpu"),
    [
        ("cpu", ("cpu", "cpu"), ("cpu", "cpu")),
        ("predict", ("predict", None), ("predict", None)),
        ("auto", ("predict", "cpu"), ("cuda", "cuda")),
        ("cuda", None, ("cuda", "cuda")),
    ],
)
def test_devices_are_those_that_are_here(environment, device, without, with_gpu):
    """What is asked for is used; auto is the GPU, or else a prediction and the CPU's clock."""
    here = environment.model_copy(update={"gpu": "H200", "cuda": "13.0"})
    assert resolve(device, here) == with_gpu
    if without is not None:
        assert resolve(device, environment) == without
    assert device in DEVICES


NO_NODE = "no node of the cluster has one that torch sees (Slurm gives some by slurm:gpus=1)"


@pytest.mark.parametrize(
    ("cuda", "node", "what"),
    [
        (None, None, "this torch is built without CUDA"),
        ("13.0", None, "torch sees no GPU"),
        ("13.0", "first", NO_NODE),
    ],
)
def test_cuda_without_a_gpu_is_told(environment, cuda, node, what):
    """A GPU that is asked for and not here is one line, with why and what else there is."""
    here = environment.model_copy(update={"cuda": cuda, "node": node})
    expected = f"device cuda needs a GPU, and {what}; use predict, cpu or auto"
    assert refused(lambda: resolve("cuda", here)) == expected


def test_an_unknown_device_is_named_with_the_nearest():
    """A slip in the device is told before anything is looked at."""
    told = refused(lambda: make_plan(profile(), "cude"), UnknownNameError)
    assert told.startswith("no device named 'cude'; did you mean 'cuda'?; choose from: cuda, cpu")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"model": ["liner:8x8"]}, "no model named 'liner'; did you mean 'linear'?"),
        ({"method": ["rrm"]}, "no method named 'rrm'; did you mean 'rmm'?"),
        ({"sketch": ["dct", "gausian"]}, "no sketch named 'gausian'; did you mean 'gaussian'?"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(axes, message):
    """Names are looked up before any process starts."""

    def look():
        check_names(profile(**axes).cases("predict", None))

    assert refused(look, UnknownNameError).startswith(message)


def test_a_plan_is_every_case_with_what_it_runs_on():
    """Cases, exact first, on the device; the environment is that of a process of its own."""
    plan = make_plan(profile(), "predict")
    assert [(case.label, case.device) for case in plan.cases] == [
        ("exact", "predict"),
        ("gaussian ρ=0.5", "predict"),
    ]
    assert plan.left_out == 0
    assert plan.environment.torch
    assert plan.environment.transformers


def test_what_a_prediction_cannot_tell_is_left_out():
    """Cells that ask for time alone are counted, not measured; a plan of nothing is refused."""
    cells = [profile().grid[0], profile(measure=["time"], batch_size=[8]).grid[0]]
    mixed = profile().model_copy(update={"grid": tuple(cells)})
    plan = make_plan(mixed, "predict")
    assert {case.batch_size for case in plan.cases} == {4}
    assert plan.left_out == 2
    told = refused(lambda: make_plan(profile(measure=["time"]), "predict"))
    assert told == "device 'predict' has nothing to measure here: this profile asks for time"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("linear:8", "linear must be given as linear:INxOUT, got 'linear:8'"),
        ("roberta-tiny", "roberta-tiny reads tokens: it needs seq_len, or a task"),
        ("import:not_here:model", "import:not_here:model cannot be imported: ModuleNotFoundErr"),
        ("import:says_much:model", "import:says_much:model cannot be imported: KeyError: 'a b'; c"),
    ],
)
def test_a_model_that_cannot_be_made_is_told_before_the_sweep(
    tmp_path, monkeypatch, model, message
):
    """A fault in a model's name or shape is one line at once, not a failed case each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "says_much.py").write_text("raise KeyError('a b')")
    assert refused(lambda: make_plan(profile(model=[model]), "predict")).startswith(message)


@pytest.mark.parametrize(
    ("model", "ranks", "parallel", "message"),
    [
        ("mlp:8-16-4", 2, "fsdp2", "mlp:8-16-4: fsdp2 needs blocks: two or more modules of one"),
        ("roberta-tiny", 3, "tensor", "roberta-tiny: tensor needs ranks that divide the heads"),
        ("linear:9x7", 2, "tensor", "linear:9x7: tensor needs linear layers whose outputs 2"),
    ],
)
def test_a_model_that_cannot_be_spread_is_told_before_the_sweep(model, ranks, parallel, message):
    """A model without blocks, or with heads that ranks do not divide, is one line at once."""
    length = {"seq_len": [8]} if model == "roberta-tiny" else {}
    asked = profile(model=[model], ranks=[1, ranks], parallel=parallel, **length)
    assert refused(lambda: make_plan(asked, "predict")).startswith(message)


def test_ranks_that_would_take_the_machine_down_are_refused(environment):
    """On a CPU ranks are processes, of which each core takes some; predicted ones are none."""
    cases = profile(ranks=[33], parallel="ddp").cases("cpu", "cpu")
    check_cores(profile(ranks=[33], parallel="ddp").cases("predict", None), environment)
    told = refused(lambda: check_cores(cases, environment))
    assert told.startswith("ranks must be at most 32 on 2 CPU cores, got 33; take fewer ranks, or")


GRAPH = {"model": ["gcn2:4-8x2-2"], "batch_size": [10]}
TINY = {"model": ["roberta-tiny"], "seq_len": [8]}
KRONECKER = {"sketch": ["kronecker"]}


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"method": ["checkpoint"]}, "checkpoint must find blocks to repeat, two or more of"),
        ({"method": ["selective-checkpoint"]}, "selective-checkpoint must find blocks to repeat"),
        (
            {"method": ["checkpoint-attention"]},
            "checkpoint-attention must find attention that goes",
        ),
        (
            TINY | {"method": ["checkpoint-attention"], "attention": "sdpa"},
            "checkpoint-attention must find attention that is computed eagerly",
        ),
        (
            GRAPH | {"method": ["fewbit-activation"]},
            "fewbit-activation must have a module of GELU or",
        ),
        ({"method": ["rmm+exact-rp"]}, "rmm and exact-rp cannot be combined: both take over the"),
        ({"method": ["compile+quantize"]}, "quantize and compile cannot be combined: both take"),
        ({"method": ["exact+rmm"]}, "exact cannot be combined with another method, got"),
    ],
)
def test_a_method_that_a_model_cannot_take_is_told_before_the_sweep(axes, message):
    """What the model lacks, or which two methods are in each other's way, is one line at once."""
    told = refused(lambda: make_plan(profile(**axes), "predict"))
    assert told.removeprefix(f"{profile(**axes).grid[0].model[0]}: ").startswith(message)


def test_methods_are_tried_without_the_sketches_of_their_stack():
    """A stack that suits its model is planned."""
    stack = TINY | {"method": ["rmm+checkpoint-attention"], "where": "beneficial"}
    assert len(make_plan(profile(**stack), "predict").cases) == 2


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (
            {"block_rows": 3},
            "block_rows must divide the rows, got 3 and 4 rows; choose one that divides batch × "
            "sequence, or none (layer 'linear' of linear:8x8; `exclude` can leave it out)",
        ),
        (
            KRONECKER,
            "sketch 'kronecker' needs block_rows, which says how 4 rows are batch × sequence; give "
            "it, or an input of shape (batch, sequence, features) (layer 'linear' of linear:8x8; ",
        ),
        (
            KRONECKER | TINY,
            "sketch 'kronecker' needs block_rows, which says how 4 rows are batch × sequence; give "
            "it, or an input of shape (batch, sequence, features) (layer 'classifier.dense' of ",
        ),
        (KRONECKER | {"where": "beneficial"}, "sketch 'kronecker' needs block_rows, which says "),
    ],
)
def test_a_sketch_that_cannot_be_is_told_before_the_sweep(axes, message):
    """Blocks that a sketch does not take, lacks, or that fit no layer are one line at once."""
    assert refused(lambda: make_plan(profile(**axes), "predict")).startswith(message)


@pytest.mark.parametrize(
    "axes",
    [
        KRONECKER | {"block_rows": 2},
        KRONECKER | {"seq_len": [2]},
        KRONECKER | TINY | {"exclude": ["classifier.*"]},
        {"sketch": ["gaussian", "rademacher"], "block_rows": 4},
    ],
)
def test_a_sketch_with_blocks_that_fit_is_planned(axes):
    """Blocks may be given, or come from the model's sequences."""
    assert make_plan(profile(**axes), "predict").cases


def test_a_factory_is_not_called_for_its_blocks(tmp_path, monkeypatch):
    """Whether blocks fit a model of the user's own only its case's own process finds out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text("def model(batch_size, seq_len):\n    raise OSError")
    wanted = profile(model=["import:theirs:model"], **KRONECKER)
    assert len(make_plan(wanted, "predict").cases) == 2


@pytest.mark.parametrize(
    "does", ["import os; os.abort()", "import time; time.sleep(600)", "raise SystemExit"]
)
def test_a_module_that_ends_or_never_ends_its_import_is_left_to_its_case(
    tmp_path, monkeypatch, does
):
    """A module that would take the plan's own process with it keeps no other case from running."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dangerous.py").write_text(does)
    wanted = profile(model=["import:dangerous:model"])
    wanted = wanted.model_copy(update={"time_limit_seconds": 1.0})
    assert len(make_plan(wanted, "predict").cases) == 2


def test_what_training_needs_is_told_before_it_starts(monkeypatch):
    """An extra that is not installed is named, with how to install it."""
    there = {"datasets", "sklearn"}
    monkeypatch.setattr(
        "rmmbench.running.sweep_plan.find_spec", lambda name: name if name in there else None
    )
    told = "training needs accelerate, which is not installed; pip install 'rmmbench[train]'"
    assert refused(check_installed) == told
