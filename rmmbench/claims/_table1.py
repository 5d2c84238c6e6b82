"""The layer on which Table 1 is tried; its sizes are all different."""

from typing import NamedTuple

import torch
from torch import Tensor

BATCH, SEQUENCE, N_IN, N_OUT, RHO = 8, 32, 96, 80, 0.25
ROWS = BATCH * SEQUENCE
PROJ_DIM = int(RHO * ROWS)
SIZE = f"float32, B = {ROWS}, N_in = {N_IN}, N_out = {N_OUT}, B_proj = {PROJ_DIM}"


class Layer(NamedTuple):
    """The tensors of a linear layer, all of which need gradients as inside a network."""

    x: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def made(cls, seed: int) -> "Layer":
        """Return a layer of random numbers."""
        random = torch.Generator().manual_seed(seed)
        shapes = ((BATCH, SEQUENCE, N_IN), (N_OUT, N_IN), (N_OUT,))
        return cls(*(torch.randn(shape, generator=random).requires_grad_() for shape in shapes))
