"""The frontier's panel of the largest batch by method."""

from rmmbench.report.figures._largest_batch_panel import searches
from rmmbench.results.tidy import read_rows
from rmmbench.units import GIB

OPORP = {"method": "rmm", "sketch": "oporp", "rho": 0.1}
QUANTIZE = {"method": "quantize", "bits": 8}
LIMIT = {"memory_limit_bytes": 16 * GIB}


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
