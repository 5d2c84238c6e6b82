"""The figure of one linear layer."""

from rmmbench.figures import FigureData, get


def test_against_rows(draw, linear_cases):
    """With several sizes there is a column a ρ, and throughput stands above saved bytes."""
    seen = draw("linear", linear_cases())
    points = {at: [(x, round(y, 3)) for x, y in line] for at, line in seen.by_axis.items()}
    assert points == {
        ("x", "gaussian"): [(1024, 1), (4096, 1)],
        ("x", "dct"): [(1024, 1), (4096, 1)],
        ("x2", "gaussian"): [(1024, 1.667), (4096, 1.667)],
        ("x2", "dct"): [(1024, 1.667), (4096, 1.667)],
        ("x3", "all sketches"): [(1024, 50), (4096, 50)],
        ("x4", "all sketches"): [(1024, 90), (4096, 90)],
    }
    layout = seen.drawing.layout
    assert layout.yaxis.domain[0] > layout.yaxis3.domain[1]
    assert [word for word in seen.words if word.startswith("<b>")] == [
        "<b>ρ=0.5</b>",
        "<b>ρ=0.1</b>",
    ] * 2


def test_against_rho(draw, linear_cases):
    """With one size x is ρ in percent."""
    seen = draw("linear", linear_cases(sizes=(4096,)))
    assert [x for x, _ in seen.by_axis["x", "gaussian"]] == [10, 50]
    assert [round(y, 3) for _, y in seen.by_axis["x2", "all sketches"]] == [90, 50]
    assert "linear:768x3072 · 4096 rows" in seen.title


def test_one_line_for_all_sketches_says_so(draw, linear_cases):
    """Where all sketches save the same one line stands for them, and its hover names the others."""
    seen = draw("linear", linear_cases(sizes=(4096,)))
    (line,) = [trace for trace in seen.drawing.data if trace.name == "all sketches"]
    assert all(text.endswith("the same: dct") for text in line.hovertext)


def test_sketches_that_save_differently_are_apart(draw, linear_cases, make_record):
    """A sketch that keeps other bytes than the others has its own line."""
    cell = {"model": "linear:768x3072", "task": None, "seq_len": None, "batch_size": 4096}
    more = make_record(
        saved=9 * 10**6, method="rmm", sketch="dft", rho=0.5, step_seconds=(1.0,) * 3, **cell
    )
    seen = draw("linear", [*linear_cases(sizes=(4096,)), more])
    assert {name for axis, name in seen.by_axis if axis == "x2"} == {"gaussian", "dct", "dft"}


def test_layers_are_told_apart(draw, linear_cases):
    """Two layers have lines of their own, named by their shape."""
    records = linear_cases(sketches=("dct",)) + linear_cases(
        sketches=("dct",), model="linear:3072x768"
    )
    seen = draw("linear", records)
    assert set(seen.lines) == {"linear:768x3072 · dct", "linear:3072x768 · dct"}


def test_other_models_are_no_layer(make_run, timed_cases):
    """Records of whole models are not drawn as one layer."""
    need = get("linear").lacks(FigureData.of(make_run(*timed_cases())))
    assert need == "relative throughput or saved bytes of a model linear:INxOUT with a ρ"
