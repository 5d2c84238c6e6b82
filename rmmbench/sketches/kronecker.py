"""The tensor-product sketch S = S₁ ⊗ S₂ over batch × sequence, the paper's future work.

S₂ᵀ is applied along the sequence and S₁ᵀ along the batch; both are matrices of independent signs.
So the work for B = B₁·B₂ rows is B·(B₁ρ₁ρ₂ + B₂ρ₂)·N instead of B·B_proj·N. The price is more
noise: rows of one sequence meet in 1/k₂ of the products instead of 1/k.

Let A = S₁S₁ᵀ and C = S₂S₂ᵀ. Entries of A have mean 1 on the diagonal and 0 elsewhere, where
E[A_bc²] = 1/k₁, and C likewise. So pairs of rows that differ in the sequence alone come with
1/k₂, in the batch alone with 1/k₁, in both with 1/(k₁k₂).
"""

import math

import torch
from torch import Tensor

from rmmbench.kernels.dense import sign_entries, split_scale
from rmmbench.sketches._blocked import Blocked
from rmmbench.sketches.sketch import WORKSPACE_BYTES, Moments

# Most elements of a factor in memory at a time, and the signs that one counter of Philox gives.
_PIECE_ELEMENTS, _SIGNS_A_COUNTER = 2**21, 128


