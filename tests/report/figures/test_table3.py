"""The two figures of Table 3: heights of bars, and hollow marks beside them."""

from itertools import pairwise

import pytest

from rmmbench.report.figures import FigureData, get
from rmmbench.results import paired
from rmmbench.units import GIB

PUBLISHED = [
    {
        "model": "roberta-tiny",
        "task": "mrpc",
        "batch_size": 16,
        "peak_gib": 10.0,
        "source": "Table 3, left",
    },
    {
        "model": "roberta-tiny",
        "task": "mrpc",
        "batch_size": 16,
        "rho": 0.5,
        "peak_gib": 9.0,
        "source": "Table 3, left",
    },
    {
        "model": "roberta-tiny",
        "task": "mrpc",
        "batch_size": 16,
        "rho": 0.1,
        "peak_gib": 8.0,
        "saved_percent": 20.5,
        "source": "Table 3, left",
    },
]
MINUTES = [
    {"model": "roberta-tiny", "task": "mrpc", "minutes": 10.0, "source": "Table 3, right"},
    {
        "model": "roberta-tiny",
        "task": "mrpc",
        "sketch": "dct",
        "rho": 0.5,
        "minutes": 15.0,
        "source": "Table 3, right",
    },
    {
        "model": "roberta-tiny",
        "task": "mrpc",
        "sketch": "dct",
        "rho": 0.1,
        "minutes": 12.5,
        "source": "Table 3, right",
    },
]


def peaks(make_record, sketches=("gaussian",), share=True, **settings):
    """Records of one cell: 10 GiB, 9 at ρ = 0.5 and 7 at 0.1."""
    rmm = {"method": "rmm", "share": share} | settings
    return [
        make_record(peak=10 * GIB, **settings),
        *(
            make_record(peak=peak * GIB, sketch=sketch, rho=rho, **rmm)
            for sketch in sketches
            for rho, peak in ((0.1, 7), (0.5, 9))
        ),
    ]


def heights(seen):
    """Return the heights of each panel's bars, rounded."""
    return {name: [round(y, 6) for _, y in bars] for name, bars in seen.by_axis.items()}


def test_saving(draw, make_record, profile_with):
    """A bar is the share of exact's peak that is saved, from most kept to least."""
    seen = draw("table3-memory", peaks(make_record), profile=profile_with())
    assert heights(seen) == {("x", "gaussian"): [10, 30]}
    assert seen.drawing.layout.xaxis.ticktext == ("ρ=0.5", "ρ=0.1")
    assert seen.drawing.layout.yaxis.title.text == "peak memory saved, %"
    assert seen.hollow == []


def test_published_saving(draw, make_record, profile_with):
    """The published saving stands on its bar: as printed, or else from the published peaks."""
    records = peaks(make_record, share=False)
    seen = draw("table3-memory", records, profile=profile_with(published=PUBLISHED))
    (first, second) = seen.lines["gaussian"]
    assert seen.hollow == [(first[0], pytest.approx(10)), (second[0], 20.5)]
    assert "No RMM: 10.00 GiB (published 10)" in seen.words


def test_one_published_saving_for_all_sketches(draw, make_record, profile_with):
    """A published saving that names no sketch stands once, in the middle of its ρ's bars."""
    records = peaks(make_record, ("gaussian", "dct"), share=False)
    seen = draw("table3-memory", records, profile=profile_with(published=PUBLISHED))
    assert set(seen.lines) == {"gaussian", "dct"}
    assert [x for x, _ in seen.hollow] == [0, 1]
    assert all(len({x for x, _ in bars}) == 2 for bars in seen.lines.values())


def test_the_papers_choice_stands_beside_ours(draw, make_record, profile_with):
    """The bars of both choices say in what they differ; what is published is on the paper's."""
    ours = [
        make_record(peak=8 * GIB, method="rmm", sketch="oporp", rho=rho, where="beneficial")
        for rho in (0.5, 0.1)
    ]
    records = peaks(make_record, share=False) + ours
    seen = draw("table3-memory", records, profile=profile_with(published=PUBLISHED))
    assert heights(seen) == {
        ("x", "gaussian, unshared"): [10, 30],
        ("x", "oporp, beneficial layers"): [20, 20],
    }
    assert [x for x, _ in seen.hollow] == [x for x, _ in seen.lines["gaussian, unshared"]]
    assert [y for _, y in seen.hollow] == [pytest.approx(10), 20.5]


