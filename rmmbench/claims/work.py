"""The multiplications of a linear layer's two passes, counted while they run."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from rmmbench import sketches
from rmmbench.claims._table1 import N_IN, N_OUT, PROJ_DIM, RHO, ROWS, SIZE, Layer
from rmmbench.claims.claim import Claim, Finding
from rmmbench.nn import rmm_linear

_PRODUCT = ROWS * N_IN * N_OUT
_OF_FORWARD = "it leaves out the layer's own product, B N_in N_out"
_OF_BACKWARD = "it leaves out the product for ∂X, B N_in N_out"


class Work(Claim):
    """Table 1, the other two columns."""

    title = "Operations of the two passes (section 2.4, Table 1)"
    statement = "forward 1 and B B_proj N_in; backward B N_in N_out and B_proj N_out (B + N_in)"
    method = f"multiplications with an addition, by torch's FlopCounterMode; {SIZE}"

    def findings(self, seed: int) -> Iterator[Finding]:
        """Try the four cells, then the random numbers, which none of them counts."""
        layer = Layer.made(seed)
        exact = _counted(lambda: F.linear(*layer), layer)
        rmm = _counted(lambda: rmm_linear(*layer, rho=RHO), layer)
        sketching = ROWS * PROJ_DIM * N_IN
        for_weight = PROJ_DIM * N_OUT * (ROWS + N_IN)
        # In the paper 1 stands for no product.
        yield _cell("forward without RMM", 1, 0, exact.forward, _OF_FORWARD)
        yield _cell("forward with RMM", sketching, sketching, rmm.forward, _OF_FORWARD)
        yield _cell("backward without RMM", _PRODUCT, _PRODUCT, exact.backward, _OF_BACKWARD)
        yield _cell("backward with RMM", for_weight, for_weight, rmm.backward, _OF_BACKWARD)
        yield _entries_drawn(layer)


class _Passes(NamedTuple):
    forward: int
    backward: int


def _counted(forward: Callable[[], Tensor], layer: Layer) -> _Passes:
    """Return the multiplications of both passes."""
    with FlopCounterMode(display=False) as first:
        output = forward()
    with FlopCounterMode(display=False) as second:
        torch.autograd.grad(output, layer, torch.ones_like(output))
    return _Passes(first.get_total_flops() // 2, second.get_total_flops() // 2)


def _cell(case: str, printed: int, beside: int, counted: int, why: str) -> Finding:
    """Compare a count with a cell as printed, and with `beside` plus the product left out."""
    return Finding(
        case=case,
        paper=f"{printed:,}",
        here=f"{counted:,} = {_PRODUCT:,} + {counted - _PRODUCT:,}",
        holds=counted == printed,
        corrected_holds=counted == _PRODUCT + beside,
        is_own=True,
        why=why,
        numbers={"table_1": printed, "measured": counted, "product_left_out": _PRODUCT},
    )


class _NormalsDrawn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the normal numbers that torch draws."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.randn, torch.ops.aten.normal_):
            self.count += result.numel()
        return result


def _entries_drawn(layer: Layer) -> Finding:
    """Count the entries of S that sketching X and then Y draws."""
    sketch = sketches.get("gaussian")
    with torch.no_grad(), _NormalsDrawn() as drawn:
        for matrix in (layer.x, F.linear(*layer)):
            sketch.project(matrix.flatten(0, 1), PROJ_DIM, 0)
    return Finding(
        case="entries of S",
        paper="not counted",
        here=f"{drawn.count:,} drawn in the two passes",
        holds=drawn.count == 0,
        corrected_holds=drawn.count == 2 * ROWS * PROJ_DIM,
        why="it leaves out S, B B_proj random numbers, drawn in both passes",
        numbers={"measured": drawn.count},
    )
