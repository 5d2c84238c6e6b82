"""Claims, tried with as few draws as still tell right from wrong, on one thread."""

import pytest

from rmmbench import claims
from rmmbench.claims import sketch_variance, unbiased


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


@pytest.fixture
def findings_of(monkeypatch):
    """Return what comes of trying a claim, by case."""
    monkeypatch.setattr(unbiased, "_DRAWS", 40)
    monkeypatch.setattr(sketch_variance, "_DRAWS", 100)

    def tried(name, seed=0):
        return {finding.case: finding for finding in claims.get(name).findings(seed)}

    return tried
