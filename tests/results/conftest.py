"""A run that tests of run directories read."""

import pytest


@pytest.fixture
def records(make_record):
    """Return three records of different cases."""
    return [make_record(batch_size=size) for size in (4, 8, 16)]


@pytest.fixture
def run(make_run, records):
    """Return a run directory with the three records."""
    return make_run(*records)
