"""Rows: what tells cases apart, and what they share."""

import pytest

from rmmbench.results.counts import COUNTS, Counts
from rmmbench.results.tidy import (
    CELL,
    differing,
    group,
    kept,
    kind_columns,
    read_rows,
    setting_columns,
    shared,
    telling,
    telling_places,
)
from rmmbench.units import GIB


def test_missing_is_none(make_record):
    """A number that is missing is None, never NaN; integers are integers."""
    (row,) = read_rows([make_record(outcome="out_of_memory")])
    assert row["peak_allocated_bytes"] is row["saving"] is row["sketch"] is None
    assert (type(row["batch_size"]), type(row["seq_len"])) == (int, int)


def test_a_saving_is_told_against_exact_in_the_same_cell(make_record):
    """A case that keeps three quarters of exact's peak saves a quarter; exact saves nothing."""
    method = {"method": "rmm", "sketch": "dct", "rho": 0.5}
    rows = read_rows(
        [
            make_record(peak=8 * GIB, saved=4 * GIB, batch_size=4),
            make_record(peak=6 * GIB, saved=1 * GIB, batch_size=4, **method),
            make_record(peak=80 * GIB, saved=40 * GIB, batch_size=8),
        ]
    )
    assert [row["saving"] for row in rows] == [0, 0.25, 0]
    assert [row["saved_bytes_saving"] for row in rows] == [0, 0.75, 0]


def test_work_is_told_against_exact_in_the_same_cell(make_record):
    """Half of exact's operations are 0.5; without counts, or without exact's, there is no ratio."""
    some = Counts(flops=200, moved_bytes=80, operator_calls=10)
    less = Counts(flops=100, moved_bytes=120, operator_calls=0)
    exact, method = make_record(), make_record(method="rmm", rho=0.5)
    told = method.model_copy(update={"counts": less})
    _, row = read_rows([exact.model_copy(update={"counts": some}), told])
    assert (row["flops"], row["moved_bytes"], row["operator_calls"]) == (100, 120, 0)
    assert [row[f"relative_{name}"] for name in COUNTS] == [0.5, 1.5, 0.0]
    for records in ([exact, told], [told], [exact, method]):
        assert {row[f"relative_{name}"] for row in read_rows(records) for name in COUNTS} == {None}


def test_a_saving_without_exact_is_missing(make_record):
    """Where exact ran out of memory no saving is made up."""
    method = {"method": "rmm", "sketch": "dct", "rho": 0.5}
    rows = read_rows([make_record(outcome="out_of_memory"), make_record(**method)])
    assert [row["saving"] for row in rows] == [None, None]


def test_no_records():
    """No records are no rows."""
    assert read_rows([]) == []


def test_saving_is_from_the_cell(make_record):
    """Rows carry what only exact in the same cell tells."""
    rows = read_rows([make_record(), make_record(peak=9 * GIB, method="rmm", rho=0.5)])
    assert [row["saving"] for row in rows] == [0, pytest.approx(0.1)]


def test_the_last_record_counts(make_record):
    """Of a case that was measured again the last record is the row."""
    rows = read_rows([make_record(outcome="timeout"), make_record(batch_size=8), make_record()])
    assert [(row["batch_size"], row["outcome"]) for row in rows] == [(16, "ok"), (8, "ok")]


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 1},
        {"dtype": "bfloat16"},
        {"accumulate": 2},
        {"drop_gradients": "before-forward"},
        {"zeroed_gradients": True},
        {"clip_norm": 1.0},
        {"update": "fused"},
        {"ranks": 2, "parallel": "ddp"},
        {"method": "rmm", "sketch": "dct", "proj_dim": 8},
        {"method": "rmm", "sketch": "dct", "rho": 0.5, "min_proj_dim": 2},
        {"method": "rmm", "sketch": "dct", "rho": 0.5, "max_proj_dim": 2},
        {"method": "rmm", "sketch": "dct", "rho": 0.5, "include": ("a",)},
        {"method": "rmm", "sketch": "dct", "rho": 0.5, "exclude": ("a",)},
        {"method": "rmm", "sketch": "gaussian", "rho": 0.5, "block_rows": 2},
        {"method": "rmm", "sketch": "dct", "rho": 0.5, "where": "beneficial"},
        {"method": "rmm", "sketch": "dct", "rho": 0.5, "share": False},
    ],
)
def test_every_setting_tells_rows_apart(make_record, settings):
    """Two cases of one run differ in some column of CELL or `setting_columns`."""
    plain = {k: v for k, v in settings.items() if k in ("method", "sketch", "rho")}
    rows = read_rows([make_record(**plain), make_record(**settings)])
    assert len(group(rows, (*CELL, *setting_columns()))) == 2


def test_telling_is_short(make_record):
    """A column that tells nothing more than those before it is left out."""
    rows = read_rows(
        [make_record(), make_record(task="cola", seq_len=47), make_record(model="mlp", task=None)]
    )
    assert telling(rows, CELL) == ["model", "task"]
    assert telling(rows[:1], CELL) == []


def test_what_a_step_is_is_told_where_it_differs(make_record):
    """Rows that something else tells apart still say how their steps differ."""
    rows = read_rows([make_record(), make_record(model="mlp", task=None, accumulate=4)])
    assert telling(rows, CELL) == ["model"]
    assert telling_places(rows, CELL) == ["model", "accumulate"]
    assert telling_places(rows, ["model"]) == ["model"]


def test_differing_is_all_that_differs(make_record):
    """Where two sketches differ in their layers too, both columns are told, and no third."""
    gaussian = {"method": "rmm", "sketch": "gaussian", "rho": 0.5, "share": False}
    oporp = {"method": "rmm", "sketch": "oporp", "rho": 0.5, "where": "beneficial"}
    rows = read_rows([make_record(**gaussian), make_record(**oporp)])
    assert differing(rows, kind_columns()) == ["sketch", "where", "share"]
    assert differing(rows[:1], kind_columns()) == []


def test_a_setting_differs_within_its_method(make_record):
    """What only the method rmm has does not differ from a method that lacks it."""
    rmm = make_record(method="rmm", sketch="dct", rho=0.5, share=False)
    rows = read_rows([rmm, make_record(method="checkpoint")])
    assert differing(rows, setting_columns()) == ["method"]


def test_flags_are_true_or_false(make_record):
    """A choice between two is a bool of Python's, which JSON knows."""
    rows = read_rows([make_record(), make_record(method="rmm", rho=0.5, share=False)])
    assert [row["share"] for row in rows] == [True, False]
    assert {type(row["share"]) for row in rows} == {bool}


def test_shared_has_values(make_record):
    """A column that is missing everywhere is not shared."""
    rows = read_rows([make_record(), make_record(batch_size=8)])
    assert "model" in shared(rows, CELL)
    assert "batch_size" not in shared(rows, CELL)
    assert shared(rows, kind_columns()) == ["method", "min_proj_dim", "where", "share"]
    assert shared([], CELL) == []


def test_kept_orders_rates(make_record):
    """Cases are ordered by ρ, those with a fixed size after them, those with neither last."""
    records = [
        make_record(method="rmm", rho=0.1),
        make_record(method="rmm", proj_dim=64),
        make_record(),
        make_record(method="rmm", rho=0.5),
    ]
    ordered = sorted(read_rows(records), key=kept, reverse=True)
    assert [(row["rho"], row["proj_dim"]) for row in ordered] == [
        (0.5, None),
        (0.1, None),
        (None, 64),
        (None, None),
    ]
