"""The frontier figure: which ways no other beats, what lies above the line, what then fits."""

import random
from itertools import combinations

import pytest

from rmmbench.report.figures import FigureData, get
from rmmbench.report.figures._frontier_labels import Box, Label, place_labels
from rmmbench.report.figures._frontier_panel import BEST, _errors
from rmmbench.report.figures._largest_batch_panel import searches
from rmmbench.report.labels import has_exact_gradient
from rmmbench.report.ways import left_out, read_cells, way_names
from rmmbench.results.gradient_error import GradientError
from rmmbench.results.tidy import read_rows
from rmmbench.spec.case import Case
from rmmbench.units import GIB

OPORP = {"method": "rmm", "sketch": "oporp", "rho": 0.1}
QUANTIZE = {"method": "quantize", "bits": 8}
LIMIT = {"memory_limit_bytes": 16 * GIB}


@pytest.fixture
def way(make_record):
    """Make a case of a peak in GiB, a throughput relative to exact, and a gradient error."""

    def make(peak, ratio=None, error=None, **settings):
        steps = {}
        if ratio is not None:
            # Of the relative throughput about 1 % to either side.
            steps = {"step_seconds": (1 / ratio,) * 3}
            steps["reference_step_seconds"] = (0.996, 1.0, 1.004)
        record = make_record(peak=peak and round(peak * GIB), **steps, **settings)
        if error is None:
            return record
        gradient = GradientError(device="cpu", errors=(error,), mean_error=error)
        return record.model_copy(update={"gradient": gradient})

    return make


@pytest.fixture
def five(way):
    """Exact, checkpointing, a sketch that is faster, one that is slower, and few bits between."""
    return [
        way(10, 1.0),
        way(2, 0.6, 0.0, method="checkpoint"),
        way(8, 1.2, 2.0, **OPORP),
        way(9, 0.8, 1.0, method="rmm", sketch="gaussian", rho=0.5),
        way(5, 0.9, 0.005, **QUANTIZE),
    ]


def cell_of(records):
    """Return the one cell of some records, and its rows by their names."""
    (cell,) = read_cells(read_rows(records))
    return cell, {plain(cell.names[row["key"]]): row for row in cell.rows}


def plain(name):
    """Return a name without what keeps it from being broken between two lines."""
    return name.replace("\N{NO-BREAK SPACE}", " ").replace("<br>", " ")


def test_what_no_other_beats(five):
    """A case is among the best if none is as good in peak, speed and gradient, and better."""
    cell, _ = cell_of(five)
    best = [plain(cell.names[row["key"]]) for row in cell.best]
    assert best == ["checkpoint", "quantize 8 bits", "oporp ρ=0.1", "exact"]
    assert [row["method"] for row in cell.exact_best] == ["checkpoint", "exact"]


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


def test_what_is_as_good_in_both_is_beaten_by_neither(way):
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


def test_a_noisy_gradient_beats_no_exact_one(way):
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


def test_a_gradient_that_nobody_measured_is_on_no_front(way):
    """Where nothing tells of a gradient it is not taken for an exact one, nor for a noisy one."""
    cell, _ = cell_of([way(10, 1.0), way(5, 1.1, method="checkpoint"), way(4, 1.2, **OPORP)])
    assert [row["method"] for row in cell.best] == ["exact"]
    assert [row["method"] for row in cell.exact_best] == ["exact"]


def test_nothing_is_best_where_no_gradient_is_known(draw, way):
    """Where exact has no time and no gradient was compared, points stand alone."""
    untimed = way(10, 1.0).model_copy(update={"timing": None})
    seen = draw("frontier", [untimed, way(5, 1.1, method="quantize"), way(4, 1.2, **OPORP)])
    assert set(seen.lines) == {"not measured"}


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
def test_hardly_more_memory_is_no_difference(way, more, best):
    """What is faster at nearly the same peak is better."""
    faster = way(4 * (1 + more), 1.2, 0.0, method="rmm", sketch="dct", rho=0.1)
    cell, _ = cell_of([way(10, 1.0), way(4, 0.8, 0.0, method="quantize"), faster])
    for found in (cell.best, cell.exact_best):
        assert {row["method"] for row in found} == best


