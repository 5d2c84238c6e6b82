"""The layer's weight gradient is right on average; all else that it computes is exact."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor

from rmmbench import sketches
from rmmbench.claims._estimate import STANDARD_ERRORS, Estimate
from rmmbench.claims._layer import generator, normal
from rmmbench.claims.claim import Claim, Finding
from rmmbench.nn import rmm_linear

_DRAWS, _RHO = 400, 0.25
# In float64; sums may be taken in another order.
_ROUNDING = 1e-12


class Unbiased(Claim):
    """The layer, forward and backward, with many draws of S."""

    title = "Unbiased weight gradient (eq. 2 to 4, algorithm 1)"
    statement = "E[∂W] is the exact ∂W; output, ∂X and ∂b are exact"
    method = (
        f"rmm_linear, 4 × 8 rows, ρ = {_RHO}, {_DRAWS} draws of S: the mean ∂W along the exact, "
        "how many standard errors (s.e.) it is off as a whole, and how far the rest is off"
    )

    def findings(self, seed: int) -> Iterator[Finding]:
        """Try each sketch."""
        random = generator(seed)
        shapes = ((4, 8, 6), (5, 6), (5,), (4, 8, 5))
        x, weight, bias, y = (normal(*shape, random=random) for shape in shapes)
        # The rows have something in common; otherwise the exact gradient would be almost 0.
        parameters = (x + 1).requires_grad_(), weight.requires_grad_(), bias.requires_grad_()
        exact = _outcome(F.linear(*parameters), parameters, y + 1)
        for name in sketches.names():
            found = []
            for draw in range(seed * _DRAWS, (seed + 1) * _DRAWS):
                output = rmm_linear(*parameters, sketch=name, rho=_RHO, seed=draw)
                found.append(_outcome(output, parameters, y + 1))
            yield _finding(name, found, exact)


class _Outcome(NamedTuple):
    """The results of a layer's two passes: the weight gradient, and the others."""

    weight: Tensor
    others: tuple[Tensor, ...]

    def others_apart(self, expected: "_Outcome") -> float:
        """Return the largest difference of the others, relative to the largest expected entry."""
        pairs = zip(self.others, expected.others, strict=True)
        return max(((one - two).abs().max() / two.abs().max()).item() for one, two in pairs)


def _outcome(output: Tensor, parameters: tuple[Tensor, ...], y: Tensor) -> _Outcome:
    of_input, of_weight, of_bias = torch.autograd.grad(output, parameters, y)
    return _Outcome(of_weight, (output.detach(), of_input, of_bias))


def _finding(name: str, found: list[_Outcome], exact: _Outcome) -> Finding:
    gradients = torch.stack([outcome.weight for outcome in found])
    along = Estimate.of((gradients * exact.weight).sum((1, 2)) / exact.weight.square().sum())
    standard_error = (gradients.var(0).sum() / len(gradients)).sqrt()
    distance = ((gradients.mean(0) - exact.weight).norm() / standard_error).item()
    apart = max(outcome.others_apart(exact) for outcome in found)
    return Finding(
        case=name,
        paper="1; the rest 0",
        here=f"{along}, {distance:.1f} s.e.; the rest {apart:.1g}",
        holds=along.agrees(1.0) and distance <= STANDARD_ERRORS and apart <= _ROUNDING,
        is_own=True,
        why="the gradient is biased, or what must be exact is not",
        numbers=along.numbers() | {"standard_errors_away": distance, "the_rest_off": apart},
    )
