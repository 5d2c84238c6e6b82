"""Score by epoch: a line a way to save memory where there are several, else a line a ρ."""

import pytest

from rmmbench.report.figures import FigureData, get

PROJECTED = {"method": "exact-rp", "rho": 0.1, "bits": 2}
RMM = {"method": "rmm", "rho": 0.1}
GRAPH = {"model": "gcn2:32-64x4-8", "task": "sbm", "seq_len": None}


def test_methods(draw, make_trained):
    """Of one ρ there is one panel, with a line a method, in percent by epochs."""
    methods = ({}, PROJECTED, RMM | {"sketch": "gaussian"}, RMM | {"sketch": "rademacher"})
    records = [
        make_trained(0.5, 0.6 + 0.02 * seed, seed=seed, **how, **GRAPH)
        for seed in (0, 1)
        for how in methods
    ]
    seen = draw("figure7", records)
    names = ["No RMM", "exact-rp", "gaussian", "rademacher"]
    assert seen.legend == [*names, "± standard deviation"]
    for name in names:
        assert seen.by_axis["x", name] == [(1, pytest.approx(50)), (2, pytest.approx(61))]
    assert seen.drawing.layout.yaxis.title.text == "accuracy, %"
    assert "<b>ρ=0.1</b>" in seen.words


def test_one_sketch(draw, training_cases):
    """Of one sketch there is a panel a task with a line a ρ."""
    seen = draw("figure7", training_cases() + training_cases(task="rte"))
    assert {name for _, name in seen.by_axis} >= {"No RMM", "ρ=0.5", "ρ=0.1"}
    assert {axis for axis, _ in seen.by_axis} == {"x", "x2"}


def test_several_sketches(draw, training_cases):
    """Of several sketches there is a panel a ρ, from most to least kept, to one scale."""
    seen = draw("figure7", training_cases(("gaussian", "dct")))
    headings = [words for words in seen.words if words.startswith("<b>")]
    assert headings == ["<b>ρ=0.5</b>", "<b>ρ=0.1</b>"]
    assert [name for axis, name in seen.by_axis if axis == "x2"] == [
        *("± standard deviation", "No RMM", "gaussian", "dct")
    ]
    assert seen.drawing.layout.yaxis.range == seen.drawing.layout.yaxis2.range


def test_a_score_without_a_value_is_no_point(make_run, make_trained):
    """An evaluation that has no score is left out, and one that is left is no curve."""
    data = FigureData.of(make_run(make_trained(None, 0.5)))
    need = "training runs with a score at two or more evaluations"
    assert get("figure7").lacks(data) == need
