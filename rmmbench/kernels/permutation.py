"""A random permutation of any number of rows, computed place by place, without sorting.

Swap-or-not [Hoang, Morris, Rogaway 2012, An enciphering scheme based on a card shuffle]: in each
round place i and its partner K − i (mod rows) are swapped if a random bit of the larger of the two
is set. The bit is the highest of a·i + b modulo 2³², which is pairwise independent
[Dietzfelbinger 1996, Universal hashing and k-wise independent random variables]. In each round
exactly one of two rows moves with probability ½, so after `ROUNDS` rounds the places of any two
rows are uniform up to a bias of 2^−ROUNDS. The variances of sketches depend on pairs alone.
"""

import torch
from torch import Tensor

from rmmbench.kernels import philox
from rmmbench.kernels.launch import kernel_or_twin

ROUNDS = 20

# Elements of a temporary tensor; it decides how many rounds are drawn together.
_GROUP_ELEMENTS = 2**16


def round_keys(seed: Tensor, rows: int) -> Tensor:
    """Return K (below `rows`), a and b of each round, int32, shape (3, ROUNDS)."""
    w = philox.philox_stream(seed, 3 * ROUNDS, philox.Use.PERMUTATION).view(3, ROUNDS)
    return torch.stack([(w[0] * rows) >> 32, w[1], w[2]]).to(torch.int32)


def permutation(seed: Tensor | torch.Generator, rows: int) -> Tensor:
    """Return a random permutation of range(rows), int32, on the seed's device.

    On a CPU torch's generator draws it with one operator instead of hundreds; see `philox`.
    """
    if isinstance(seed, torch.Generator) or seed.device.type == "cpu":
        generator = philox.host_generator(seed, philox.Use.PERMUTATION)
        return torch.randperm(rows, generator=generator, dtype=torch.int32, device=seed.device)
    return kernel_or_twin("_triton_permutation:permutation", permutation_twin, seed, rows)


def permutation_twin(seed: Tensor, rows: int) -> Tensor:
    """Compute a GPU's `permutation` with PyTorch's own operators."""
    places = torch.arange(rows, device=seed.device, dtype=torch.int32)
    order = places
    keys = round_keys(seed, rows).unsqueeze(2)
    for k, a, b in torch.split(keys, max(1, _GROUP_ELEMENTS // rows), dim=1):
        for swap in _swaps(places, k, a, b).unbind():
            order = swap.index_select(0, order)
    return order


def _swaps(places: Tensor, k: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return where each round moves each place, shape (rounds, rows)."""
    partners = k - places
    partners.add_(partners < 0, alpha=places.shape[0])
    moves = torch.maximum(places, partners).mul_(a).add_(b) < 0
    return torch.where(moves, partners, places)
