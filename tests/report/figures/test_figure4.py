"""Loss against step: a line a ρ, mean and band over seeds, exact in every panel."""

import pytest

from rmmbench.report.figures import FigureData, get

GAUSSIAN = {"method": "rmm", "sketch": "gaussian", "rho": 0.5}


def test_mean_over_seeds(draw, make_trained):
    """A point is the mean of the runs' losses at a step, training beside evaluation."""
    records = [
        make_trained(0.5, 0.8, losses=(2.0, 1.0 + seed), seed=seed, **how)
        for seed in (0, 1)
        for how in ({}, GAUSSIAN)
    ]
    seen = draw("figure4", records)
    assert seen.by_axis["x", "No RMM"] == seen.by_axis["x", "ρ=0.5"] == [(10, 2), (20, 1.5)]
    assert seen.by_axis["x2", "No RMM"] == [(10, pytest.approx(1.5)), (20, pytest.approx(1.2))]
    assert seen.drawing.layout.yaxis.title.text == "training loss, mean"
    assert seen.drawing.layout.yaxis2.title.text == "evaluation loss, mean"


def test_band(draw, make_trained):
    """The band goes one standard deviation up and down."""
    records = [make_trained(0.8, losses=(2.0, 1.0 + seed), seed=seed) for seed in (0, 1)]
    seen = draw("figure4", records)
    deviation = 0.5**0.5
    assert seen.by_axis["x", "± standard deviation"] == [
        (10, 2),
        (20, pytest.approx(1.5 + deviation)),
        (20, pytest.approx(1.5 - deviation)),
        (10, 2),
    ]


def test_one_seed_has_no_band(draw, make_trained):
    """A line of one run has no spread to show."""
    seen = draw("figure4", [make_trained(0.8)])
    assert seen.legend == ["No RMM"]


def test_small_multiples(draw, training_cases):
    """Sketches are below one another and tasks beside one another, exact in all, to one scale."""
    records = training_cases(("gaussian", "dct")) + training_cases(("gaussian", "dct"), task="rte")
    seen = draw("figure4", records)
    exact = [axis for axis, name in seen.by_axis if name == "No RMM"]
    assert len(exact) == 8
    headings = [words for words in seen.words if words.startswith("<b>")]
    assert headings == [
        f"<b>{name}</b>"
        for name in ("SST2 · gaussian", "RTE · gaussian", "SST2 · dct", "RTE · dct")
    ]
    layout = seen.drawing.layout
    assert layout.yaxis.range == layout.yaxis5.range
    assert layout.yaxis.domain[0] > layout.yaxis5.domain[1]
    assert seen.legend == ["No RMM", "ρ=0.5", "ρ=0.1", "± standard deviation"]


def test_exact_alone(draw, training_cases):
    """A task that has nothing but exact is drawn too."""
    records = training_cases(rates=()) + training_cases(task="rte")
    seen = draw("figure4", records)
    assert len([axis for axis, name in seen.by_axis if name == "No RMM"]) == 4


def test_diverged_runs_are_counted(draw, make_trained):
    """A run that diverged is in no mean and in the footnote."""
    records = [make_trained(0.5, 0.8, seed=seed) for seed in (0, 1)]
    records.append(make_trained(0.1, losses=(9.0, 99.0), seed=2, outcome="diverged"))
    seen = draw("figure4", records)
    assert seen.by_axis["x", "No RMM"] == [(10, 2), (20, 1)]
    assert (
        "Trained on Golden CPU with torch 2.13.0+cpu, float32. Not drawn: 1 case (diverged)."
        in seen.note
    )
    assert "1 CPU thread a run, up to" in seen.note


def test_one_point_is_no_curve(make_run, make_trained):
    """A run that logged its loss once allows no figure."""
    data = FigureData.of(make_run(make_trained(0.8, losses=(1.0,))))
    assert get("figure4").lacks(data) == "training runs with a loss at two or more steps"
