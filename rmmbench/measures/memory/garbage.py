"""What nothing needs any more: when Python's cyclic garbage goes, and a GPU's cached memory."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def give_back() -> None:
    """Let go of all memory that nothing needs: after an error, or before what may need it all."""
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where CUDA was not used


@contextmanager
def no_garbage_goes() -> Iterator[None]:
    """Within it, garbage goes only at `gc.collect()`, and at the end, and none from before it.

    Python collects when so many objects were made, whatever made them. In the middle of a step that
    would take what an earlier step left behind, or what has nothing to do with it, and two steps
    that are the same would differ.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        # What the measuring leaves behind; all that was there before would take far longer.
        gc.collect()
        gc.unfreeze()
        if was_enabled:
            gc.enable()
