"""What every figure must give."""

import json
import subprocess
import sys

import pytest

from rmmbench.report.figures import FIGURES, FigureData, get

NAMES = FIGURES.names()
NOISE = ("figure3", "figure5", "noise")
TRAINING = ("figure4", "figure7", "scores", "table2", *NOISE)
MARKS = ("published", "out of memory", "± standard deviation")


@pytest.fixture
def data(wide_run):
    """A run that allows every figure."""
    return FigureData.of(wide_run)


@pytest.mark.parametrize("name", NAMES)
def test_draws_where_it_lacks_nothing(name, data):
    """A figure that lacks nothing draws something, of a fixed size that fits a slide."""
    assert get(name).lacks(data) is None
    drawing = get(name).draw(data)
    assert drawing.data
    assert 400 <= drawing.layout.height <= 2000
    assert 400 <= drawing.layout.width <= 2400


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_lacks(name, make_run):
    """Without records a figure says what it needs, in words that go on from "needs"."""
    need = get(name).lacks(FigureData.of(make_run()))
    assert need
    assert "\n" not in need
    assert not need.endswith(".")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("outcome", ["out_of_memory", "error", "timeout", "skipped"])
def test_failures_alone_are_no_figure(name, outcome, make_run, make_record):
    """Records without a single number allow no figure, and break none."""
    failed = [
        make_record(outcome=outcome, model=model, batch_size=size, method="rmm", rho=rho)
        for model in ("roberta-tiny", "linear:8x8")
        for size in (16, 32)
        for rho in (0.5, 0.1)
    ]
    assert get(name).lacks(FigureData.of(make_run(*failed)))


@pytest.mark.parametrize("name", NAMES)
def test_every_mark_is_a_number(name, data):
    """What is missing is not drawn: there is no NaN and no None among the points."""
    for trace in get(name).draw(data).data:
        points = [value for value in (*trace.x, *trace.y) if trace.hoverinfo != "skip"]
        assert all(isinstance(value, int | float) and value == value for value in points)
        json.dumps(points, allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
def test_footnote_says_where_it_was_measured(name, data):
    """Every figure says on what it was measured, with what, and what of it is made up."""
    note = get(name).draw(data).layout.annotations[-1].text.replace("<br>", " ")
    assert "torch 2.13.0+cpu, float32." in note
    assert "Inputs and labels are random." in note
    told = ("predicted on fake tensors", "measured on Golden CPU", "Trained on Golden CPU")
    assert any(words in note for words in told)


@pytest.mark.parametrize("name", NAMES)
def test_axes_of_numbers_have_titles(name, data):
    """In each row of panels the first axis of numbers says what is drawn, with its unit."""
    layout = get(name).draw(data).layout.to_plotly_json()
    panels = [(below(layout, layout[key]), layout[key]) for key in layout if key[:5] == "yaxis"]
    # Where y has names, x has the numbers.
    leftmost = [x if has_names(y) else y for x, y in panels if x["domain"][0] == 0]
    titles = [axis["title"]["text"] for axis in leftmost]
    assert titles
    assert all(", " in title or "relative to " in title or " ÷ " in title for title in titles)


def below(layout, axis):
    """Return the x axis of a y axis's panel."""
    return layout["xaxis" + axis["anchor"].removeprefix("x")]


def has_names(axis):
    """Tell whether an axis's ticks are names."""
    return any(text[:1].isalpha() for text in axis.get("ticktext", ()))


@pytest.mark.parametrize("name", NAMES)
def test_no_two_lines_have_one_name(name, data):
    """Within a panel each name is that of one line or one set of bars."""
    drawing = get(name).draw(data)
    named = [(trace.xaxis, trace.name) for trace in drawing.data if trace.name not in MARKS]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_in_a_legend(name, data):
    """Whatever is drawn is named once in a legend that is there."""
    drawing = get(name).draw(data)
    shown = [(t.legend, t.name) for t in drawing.data if t.showlegend is not False]
    assert len(shown) == len(set(shown))
    assert {(trace.legend, trace.name) for trace in drawing.data} == set(shown)
    assert all(legend in drawing.layout for legend, _ in shown)


@pytest.mark.parametrize("name", NAMES)
def test_hover_has_the_numbers(name, data):
    """Each point of a case tells in words all that is known of it."""
    for trace in get(name).draw(data).data:
        for text in trace.hovertext or ():
            told = ("peak ", "samples/s", "published", " seed")
            assert text == "" or any(words in text for words in told)


@pytest.mark.parametrize("name", NAMES)
def test_a_case_without_a_number_is_counted(name, make_run, wide_run, make_record):
    """A case that failed is not dropped in silence: the footnote counts it."""
    is_layer = name in ("linear", "sketch-cost")
    failed = make_record(
        outcome="timeout",
        model={"linear": "linear:768x3072", "sketch-cost": "linear:768x3072"}.get(
            name, "roberta-tiny"
        ),
        task=None if is_layer else "cola",
        seq_len=None if is_layer else 47,
        batch_size=4096 if is_layer else 64,
        step_seconds=(1.0,),
        **({"time_device": None, "projection_device": "cpu"} if name == "sketch-cost" else {}),
        method="rmm",
        sketch="dft",
        rho=0.5,
        timeline={"epoch_steps": 3} if name == "figure8" else None,
        training={"watch": ["*"] * (name in NOISE)} if name in TRAINING else None,
    )
    # Another batch size makes it a line of its own.
    other = failed.case.model_copy(update={"batch_size": 128})
    more = failed.model_copy(update={"case": other, "key": other.key})
    run = make_run(*wide_run.records(), failed, more, name="failed")
    note = get(name).draw(FigureData.of(run)).layout.annotations[-1].text.replace("<br>", " ")
    told = "dft ρ=0.5 (it was told to fail)" if name == "frontier" else "2 cases (timeout)"
    assert f"Not drawn: {told}." in note


def test_drawing_needs_no_torch(wide_run):
    """Figures are drawn where torch is not installed."""
    program = (
        "import sys\nclass Absent:\n    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('torch', 'transformers'):\n"
        "            raise ImportError(name)\nsys.meta_path.insert(0, Absent())\n"
        "from pathlib import Path\nfrom rmmbench.results.store import Run\n"
        "from rmmbench.report.figures import FigureData, get, names\n"
        f"data = FigureData.of(Run.open(Path({str(wide_run.path)!r})))\n"
        "print(sum(len(get(name).draw(data).data) > 0 for name in names()))"
    )
    out = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert int(out) == len(NAMES)
