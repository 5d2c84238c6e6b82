"""A command line's values in a profile: what they replace, choose, and leave as it is."""

import pytest

from rmmbench.errors import ArgumentError, UsageError
from rmmbench.spec import profile
from rmmbench.spec.profile import Profile

TEXT = {"model": ["decoder"], "task": ["text"], "rho": [0.5], "measure": ["memory", "training"]}
STEP = {"model": ["roberta-tiny"], "batch_size": [4], "seq_len": [8], "measure": ["memory"]}


def profile_of(*grids, **tables):
    """Return a profile of some grids."""
    return Profile.model_validate({"version": 1, "title": "", "grid": grids} | tables)


def grid(**axes):
    """Return a profile of one grid."""
    return profile_of({"model": ["mlp"], "batch_size": [4]} | axes)


def test_the_command_line_goes_before_every_grid():
    """Flags take the place of an axis; what was not given stays."""
    changed = grid(rho=[0.5], sketch=["dct"]).overridden({"rho": (0.1, 0.2), "model": ()})
    cases = changed.cases("predict", None)
    assert [case.label for case in cases] == ["exact", "dct ρ=0.1", "dct ρ=0.2"]
    assert cases[0].model == "mlp"


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (("dct",), ["dct ρ=0.5"]),
        (("gaussian",), ["gaussian ρ=0.5", "gaussian, blocks of 2 ρ=0.5"]),
        (("kronecker",), ["kronecker, blocks of 2 ρ=0.5"]),
        (("oporp", "kronecker"), ["oporp ρ=0.5", "kronecker, blocks of 2 ρ=0.5"]),
    ],
)
def test_a_sketch_from_the_command_line_keeps_its_blocks(given, labels):
    """A sketch that the profile measures in blocks is measured in them, and no other one is."""
    rest = {"model": ["mlp"], "batch_size": [4], "rho": [0.5]}
    grids = [
        rest | {"sketch": ["gaussian", "dft"]},
        rest | {"sketch": ["gaussian", "kronecker"], "block_rows": 2},
    ]
    both = Profile.model_validate({"version": 1, "title": "", "grid": grids})
    cases = both.overridden({"sketch": given}).cases("predict", None)
    assert [case.label for case in cases] == ["exact", *labels]


def test_a_rate_from_the_command_line_goes_before_a_fixed_size():
    """With --rho no grid keeps its proj_dim, which would be measured beside it."""
    cases = grid(proj_dim=[64]).overridden({"rho": (0.1,)}).cases("predict", None)
    assert [case.label for case in cases] == ["exact", "gaussian ρ=0.1"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"rho": (1.5,)}, "rho must be in (0, 1], got 1.5"),
        ({"rho": (float("nan"),)}, "rho must be a finite number, got nan"),
        ({"batch_size": (0,)}, "batch_size must be at least 1, got 0"),
    ],
)
def test_a_wrong_value_names_its_argument(axes, message):
    """The error names the argument, on the command line the option, and not a file."""
    with pytest.raises(ArgumentError) as caught:
        grid().overridden(axes)
    assert str(caught.value) == message
    option = "--" + message.replace("_", "-", 1)
    assert caught.value.on_command_line == option


def test_settings_of_a_replaced_method_go_with_it():
    """The 8 bits of quantize are not rmm's; a grid whose own method stays keeps its settings."""
    asked = {"method": ("exact", "rmm"), "sketch": ("oporp",), "rho": (0.1, 0.711)}
    cases = profile.load("frontier").overridden(asked).cases("predict", None)
    assert {case.settings["bits"] for case in cases} == {None, 4}
    assert {case.settings["group_size"] for case in cases} == {None}
    kept = profile.load("frontier").overridden({"method": ("quantize",)}).cases("predict", None)
    assert {case.settings["bits"] for case in kept if case.method == "quantize"} == {8, 4}


