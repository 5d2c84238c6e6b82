"""The fake GPU is for processes of rmmbench's own: each test of it runs in one."""

import pytest

from rmmbench.running.isolation import process


@pytest.fixture
def apart():
    """Return what calls a function in a process of its own, and returns or raises what it does."""
    return process.call
