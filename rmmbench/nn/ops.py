"""Sketching as operators that torch.compile cannot look into.

If S or its seed were drawn by torch operations inside a compiled region, the partitioner would draw
them again in the backward pass, and the gradient would silently be noise. `rmmbench::draw` draws
the seed inside and returns the key of S; it is saved, so the backward pass has the S of the forward
pass. `rmmbench::project` is a function of its arguments alone.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from rmmbench import sketches
from rmmbench.nn.seeds import next_seed


@torch.library.custom_op(
    "rmmbench::draw", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,)
)
def draw(
    x: Tensor, proj_dim: int, name: str, block_rows: int | None, seed: Tensor | None
) -> Tensor:
    """Return the key of an S for x, shape (rows, features), on x's device.

    The seed is drawn, unless it is given.
    """
    seed = next_seed(x.device) if seed is None else seed.to(x.device, copy=True)
    return sketches.get(name, block_rows).draw(x, proj_dim, seed)


@draw.register_fake
def _(x: Tensor, proj_dim: int, name: str, block_rows: int | None, seed: Tensor | None) -> Tensor:
    return sketches.get(name).new_key(x, proj_dim)


@torch.library.custom_op("rmmbench::project", mutates_args=())
def project(y: Tensor, proj_dim: int, name: str, block_rows: int | None, key: Tensor) -> Tensor:
    """Return SᵀY, shape (proj_dim, features), for the S that `key` names."""
    return sketches.get(name, block_rows).project(y, proj_dim, key)


@project.register_fake
def _(y: Tensor, proj_dim: int, name: str, block_rows: int | None, key: Tensor) -> Tensor:
    return y.new_empty(proj_dim, y.shape[1])


@torch.library.custom_op("rmmbench::project_and_sum", mutates_args=())
def project_and_sum(
    y: Tensor, proj_dim: int, name: str, block_rows: int | None, key: Tensor
) -> tuple[Tensor, Tensor]:
    """Return SᵀY, and the sum of Y's rows."""
    return sketches.get(name, block_rows).project_and_sum(y, proj_dim, key)


@project_and_sum.register_fake
def _(
    y: Tensor, proj_dim: int, name: str, block_rows: int | None, key: Tensor
) -> tuple[Tensor, Tensor]:
    return y.new_empty(proj_dim, y.shape[1]), y.new_empty(y.shape[1])


OPERATORS = [op._opoverload for op in (draw, project, project_and_sum)]
"""What torch dispatches on; each takes x, proj_dim, name and block_rows first."""


@register_flop_formula([op.overloadpacket for op in OPERATORS[1:]])
def _flops(
    x_shape: tuple[int, int], proj_dim: int, name: str, block_rows: int | None, *_: Any, **__: Any
) -> int:
    return sketches.get(name, block_rows).flops(*x_shape, proj_dim)
