"""The figures of gradient noise: Figure 3, Figure 5, and the noise of every sketch."""

import math

import pytest

from rmmbench.report.figures import FigureData, get
from rmmbench.results.gradient_noise import DrawnNoise, LayerNoise

NAMES = ["figure3", "figure5", "noise"]
LAYER = "roberta.encoder.layer.7.output.dense"
FORMS = {"gaussian": 1.0, "rademacher": 0.999, "oporp": 0.5}


def noise_at(step, layer=LAYER, **changes):
    """Return the noise of 8 rows of 4 samples: left side 1.5, α 0.1, all times the step."""
    sums = {"a": 10.0 * step, "g": 1.0 * step, "d": 7 / 8 * step, "g_samples": 1.0 * step}
    of = {"rows": 8, "samples": 4, "proj_dim": 4, "variances": {"gaussian": 2.75 * step}}
    return LayerNoise(step=step, layer=layer, **(of | sums | changes))


def drawn_at(sketch, rho, layer=LAYER, step=20, **changes):
    """Return a sketch's error: the closed form is the sketch's factor ÷ ρ, in units of 5."""
    form = FORMS[sketch] / rho * 5
    found = {"predicted": form, "measured": 1.1 * form, "standard_error": 0.1 * form, "exact": 5.0}
    about = {"step": step, "layer": layer, "sketch": sketch, "rho": rho, "proj_dim": 4}
    return DrawnNoise(**(about | found | {"draws": 200} | changes))


NOISE = (noise_at(1), noise_at(20))
DRAWN = tuple(drawn_at(sketch, rho) for sketch in FORMS for rho in (0.5, 0.1))


@pytest.fixture
def watched(make_trained):
    """Build the record of a run whose layers were watched."""

    def make(noise=NOISE, drawn=DRAWN, outcome="ok", **settings):
        settings = {"training": {"watch": ("*.output.dense",)}} | settings
        record = make_trained(0.5, outcome=outcome, **settings)
        if record.training is None:
            return record
        more = {"noise": tuple(noise), "drawn_noise": tuple(drawn)}
        training = record.training.model_copy(update=more)
        return record.model_copy(update={"training": training})

    return make


def several(watched):
    """Return the records of an exact run and of one with a sketch, of two layers each."""
    other = LAYER.replace("7", "3")
    noise = [noise_at(step, layer) for step in (1, 20) for layer in (LAYER, other)]
    sketched = {"method": "rmm", "sketch": "gaussian", "rho": 0.5}
    return [watched(noise), watched(noise, **sketched)]


@pytest.mark.parametrize("name", NAMES)
def test_needs_watched_layers(name, make_run, make_trained, watched):
    """Without noise, or where the run failed, each says what it needs."""
    for records in ([], [make_trained(0.5)], [watched((), ())], [watched(outcome="error")]):
        need = get(name).lacks(FigureData.of(make_run(*records, name=f"run{len(str(records))}")))
        assert need
        assert not need.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_passes_the_contract(name, make_run, watched):
    """Marks are numbers, names are told apart and in the legend, and axes say what is drawn."""
    data = FigureData.of(make_run(*several(watched)))
    assert get(name).lacks(data) is None
    drawing = get(name).draw(data)
    assert 400 <= drawing.layout.height <= 2000
    assert 400 <= drawing.layout.width <= 2400
    shown = [(t.legend, t.name) for t in drawing.data if t.showlegend is not False]
    assert len(shown) == len(set(shown))
    assert {(trace.legend, trace.name) for trace in drawing.data} == set(shown)
    named = [(trace.xaxis, trace.name) for trace in drawing.data]
    assert len(named) == len(set(named))
    for trace in drawing.data:
        assert all(math.isfinite(value) for value in (*trace.x, *trace.y))
        assert all("samples/s" in text for text in trace.hovertext)
    axes = [v for k, v in drawing.layout.to_plotly_json().items() if k.startswith("yaxis")]
    assert all(", " in axis["title"]["text"] or " ÷ " in axis["title"]["text"] for axis in axes)
    assert "torch 2.13.0+cpu, float32." in drawing.layout.annotations[-1].text.replace("<br>", " ")


