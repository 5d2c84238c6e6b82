"""A run for services that keep benchmarks: their formats, to the letter."""

import pytest

from rmmbench.errors import RunError
from rmmbench.report.benchmark_formats import bencher, github_action_benchmark
from rmmbench.results.counts import Counts
from rmmbench.units import MIB

RMM = {"method": "rmm", "sketch": "dct", "rho": 0.1}
STEPS = {"step_seconds": (0.5, 0.51, 0.52), "reference_step_seconds": (1.0, 1.0, 1.0)}
NAME = "roberta-tiny mrpc 16×103 dct ρ=0.1"


@pytest.fixture
def records(make_record):
    """A predicted case and a timed one."""
    counts = Counts(flops=10**9, moved_bytes=MIB, operator_calls=7)
    return [
        make_record(peak=100 * MIB, counts=counts, **RMM),
        make_record(peak=100 * MIB, dtype="bfloat16", **STEPS, **RMM),
    ]


def test_github_action_benchmark(records):
    """Entries have a name of their own, a unit and a value; each file has one direction."""
    smaller = github_action_benchmark(records, "smaller")
    assert smaller[0] == {
        "name": f"{NAME} · peak memory",
        "unit": "MiB",
        "value": 100.0,
        "extra": f"predicted\ntorch 2.13.0+cpu, rmmbench 0.1.0\n{records[0].key}",
    }
    bigger = github_action_benchmark(records, "bigger")
    assert {entry["unit"] for entry in bigger} == {"× exact", "samples/s"}
    speed = bigger[0]
    assert (speed["name"], speed["value"]) == (f"{NAME} dtype=bfloat16 · throughput", 1 / 0.51)
    # What the action reads as a range (src/extractRangeInfo.ts).
    assert speed["range"].startswith("± ")
    assert float(speed["range"].removeprefix("± ")) > 0
    names = [entry["name"] for entry in smaller + bigger]
    assert len(names) == len(set(names))
    for entry in smaller + bigger:
        assert set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(entry["name"] and entry["unit"], str)
        assert isinstance(entry["value"], float | int)


def test_bencher(records):
    """Benchmarks have measures by slug, in SI units, with the ends of an interval where known."""
    found = bencher(records)
    assert found[NAME]["peak-allocated-bytes"] == {"value": 100 * MIB}
    assert found[NAME]["operator-calls"] == {"value": 7}
    speed = found[f"{NAME} dtype=bfloat16"]["relative-throughput"]
    assert speed["lower_value"] < speed["value"] < speed["upper_value"]
    for name, measures in found.items():
        assert len(name) <= 1024
        assert all(len(slug) <= 64 and slug == slug.lower() for slug in measures)


def test_cases_of_one_name_are_told_apart(make_record):
    """Two cases that differ in what no name says have two entries."""
    alike = [make_record(peak=MIB, **RMM), make_record(peak=MIB, gpu="v100-16gb", **RMM)]
    assert len(bencher(alike)) == 2


def test_nothing_to_export(make_record):
    """A run without such numbers is refused, with the other direction."""
    record = make_record(peak=MIB)
    with pytest.raises(RunError, match="try --better smaller"):
        github_action_benchmark([record], "bigger")
    with pytest.raises(RunError, match="no case of the run has a number"):
        bencher([make_record(outcome="error")])
