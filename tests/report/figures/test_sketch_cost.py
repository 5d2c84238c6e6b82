"""The figure of sketches by themselves."""

from itertools import pairwise

from rmmbench.report.figures import FigureData, get


def test_dots(draw, projection_cases, make_record):
    """A dot is product time ÷ sketch time; the cheapest sketch is at the top."""
    slow = make_record(
        model="linear:768x3072",
        time_device=None,
        projection_device="cpu",
        task=None,
        seq_len=None,
        batch_size=2048,
        peak=None,
        step_seconds=(4.0,) * 3,
        reference_step_seconds=(1.0,) * 3,
        method="rmm",
        sketch="rademacher",
        rho=0.5,
    )
    seen = draw("sketch-cost", [slow, *projection_cases(sketches=("oporp",))])
    assert {name: [x for x, _ in dots] for name, dots in seen.lines.items()} == {
        "ρ=0.5": [0.25, 2],
        "ρ=0.1": [8],
    }
    axis = seen.drawing.layout.yaxis
    assert axis.ticktext == ("oporp", "rademacher")
    assert axis.range[0] > axis.range[1]
    assert [round(y) for _, y in seen.lines["ρ=0.5"]] == [1, 0]


def test_the_axis_is_its_own(draw, projection_cases):
    """The number is named for what it is, on a logarithmic axis with a line at 1."""
    seen = draw("sketch-cost", projection_cases())
    axis = seen.drawing.layout.xaxis
    assert (axis.title.text, axis.type) == ("product time ÷ sketch time", "log")
    (wall,) = seen.drawing.layout.shapes
    assert (wall.x0, wall.x1, wall.y0, wall.y1) == (1, 1, 0, 1)
    assert axis.range[0] < 0 < axis.range[1]
    said = " ".join([seen.title, axis.title.text, *seen.words])
    said += " ".join(text for trace in seen.drawing.data for text in trace.hovertext)
    assert "throughput" not in said
    assert "8 × as fast as the product" in said


def test_a_panel_a_cell(draw, projection_cases):
    """Rows and widths have panels, to one scale, with one legend and the names at the left."""
    records = projection_cases(sizes=(2048, 16384))
    records += projection_cases(sizes=(2048, 16384), model="linear:3072x768")
    seen = draw("sketch-cost", records)
    assert [word for word in seen.words if word.startswith("<b>")] == [
        f"<b>{size} · {rows} rows</b>"
        for size in ("768x3072", "3072x768")
        for rows in (2048, 16384)
    ]
    layout = seen.drawing.layout
    assert layout.xaxis.range == layout.xaxis4.range
    assert [layout[f"yaxis{n}"].showticklabels for n in ("", 2, 3, 4)] == [True] + [False] * 3
    assert seen.legend == ["ρ=0.5", "ρ=0.1"]


def test_no_two_dots_are_one(draw, projection_cases, make_record):
    """Rates of one sketch are one below the other, and kinds that differ in blocks are apart."""
    blocked = [
        record.model_copy(update={"case": case, "key": case.key})
        for record in projection_cases(sketches=("gaussian",))
        if record.case.steps
        for case in [record.case.with_settings(block_rows=128)]
    ]
    seen = draw("sketch-cost", projection_cases() + blocked)
    assert set(seen.drawing.layout.yaxis.ticktext) == {
        "gaussian",
        "oporp",
        "gaussian, blocks of 128",
    }
    heights = sorted(y for dots in seen.lines.values() for _, y in dots)
    assert len(heights) == 6
    assert all(upper < lower for upper, lower in pairwise(heights))


def test_layers_are_no_sketches(make_run, timed_cases, linear_cases):
    """Whole steps of models and layers are not drawn as sketches alone."""
    need = get("sketch-cost").lacks(FigureData.of(make_run(*timed_cases(), *linear_cases())))
    assert need == "times of a sketch alone, of a grid whose measure is 'projection'"
