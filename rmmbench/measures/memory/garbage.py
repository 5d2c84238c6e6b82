"""Frees memory that nothing needs any more, and controls when Python collects garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def give_back() -> None:
    """Free all memory that nothing needs, after an error or before something that needs much."""
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where CUDA was not used


@contextmanager
def no_garbage_goes() -> Iterator[None]:
    """Within, garbage goes only at `gc.collect()` and at the end; older garbage stays.

    Python collects after a number of new objects, whatever made them. In the middle of a step that
    would free what an earlier step or other code left behind, and two equal steps would differ.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        # Only what was made within; to look at everything older would take far longer.
        gc.collect()
        gc.unfreeze()
        if was_enabled:
            gc.enable()
