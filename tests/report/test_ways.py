"""Ways of saving memory beside each other: which no other beats, and how they are called."""

import random

import pytest

from rmmbench.report.labels import has_exact_gradient
from rmmbench.report.ways import left_out, way_names
from rmmbench.results.tidy import read_rows
from rmmbench.spec.case import Case

OPORP = {"method": "rmm", "sketch": "oporp", "rho": 0.1}
QUANTIZE = {"method": "quantize", "bits": 8}


def test_what_no_other_beats(five, cell_of, plain):
    """A case is among the best if none is as good in peak, speed and gradient, and better."""
    cell, _ = cell_of(five)
    best = [plain(cell.names[row["key"]]) for row in cell.best]
    assert best == ["checkpoint", "quantize 8 bits", "oporp ρ=0.1", "exact"]
    assert [row["method"] for row in cell.exact_best] == ["checkpoint", "exact"]


def test_what_is_as_good_in_both_is_beaten_by_neither(way, cell_of):
    """Of two cases of one peak and throughput both stand; of one peak alone the faster does."""
    cell, _ = cell_of(
        [
            way(10, 1.0),
            way(8, 1.0, 0.0, **OPORP),
            way(8, 1.0, 0.0, **QUANTIZE),
            way(8, 0.9, 0.0, method="velora"),
        ]
    )
    for best in (cell.best, cell.exact_best):
        assert {row["method"] for row in best} == {"rmm", "quantize"}


def test_a_noisy_gradient_beats_no_exact_one(way, cell_of):
    """What is faster and smaller at an error stands beside the best exact gradient, not for it."""
    cell, _ = cell_of(
        [
            way(10, 1.0),
            way(7, 1.03, 0.0, method="memory-budget", budget=0.5),
            way(6, 1.2, 2.4, **OPORP),
            way(6.5, 1.1, 2.5, method="quantize", bits=2),
            way(8, 1.3, 0.87, method="velora"),
        ]
    )
    assert [row["method"] for row in cell.exact_best] == ["memory-budget"]
    assert [row["method"] for row in cell.best] == ["rmm", "memory-budget", "velora"]


def test_a_gradient_that_nobody_measured_is_on_no_front(way, cell_of):
    """Where nothing tells of a gradient it is not taken for an exact one, nor for a noisy one."""
    cell, _ = cell_of([way(10, 1.0), way(5, 1.1, method="checkpoint"), way(4, 1.2, **OPORP)])
    assert [row["method"] for row in cell.best] == ["exact"]
    assert [row["method"] for row in cell.exact_best] == ["exact"]


@pytest.mark.parametrize(
    ("error", "known", "dtype", "is_exact"),
    [
        (3e-5, None, "float32", True),
        (0.3, True, "float32", False),  # measured to be otherwise
        (None, True, "float32", True),
        (None, False, "float32", False),
        (None, None, "float32", None),
        (0.004, True, "bfloat16", True),  # rounding alone
        (0.004, None, "bfloat16", None),
    ],
)
def test_whose_gradient_is_exact(way, error, known, dtype, is_exact):
    """A gradient is exact if measured so, or else if its method is known for it."""
    record = way(5, 0.9, error, dtype=dtype, **QUANTIZE)
    (row,) = read_rows([record.model_copy(update={"exact_gradient": known})])
    assert has_exact_gradient(row) is is_exact


@pytest.mark.parametrize(("more", "best"), [(0.9e-3, {"rmm"}), (1.1e-3, {"rmm", "quantize"})])
def test_hardly_more_memory_is_no_difference(way, more, best, cell_of):
    """What is faster at nearly the same peak is better."""
    faster = way(4 * (1 + more), 1.2, 0.0, method="rmm", sketch="dct", rho=0.1)
    cell, _ = cell_of([way(10, 1.0), way(4, 0.8, 0.0, method="quantize"), faster])
    for found in (cell.best, cell.exact_best):
        assert {row["method"] for row in found} == best


