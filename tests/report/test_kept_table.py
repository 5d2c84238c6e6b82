"""The table of ways to keep X: what it shows, and what it says in words."""

import pytest

from rmmbench.report.tables.kept_table import kept_tables
from rmmbench.results.kept_noise import KeptNoise
from rmmbench.results.trained import Training
from rmmbench.spec.measuring import TrainingSettings


def way(rho, bits, ratio, variance, gradient=6.0):
    """Return a way on batches of 10 with SGD's noise 2."""
    sketch = "oporp" if rho < 1 else None
    told = {"sketch": sketch, "rho": rho, "bits": bits, "bytes_ratio": ratio, "layers": 3}
    return KeptNoise(**told, samples=10, variance=variance, sgd=2.0, gradient=gradient)


@pytest.fixture
def table(make_record):
    """Return the table of some ways."""

    def make(*ways, **settings):
        training = Training(
            device="cpu",
            metric="accuracy",
            higher_is_better=True,
            steps=1,
            epochs=1.0,
            train_samples=1,
            eval_samples=1,
            losses=(),
            evaluations=(),
            train_seconds=1.0,
            samples_per_second=1.0,
            kept_noise=ways,
        )
        record = make_record(**(settings or {"method": "rmm", "sketch": "oporp", "rho": 0.4}))
        (found,) = kept_tables(record.model_copy(update={"training": training}))
        return found

    return make


WAYS = (
    way(0.4, None, 0.4, 6.0),
    way(0.4, 8, 0.1, 6.2),
    way(0.8, 4, 0.11, 2.0),
    way(1.0, 8, 0.25, 0.01),
    way(0.2, 8, 0.12, 9.0),
)


def cells(table, name):
    """Return the cells of a column."""
    return next(column.cells for column in table.columns if column.name == name)


def test_what_is_beaten_is_left_out(table):
    """A way that another beats in bytes and in noise is not shown, unless it is a plain sketch."""
    shown = ("oporp ρ=0.4, 8 bits", "oporp ρ=0.8, 4 bits", "every row, 8 bits", "oporp ρ=0.4")
    assert cells(table(*WAYS), "kept") == shown


def test_what_is_free_is_said_in_words(table):
    """The noise scale stands beside its rule; then from which batch on, and what is free here."""
    notes = " ".join(table(*WAYS).notes)
    assert "arXiv 1812.06162): 5 samples. Free: at most 1.1 × exact's steps" in notes
    assert "1 + (inflation − 1) ÷ (1 + batch ÷ B_simple)" in notes
    assert "oporp ρ=0.4, 8 bits is free at batch ≥ 150." in notes
    assert "The smallest that is free at this batch of 10: every row, 8 bits." in notes


def test_exact_tells_of_the_rate_that_was_asked_for(table):
    """Beside the exact training stands from which batch on a sketch would be free."""
    training = TrainingSettings(watch_rho=0.4)
    notes = " ".join(table(*WAYS, method="exact", training=training).notes)
    assert "oporp ρ=0.4, 8 bits is free at batch ≥ 150." in notes


def test_an_unknown_noise_scale_is_said(table):
    """Where the gradient is lost in noise the table says so, and what to do."""
    found = table(*(each.model_copy(update={"gradient": 2.0}) for each in WAYS))
    notes = " ".join(found.notes)
    assert "unknown" in notes
    assert "watch more, or with larger batches" in notes
    assert cells(found, "free_batch_size") == ("unknown", "unknown", "any", "unknown")


def test_without_noise_there_is_no_table(make_record):
    """A record of another kind has none."""
    assert kept_tables(make_record()) == []
