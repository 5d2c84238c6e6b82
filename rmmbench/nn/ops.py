"""Sketching as two operators that torch.compile cannot look into.

If S or its seed were drawn by torch operations inside a compiled region, the partitioner would draw
them again in the backward pass, and the gradient would silently be noise. `rmmbench::sketch` draws
the seed inside and returns it beside x_proj; both are saved, so the backward pass has the S of the
forward pass.
"""

import torch
from torch import Tensor

from rmmbench import sketches
from rmmbench.nn.seeds import next_seed


@torch.library.custom_op(
    "rmmbench::sketch",
    mutates_args=(),
    tags=(torch.Tag.nondeterministic_seeded, torch.Tag.cudagraph_unsafe),
)
def sketch(x: Tensor, proj_dim: int, name: str, seed: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return SᵀX, shape (proj_dim, features), and the seed of S, an int64 tensor on the CPU.

    The seed is drawn, unless it is given.
    """
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        remedy = "capture the step without sketched layers, or train without the graph"
        raise RuntimeError(f"a CUDA graph would replay one and the same sketch; {remedy}")
    seed = torch.tensor(next_seed()) if seed is None else seed.clone()
    return sketches.get(name).project(x, proj_dim, seed), seed


@sketch.register_fake
def _(x: Tensor, proj_dim: int, name: str, seed: Tensor | None) -> tuple[Tensor, Tensor]:
    seed = torch.empty((), dtype=torch.int64, device="cpu")
    return x.new_empty(proj_dim, x.shape[1]), seed


@torch.library.custom_op("rmmbench::project", mutates_args=())
def project(x: Tensor, proj_dim: int, name: str, seed: Tensor) -> Tensor:
    """Return SᵀX, shape (proj_dim, features), for the S that `seed` names."""
    return sketches.get(name).project(x, proj_dim, seed)


@project.register_fake
def _(x: Tensor, proj_dim: int, name: str, seed: Tensor) -> Tensor:
    return x.new_empty(proj_dim, x.shape[1])
