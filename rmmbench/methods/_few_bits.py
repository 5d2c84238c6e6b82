"""What autograd saves in groups of numbers, each in a few bits between its least and greatest."""

from typing import NamedTuple

import torch
from torch import Tensor

from rmmbench.methods._quantised import Quantised, quantise, restore
from rmmbench.methods._saved import Keeping
from rmmbench.nn import ops

# The last dimension of statistics, and of the ends of levels that a sketched layer keeps.
_FEW = ((), (1,), (2,))
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class _Groups(NamedTuple):
    """Some numbers in groups, and the last few, which make none, as they are."""

    levels: Quantised
    rest: Tensor


class FewBits(Keeping):
    """Keeps ⌈group_size · bits / 8⌉ + 8 bytes of each whole group of numbers.

    Its random numbers are the project's own: torch's stream stays as it was.
    """

    def __init__(self, bits: int, group_size: int) -> None:
        """Set how many bits a number has, and how many numbers share their extremes."""
        self._bits, self._group_size = bits, group_size

    def takes(self, tensor: Tensor) -> bool:
        """Tell whether rounding is sound: for activations that make a group at least."""
        if tensor.dtype not in _DTYPES or tensor.shape[-1:] in _FEW:
            return False
        length = tensor.untyped_storage().nbytes() // tensor.itemsize
        return length >= self._group_size and not _is_a_weights_copy(tensor)

    def keep(self, run: Tensor) -> _Groups:
        """Return numbers in few bits."""
        end = len(run) - len(run) % self._group_size
        groups = run[:end].view(-1, self._group_size)
        levels = quantise(groups, self._bits, ops.draw_seed(run, None))
        return _Groups(levels, run[end:].clone())

    def restore(self, kept: _Groups) -> Tensor:
        """Return the numbers, each at one of the two levels that were beside it."""
        levels, rest = kept
        grouped = len(levels.minima) * self._group_size
        run = rest.new_empty(grouped + len(rest))
        run[grouped:] = rest
        restore(levels, self._bits, run[:grouped].view(-1, self._group_size))
        return run


def _is_a_weights_copy(tensor: Tensor) -> bool:
    """Tell whether a tensor is a parameter in another dtype, or a view of one."""
    node = (tensor._base if tensor._base is not None else tensor).grad_fn
    if node is None or node.name() != "ToCopyBackward0":
        return False
    return hasattr(node.next_functions[0][0], "variable")
