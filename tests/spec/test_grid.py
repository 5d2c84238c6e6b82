"""Grids: seeds and settings of training, the command line's tasks, and the axes of each method."""

import pytest

from rmmbench.errors import ProfileError, UsageError
from rmmbench.spec import profile
from rmmbench.spec.known_settings import absent
from rmmbench.spec.profile import Profile

TEXT = {"model": ["decoder"], "task": ["text"], "rho": [0.5], "measure": ["memory", "training"]}


def profile_of(*grids, **tables):
    """Return a profile of some grids."""
    return Profile.model_validate({"version": 1, "title": "", "grid": grids} | tables)


def test_every_setting_is_trained_with_every_seed():
    """Exact and each sketch run once a seed, so that they pair."""
    cases = profile_of(TEXT | {"seed": [0, 1, 2]}).cases("predict", "cpu")
    assert [(case.label, case.seed) for case in cases] == [
        (label, seed) for seed in range(3) for label in ("exact", "gaussian ρ=0.5")
    ]
    assert len({case.cell for case in cases}) == 3


def test_one_seed_may_stand_alone():
    """A profile of before there were several is read as it was."""
    assert profile_of(TEXT | {"seed": 7}).grid[0].seed == (7,)


def test_a_grid_changes_what_it_names_of_the_training():
    """The profile's settings hold where the grid's own say nothing else."""
    shared = {"learning_rate": 1e-3, "max_steps": 9}
    own = TEXT | {"training": {"learning_rate": 2e-3}}
    case = profile_of(own, training=shared).cases("predict", "cpu")[0]
    assert (case.training.learning_rate, case.training.max_steps) == (2e-3, 9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rat": 1}, r"training\.learning_rat is unknown; keys are: max_steps, epochs"),
        ({"max_steps": 0}, r"training\.max_steps must be at least 1, got 0"),
        ({"schedule": "step"}, r"training\.schedule must be 'linear', 'cosine' or 'constant'"),
    ],
)
def test_a_wrong_setting_of_a_grid_is_told(tmp_path, settings, message):
    """What a grid says of training is checked as the profile's own table is."""
    file = tmp_path / "wrong.toml"
    ((name, value),) = settings.items()
    grid = '[[grid]]\nmodel = ["mlp"]\ntask = ["digits"]\nmethod = ["exact"]\n'
    file.write_text(f'version = 1\ntitle = ""\n{grid}training = {{ {name} = {value!r} }}\n')
    with pytest.raises(ProfileError, match=message):
        profile.load(str(file))


def test_training_is_left_out_where_nothing_can_train():
    """A prediction has the memory of the runs alone."""
    cases = profile_of(TEXT).cases("predict", None)
    assert [case.training for case in cases] == [None, None]
    assert all(case.memory_device == "predict" for case in cases)


def test_what_trains_needs_a_task():
    """Without data there is nothing to train on."""
    with pytest.raises(UsageError, match="must give a task"):
        profile_of(TEXT | {"task": [], "batch_size": [4]}).cases("predict", "cpu")


def test_a_grid_times_or_trains():
    """Steps that are timed one by one are not those of a run."""
    with pytest.raises(ValueError, match="'time' or 'training', not both"):
        profile_of(TEXT | {"measure": ["time", "training"]})


PROJECTION = {"model": ["linear:8x4"], "batch_size": [64], "sketch": ["dct"], "rho": [0.5]}


def test_a_sketch_alone_has_a_device_of_its_own():
    """A projection is timed beside a product, and is no step: exact's case asks for the product."""
    grid = PROJECTION | {"measure": ["projection"]}
    exact, dct = profile_of(grid).cases("predict", "cpu")
    assert {case.projection_device for case in (exact, dct)} == {"cpu"}
    assert {case.time_device or case.memory_device for case in (exact, dct)} == {None}
    assert exact.cell == dct.cell
    assert profile_of(grid).cases("predict", None) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"measure": ["projection", "time"]}, "must have 'projection' alone"),
        ({"model": ["linear:8x4", "mlp"]}, "models linear:INxOUT and method rmm, got model 'mlp'"),
        ({"method": ["velora"]}, "models linear:INxOUT and method rmm, got method 'velora'"),
    ],
)
def test_a_sketch_alone_is_of_one_layer(change, fault):
    """Only a linear layer has one product to compare with, and only rmm a sketch to time."""
    with pytest.raises(ValueError, match=fault):
        profile_of(PROJECTION | {"measure": ["projection"]} | change)


def test_a_model_without_tokens_takes_no_length_of_the_task():
    """Digits are a vector to an MLP, and a sequence to a model of tokens."""
    grid = {"task": ["digits"], "method": ["exact"], "measure": ["training"]}
    models = {"mlp:64-10": None, "roberta-tiny": 64}
    for model, seq_len in models.items():
        (case,) = profile_of(grid | {"model": [model]}).cases(None, "cpu")
        assert case.seq_len == seq_len


def test_projection_of_features_takes_rates_and_bits():
    """Each rate with each number of bits is a case; neither sketch nor share belongs to it."""
    grid = {"model": ["mlp"], "batch_size": [4], "method": ["exact-rp"]}
    grid |= {"rho": [0.5, 0.1], "bits": [2, 8]}
    cases = profile_of(grid).cases("predict", None)[1:]
    assert [case.label for case in cases] == [
        f"exact-rp, {bits} bits ρ={rho}" for rho in (0.5, 0.1) for bits in (2, 8)
    ]


STEP = {"model": ["roberta-tiny"], "batch_size": [4], "seq_len": [8], "measure": ["memory"]}


