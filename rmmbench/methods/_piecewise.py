"""The step function that is nearest to an activation function's derivative.

On [−LIMIT, LIMIT] the best q of so many pieces, in the sense of ∫ (f′ − q)², is found by dynamic
programming over the points of an even grid: the best way to end a piece at a point is the best way
to end the piece before it somewhere to the left. A piece's level is the mean of f′ over it; with
prefix sums of f and of ∫ f′² each pair of points costs the same few operations. The first piece and
the last go on for ever, as beyond the limits f′ hardly leaves 0 and 1.

Novikov, Bershatsky, Gusak, Shonenkov, Dimitrov, Oseledets (2022): Few-Bit Backward: Quantized
Gradients of Activation Functions for Memory Footprint Reduction. arXiv 2202.00441.
"""

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]

LIMIT: Final = 10
"""The derivative is approximated between minus this and this, as in the paper."""

CELLS: Final = 64
"""Grid cells in 1. A power of two, so that multiplying by it rounds nothing."""


class Steps(NamedTuple):
    """A step function.

    Attributes:
        edges: Where a piece ends and the next begins, which has the point itself, in grid cells.
        levels: One more than edges.
        error: ∫ (f′ − q)² over [−LIMIT, LIMIT].
    """

    edges: tuple[int, ...]
    levels: tuple[float, ...]
    error: float


@cache
def best_steps(function: str, bits: int, cells: int = CELLS) -> Steps:
    """Return the step function of 2^bits pieces that is nearest to a derivative.

    Args:
        function: One of `FUNCTIONS`.
        bits: At least 1.
        cells: Of the grid, in 1; edges are told in them.
    """
    points = np.arange(-LIMIT * cells, LIMIT * cells + 1)
    places = points / cells
    values, costs = FUNCTIONS[function](places), _costs(FUNCTIONS[function], places)
    ends, error = _partition(costs, 2**bits)
    levels = np.diff(values[ends]) / np.diff(places[ends])
    return Steps(tuple(points[ends[1:-1]].tolist()), tuple(levels.tolist()), error)


def _costs(function: Callable[[Numbers], Numbers], places: Numbers) -> Numbers:
    """Return ∫ (f′ − its mean)² from each place to each one right of it, infinite elsewhere."""
    square = _derivative(function, places) ** 2
    middle = _derivative(function, (places[1:] + places[:-1]) / 2) ** 2
    # Simpson's rule on each cell.
    parts = (square[1:] + 4 * middle + square[:-1]) * np.diff(places) / 6
    squares, values = np.append(0, parts.cumsum()), function(places)
    width, rise = (sums - sums[:, None] for sums in (places, values))
    costs = np.full(width.shape, np.inf)
    right = width > 0
    costs[right] = ((squares - squares[:, None]) - rise**2 / np.where(right, width, 1))[right]
    return costs


def _derivative(function: Callable[[Numbers], Numbers], places: Numbers) -> Numbers:
    """Return f′ to rounding: a step along the imaginary axis cancels nothing, however small."""
    return function(places + 1e-30j).imag / 1e-30


def _partition(costs: Numbers, pieces: int) -> tuple[list[int], float]:
    """Return the ends of the pieces from the first point to the last, and what they cost."""
    best, before, ways = costs[0], [], np.empty_like(costs)
    # Row by row, as the least of what lies side by side is found fastest.
    costs = np.ascontiguousarray(costs.T)
    for _ in range(pieces - 1):
        np.add(costs, best, out=ways)
        before.append(ways.argmin(1))
        best = np.take_along_axis(ways, before[-1][:, None], 1)[:, 0]
    ends = [len(costs) - 1]
    for places in reversed(before):
        ends.append(int(places[ends[-1]]))
    return [0, *reversed(ends)], float(best[-1])


def _gelu(x: Numbers) -> Numbers:
    from scipy.special import erf  # here, as it takes a while

    result: Numbers = x / 2 * (1 + erf(x / np.sqrt(2)))
    return result


def _gelu_tanh(x: Numbers) -> Numbers:
    result: Numbers = x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return result


def _silu(x: Numbers) -> Numbers:
    result: Numbers = x / (1 + np.exp(-x))
    return result


def _quick_gelu(x: Numbers) -> Numbers:
    result: Numbers = x / (1 + np.exp(-1.702 * x))
    return result


FUNCTIONS: Final[Mapping[str, Callable[[Numbers], Numbers]]] = MappingProxyType(
    {"gelu": _gelu, "gelu-tanh": _gelu_tanh, "silu": _silu, "quick-gelu": _quick_gelu}
)
