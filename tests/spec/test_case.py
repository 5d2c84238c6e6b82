"""A case, and the name that it keeps."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from rmmbench.spec.case import Case
from rmmbench.spec.known_settings import known
from rmmbench.spec.measuring import TimingSettings

SETTINGS = {
    "model": "roberta-tiny",
    "task": "mrpc",
    "batch_size": 16,
    "seq_len": 103,
    "method": "rmm",
    "sketch": "rademacher",
    "rho": 0.5,
    "memory_device": "predict",
}
CASE = Case.model_validate(SETTINGS)


@pytest.mark.parametrize("rho", [0, -0.1, 1.5, float("nan"), float("inf"), "0.5", True])
def test_rho_is_in_the_unit_interval(rho):
    """A rate that is no number above 0 and up to 1 makes no case."""
    with pytest.raises(ValidationError, match="rho"):
        Case.model_validate(SETTINGS | {"rho": rho})


@pytest.mark.parametrize(
    "name", ["batch_size", "seq_len", "proj_dim", "min_proj_dim", "max_proj_dim", "block_rows"]
)
@pytest.mark.parametrize("count", [0, -1, 2.5, "4", True])
def test_counts_are_positive_integers(name, count):
    """A size of nothing, of a part or of a text makes no case."""
    with pytest.raises(ValidationError, match=name):
        Case.model_validate(SETTINGS | {name: count})


def test_the_interval_of_proj_dim_is_ordered():
    """An interval that ends before it begins makes no case."""
    with pytest.raises(ValidationError, match=r"must be at least min_proj_dim \(8\), got 4"):
        Case.model_validate(SETTINGS | {"min_proj_dim": 8, "max_proj_dim": 4})


def test_more_steps_than_the_most_cannot_be_asked_for():
    """Timing settings that contradict each other are refused."""
    with pytest.raises(ValidationError, match=r"at least min_steps \(9\), got 3"):
        TimingSettings(min_steps=9, max_steps=3)


def test_an_unknown_field_is_refused():
    """A record of another make is not read as one of ours."""
    with pytest.raises(ValidationError, match="colour"):
        Case.model_validate(SETTINGS | {"colour": "red"})


def test_a_case_does_not_change():
    """A case keeps what its key stands for."""
    with pytest.raises(ValidationError, match="frozen"):
        CASE.rho = 0.1


def test_the_key_is_the_same_in_another_process():
    """A key depends on the settings alone, not on their order, the process or the hash seed."""
    reverse = dict(reversed(SETTINGS.items()))
    program = f"from rmmbench.spec.case import Case; print(Case.model_validate({reverse!r}).key)"
    run = [sys.executable, "-c", program]
    printed = {
        subprocess.check_output(run, env={"PYTHONHASHSEED": seed}, text=True).strip()
        for seed in "12"
    }
    assert printed == {CASE.key}
    assert len(CASE.key) == 12


def test_the_key_survives_json():
    """A case that was read back is the same case."""
    read = Case.model_validate(json.loads(CASE.model_dump_json()))
    assert read == CASE
    assert read.key == CASE.key


@pytest.mark.parametrize("name", ["where", "share", "block_rows", "bits", "training", "timeline"])
def test_a_record_of_before_a_setting_was_is_read(name):
    """A case that was written before a setting was there had what is now the default."""
    written = CASE.flat()
    del written[name]
    assert Case.model_validate(written) == CASE


def test_layers_are_all_or_those_that_gain():
    """There is no third choice of layers."""
    with pytest.raises(ValidationError, match="where"):
        Case.model_validate(SETTINGS | {"where": "some"})


def test_a_whole_number_is_the_same_rate():
    """A profile may say 1 for 1.0."""
    one, also_one = (Case.model_validate(SETTINGS | {"rho": rho}) for rho in (1, 1.0))
    assert one.key == also_one.key


OTHERS = {
    "model": "mlp",
    "task": None,
    "batch_size": 17,
    "seq_len": 104,
    "dtype": "bfloat16",
    "optimizer": "sgd",
    "attention": "sdpa",
    "attention_kernel": "math",
    "accumulate": 4,
    "drop_gradients": "before-forward",
    "zeroed_gradients": True,
    "clip_norm": 1.0,
    "update": "fused",
    "ranks": 4,
    "parallel": "tensor",
    "reshard": False,
    "memory_device": "cpu",
    "gpu": "h100",
    "time_device": "cpu",
    "projection_device": "cpu",
    "seed": 1,
    "timing": {"min_steps": 3},
    "training": {"max_steps": 7},
    "timeline": {"epoch_steps": 3},
    "gradient_draws": 4,
    "memory_limit_bytes": 2**30,
}
BESIDE = {
    "attention_kernel": {"attention": "sdpa"},
    "parallel": {"ranks": 2, "parallel": "ddp"},
    "reshard": {"ranks": 2, "parallel": "fsdp2"},
}
"""What some fields need beside them."""
SETTING_OTHERS = {
    "sketch": "gaussian",
    "rho": 0.25,
    "proj_dim": 7,
    "min_proj_dim": 2,
    "max_proj_dim": 99,
    "block_rows": 103,
    "include": ("a",),
    "exclude": ("b",),
    "where": "beneficial",
    "share": False,
    "bits": 4,
    "group_size": 32,
    "activation_bits": 2,
    "principal": 4,
    "principal_share": 0.25,
    "budget": 0.25,
    "plan": {"model": "other"},
}
STACK = SETTINGS | {"method": "rmm+quantize+fewbit-activation+memory-budget+prac+plan"}
STACK |= {"plan": {"model": "mlp"}}


def test_everything_of_a_case_is_tried():
    """The tests below leave no field and no setting out."""
    assert {*OTHERS, "steps"} == set(Case.model_fields)
    assert set(SETTING_OTHERS) == set(known())


@pytest.mark.parametrize("name", OTHERS)
def test_every_field_is_in_the_key_and_the_cell(name):
    """Cases that differ in anything have different keys, and stand in different cells."""
    beside = SETTINGS | BESIDE.get(name, {})
    more = ({}, {name: OTHERS[name]} | ({"parallel": "fsdp2"} if name == "ranks" else {}))
    one, other = (Case.model_validate(beside | each) for each in more)
    assert other.key != one.key
    assert other.cell != one.cell
    assert other.as_exact().cell == other.cell


@pytest.mark.parametrize("name", SETTING_OTHERS)
def test_a_cell_is_all_but_the_methods_settings(name):
    """A case is compared with the exact one that ran on the same model, batch and device."""
    stack = Case.model_validate(STACK)
    other = Case.model_validate(STACK | {name: SETTING_OTHERS[name]})
    assert other.key != stack.key
    assert other.cell == stack.cell == CASE.cell == other.as_exact().key


def test_what_is_left_as_it_is_says_nothing():
    """A key has what is not the default alone, so that a setting of a later day changes none."""
    said = {"batch_size": 4, "optimizer": "adam", "method": "quantize"}
    usual = {"bits": 8, "group_size": 256, "rho": None, "timing": {}, "share": True}
    one, other = (Case.model_validate({"model": "mlp"} | said | more) for more in ({}, usual))
    assert one == other
    assert one.key == other.key
    assert json.loads(one.model_dump_json())["steps"] == ["quantize"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0.5}, "budget must not be given: it is a setting of memory-budget, and"),
        ({"sketch": "dct", "block_rows": 4}, "of gaussian, rademacher, kronecker, and the case ha"),
        ({"method": "quantise"}, "no method named 'quantise'; did you mean 'quantize'"),
        ({"sketch": "dctt"}, "no sketch named 'dctt'; did you mean 'dct'"),
        ({"shar": False}, "unknown setting 'shar'; did you mean 'share'"),
        ({"steps": [["rmm", {"rhoo": 1}]]}, "rhoo"),
        ({"steps": [7]}, "must be a name, or a name and its settings, got 7"),
    ],
)
def test_what_no_method_takes_is_refused(settings, message):
    """A setting that nothing in the stack has, and a name that nothing has, make no case."""
    flat = {} if "steps" in settings else SETTINGS
    with pytest.raises(ValidationError, match=message):
        Case.model_validate({"model": "mlp", "batch_size": 4} | flat | settings)


def test_settings_can_be_changed():
    """A changed case has the other settings as they were, and what is None is as usual again."""
    stack = STACK | {"method": "rmm+quantize", "activation_bits": None, "budget": None}
    stack |= {"principal_share": None, "plan": None}
    changed = Case.model_validate(stack).with_settings(rho=None, proj_dim=3, bits=None)
    assert changed == Case.model_validate(stack | {"rho": None, "proj_dim": 3, "bits": None})


def test_the_exact_case_has_nothing_of_the_method():
    """The reference of every case in a cell is one and the same."""
    exact = CASE.as_exact()
    assert (exact.method, exact.steps) == ("exact", ())
    assert exact.as_exact() == exact
    assert exact.key != CASE.key


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "rademacher ρ=0.5"),
        ({"rho": None, "proj_dim": 64}, "rademacher proj_dim=64"),
        ({"method": "exact", "sketch": None, "rho": None}, "exact"),
        ({"where": "beneficial"}, "rademacher, beneficial layers ρ=0.5"),
        ({"share": False, "block_rows": 103}, "rademacher, blocks of 103, unshared ρ=0.5"),
    ],
)
def test_a_label_names_the_method_as_people_do(settings, label):
    """The label has the sketch and its size, or the method where there is no sketch."""
    assert Case.model_validate(SETTINGS | settings).label == label


def test_a_title_tells_runs_of_training_apart():
    """Where a model is trained its title has the task and the seed."""
    trained = Case.model_validate(SETTINGS | {"training": {}, "seed": 3})
    assert trained.title == "roberta-tiny mrpc 16×103 rademacher ρ=0.5 seed 3"
    assert CASE.title == "roberta-tiny 16×103 rademacher ρ=0.5"


def test_a_cell_is_named_after_its_exact_case():
    """The quick way to a cell's name gives what naming its exact case does, for every setting."""
    for changes in ({}, {"seed": 3}, {"share": False}, {"rho": 0.1, "block_rows": 2}):
        case = Case.model_validate(SETTINGS | changes)
        assert case.cell == case.as_exact().key == case.as_exact().cell


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"attention_kernel": "flash"}, "attention_kernel must be with attention 'sdpa'"),
        ({"update": "in-backward", "clip_norm": 1.0}, "must be without clip_norm, got clip_norm 1"),
        ({"update": "in-backward", "accumulate": 2}, "must be without accumulate, got accumulate"),
        ({"update": "in-backward", "dtype": "float16"}, "without the scaled loss of dtype"),
        ({"update": "in-backward", "zeroed_gradients": True}, "must be without zeroed_gradients"),
        (
            {"update": "in-backward", "drop_gradients": "before-forward"},
            "must be without drop_gradients, got 'before-forward'",
        ),
        ({"update": "fused", "optimizer": "adafactor"}, "adam, adamw or sgd, got 'adafactor'"),
        ({"training": {}, "zeroed_gradients": True}, "leave zeroed_gradients out"),
        ({"training": {}, "drop_gradients": "before-forward"}, "got drop_gradients 'before-for"),
        ({"training": {}, "update": "single"}, "got update 'single'"),
        ({"training": {}, "update": "fused", "optimizer": "sgd"}, "has no fused sgd"),
        ({"training": {}, "optimizer": "adafactor"}, "has an Adafactor of its own"),
        ({"training": {}, "dtype": "bfloat16-true"}, "take 'bfloat16'"),
        ({"training": {"max_grad_norm": 2.0}, "clip_norm": 1.0}, "got 1 and 2; leave one out"),
        ({"training": {"watch": ["a"]}, "accumulate": 2}, "watch must be without accumulate"),
        ({"ranks": 2}, "parallel must say how .* got ranks 2 alone; set parallel to ddp, fsdp2 or"),
        (
            {"parallel": "ddp"},
            "parallel must be with two ranks or more, got 'ddp' on one",
        ),
        ({"reshard": False}, "reshard must be with parallel 'fsdp2', got none; leave reshard out"),
        ({"ranks": 2, "parallel": "ddp", "reshard": False}, "with parallel 'fsdp2', got 'ddp'"),
        ({"ranks": 2, "parallel": "fsdp2", "dtype": "float16"}, "got parallel 'fsdp2'; take bfloa"),
        ({"ranks": 2, "parallel": "ddp", "update": "in-backward"}, "must be without update 'in-ba"),
        ({"ranks": 2, "parallel": "ddp", "gradient_draws": 3}, "must be without gradient_draws"),
        (
            {"ranks": 2, "parallel": "fsdp2", "training": {}},
            "with parallel 'ddp', .* got 'fsdp2'; take d",
        ),
        ({"ranks": 2**30, "parallel": "ddp"}, "at most 1048576, got 1073741824; take fewer"),
        ({"ranks": 0}, "greater than or equal to 1"),
        ({"accumulate": 0}, "greater than or equal to 1"),
        ({"clip_norm": 0.0}, "greater than 0"),
        ({"update": "sometimes"}, "'foreach', 'fused', 'single' or 'in-backward'"),
    ],
)
def test_a_step_does_not_contradict_itself(said, message):
    """What a step cannot be is refused in words that say which part of it is in the way."""
    with pytest.raises(ValidationError, match=message):
        Case.model_validate({"model": "mlp", "batch_size": 4} | said)


def test_the_title_says_how_a_step_differs():
    """Cases whose steps differ have different titles; a usual step says nothing of itself."""
    case = Case(model="mlp", batch_size=4, accumulate=3, update="fused")
    assert case.title == "mlp 4 accumulate=3 update=fused exact"
    assert Case(model="mlp", batch_size=4).title == "mlp 4 exact"


def test_a_step_reads_all_its_micro_batches():
    """The samples of a step are those of a batch, as often as gradients are accumulated."""
    assert CASE.samples == CASE.batch_size
    assert Case(model="mlp", batch_size=4, accumulate=3).samples == 12


@pytest.mark.parametrize(("parallel", "samples"), [("ddp", 12), ("fsdp2", 12), ("tensor", 4)])
def test_each_rank_has_a_batch_of_its_own(parallel, samples):
    """Ranks that share the parameters' work read other samples; those of one layer the same."""
    case = Case(model="mlp", batch_size=4, ranks=3, parallel=parallel)
    assert case.samples == samples
    assert case.title == f"mlp 4 ranks=3 parallel={parallel} exact"
