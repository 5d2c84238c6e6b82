"""The figure of one linear layer."""

import pytest

from rmmbench.report.figures import FigureData, get
from rmmbench.units import MIB


def panels(seen):
    """Return the points of each panel's lines by its heading, rounded, in order of panels."""
    headings = [word.strip("</b>") for word in seen.words if word.startswith("<b>")]
    axes = list(dict.fromkeys(trace.xaxis for trace in seen.drawing.data))
    found = {}
    for heading, axis in zip(headings, axes, strict=True):
        found[heading] = {
            name: [(x, round(y, 3)) for x, y in points]
            for (at, name), points in seen.by_axis.items()
            if at == axis
        }
    return found


def test_against_rows(draw, linear_cases):
    """With several sizes there is a panel a sketch with a line a ρ, and one of saved bytes."""
    seen = draw("linear", linear_cases())
    times = {"ρ=0.5": [(1024, 1), (4096, 1)], "ρ=0.1": [(1024, 1.667), (4096, 1.667)]}
    saved = {"ρ=0.5": [(1024, 50), (4096, 50)], "ρ=0.1": [(1024, 90), (4096, 90)]}
    assert panels(seen) == {"gaussian": times, "dct": times, "all sketches": saved}
    assert seen.legend == ["ρ=0.5", "ρ=0.1"]


def test_against_rho(draw, linear_cases):
    """With one size x is ρ in percent."""
    seen = draw("linear", linear_cases(sizes=(4096,)))
    layer = "linear:768x3072"
    assert panels(seen)["dct"] == {layer: [(10, 1.667), (50, 1)]}
    assert panels(seen)["all sketches"] == {layer: [(10, 90), (50, 50)]}
    assert "linear:768x3072 · 4096 rows" in seen.title


def test_the_fastest_comes_first(draw, linear_cases, make_record):
    """Panels are in the order of the sketches' median throughput, all to one scale."""
    cell = {"model": "linear:768x3072", "task": None, "seq_len": None, "batch_size": 4096}
    timed = {"reference_step_seconds": (1.0,) * 3, "saved": 4096 * 768 * 2, **cell}
    more = [
        make_record(method="rmm", sketch=sketch, rho=0.5, step_seconds=(seconds,) * 3, **timed)
        for sketch, seconds in (("dft", 4.0), ("oporp", 0.25))
    ]
    seen = draw("linear", linear_cases(sizes=(4096,)) + more)
    assert list(panels(seen)) == ["oporp", "gaussian", "dct", "dft", "all sketches"]
    layout = seen.drawing.layout
    assert len({axis.range for axis in (layout.yaxis, layout.yaxis2, layout.yaxis3)}) == 1


def test_twelve_sketches_are_told_apart(draw, linear_cases, make_record):
    """A dozen kinds have a panel each; blocks of rows make a kind of their own."""
    sketches = ("dft", "dct", "hadamard", "countsketch", "oporp", "rows", "norm-rows")
    cell = {"model": "linear:768x3072", "task": None, "seq_len": None, "batch_size": 4096}
    timed = {"step_seconds": (1.0,) * 3, "saved": 4096 * 768 * 2, **cell}
    more = [
        make_record(method="rmm", sketch=sketch, rho=0.5, block_rows=block_rows, **timed)
        for sketch, block_rows in (
            *(("gaussian", None), ("gaussian", 128)),
            *(("rademacher", None), ("rademacher", 128), ("kronecker", 128)),
        )
    ]
    seen = draw("linear", linear_cases(sketches=sketches) + more)
    shown = panels(seen)
    assert len(shown) == 12 + 1
    assert {"gaussian", "gaussian, blocks of 128", "kronecker, blocks of 128"} <= set(shown)
    assert seen.drawing.layout.height <= 2000


def test_one_panel_for_all_sketches_says_so(draw, linear_cases):
    """Where all sketches save the same one line stands for them, and its hover names the others."""
    seen = draw("linear", linear_cases(sizes=(4096,)))
    line = seen.drawing.data[-1]
    assert all(text.endswith("the same: dct") for text in line.hovertext)


def saved_otherwise(make_record, saved):
    """Return a case of another sketch, with its saved bytes."""
    cell = {"model": "linear:768x3072", "task": None, "seq_len": None, "batch_size": 4096}
    how = {"method": "rmm", "sketch": "norm-rows", "rho": 0.5, "step_seconds": (1.0,) * 3}
    return make_record(saved=saved, **how, **cell)


def test_sketches_that_save_differently_are_apart(draw, linear_cases, make_record):
    """A sketch that keeps other bytes than the others has its own panel."""
    more = saved_otherwise(make_record, 8 * MIB)
    seen = draw("linear", [*linear_cases(sizes=(4096,)), more])
    headings = [word for word in seen.words if word.startswith("<b>")]
    assert headings[-2:] == ["<b>gaussian and 1 more</b>", "<b>norm-rows</b>"]


def test_a_difference_that_is_not_seen_is_none(draw, linear_cases, make_record):
    """A sketch that keeps 16 bytes a row more saves the same as the others, within a percent."""
    more = saved_otherwise(make_record, 2048 * (768 * 4 + 16))
    seen = draw("linear", [*linear_cases(sizes=(4096,)), more])
    assert list(panels(seen))[-1] == "all sketches"


def test_layers_are_told_apart(draw, linear_cases):
    """Two layers have lines of their own, named by their shape."""
    records = linear_cases(sketches=("dct",)) + linear_cases(
        sketches=("dct",), model="linear:3072x768"
    )
    seen = draw("linear", records)
    layers, rates = ("768x3072", "3072x768"), ("ρ=0.5", "ρ=0.1")
    assert set(seen.lines) == {f"{layer} · {rate}" for layer in layers for rate in rates}
    first_panel = [look for look in seen.looks if look[0] == "x"]
    assert len(first_panel) == len(set(first_panel)) == 4


@pytest.mark.parametrize("choice", [{"where": "beneficial"}, {"share": False}])
def test_choices_are_told_apart(draw, linear_cases, make_record, choice):
    """Two cases that differ in a choice alone are in two panels."""
    case = saved_otherwise(make_record, 8 * MIB).case.with_settings(**choice).model_dump()
    more = make_record(step_seconds=(1.0,) * 3, **case)
    seen = draw("linear", [*linear_cases(sizes=(4096,), sketches=("norm-rows",)), more])
    words = {"where": "norm-rows, beneficial layers", "share": "norm-rows, unshared"}
    assert {"norm-rows", words[next(iter(choice))]} <= set(panels(seen))


def test_other_models_are_no_layer(make_run, timed_cases, projection_cases):
    """Records of whole models, and of sketches alone, are not drawn as one layer."""
    need = get("linear").lacks(FigureData.of(make_run(*timed_cases(), *projection_cases())))
    assert need == "relative throughput or saved bytes of a model linear:INxOUT with a ρ"
