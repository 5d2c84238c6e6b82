"""The frontier figure: its points, its lines, and what it says of what it does not draw."""

import pytest

from rmmbench.report.figures import FigureData, get
from rmmbench.report.figures._frontier_panel import BEST, _errors
from rmmbench.results.tidy import read_rows

OPORP = {"method": "rmm", "sketch": "oporp", "rho": 0.1}
QUANTIZE = {"method": "quantize", "bits": 8}


def test_noisy_gradients_are_seen_from_the_third_axis(draw, five):
    """Below the usual panel stands one of errors, with rings on the same front of all three."""
    seen = draw("frontier", five)
    panel = {trace.name: trace for trace in seen.drawing.data if trace.yaxis == "y2"}
    assert {"slower", "faster", BEST} == set(panel)
    assert sorted(panel["slower"].y) == [0.005, 1.0]
    assert list(panel["faster"].y) == [2.0]
    assert sorted(panel[BEST].y) == [0.005, 2.0]
    assert seen.drawing.layout.yaxis2.type == "log"


def test_one_noisy_gradient_has_no_panel(draw, way):
    """A single way with an error has nothing to be compared with."""
    seen = draw(
        "frontier", [way(10, 1.0), way(2, 0.6, 0.0, method="checkpoint"), way(8, 1.2, 2.0, **OPORP)]
    )
    assert {trace.yaxis for trace in seen.drawing.data} == {"y"}


def test_nothing_is_best_where_no_gradient_is_known(draw, way):
    """Where exact has no time and no gradient was compared, points stand alone."""
    untimed = way(10, 1.0).model_copy(update={"timing": None})
    seen = draw("frontier", [untimed, way(5, 1.1, method="quantize"), way(4, 1.2, **OPORP)])
    assert set(seen.lines) == {"not measured"}


def test_without_checkpointing_there_is_no_line(way, draw, cell_of):
    """Where nothing was checkpointed no line is drawn, and no case has a side."""
    records = [way(10, 1.0), way(8, 1.2, **OPORP), way(5, 0.9, **QUANTIZE)]
    cell, _ = cell_of(records)
    assert cell.line is None
    assert {cell.side(row) for row in cell.rows} == {""}
    assert "exact to checkpoint" not in draw("frontier", records).lines


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (0.0, "0, or rounding"),
        (3e-5, "0, or rounding"),
        (0.005, "0.003 to 0.01"),
        (0.0299, "0.01 to 0.03"),
        (0.03, "0.03 to 0.1"),
        (1.0, "1 to 3"),
        (3.0, "3 to 10"),
        (14.0, "10 to 30"),
        (None, "not measured"),
    ],
)
def test_ranges_of_gradient_error(way, error, name):
    """Gradient errors are told in half decades, from the lower end up to below the upper."""
    (row,) = read_rows([way(5, 0.9, error, **QUANTIZE)])
    assert _errors(row)[1] == name


def test_points_and_lines(draw, five, plain):
    """Each case is a point under its range of gradient error; steps join the best exact ones."""
    seen = draw("frontier", five)
    lines = {name: points for (axis, name), points in seen.by_axis.items() if axis == "x"}
    assert lines == {
        "exact to checkpoint": [(2, 0.6), (10, 1)],
        "exact, no other is better": [(2, 0.6), (10, 1)],
        "no other is better at its error": [
            *((2, 0.6), (5, pytest.approx(0.9)), (8, pytest.approx(1.2)), (10, 1)),
        ],
        "0, or rounding": [(10, 1), (2, 0.6)],
        "0.003 to 0.01": [(5, pytest.approx(0.9))],
        "1 to 3": [(9, 0.8), (8, pytest.approx(1.2))],
    }
    named = {"exact", "checkpoint", "quantize 8 bits", "oporp ρ=0.1", "gaussian ρ=0.5"}
    assert named <= set(map(plain, seen.words))


def test_hover_has_everything(draw, five):
    """A point tells its name, its memory, its speed with its error, and its gradient error."""
    drawing = draw("frontier", five).drawing
    told = [text for trace in drawing.data for text in trace.hovertext or ()]
    text, again = [text for text in told if "<b>oporp ρ=0.1</b>" in text]
    assert text == again  # in the panel of noisy gradients
    for words in (
        "peak 8.00 GiB, 20.0 % saved",
        "kept for backward",
        "samples/s, 1.200 × exact",
        "95 %: 1.188 to 1.212",
        "gradient error 2",
        "1.00 GiB between steps",
    ):
        assert words in text
    assert not any("No RMM" in text for text in told)


