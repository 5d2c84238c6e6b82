"""A record of one case: what JSON it is, and the row that it makes."""

import json

import pytest
from pydantic import ValidationError

from rmmbench.results.record import Conditions, Memory, Record
from rmmbench.spec.case import Case

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


@pytest.mark.parametrize(
    ("memory", "time", "device"),
    [
        ("cuda", "cuda", "cuda"),
        ("predict", "cpu", "predict+cpu"),
        ("predict", None, "predict"),
        (None, "cpu", "cpu"),
    ],
)
def test_a_device_says_where_each_number_is_from(memory, time, device):
    """Where memory and time come from two places, both are named."""
    case = Case.model_validate(SETTINGS | {"memory_device": memory, "time_device": time})
    assert case.device == device


def test_a_record_survives_json(make_record):
    """What was written is read back equal, the missing numbers and their reasons included."""
    record = make_record(step_seconds=(0.1, 0.2, 0.3), rho=0.5, method="rmm", sketch="dct")
    record = record.model_copy(
        update={
            "conditions": Conditions(throttle_reasons=("sw_power_cap",)),
            "missing": {"conditions.power_watts": "NVML: Not Supported"},
        }
    )
    assert Record.model_validate(json.loads(record.model_dump_json())) == record


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_no_number_is_nan(number):
    """A number that is not there is null; NaN and infinity are refused."""
    with pytest.raises(ValidationError, match="finite"):
        Conditions(power_watts=number)


def test_a_row_has_the_columns_of_an_export(make_record):
    """The flat row has what tables, figures and exports rely on, from every part of the record."""
    row = make_record(step_seconds=(0.1,), rho=0.5, method="rmm", sketch="dct").row()
    columns = (
        "model, device, task, batch_size, seq_len, dtype, method, sketch, rho, outcome, "
        "peak_allocated_bytes, saved_bytes, samples_per_second, relative_throughput"
    )
    assert all(row[name] is not None for name in columns.split(", "))
    assert set(row) > set(Memory.model_fields) - {"device", "at_peak_bytes"}
    assert {"gathered_at_peak_bytes", "optimizer_at_peak_bytes"} < set(row)
    assert set(row) > set(Conditions.model_fields)


def test_older_records_say_why_they_lack_numbers(make_record):
    """A record from before live bytes and counts is read; it has null for them, and a reason."""
    told = json.loads(make_record().model_dump_json())
    del told["memory"]["peak_live_bytes"], told["memory"]["attention_kernels"], told["counts"]
    told["missing"] = {"memory.reserved_bytes": "no GPU"}
    record = Record.model_validate(told)
    assert (record.memory.peak_live_bytes, record.counts) == (None, None)
    for name in ("memory.peak_live_bytes", "counts"):
        assert record.why_missing(name) == "the record is from before this was counted"
    assert record.why_missing("memory.reserved_bytes") == "no GPU"
    assert record.why_missing("memory.saved_bytes") is None
    lost = record.model_copy(update={"memory": None, "missing": {"memory": "time only"}})
    assert lost.why_missing("memory.peak_live_bytes") == "time only"


def test_a_step_needs_what_is_reserved_for_it(make_record):
    """Where nothing is reserved, as on a CPU, it needs what is allocated."""
    memory = make_record(peak=10).memory
    assert memory.needed_bytes == 10
    assert memory.model_copy(update={"reserved_bytes": 20}).needed_bytes == 20


def test_memory_of_ranks_is_that_of_the_largest(make_record):
    """All figures are of the rank that needs most; the peaks of all are told, in a row as text."""
    small, large = make_record(peak=10).memory, make_record(peak=20).memory
    memory = Memory.of_ranks([small, large, small])
    assert memory.rank_peak_bytes == (10, 20, 10)
    assert memory.model_copy(update={"rank_peak_bytes": None}) == large
    record = make_record().model_copy(update={"memory": memory})
    assert record.row()["rank_peak_bytes"] == "10 20 10"
    assert Record.model_validate_json(record.model_dump_json()) == record
    assert make_record().why_missing("memory.rank_peak_bytes") == "the step is on one rank"


def test_a_row_tells_kernels_in_words(make_record):
    """The kernel that was called most comes first; none is no value."""
    record = make_record()
    for kernels, told in (({"math": 1, "flash": 12}, "flash 12, math 1"), ({}, None), (None, None)):
        memory = record.memory.model_copy(update={"attention_kernels": kernels})
        row = record.model_copy(update={"memory": memory}).row()
        assert row["attention_kernels"] == told


def test_a_row_of_a_failed_case_has_no_numbers(make_record):
    """A case without memory and time has None in their columns, and its reason."""
    row = make_record(outcome="out_of_memory").row()
    assert row["peak_allocated_bytes"] is None
    assert row["samples_per_second"] is None
    assert row["outcome"] == "out_of_memory"
    assert row["reason"]


@pytest.mark.parametrize(
    ("dtype", "parameters", "told"),
    [
        ("float32", None, "float32"),
        ("float32", {"float32": 9}, "float32"),
        ("bfloat16", {"float32": 9}, "bfloat16"),
        ("float32", {"bfloat16": 9}, "bfloat16 parameters"),
        ("float32", {"float32": 1, "bfloat16": 9}, "bfloat16 and float32 parameters"),
        ("bfloat16", {"float16": 9}, "float16 parameters, autocast to bfloat16"),
    ],
)
def test_the_dtype_told_is_the_parameters(make_record, dtype, parameters, told):
    """A row's dtype is what the parameters were found to have, not what the case supposed."""
    record = make_record(dtype=dtype).model_copy(update={"parameter_dtypes": parameters})
    assert record.row()["dtype"] == told
    assert type(record).model_validate_json(record.model_dump_json()) == record
