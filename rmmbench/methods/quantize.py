"""What autograd saves is kept in few bits: 8, 4 or 2 a number.

Chen, Zheng, Yao, Wang, Stoica, Mahoney, Gonzalez (2021): ActNN: Reducing Training Memory Footprint
via 2-Bit Activation Compressed Training. ICML 2021, arXiv:2104.14129.
Liu, Zheng, Wang, Cen, Chen, Han, Chen, Liu, Tang, Gonzalez, Mahoney, Cheung (2022): GACT:
Activation Compressed Training for Generic Network Architectures. ICML 2022, arXiv:2206.11357.

Each group of numbers that follow one another in memory is cut into 2^bits − 1 equal steps between
its least and its greatest number, and each number goes to one of the two levels beside it at
random, so that its mean stays. A group of two values, such as a mask of dropout, comes back as it
was; so does one of a single value.

Gradients that are linear in each tensor kept, as those of linear layers, products and dropout are,
stay unbiased. Through GELU, layer normalisation and softmax they are so to first order in the
step. A derivative that is a comparison, as ReLU's with 0, is not: of the numbers that are less
than a step away from it some change sides.

ActNN and GACT choose the bits of each layer by its sensitivity. Here all have as many.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rmmbench.methods._quantised import Quantised, quantise, restore
from rmmbench.methods._saved import Keeping, KeptForward, kept_exactly
from rmmbench.methods.method import Method
from rmmbench.nn import ops
from rmmbench.spec.case import DEFAULTS, Case

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Quantize(Method):
    """Keeps the floating-point numbers that autograd saves in few bits.

    Left as they are: storages below 64 KiB or of fewer numbers than a group, statistics of rows (a
    last dimension of 1), float64, whole numbers and truth values, and the copies that autocast
    makes of weights that are trained.
    """

    # A forward pass that is done again with rounded inputs would round its outputs' mean too.
    takes_over = frozenset({"what autograd saves", "recomputation"})

    def apply(self, model: nn.Module, case: Case, batch: Mapping[str, Tensor]) -> int:
        """Change how autograd saves in the model's forward pass, and return 1 for it."""
        bits = case.bits or DEFAULTS["quantize", "bits"]
        KeptForward(model, FewBits(bits, case.group_size or DEFAULTS["quantize", "group_size"]))
        return 1

    def reference(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which nothing is rounded."""
        return kept_exactly(model)


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
        if tensor.dtype not in _DTYPES or tensor.shape[-1:] in ((), (1,)):
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
