"""The figure of counted work: bars of ratios to exact's, one panel per count."""

import pytest

from rmmbench.report.figures import FigureData, get
from rmmbench.results.counts import Counts


@pytest.fixture
def counted(make_record):
    """Make a record with counts, a way of saving memory if `settings` say one."""

    def make(flops, moved_bytes, operator_calls, **settings):
        work = {"flops": flops, "moved_bytes": moved_bytes, "operator_calls": operator_calls}
        return make_record(counts=Counts(**work), **settings)

    return make


def test_a_bar_goes_from_exact_to_the_ratio(draw, counted):
    """Less work is a bar to the left of 1, more to the right, in a panel per count."""
    method = {"method": "rmm", "sketch": "oporp", "rho": 0.5}
    seen = draw("counts", [counted(1000, 200, 10), counted(700, 300, 10, **method)])
    found = {key: points for key, points in seen.by_axis.items() if points}
    assert found == {
        ("x", "less than exact"): [(pytest.approx(-0.3), 0)],
        ("x2", "more than exact"): [(pytest.approx(0.5), 0)],
        ("x3", "less than exact"): [(0, 0)],
    }
    assert all(trace.base == 1 for trace in seen.drawing.data)
    assert [trace.text for trace in seen.drawing.data] == [("0.70",), ("1.50",), ("1.00",)]
    assert [shape.x0 for shape in seen.drawing.layout.shapes] == [1.0] * 3


def test_fewest_operations_are_at_the_top(draw, counted):
    """All panels have the ways in one order, and the names stand once, to the left."""
    exact, more = counted(100, 100, 100), counted(133, 90, 150, method="checkpoint")
    less = counted(80, 120, 110, method="rmm", sketch="oporp", rho=0.1)
    layout = draw("counts", [exact, more, less]).drawing.layout
    assert layout.yaxis.ticktext == ("checkpoint", "oporp ρ=0.1")
    assert layout.yaxis2.ticktext == layout.yaxis3.ticktext == ("", "")


def test_ratios_far_apart_are_on_a_logarithmic_scale(draw, counted):
    """Calls alone may be many times exact's; operations and bytes are on one scale."""
    layout = draw(
        "counts", [counted(100, 100, 100), counted(80, 130, 4000, method="quantize", bits=4)]
    ).drawing.layout
    assert layout.xaxis.range == layout.xaxis2.range
    assert (layout.xaxis.type, layout.xaxis3.type) == (None, "log")
    assert layout.xaxis.range[0] < 0.8 < 1.3 < layout.xaxis.range[1]
    assert 10 ** layout.xaxis3.range[1] > 40


def test_a_count_is_called_no_time(draw, counted):
    """Titles and hover texts name counts; the footnote says that they are not how long it takes."""
    seen = draw("counts", [counted(10**12, 2**30, 10), counted(10**12, 2**30, 20, method="velora")])
    assert "it is not how long a step takes" in seen.note
    (hover,) = seen.drawing.data[0].hovertext
    assert "1.00 TFLOP, 1.000 × exact's" in hover
    assert "1.00 GiB moved, 1.000 × exact's" in hover
    assert "20 operator calls, 2.000 × exact's" in hover
    words = " ".join([seen.title, hover, *seen.legend]).lower()
    assert not any(each in words for each in ("second", "time", "fast", "slow", "speed"))


def test_exact_and_another_are_needed(make_run, make_record, counted):
    """Without counts of exact in the same cell there is nothing to compare with."""
    alone = counted(5, 5, 5, method="velora")
    for records in ([alone], [make_record(), alone], [counted(5, 5, 5, batch_size=8), alone]):
        run = make_run(*records, name=f"run{len(records)}{records[0].case.batch_size}")
        need = get("counts").lacks(FigureData.of(run))
        assert need == (
            "the counted work of exact and of another way in one cell, which predictions have"
        )


def test_what_is_not_drawn_is_counted(draw, counted, make_record):
    """A way without counts is in the footnote; cells beyond the third are told."""
    records = [counted(10, 10, 10, batch_size=size) for size in (1, 2, 3, 4)]
    records += [counted(9, 9, 9, method="velora", batch_size=size) for size in (1, 2, 3, 4)]
    seen = draw("counts", [*records, make_record(method="offload", batch_size=1)])
    assert "Left out for lack of space: 1 more cell" in seen.note
    assert "Not drawn: 1 case (without this number)." in seen.note
