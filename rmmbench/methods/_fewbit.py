"""An activation function that keeps, of each element, which piece of a step function it is on.

The input is cut into cells so even that none of a step function's pieces ends within one, and a
table tells the piece of each cell: much cheaper than to compare with every edge. A piece's number
is kept as planes of single bits; a word of eight bytes makes one byte of each.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn

from rmmbench.kernels.launch import is_on_gpu
from rmmbench.methods._piecewise import CELLS, LIMIT, best_steps
from rmmbench.nn.swap import change_class

# Elements that are treated together, so that what that takes stays in a core's cache.
_PIECE_ELEMENTS = 2**16
# Of a large tensor a piece is a larger part, which keeps operators few.
_MOST_PIECES = 16
_LOWEST_BITS = 0x0101010101010101
# Times this, the lowest bits of a word's bytes come together in the highest byte.
_GATHERING = 0x0102040810204080
# How many cells the limit is.
_SPAN = LIMIT * CELLS
_TWO_NUMBERS = {4: torch.int64, 8: torch.complex128}


class FewBit(nn.Module):
    """An activation function's module, converted.

    Attributes:
        original: The class it had.
        bits: Kept of each element.
        exact: While true the module is the original one.
        edges: Of the pieces, int32, in cells.
        pieces: The number of each cell's piece, uint8.
        levels: Of the pieces, float32.
    """

    original: type[nn.Module]
    bits: int
    exact: bool
    edges: Tensor
    pieces: Tensor
    levels: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """Return what the original returns; in eval mode it is the original."""
        saves = torch.is_grad_enabled() and input.requires_grad and input.numel() > 0
        if self.exact or not self.training or not saves:
            return self.compute(input)
        apply: Callable[..., Tensor] = _FewBitFunction.apply
        return apply(input, self.compute, self.bits, self.edges, self.pieces, self.levels)

    def compute(self, input: Tensor) -> Tensor:
        """Return what the original returns."""
        output: Tensor = self.original.forward(self, input)
        return output


def make_few_bit(module: nn.Module, function: str, bits: int, device: torch.device | None) -> None:
    """Change the class of an activation function's module.

    Args:
        module: Changed in place; it and every reference to it stay.
        function: What it computes, one of `_piecewise.FUNCTIONS`.
        bits: Kept of each element.
        device: Where its input will be.
    """
    steps = best_steps(function, bits)
    edges = torch.tensor(steps.edges, dtype=torch.int32, device=device)
    cells = torch.arange(-_SPAN, _SPAN + 1, dtype=torch.int32, device=device)
    constants = {
        "edges": edges,
        "pieces": torch.bucketize(cells, edges, right=True).byte(),
        "levels": torch.tensor(steps.levels, dtype=torch.float32, device=device),
    }
    module.original, module.bits, module.exact = type(module), bits, False  # type: ignore[assignment]
    change_class(module, FewBit)
    if getattr(module, "inplace", False):
        # An autograd function has an output of its own.
        module.inplace = False  # type: ignore[assignment]
    for name, constant in constants.items():
        module.register_buffer(name, constant, persistent=False)


class _FewBitFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        compute: Callable[[Tensor], Tensor],
        bits: int,
        edges: Tensor,
        pieces: Tensor,
        levels: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(pack(input, bits, edges, pieces), levels)
        return compute(input)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError(
                "fewbit-activation has no double backward, since its gradient is that of steps; "
                "use the method exact where create_graph=True is needed"
            )
        packed, levels = ctx.saved_tensors
        return multiply(grad_output, packed, levels), *[None] * 5


def pack(x: Tensor, bits: int, edges: Tensor, pieces: Tensor) -> Tensor:
    """Return the number of each element's piece, uint8, shape (bits, ⌈elements / 8⌉)."""
    flat = x.reshape(-1)
    packed = pieces.new_empty(bits, -(-len(flat) // 8))
    which = _column(bits, flat.device)
    chosen, gathering = _LOWEST_BITS << which, _GATHERING >> which
    for some in _slices(len(flat)):
        numbers = piece_numbers(flat[some], edges, pieces)
        words = F.pad(numbers, (0, -len(numbers) % 8)).view(torch.int64)
        gathered = (words & chosen).mul_(gathering)
        packed[:, some.start // 8 :][:, : len(words)] = gathered.bitwise_right_shift_(56)
    return packed


def multiply(y: Tensor, packed: Tensor, levels: Tensor) -> Tensor:
    """Return y times the level of each element's piece, in y's dtype."""
    flat, result = y.reshape(-1), torch.empty(y.numel(), dtype=y.dtype, device=y.device)
    # Never in less than float32: a level that is rounded is so for all elements of its piece.
    levels = levels.to(torch.promote_types(y.dtype, torch.float32))
    spread, pairs = _spread(levels.device), _pairs(levels)
    which = _column(len(packed), levels.device)
    for some in _slices(len(flat)):
        planes = packed[:, some.start // 8 : -(-some.stop // 8)]
        bits = spread.index_select(0, planes.flatten().int()).view(planes.shape)
        words = bits.bitwise_left_shift_(which).sum(0)
        found = pairs.index_select(0, words.view(torch.int16).int()).view(levels.dtype)
        result[some] = flat[some] * found[: len(flat[some])]
    return result.view(y.shape)


def piece_numbers(x: Tensor, edges: Tensor, pieces: Tensor) -> Tensor:
    """Return the number of each element's piece, uint8: how many edges are not above it."""
    if is_on_gpu(x):
        # One kernel in place of seven; on the CPU it is far slower than the table.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return torch.bucketize(x, edges.to(x.dtype) / CELLS, out_int32=True, right=True).byte()
    cells = x.clamp(-LIMIT, LIMIT).mul_(CELLS).floor_().int()
    # What is not a number has the least integer here, and no place in the table.
    return pieces.index_select(0, cells.add_(_SPAN).clamp_min_(0))


def _slices(elements: int) -> Iterator[slice]:
    if torch.compiler.is_compiling():
        # What is computed where is the compiler's to choose, and each piece would be compiled.
        return iter([slice(0, elements)])
    part = -(-elements // _MOST_PIECES)
    size = max(_PIECE_ELEMENTS, part + -part % 8)
    return (slice(start, min(start + size, elements)) for start in range(0, elements, size))


def _column(bits: int, device: torch.device) -> Tensor:
    return torch.arange(bits, device=device).unsqueeze(1)


def _spread(device: torch.device) -> Tensor:
    """Return, for each byte, a word of eight bytes that are its bits, int64."""
    of_byte = torch.arange(256, device=device).unsqueeze(1) >> torch.arange(8, device=device)
    return (of_byte & 1).byte().view(torch.int64).flatten()


def _pairs(levels: Tensor) -> Tensor:
    """Return two levels as one number, at the place that their pieces' numbers are as two bytes."""
    count = len(levels)
    first = F.pad(levels, (0, 256 - count)).expand(count, 256)
    both = torch.stack([first, levels.unsqueeze(1).expand(count, 256)], 2)
    return both.view(_TWO_NUMBERS[levels.itemsize]).flatten()