def test_dominance_is_what_its_words_say(way, cell_of):
    """Over many random cells the best are just those that no other equals and beats."""
    draw = random.Random(0)
    for _ in range(30):
        records = [way(10, 1.0)]
        for rho in range(1, 9):
            sized = {"peak": draw.randint(1, 5), "ratio": draw.choice((0.5, 0.75, 1.0, 1.25))}
            sized["error"] = draw.choice((0.0, 0.5, 1.0))
            records.append(way(**sized, method="rmm", sketch="dct", rho=rho / 10))
        cell, _ = cell_of(records)
        errors = {
            r["key"]: 0.0 if has_exact_gradient(r) else r["gradient_error"] for r in cell.rows
        }
        places = {
            r["key"]: (r["peak_allocated_bytes"], -r["relative_throughput"], errors[r["key"]])
            for r in cell.rows
        }
        exact = {key: place for key, place in places.items() if place[2] == 0}
        for front, of in ((cell.best, places), (cell.exact_best, exact)):
            unbeaten = {
                key
                for key, place in of.items()
                if not any(map(all_at_most(place), {*of.values()} - {place}))
            }
            assert {row["key"] for row in front} == unbeaten


def all_at_most(place):
    """Return whether another place is in nothing worse than this one."""
    return lambda other: all(mine <= own for mine, own in zip(other, place, strict=True))


@pytest.mark.parametrize(
    ("peak", "ratio", "side"),
    [
        (6, 0.9, "above"),  # the line is at 0.8 there
        (6, 0.7, "below"),
        (6, 0.803, "on"),  # within its interval, of 1 % to either side
        (1, 0.7, "above"),  # better than checkpointing in both
        (1, 0.5, ""),  # less memory and slower: nothing to compare with
        (11, 0.9, "below"),  # worse than exact in both
        (11, 1.2, ""),
        (6, None, ""),
        (None, 0.9, ""),
    ],
)
def test_the_line_to_checkpointing(way, peak, ratio, side, cell_of):
    """A case is above the line from exact to checkpointing, below or on it; or it says nothing."""
    records = [way(10, 1.0), way(2, 0.6, method="checkpoint"), way(peak, ratio, **OPORP)]
    # All three ask for both, whatever came of it.
    case = Case.model_validate(records[0].case.flat() | OPORP)
    records[2] = records[2].model_copy(update={"case": case, "key": case.key})
    cell, rows = cell_of(records)
    assert cell.side(rows["oporp ρ=0.1"]) == side
    assert cell.side(rows["exact"]) == cell.side(rows["checkpoint"]) == ""


def test_names(make_record, plain):
    """A name has the methods, how much is kept, and what else differs among cases of its kind."""
    stack = {"method": "rmm+fewbit-activation", "activation_bits": 3}
    records = [
        make_record(),
        make_record(**OPORP, where="beneficial"),
        make_record(**OPORP | {"rho": 0.5}, where="beneficial"),
        make_record(method="rmm", sketch="dct", rho=0.1),
        make_record(method="rmm", sketch="dct", rho=0.1, share=False),
        make_record(**QUANTIZE),
        make_record(method="exact-rp", rho=0.1, bits=2),
        make_record(method="memory-budget", budget=0.5),
        make_record(**OPORP | stack, where="beneficial"),
        make_record(**OPORP | {"method": "rmm+fewbit-activation+quantize", "bits": 8},
                    activation_bits=3),
    ]  # fmt: skip
    rows = read_rows(records)
    names = [plain(name) for name in way_names(rows).values()]
    assert names == [
        "exact",
        "oporp ρ=0.1",
        "oporp ρ=0.5",
        "dct ρ=0.1",
        "dct, unshared ρ=0.1",
        "quantize 8 bits",
        "exact-rp 2 bits ρ=0.1",
        "memory-budget 0.5",
        "oporp + fewbit-activation 3 bits ρ=0.1",
        "oporp + fewbit-activation + quantize 3-bit activations 8 bits ρ=0.1",
    ]
    said = "oporp, oporp + fewbit-activation (beneficial layers)"
    groups = "quantize, oporp + fewbit-activation + quantize (groups of 256)"
    assert left_out(rows) == f"Settings that the names leave out: {said}; {groups}."
