"""One thread: the many small products here gain nothing from two, and lose where cores are busy."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Compute on one thread for the time of a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
