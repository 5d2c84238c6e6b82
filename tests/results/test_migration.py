"""Records and runs of schema version 1 are read on."""

import json
from pathlib import Path

import pytest

import rmmbench
from rmmbench.errors import RunError
from rmmbench.results.migration import former_key, migrated
from rmmbench.results.store import RECORDS_FILE, RUN_FILE, Run, hashes
from rmmbench.spec.case import Case, digest, text_digest

BASELINES = sorted((Path(rmmbench.__file__).parents[1] / "profiles" / "baselines").iterdir())

OLD = {
    "model": "mlp",
    "task": None,
    "batch_size": 4,
    "seq_len": None,
    "dtype": "float32",
    "optimizer": "adam",
    "attention": "eager",
    "method": "rmm",
    "sketch": "gaussian",
    "rho": 0.5,
    "proj_dim": None,
    "min_proj_dim": 1,
    "max_proj_dim": None,
    "block_rows": 2,
    "bits": None,
    "group_size": None,
    "activation_bits": None,
    "budget": None,
    "include": [],
    "exclude": ["a.*"],
    "where": "all",
    "share": False,
    "memory_device": "predict",
    "time_device": None,
    "seed": 0,
    "training": None,
}
"""A case as version 1 wrote it."""


@pytest.mark.parametrize("folder", BASELINES, ids=lambda folder: folder.name)
def test_every_committed_record_is_read_on(folder):
    """Each is the case that it was: what version 1 called it is told of the case that is read."""
    run, lines = Run.open(folder), (folder / RECORDS_FILE).read_text().splitlines()
    old = [json.loads(line) for line in lines]
    records = list(run.each_record())
    assert len(records) == len(old)
    for before, record in zip(old, records, strict=True):
        if before["schema_version"] == 1:
            assert former_key(record.case) == before["key"]
            told = before["case"]
            if told["model"].startswith("projection:"):
                told |= {"model": told["model"].replace("projection", "linear")}
                told |= {"time_device": None, "projection_device": told["time_device"]}
            assert told.items() <= json.loads(json.dumps(record.case.flat())).items()
        assert record.key == record.case.key
    assert len({record.key for record in records}) == len({before["key"] for before in old})


def test_a_case_of_version_1_is_a_case_of_now():
    """Its method and settings are one step, and what was as usual is not said."""
    case = Case.model_validate(OLD)
    (step,) = json.loads(case.model_dump_json())["steps"]
    sketch = ["gaussian", {"block_rows": 2}]
    assert step == ["rmm", {"sketch": sketch, "rho": 0.5, "exclude": ["a.*"], "share": False}]
    same = {"model": "mlp", "batch_size": 4, "memory_device": "predict", "steps": [step]}
    assert Case.model_validate(same) == case


def old_run(run, record, **changes):
    """Make a run of version 1 out of one of now, and return its directory."""
    told = json.loads(record.model_dump_json()) | {"schema_version": 1, "key": "of before"}
    told["case"] = record.case.flat() | changes
    (run.path / RECORDS_FILE).write_text(json.dumps(told) + "\n")
    info = json.loads((run.path / RUN_FILE).read_text()) | {"schema_version": 1}
    del info["former_hash"]
    info["profile_hash"] = text_digest(former_key(record.case))
    (run.path / RUN_FILE).write_text(json.dumps(info))
    return run.path


def test_an_old_run_goes_on(make_run, make_record):
    """What it has is found by the keys of now, and its profile is known again; another is not."""
    record = make_record(method="quantize", bits=4)
    run = make_run(record)
    path = old_run(run, record)
    now = run.info.model_copy(update=hashes([record.case]))
    assert Run.create(path, now).records() == [record]
    assert Run.open(path).info.measures_as(now)
    other = run.info.model_copy(update=hashes([record.case.with_settings(bits=2)]))
    assert not Run.open(path).info.measures_as(other)
    with pytest.raises(RunError, match="holds other cases"):
        Run.create(path, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "quantise"}, "no method named 'quantise'; did you mean 'quantize'?"),
        ({"bitts": 4}, "unknown setting 'bitts'; did you mean 'bits'?"),
        ({"budget": 0.5}, "budget must not be given: it is a setting of memory-budget"),
        ({"bits": 3}, "bits: must be 2, 4 or 8, got 3"),
    ],
)
def test_what_cannot_be_read_on_is_told(make_run, make_record, changes, message):
    """An old record that makes no case of now is refused in one line, with the nearest name."""
    record = make_record(method="quantize", bits=4)
    path = old_run(make_run(record), record, **changes)
    with pytest.raises(RunError) as caught:
        Run.open(path).records()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_timed_a_sketch_is_read_as_a_measure():
    """What version 1 had as the model "projection" is a case of one layer, under its old key."""
    told = OLD | {"model": "projection:8x4", "memory_device": None, "time_device": "cpu"}
    told |= {"block_rows": None, "exclude": []}
    case = migrated({"schema_version": 1, "key": "0" * 12, "case": told})["case"]
    assert (case.model, case.time_device, case.projection_device) == ("linear:8x4", None, "cpu")
    former = {k: v for k, v in told.items() if v is not None or k in NULL_IN_KEYS}
    assert former_key(case) == digest(former | {"timing": case.timing.model_dump(mode="json")})


NULL_IN_KEYS = ("task", "seq_len", "sketch", "rho", "proj_dim", "max_proj_dim", "block_rows")
NULL_IN_KEYS += ("memory_device", "time_device")