def test_bars_stand_side_by_side(draw, make_record, profile_with):
    """No two bars of a panel cover one another, however many sketches there are."""
    records = peaks(make_record, ("gaussian", "rademacher", "dft", "dct"))
    drawing = draw("table3-memory", records, profile=profile_with()).drawing
    edges = sorted((x - t.width / 2, x + t.width / 2) for t in drawing.data for x in t.x)
    assert all(left[1] < right[0] for left, right in pairwise(edges))


def test_a_panel_a_cell(draw, make_record, profile_with):
    """Each cell has a panel, headed by what tells it apart, all to one scale."""
    records = peaks(make_record) + peaks(make_record, task="cola", seq_len=47, batch_size=32)
    seen = draw("table3-memory", records, profile=profile_with())
    assert set(seen.by_axis) == {("x", "gaussian"), ("x2", "gaussian")}
    assert any("<b>MRPC · 16×103</b>" in words for words in seen.words)
    assert any("<b>CoLA · 32×47</b>" in words for words in seen.words)
    assert seen.drawing.layout.yaxis.range == seen.drawing.layout.yaxis2.range


def test_more_memory_than_exact(draw, make_record, profile_with):
    """A saving below 0 is drawn as what it is."""
    worse = make_record(peak=11 * GIB, method="rmm", sketch="dct", rho=0.9)
    seen = draw("table3-memory", [make_record(), worse], profile=profile_with())
    assert heights(seen) == {("x", "dct"): [-10]}
    assert seen.drawing.layout.yaxis.range[0] < -10


def test_saving_needs_exact(make_record, make_run):
    """Without exact's peak in the cell there is no saving to draw."""
    data = FigureData.of(make_run(make_record(method="rmm", sketch="dct", rho=0.5)))
    need = get("table3-memory").lacks(data)
    assert need == "peak memory with a sketch and without RMM in one cell"


def test_step_time(draw, timed_cases, profile_with):
    """A bar is the step time relative to exact's, a group a sketch and a bar a ρ."""
    seen = draw("table3-matmul", timed_cases(("dct", "gaussian")), profile=profile_with())
    assert heights(seen) == {("x", "ρ=0.5"): [1.25, 1.25], ("x", "ρ=0.1"): [0.8, 0.8]}
    assert seen.drawing.layout.xaxis.ticktext == ("dct", "gaussian")
    assert seen.levels == [1]
    found, bar = paired.relative_throughput((0.98, 1.0, 1.02), (1.25,) * 3), seen.drawing.data[0]
    assert bar.error_y.array == pytest.approx([1 / found.low - 1.25] * 2)
    assert bar.error_y.arrayminus == pytest.approx([1.25 - 1 / found.high] * 2)


def test_published_minutes(draw, timed_cases, profile_with):
    """Published minutes ÷ published minutes without RMM stand on the bar of their sketch and ρ."""
    records = timed_cases(("dct", "gaussian"), share=False)
    seen = draw("table3-matmul", records, profile=profile_with(published=MINUTES))
    at = {name: bars[0][0] for name, bars in seen.lines.items()}
    assert dict(seen.hollow) == {at["ρ=0.5"]: pytest.approx(1.5), at["ρ=0.1"]: pytest.approx(1.25)}
    assert "Hollow diamonds are the paper's numbers (Table 3, right)." in seen.note


def test_footnote_speaks_of_what_is_drawn(draw, make_record, profile_with):
    """A figure of memory alone does not say where time was measured."""
    timed = {"step_seconds": (1.0,) * 3}
    seen = draw("table3-memory", peaks(make_record, **timed), profile=profile_with())
    assert "Golden CPU" not in seen.note