def test_a_task_of_the_command_line_chooses_its_grid():
    """Each task keeps the settings that were made for it; a new one takes the first grid's."""
    cola = TEXT | {"model": ["roberta-tiny"], "task": ["cola"]}
    rte = cola | {"task": ["rte"], "training": {"learning_rate": 2e-5}}
    whole = profile_of(cola, rte, training={"learning_rate": 1e-5})
    (only,) = {
        (case.task, case.training.learning_rate)
        for case in whole.overridden({"task": ("rte",)}).cases(None, "cpu")
    }
    assert only == ("rte", 2e-5)
    both = whole.overridden({"task": ("rte", "wnli")}).cases(None, "cpu")
    assert {(case.task, case.training.learning_rate) for case in both} == {
        ("rte", 2e-5),
        ("wnli", 1e-5),
    }


def test_the_command_line_goes_before_a_grids_own_training():
    """Steps that are asked for hold for every grid, and are checked."""
    own = profile_of(TEXT | {"training": {"max_steps": 50}})
    case = own.overridden({}, {"max_steps": 3, "data": None}).cases(None, "cpu")[0]
    assert (case.training.max_steps, case.training.data) == (3, None)
    with pytest.raises(UsageError, match=r"^training\.max_steps must be at least 1, got 0$"):
        own.overridden({}, {"max_steps": 0})


def test_a_flag_holds_where_it_can():
    """A flag changes the grids that have it and leaves the others; one that none has is refused."""
    both = profile_of(STEP | {"rho": [0.5]}, STEP | {"method": ["quantize"]})
    labels = [case.label for case in both.overridden({"rho": (0.1,)}).cases("predict", None)]
    assert labels == ["exact", "gaussian ρ=0.1", "quantize, 8 bits, groups of 256"]
    with pytest.raises(UsageError, match=r"^sketch must not be given: it is a setting of rmm, and"):
        profile_of(STEP | {"method": ["quantize"]}).overridden({"sketch": ("dct",)})


BITS = {"model": ["mlp"], "batch_size": [4], "sketch": ["oporp"], "rho": [0.7], "bits": [4]}
WHOLE = BITS | {"rho": [0.5, 0.1], "bits": []}


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ({"rho": (0.2,)}, ["oporp ρ=0.2"]),
        ({"rho": (0.7,)}, ["oporp ρ=0.7", "oporp, 4 bits ρ=0.7"]),
        ({"rho": (0.1,), "bits": (8,)}, ["oporp, 8 bits ρ=0.1"]),
        ({"sketch": ("dct",)}, ["dct ρ=0.5", "dct ρ=0.1", "dct, 4 bits ρ=0.7"]),
    ],
)
def test_a_rate_does_not_take_the_bits_that_were_chosen_for_another(given, labels):
    """A ρ that is given is measured in few bits where the profile has it so, or bits are given."""
    cases = profile_of(WHOLE, BITS).overridden(given).cases("predict", None)
    assert [case.label for case in cases] == ["exact", *labels]


@pytest.mark.parametrize("change", [{"model": ["linear:8x8"]}, {"method": ["exact-rp"]}])
def test_a_rate_reaches_what_is_measured_in_few_bits_only(change):
    """No model and no method is lost, whatever ρ its bits were chosen for."""
    before, after = (
        {(case.model, case.method) for case in each.cases("predict", None)}
        for whole in [profile_of(WHOLE, BITS | {"sketch": ["gaussian"]} | change)]
        for each in (whole, whole.overridden({"rho": (0.2,)}))
    )
    assert before == after


def test_a_score_at_a_rate_is_of_that_rate_alone():
    """`train text --sketch oporp --rho 0.1` trains the exact model and one other."""
    asked = {"sketch": ("oporp",), "rho": (0.1,)}
    for name in ("text", "digits", "reviews"):
        cases = profile.load(name).overridden(asked).cases("predict", "cpu")
        sketched = {case.label for case in cases if case.method == "rmm"}
        assert len(sketched) == 1, sketched