@pytest.mark.parametrize("name", NAMES)
def test_counts_what_failed(name, draw, watched):
    """A run that was to watch layers and failed is counted, one that was not to is not."""
    failed = watched(outcome="timeout", seed=1)
    unwatched = watched(outcome="timeout", seed=2, training={})
    assert "Not drawn: 1 case (timeout)." in draw(name, [watched(), failed, unwatched]).note


def test_figure3(draw, watched):
    """The left side of eq. 12 and its bound are drawn over the steps, above the variances."""
    seen = draw("figure3", [watched()])
    by_name = seen.lines
    ratio, bound = by_name["left side of eq. 12"], by_name["its bound (α + 1)/α"]
    assert ratio == [(1, pytest.approx(1.5)), (20, pytest.approx(1.5))]
    assert bound == [(1, pytest.approx(11)), (20, pytest.approx(11))]
    assert by_name["D²_SGD by rows, eq. 9"] == [
        (1, pytest.approx(6 / 7)),
        (20, pytest.approx(120 / 7)),
    ]
    assert by_name["D²_SGD by samples"] == [(1, pytest.approx(1)), (20, pytest.approx(20))]
    assert by_name["D²_RMM by eq. 11"] == [(1, pytest.approx(2.25)), (20, pytest.approx(45))]
    assert by_name["D²_RMM of gaussian"] == [(1, 2.75), (20, 55)]
    assert "eq. 12 did not hold" not in by_name
    assert "Eq. 12 held at 2 of 2 points." in seen.note
    assert "7.output.dense · D²_RMM at ρ=0.5" in seen.words


def test_figure3_marks_where_the_bound_broke(draw, watched):
    """A step at which eq. 12 did not hold has a cross, and is counted."""
    broken = noise_at(20, d=0.14 * 20)
    without = noise_at(30, d=30 / 8, g_samples=10.0)
    seen = draw("figure3", [watched([noise_at(1), broken, without])])
    assert seen.lines["eq. 12 did not hold"] == [(20, pytest.approx(broken.ratio))]
    assert "Eq. 12 held at 1 of 3 points; 1 of them have no ratio" in seen.note


def test_a_panel_a_layer_and_run(draw, watched):
    """Each layer of each run has a column of its own."""
    seen = draw("figure3", several(watched))
    assert len({trace.xaxis for trace in seen.drawing.data}) == 8
    assert {"<b>exact</b><br>7.output.dense · D²_RMM at ρ=0.5"} <= set(seen.words)
    assert {"<b>ρ=0.5</b><br>3.output.dense", "<b>ρ=0.5</b><br>7.output.dense"} <= set(seen.words)


def test_many_layers_stand_in_pairs(draw, watched):
    """Of more than four the ratio stands beside the variances, two in a row, on one slide."""
    more = [*several(watched), watched(method="rmm", sketch="gaussian", rho=0.1)]
    seen = draw("figure3", more)
    assert len({trace.xaxis for trace in seen.drawing.data}) == 10
    assert seen.drawing.layout.height <= 2000


def test_figure5(draw, watched):
    """The correlation α is drawn over the steps."""
    assert draw("figure5", [watched()]).lines["α"] == [
        (1, pytest.approx(0.1)),
        (20, pytest.approx(0.1)),
    ]


def test_noise_of_every_sketch(draw, watched):
    """Sketches of one closed form are one line; each drawn error is a mark of its own."""
    seen = draw("noise", [watched()])
    error = {name: points for (axis, name), points in seen.by_axis.items() if axis == "x"}
    inflation = {name: points for (axis, name), points in seen.by_axis.items() if axis == "x2"}
    assert error["gaussian, rademacher"] == [(0.1, pytest.approx(10)), (0.5, pytest.approx(2))]
    assert error["oporp"] == [(0.1, pytest.approx(5)), (0.5, pytest.approx(1))]
    marks = error["S drawn, ± standard error"]
    assert len(marks) == 6
    assert (0.5, pytest.approx(1.1)) in marks
    # Noise by samples at step 20 is 20; the closed form of oporp at ρ = 0.5 is 5.
    assert inflation["oporp"] == [(0.1, pytest.approx(1 + 25 / 20)), (0.5, pytest.approx(1.25))]
    assert "(± its standard error) of 200 random" in seen.note


def test_noise_without_a_watched_step(draw, watched):
    """Where SGD's noise is not known at the step there is no panel of inflation."""
    seen = draw("noise", [watched([noise_at(1)])])
    assert {axis for axis, _ in seen.by_axis} == {"x"}
