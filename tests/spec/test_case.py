"""A case, and the name that it keeps."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from rmmbench.spec.case import METHOD_SETTINGS, Case
from rmmbench.spec.measuring import TimingSettings

SETTINGS = {
    "model": "roberta-tiny",
    "task": "mrpc",
    "batch_size": 16,
    "seq_len": 103,
    "method": "rmm",
    "sketch": "dct",
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
    written = json.loads(CASE.model_dump_json())
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
    "method": "checkpoint",
    "sketch": "dft",
    "rho": 0.25,
    "proj_dim": 7,
    "min_proj_dim": 2,
    "max_proj_dim": 99,
    "block_rows": 103,
    "include": ("a",),
    "exclude": ("b",),
    "where": "beneficial",
    "share": False,
    "memory_device": "cpu",
    "time_device": "cpu",
    "seed": 1,
    "timing": {"min_steps": 3},
    "bits": 4,
    "training": {"max_steps": 7},
    "timeline": {"epoch_steps": 3},
    "group_size": 32,
    "activation_bits": 2,
    "budget": 0.5,
    "gradient_draws": 4,
    "memory_limit_bytes": 2**30,
}


def test_every_field_of_a_case_is_tried():
    """The two tests below leave no field out."""
    assert set(OTHERS) == set(Case.model_fields)


@pytest.mark.parametrize("name", OTHERS)
def test_every_setting_is_in_the_key(name):
    """Cases that differ in anything have different keys."""
    assert Case.model_validate(SETTINGS | {name: OTHERS[name]}).key != CASE.key


@pytest.mark.parametrize("name", OTHERS)
def test_a_cell_is_all_but_the_methods_settings(name):
    """A case is compared with the exact one that ran on the same model, batch and device."""
    other = Case.model_validate(SETTINGS | {name: OTHERS[name]})
    assert (other.cell == CASE.cell) == (name in METHOD_SETTINGS)
    assert other.as_exact().cell == other.cell


def test_the_exact_case_has_nothing_of_the_method():
    """The reference of every case in a cell is one and the same."""
    exact = CASE.as_exact()
    assert (exact.method, exact.sketch, exact.rho) == ("exact", None, None)
    assert exact.as_exact() == exact
    assert exact.key != CASE.key


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "dct ρ=0.5"),
        ({"rho": None, "proj_dim": 64}, "dct proj_dim=64"),
        ({"method": "exact", "sketch": None, "rho": None}, "exact"),
        ({"where": "beneficial"}, "dct, beneficial layers ρ=0.5"),
        ({"share": False, "block_rows": 103}, "dct, blocks of 103, unshared ρ=0.5"),
    ],
)
def test_a_label_names_the_method_as_people_do(settings, label):
    """The label has the sketch and its size, or the method where there is no sketch."""
    assert Case.model_validate(SETTINGS | settings).label == label


@pytest.mark.parametrize("name", ["bits", "training", "timeline"])
def test_a_case_of_before_a_setting_was_keeps_its_name(name):
    """A setting that came later and is not used changes no key, so that old records are found."""
    assert name not in CASE._told()
    assert CASE.key == "aab8d0c4a316"


def test_a_title_tells_runs_of_training_apart():
    """Where a model is trained its title has the task and the seed."""
    trained = Case.model_validate(SETTINGS | {"training": {}, "seed": 3})
    assert trained.title == "roberta-tiny mrpc 16×103 dct ρ=0.5 seed 3"
    assert CASE.title == "roberta-tiny 16×103 dct ρ=0.5"


def test_a_cell_is_named_after_its_exact_case():
    """The quick way to a cell's name gives what naming its exact case does, for every setting."""
    for changes in ({}, {"seed": 3}, {"share": False}, {"method": "quantize", "bits": 4}):
        case = Case.model_validate(SETTINGS | changes)
        assert case.cell == case.as_exact().key == case.as_exact().cell