def test_one_colour_means_one_error_in_all_panels(draw, five, way):
    """A range of gradient errors has the same colour in the panel of every cell."""
    other = [
        way(10, 1.0, batch_size=32),
        way(8, 1.2, 2.0, batch_size=32, **OPORP),
        way(5, 0.9, 20.0, batch_size=32, **QUANTIZE),
    ]
    drawing = draw("frontier", [*five, *other]).drawing
    colors = {}
    for trace in drawing.data:
        if trace.mode == "markers" and trace.name != BEST:
            colors.setdefault(trace.name, set()).add(trace.marker.color)
    assert {trace.xaxis for trace in drawing.data} == {"x", "x2", "x3", "x4"}
    assert all(len(found) == 1 for found in colors.values())
    assert len(set.union(*colors.values())) == len(colors)


def test_without_times_there_are_bars(draw, way, plain):
    """Where nothing was timed a bar is the peak, one in it what is there between steps."""
    seen = draw("frontier", [way(10), way(8, **OPORP), way(4, **QUANTIZE)])
    assert seen.lines == {
        "saved": [(10, 2), (10, 1), (10, 0)],
        "more at the peak": [(10, 2), (8, 1), (4, 0)],
        "between steps": [(1, 2), (1, 1), (1, 0)],
    }
    names = [plain(name) for name in seen.drawing.layout.yaxis.ticktext]
    assert names == ["quantize 8 bits", "oporp ρ=0.1", "exact"]
    texts = seen.drawing.data[0].text
    assert texts == ("10.00", "8.00   20.0 % saved", "4.00   60.0 % saved")
    assert "Memory predicted on fake tensors with torch" in seen.note


@pytest.mark.parametrize(
    ("memory", "walls", "words"),
    [
        ("9GiB", [9.0], "dashed, for what is reserved: GPU: 9 GiB"),
        ("20GiB", [], "all within GPU: 20 GiB"),
    ],
)
def test_bars_show_what_a_limit_is_held_against(draw, way, profile_with, memory, walls, words):
    """With a device's limit bars have what is reserved, and the limit is a line across them."""
    ways = [way(10), way(8, **OPORP), way(4, **QUANTIZE)]
    more = [one.memory.model_copy(update={"reserved_bytes": 12 * 2**30}) for one in ways]
    told = zip(ways, more, strict=True)
    records = [one.model_copy(update={"memory": memory}) for one, memory in told]
    profile = profile_with(device_limit={"name": "GPU", "memory": memory})
    seen = draw("frontier", records, profile=profile)
    assert seen.lines["more reserved"] == [(12, 2), (12, 1), (12, 0)]
    shapes = seen.drawing.layout.shapes
    assert [shape.x0 for shape in shapes if shape.x0 == shape.x1] == walls
    assert any(words in text.text for text in seen.drawing.layout.annotations)


def test_what_has_no_mark_is_named_with_its_reason(draw, five, way, make_record):
    """A case that failed, or lacks one of the two numbers, is in the footnote by name and why."""
    skipped = make_record(outcome="skipped", step_seconds=(1.0,), method="compile")
    untimed = way(3, 0.5, method="offload").model_copy(
        update={"timing": None, "missing": {"timing": "there is nowhere to keep it"}}
    )
    note = draw("frontier", [*five, skipped, untimed]).note
    assert note.count("Not drawn: ") == 1
    assert "compile (it was told to fail)" in note
    assert "offload (there is nowhere to keep it)" in note


def test_one_way_is_no_frontier(make_run, way):
    """A single kind of sketch, at whatever rates, is left to the other figures."""
    half = OPORP | {"rho": 0.5}
    for records in (
        [way(10), way(8, **OPORP), way(9, **half)],
        [way(8, **OPORP), way(4, **QUANTIZE)],
    ):
        assert get("frontier").lacks(FigureData.of(make_run(*records, name=str(len(records)))))


def test_many_cells(draw, way):
    """Three cells have panels, those with most ways; the footnote counts the others."""
    records = []
    for size in (8, 16, 32, 64):
        records += [way(10, batch_size=size), way(8, batch_size=size, **OPORP)]
        records.append(way(4, batch_size=size, **QUANTIZE))
    records.append(way(5, batch_size=64, method="velora"))
    seen = draw("frontier", records)
    assert len({trace.xaxis for trace in seen.drawing.data}) == 3
    assert "1 more panels." in seen.note
    assert any("<b>batch 64</b>" in words for words in seen.words)


def test_every_point_is_named_somewhere(draw, five, way, cell_of, plain):
    """A point has its name beside it, or else in the footnote."""
    crowd = [
        way(7.9 + i / 500, 1.19, 2.0, method="rmm", sketch="dct", rho=i / 50) for i in range(1, 40)
    ]
    seen = draw("frontier", [*five, *crowd])
    cell, _ = cell_of([*five, *crowd])
    beside = {plain(words) for words in seen.words[:-1]}
    listed = plain(seen.note).partition("Points without a name, from the lowest peak up: ")[2]
    assert listed
    for name in (plain(cell.names[row["key"]]) for row in cell.timed):
        assert name in beside or name in listed