def test_dominance_is_what_its_words_say(way):
    """Over many random cells the best are just those that no other equals and beats."""
    draw = random.Random(0)
    for _ in range(30):
        records = [way(10, 1.0)]
        for rho in range(1, 9):
            sized = {"peak": draw.randint(1, 5), "ratio": draw.choice((0.5, 0.75, 1.0, 1.25))}
            sized["error"] = draw.choice((0.0, 0.5, 1.0))
            records.append(way(**sized, method="rmm", sketch="dct", rho=rho / 10))
        cell, _ = cell_of(records)
        places = {
            r["key"]: (r["peak_allocated_bytes"], -r["relative_throughput"], _errors(r)[0])
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
def test_the_line_to_checkpointing(way, peak, ratio, side):
    """A case is above the line from exact to checkpointing, below or on it; or it says nothing."""
    records = [way(10, 1.0), way(2, 0.6, method="checkpoint"), way(peak, ratio, **OPORP)]
    # All three ask for both, whatever came of it.
    case = Case.model_validate(records[0].case.flat() | OPORP)
    records[2] = records[2].model_copy(update={"case": case, "key": case.key})
    cell, rows = cell_of(records)
    assert cell.side(rows["oporp ρ=0.1"]) == side
    assert cell.side(rows["exact"]) == cell.side(rows["checkpoint"]) == ""


def test_without_checkpointing_there_is_no_line(way, draw):
    """Where nothing was checkpointed no line is drawn, and no case has a side."""
    records = [way(10, 1.0), way(8, 1.2, **OPORP), way(5, 0.9, **QUANTIZE)]
    cell, _ = cell_of(records)
    assert cell.line is None
    assert {cell.side(row) for row in cell.rows} == {""}
    assert "exact to checkpoint" not in draw("frontier", records).lines


def test_names(make_record):
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


def test_points_and_lines(draw, five):
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


def test_without_times_there_are_bars(draw, way):
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


# Where names go


def boxes(labels, frame):
    """Return the boxes of the names that found a place."""
    return [place.box for place in place_labels(labels, frame, []) if place is not None]


@pytest.mark.parametrize("seed", range(5))
def test_no_name_covers_another_or_a_point(seed):
    """Names that are not needed are written only where they cover nothing; all in the frame."""
    numbers, frame = random.Random(seed), Box(0, 0, 600, 400)
    spots = [(numbers.uniform(30, 570), numbers.uniform(30, 370)) for _ in range(25)]
    labels = [Label("a name of a method", spot, is_needed=False) for spot in spots]
    found = boxes(labels, frame)
    assert len(found) > 5
    assert all(frame.overlap(box) == pytest.approx(box.overlap(box)) for box in found)
    assert not any(one.overlap(other) for one, other in combinations(found, 2))
    assert not any(
        box.left < x < box.right and box.bottom < y < box.top for box in found for x, y in spots
    )


def test_needed_names_are_always_there():
    """Points in one heap keep the names that are needed, and lose the others."""
    spots = [(200 + i, 200.0) for i in range(40)]
    labels = [Label("needed", spots[0], True)]
    labels += [Label("a long name that is not", spot, False) for spot in spots[1:]]
    places = place_labels(labels, Box(0, 0, 400, 400), [])
    assert places[0] is not None
    assert None in places


def test_every_point_is_named_somewhere(draw, five, way):
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


# The largest batch


def probe(way, batch_size, *, fits=True, ratio=None, **settings):
    """Return the record of a batch that was tried."""
    peak = {"peak": batch_size / 2} if fits else {"peak": None, "outcome": "out_of_memory"}
    settings = {"memory_device": "predict", "batch_size": batch_size} | LIMIT | settings
    return way(**peak, ratio=ratio, **settings)


def test_largest_batch(draw, way):
    """A bar is the largest batch that fits, most first; beside it times exact's, and its speed."""
    records = [
        *(probe(way, size) for size in (8, 20)),
        probe(way, 21, fits=False),
        *(probe(way, size, **OPORP) for size in (16, 30)),
        probe(way, 31, fits=False, **OPORP),
        probe(way, 30, ratio=2.0, **OPORP),
        probe(way, 40, **QUANTIZE),
        probe(way, 1, fits=False, method="velora"),
    ]
    seen = draw("frontier", records)
    assert seen.lines == {"predicted": [(40, 3), (30, 2), (20, 1), (0, 0)]}
    assert seen.drawing.data[0].text == (
        "40 or more   2.00 ×",
        "30   1.50 ×   60 samples/s",
        "20",
        "none fits",
    )
    assert seen.drawing.data[0].hovertext[1].endswith("largest batch 30<br>31 does not fit")
    assert any("<b>Largest batch in 16.00 GiB</b>" in words for words in seen.words)


def test_measured_counts_where_it_was_predicted_too(way):
    """Of a way that was searched for both, what was measured is told; of another the prediction."""
    measured = {"memory_device": "cpu"}
    records = [
        *(probe(way, 20), probe(way, 21, fits=False)),
        *(probe(way, 18, **measured), probe(way, 19, fits=False, **measured)),
        probe(way, 30, **OPORP),
    ]
    (ways,) = searches(read_rows(records))
    assert {each.name: (each.batch_size, each.is_predicted) for each in ways} == {
        "exact": (18, False),
        "oporp ρ=0.1": (30, True),
    }


def test_a_batch_above_a_failure_does_not_fit(way):
    """What fitted above the smallest failure is not told as fitting."""
    records = [probe(way, 8), probe(way, 16, fits=False), probe(way, 20)]
    ((exact,),) = searches(read_rows(records))
    assert exact.batch_size == 8


def test_a_way_without_an_answer_is_named(draw, way, make_record):
    """A way of which no batch was found to fit or not is in the footnote, with its reason."""
    skipped = make_record(outcome="skipped", method="compile", batch_size=8, **LIMIT)
    note = draw("frontier", [probe(way, 8), skipped]).note
    assert "Not drawn: compile (it was told to fail)" in note


def test_steps_and_largest_batches_in_one_figure(draw, five, way):
    """Probes are no points of the frontier: they have a panel of their own below it."""
    records = [*five, probe(way, 8), probe(way, 30, **OPORP)]
    seen = draw("frontier", records)
    assert {axis for axis, _ in seen.by_axis} == {"x", "x2", "x3"}
    assert seen.lines["predicted"] == [(30, 1), (8, 0)]
    assert len(seen.lines["1 to 3"]) == 2
    assert any("<b>batch 16</b>" in words for words in seen.words)