class Kronecker(Blocked):
    """Rows are batch × sequence with `block_rows` per sequence; S₁ and S₂ have entries ±k^−½."""

    has_factors = True

    def at(self, shape: torch.Size) -> "Kronecker":
        """Return this sketch; without block_rows, the one whose sequence is the input's."""
        is_told = self.block_rows is None and len(shape) > 2
        sketch = Kronecker(shape[-2]) if is_told else self
        sketch.check_rows(math.prod(shape[:-1]))
        return sketch

    def check_rows(self, rows: int) -> None:
        """Raise ValueError if `rows` are not a whole number of sequences of a known length."""
        if self.block_rows is None:
            need = f"'kronecker' needs block_rows, which says how {rows} rows are batch × sequence"
            remedy = "give it, or an input of shape (batch, sequence, features)"
            raise ValueError(f"sketch {need}; {remedy}")
        super().check_rows(rows)

    def check_size(self, x: Tensor, proj_dim: int) -> None:
        """Check a size like any sketch, and that it is a product k₁·k₂."""
        super().check_size(x, proj_dim)
        batch, sequence = self._shape(x.shape[0])
        if not _pairs(batch, sequence, proj_dim):
            given = f"no proj_dim of {proj_dim} = k1 · k2 for {batch} × {sequence} rows"
            remedy = f"try {self.size_from(x.shape[0], proj_dim)}"
            raise ValueError(f"sketch 'kronecker' has {given}; {remedy}")

    def size_from(self, rows: int, wanted: int) -> int:
        """Return the smallest k₁·k₂ ≥ wanted whose two rates are within a factor of two."""
        batch, sequence = self._shape(rows)
        pairs = [(k1, -(-wanted // k1)) for k1 in range(1, batch + 1)]
        pairs = [(k1, k2) for k1, k2 in pairs if k2 <= sequence]
        balanced = [pair for pair in pairs if _imbalance(batch, sequence, pair) <= 2]
        return min(math.prod(pair) for pair in balanced or pairs)

    def _project(self, x: Tensor, proj_dim: int, key: Tensor) -> Tensor:
        batch, sequence = self._shape(x.shape[0])
        k1, k2 = self._factors(x.shape[0], proj_dim)
        over_batch = _Signs(key, range(batch), k1, x.dtype)
        # Its rows of Philox's counters come after those of the batch.
        over_sequence = _Signs(key, range(batch, batch + sequence), k2, x.dtype)
        x_proj = x.new_empty(k1, k2, x.shape[1])
        is_drawn_once = over_batch.is_drawn_once and over_sequence.is_drawn_once
        width = _columns_at_once(batch * k2, x, is_drawn_once)
        for start in range(0, x.shape[1], width):
            span = slice(start, start + width)
            within = over_sequence.project(x.view(batch, sequence, -1)[:, :, span])
            across = over_batch.project(within.flatten(1).unsqueeze(0))
            x_proj[:, :, span] = across.view(k1, k2, -1)
        return x_proj.flatten(0, 1)

    def moments(self, x: Tensor, y: Tensor) -> Moments:
        """Return the moments with T₁, T₂ and T₁₂ as `factors`; B² work."""
        shape = self._shape(x.shape[0])
        grid = [matrix.double().view(*shape, -1) for matrix in (x, y)]
        turned = [matrix.transpose(0, 1) for matrix in grid]
        more = _one_axis(*turned), _one_axis(*grid), _both_axes(*grid)
        return super().moments(x, y)._replace(factors=more)

    def variance(self, moments: Moments, rows: int, proj_dim: int) -> float:
        """Return T₁/k₁ + T₂/k₂ + T₁₂/(k₁k₂)."""
        k1, k2 = self._factors(rows, proj_dim)
        batch, sequence, both = moments.factors
        # Below 0 only by rounding.
        return max(0.0, batch / k1 + sequence / k2 + both / proj_dim)

    def flops(self, rows: int, features: int, proj_dim: int) -> int:
        """Return 2·(B·k₂ + B₁·k₁·k₂)·N."""
        k1, k2 = self._factors(rows, proj_dim)
        return 2 * (rows * k2 + self._shape(rows)[0] * k1 * k2) * features

    def _shape(self, rows: int) -> tuple[int, int]:
        sequence = self.block_rows or rows
        return rows // sequence, sequence

    def _factors(self, rows: int, proj_dim: int) -> tuple[int, int]:
        """Return k₁ and k₂, the most balanced pair whose product is proj_dim."""
        batch, sequence = self._shape(rows)
        pairs = _pairs(batch, sequence, proj_dim)
        return min(pairs, key=lambda pair: _imbalance(batch, sequence, pair))


def _pairs(batch: int, sequence: int, proj_dim: int) -> list[tuple[int, int]]:
    pairs = [(k1, proj_dim // k1) for k1 in range(1, batch + 1) if proj_dim % k1 == 0]
    return [(k1, k2) for k1, k2 in pairs if k2 <= sequence]


def _imbalance(batch: int, sequence: int, pair: tuple[int, int]) -> float:
    """Return the ratio of the two factors' rates, at least 1."""
    ratio = pair[0] * sequence / (pair[1] * batch)
    return max(ratio, 1 / ratio)


def _columns_at_once(rows: int, x: Tensor, is_drawn_once: bool) -> int:
    """Return how many columns of X to project at once."""
    # Four copies of the result between the two factors fit in half of the workspace.
    fits = WORKSPACE_BYTES // 2 // (4 * rows * max(4, x.element_size()))
    # At most an eighth of X, so that the copies are not the peak of a small model; but not if each
    # part of X draws the factors again.
    return max(1, min(fits, max(16, -(-x.shape[1] // 8)) if is_drawn_once else x.shape[1]))


class _Signs:
    """One factor of S, with entries ±columns^−½: drawn once if small, else piece by piece."""

    def __init__(self, key: Tensor, rows: range, columns: int, dtype: torch.dtype) -> None:
        self._key, self._rows, self._columns, self._dtype = key, rows, range(columns), dtype
        fits = _PIECE_ELEMENTS // len(rows) // _SIGNS_A_COUNTER * _SIGNS_A_COUNTER
        self._width = min(columns, max(_SIGNS_A_COUNTER, fits))
        drawn = -(-self._width // _SIGNS_A_COUNTER) * _SIGNS_A_COUNTER
        self._height = min(len(rows), _PIECE_ELEMENTS // drawn)
        self.is_drawn_once = (self._height, self._width) == (len(rows), columns)
        self._power, self._rest = split_scale(columns)
        self._whole = self._piece(0, 0) if self.is_drawn_once else None

    def project(self, x: Tensor) -> Tensor:
        """Return Sᵀx for x of shape (batch, rows, features)."""
        shape = (len(x), len(self._columns), x.shape[2])
        if self._whole is not None:
            whole = self._whole.T.expand(len(x), -1, -1)
            out = x.new_empty(shape)
            return torch.baddbmm(out, whole, x, beta=0, alpha=self._rest, out=out)
        total = x.new_zeros(shape, dtype=torch.promote_types(x.dtype, torch.float32))
        for top in range(0, len(self._rows), self._height):
            some = x[..., top : top + self._height, :]
            for left in range(0, len(self._columns), self._width):
                total[..., left : left + self._width, :] += self._piece(top, left).T @ some
        return total.mul_(self._rest).to(x.dtype)

    def _piece(self, top: int, left: int) -> Tensor:
        rows = self._rows[top : top + self._height]
        columns = self._columns[left : left + self._width]
        entries = sign_entries(self._key, rows, columns, self._dtype)
        return entries.mul_(self._power)


def _one_axis(x: Tensor, y: Tensor) -> float:
    """Return T₂ of X and Y, shape (batch, sequence, features), or T₁ if both are transposed.

    T₂ = Σ_{s≠s'} Σ_{b,c} (x_bs·x_cs)(y_bs'·y_cs') + (x_bs·x_cs')(y_bs'·y_cs).
    """
    gram_x, gram_y = torch.einsum("bsn,csn->sbc", x, x), torch.einsum("bsn,csn->sbc", y, y)
    total = (gram_x.sum(0) * gram_y.sum(0)).sum() - (gram_x * gram_y).sum()
    for x_b, y_b in zip(x, y, strict=True):
        crossed = torch.einsum("sn,ctn->cst", x_b, x) * torch.einsum("tn,csn->cst", y_b, y)
        total += crossed.sum() - crossed.diagonal(dim1=1, dim2=2).sum()
    return float(total)


def _both_axes(x: Tensor, y: Tensor) -> float:
    """Return T₁₂, a sum over pairs of rows (b, s) and (b', s') with b ≠ b' and s ≠ s'.

    Its terms are ‖x_bs‖²‖y_b's'‖² + (x_bs·x_b's')(y_bs·y_b's') + (x_bs·x_bs')(y_b's·y_b's')
    + (x_bs·x_b's)(y_bs'·y_b's').
    """
    norms_x, norms_y = x.square().sum(2), y.square().sum(2)
    total = _off_both(norms_x, norms_y)
    products = torch.einsum("bsn,bsm->bsnm", x, y)
    total += _off_both(products.flatten(2), products.flatten(2))
    for one, two in ((x, y), (x.transpose(0, 1), y.transpose(0, 1))):
        gram_x, gram_y = one @ one.transpose(1, 2), two @ two.transpose(1, 2)
        unlike = gram_x.sum(0) * gram_y.sum(0) - (gram_x * gram_y).sum(0)
        total += float(unlike.sum() - unlike.diagonal().sum())
    return total


def _off_both(u: Tensor, v: Tensor) -> float:
    """Return Σ u_bs·v_b's' over b ≠ b' and s ≠ s', for numbers or vectors at each (b, s)."""
    u, v = u.flatten(2) if u.dim() > 2 else u.unsqueeze(2), v.view(*u.shape[:2], -1)
    everywhere = (u.sum((0, 1)) * v.sum((0, 1))).sum()
    same_batch, same_place = (u.sum(1) * v.sum(1)).sum(), (u.sum(0) * v.sum(0)).sum()
    return float(everywhere - same_batch - same_place + (u * v).sum())
