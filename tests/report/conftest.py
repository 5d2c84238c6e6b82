"""Ways of saving memory, of peaks, speeds and gradient errors that a test chooses."""

import pytest

from rmmbench.report.ways import read_cells
from rmmbench.results.gradient_error import GradientError
from rmmbench.results.tidy import read_rows
from rmmbench.units import GIB


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
        way(8, 1.2, 2.0, method="rmm", sketch="oporp", rho=0.1),
        way(9, 0.8, 1.0, method="rmm", sketch="gaussian", rho=0.5),
        way(5, 0.9, 0.005, method="quantize", bits=8),
    ]


@pytest.fixture
def plain():
    """Return a name without what keeps it from being broken between two lines."""

    def of(name):
        return name.replace("\N{NO-BREAK SPACE}", " ").replace("<br>", " ")

    return of


@pytest.fixture
def cell_of(plain):
    """Return the one cell of some records, and its rows by their names."""

    def of(records):
        (cell,) = read_cells(read_rows(records))
        return cell, {plain(cell.names[row["key"]]): row for row in cell.rows}

    return of