@pytest.mark.parametrize(
    ("axes", "settings"),
    [
        ({"method": ["checkpoint", "offload"]}, [{}, {}]),
        ({"method": ["quantize"]}, [{"bits": 8, "group_size": 256}]),
        (
            {"method": ["quantize"], "bits": [8, 4], "group_size": [64]},
            [{"bits": 8, "group_size": 64}, {"bits": 4, "group_size": 64}],
        ),
        ({"method": ["memory-budget"]}, [{"budget": 0.5}]),
        ({"method": ["memory-budget"], "budget": [1.0, 0.0]}, [{"budget": 1.0}, {"budget": 0.0}]),
        (
            {"method": ["rmm+fewbit-activation"], "rho": [0.5, 0.1], "where": "beneficial"},
            [
                {"rho": rho, "sketch": "gaussian", "activation_bits": 3, "where": "beneficial"}
                for rho in (0.5, 0.1)
            ],
        ),
        (
            {
                "method": ["exact-rp+fewbit-activation"],
                "rho": [0.1],
                "bits": [2],
                "sketch": ["dct"],
            },
            [{"rho": 0.1, "bits": 2, "activation_bits": 3}],
        ),
    ],
)
def test_a_method_takes_the_axes_that_it_has(axes, settings):
    """What others vary makes no more cases of it, and what it is not given is recorded too."""
    cases = profile_of(STEP | axes).cases("predict", None)[1:]
    methods = [axes["method"][0]] * len(settings) if settings[0] else axes["method"]
    assert [case.method for case in cases] == methods
    for case, expected in zip(cases, settings, strict=True):
        found = {name: value for name, value in case.settings.items() if value != absent()[name]}
        assert found == expected


def test_one_rank_stands_beside_many():
    """A grid of several numbers of ranks spreads the step over those above one alone."""
    spread = profile_of(STEP | {"ranks": [1, 2], "parallel": "fsdp2", "reshard": False, "rho": [1]})
    cases = spread.cases("predict", None)
    told = [(case.method, case.ranks, case.parallel, case.reshard) for case in cases]
    ways = [(1, None, True), (2, "fsdp2", False)]
    assert told == [(method, *way) for way in ways for method in ("exact", "rmm")]
    grid = STEP | {"ranks": [1, 2], "parallel": "ddp", "method": ["checkpoint"]}
    asked = profile_of(grid | {"measure": ["memory", "time", "gradient", "timeline"]})
    beside = {(c.ranks, c.gradient_draws, c.timeline is None) for c in asked.cases("cpu", "cpu")}
    assert beside == {(1, 5, False), (2, None, True)}
    alone = profile_of(STEP | {"ranks": 2, "parallel": "ddp", "rho": [1]})
    assert {case.ranks for case in alone.cases("predict", None)} == {2}


def test_a_stack_with_sketches_needs_their_size():
    """In a stack too, sketches have no size of their own."""
    with pytest.raises(ProfileError, match=r"method 'rmm' must give rho or proj_dim"):
        profile_of(STEP | {"method": ["rmm+quantize"]}).cases("predict", None)


def test_gradients_are_compared_where_steps_are_timed():
    """The profile says how often; a prediction compares none."""
    grid = STEP | {"measure": ["memory", "time", "gradient"], "method": ["checkpoint"]}
    asked = profile_of(grid, gradient_draws=7)
    assert {case.gradient_draws for case in asked.cases("predict", "cpu")} == {7}
    assert {case.gradient_draws for case in asked.cases("predict", None)} == {None}


def test_comparing_gradients_needs_a_device():
    """A gradient has to be computed where a step could be timed."""
    with pytest.raises(ValueError, match="must have 'time' beside 'gradient'"):
        profile_of(STEP | {"measure": ["memory", "gradient"]})


def file_of(tmp_path, lines):
    """Write a profile of one grid, and return its path."""
    file = tmp_path / "given.toml"
    start = 'version = 1\ntitle = ""\n[[grid]]\nmodel = ["mlp"]\nbatch_size = [4]\n'
    file.write_text(start + lines)
    return str(file)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('method = ["rmm"]\nrho = [0.5]\nbudget = [0.4]\n', "budget must not be given: it is a"),
        ('method = ["quantize"]\nshare = false\n', "share must not be given: it is a setting"),
        ('sketch = ["dct"]\nrho = [0.5]\nblock_rows = 2\n', "of gaussian, rademacher, kronecker"),
        ('method = ["quantize"]\nbitts = [4]\n', "'bitts' in [grid]; did you mean 'bits'"),
        ('method = ["quantize"]\nbits = [3]\n', "bits in [grid] must be 2, 4 or 8, got 3"),
    ],
)  # fmt: skip
def test_a_setting_of_no_method_of_the_grid_is_refused(tmp_path, lines, told):
    """What a grid says and nothing in it takes is told in one line, with the file."""
    with pytest.raises(ProfileError) as caught:
        profile.load(file_of(tmp_path, lines))
    assert "given.toml" in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_methods_of_a_stack_share_what_both_have():
    """Of one axis all methods of a stack take the same value, else each what is usual for it."""
    stack = STEP | {"method": ["exact-rp+quantize"], "rho": [0.5]}
    cases = profile_of(stack | {"bits": [2, 4]}).cases("predict", None)[1:]
    assert [[step.settings.bits for step in case.steps] for case in cases] == [[2, 2], [4, 4]]
    (usual,) = profile_of(stack).cases("predict", None)[1:]
    assert [step.settings.bits for step in usual.steps] == [None, 8]
