"""Theorem 2.3, which bounds a sketch's noise by the noise of SGD, and what its proof leaves out.

By eq. 9 and 11, (B−1) D²_SGD = B·d − g and k D²_RMM = a − g, so the left side of eq. 45 is
2a − B·d·(α + 1)/α. The paper leaves out 2a. Since α ≤ 1, this is at most 0 wherever B·d ≥ a, that
is where rows with a large norm in X do not have a small one in Y.
"""

from collections.abc import Iterator, Sequence

import torch

from rmmbench.claims._estimate import written
from rmmbench.claims._layer import generator, input_and_gradient, noise_of, normal
from rmmbench.claims.claim import Claim, Finding
from rmmbench.results.gradient_noise import LayerNoise

_TRIALS = 1000


class Bound(Claim):
    """Eq. 12 on random matrices, on a counterexample of two rows, and where it always holds."""

    title = "A bound by the noise of SGD (Theorem 2.3, eq. 12)"
    statement = "k/(B − 1) · D²_RMM/D²_SGD ≤ (α + 1)/α, by eq. 9 and 11"
    method = f"{_TRIALS:,} random X and Y of each kind, and a counterexample"

    def findings(self, seed: int) -> Iterator[Finding]:
        """Try many rows, few rows, the counterexample, and the proof."""
        random = generator(seed)
        many = [noise_of(*input_and_gradient(32, 0.5, random), 8) for _ in range(_TRIALS)]
        few = [_few_rows(random) for _ in range(_TRIALS)]
        yield _how_often("32 rows, random", many)
        yield _with_true_variance(random)
        yield _how_often("2 rows, 1 column", few)
        yield _counterexample()
        yield _proof(few)
        yield _where_norms_agree([*many, *few])


def _few_rows(random: torch.Generator) -> LayerNoise:
    return noise_of(normal(2, 1, random=random), normal(2, 1, random=random), 1)


def _how_often(case: str, noises: Sequence[LayerNoise]) -> Finding:
    held = sum(noise.holds for noise in noises)
    return Finding(
        case=case,
        paper="always",
        here=f"held in {held} of {len(noises)}",
        holds=held == len(noises),
        why="no bound for every X and Y: the proof of eq. 45 loses 2a",
        numbers={"held": held, "trials": len(noises)},
    )


def _with_true_variance(random: torch.Generator) -> Finding:
    """Try similar rows, once with eq. 11 and once with the true variance of a Gaussian sketch."""
    noises = [noise_of(*input_and_gradient(32, 2.0, random), 8) for _ in range(_TRIALS)]
    by_eq_11 = held = 0
    for noise in noises:
        assert noise.ratio is not None
        assert noise.bound is not None
        by_eq_11 += noise.holds
        held += noise.ratio * noise.variances["gaussian"] / noise.papers_variance <= noise.bound
    return Finding(
        case="like rows, (a + g)/k",
        paper="always",
        here=f"held in {held} of {len(noises)}; by eq. 11 {by_eq_11}",
        holds=held == len(noises),
        why="with the true variance (a + g)/k eq. 12 says 2g ≤ B d, which like rows break",
        numbers={"held_by_eq_11": by_eq_11, "held": held, "trials": len(noises)},
    )


def _counterexample() -> Finding:
    x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    y = torch.tensor([[1.0], [0.5]], dtype=torch.float64)
    noise = noise_of(x, y, 1)
    assert noise.bound is not None
    sgd, sketch = noise.sgd_by_rows, noise.papers_variance * noise.proj_dim
    return Finding(
        case="X=(1, 2)ᵀ, Y=(1, ½)ᵀ",
        paper=f"ratio ≤ {written(noise.bound)}",
        here=f"D²_SGD = {written(sgd)}, k D²_RMM = {written(sketch)}",
        holds=noise.holds,
        why="both rows have the same gradient, so SGD has no noise, but the sketch has",
        numbers={"d2_sgd": sgd, "k_d2_rmm": sketch, "bound": noise.bound},
    )


def _proof(noises: Sequence[LayerNoise]) -> Finding:
    """Compare eq. 45 with the difference that it claims to equal."""
    printed = corrected = 0
    for noise in noises:
        assert noise.bound is not None
        sgd = (noise.rows - 1) * noise.sgd_by_rows
        difference = noise.proj_dim * noise.papers_variance - noise.bound * sgd
        right = -noise.rows * noise.bound * noise.d
        # Large terms cancel, so rounding is relative to their size.
        rounding = 1e-9 * abs(right)
        printed += abs(difference - right) <= rounding
        corrected += abs(difference - right - 2 * noise.a) <= rounding
    return Finding(
        case="eq. 45",
        paper="−B d (α + 1)/α",
        here=f"2a more in {corrected} of {len(noises)}",
        holds=printed == len(noises),
        corrected_holds=corrected == len(noises),
        why="the proof reduces eq. 43 and 44 to eq. 45 without 2a, which decides the sign",
        numbers={"equal": printed, "equal_with_2a": corrected, "trials": len(noises)},
    )


def _where_norms_agree(noises: Sequence[LayerNoise]) -> Finding:
    agreeing = [noise for noise in noises if noise.rows * noise.d >= noise.a]
    held = sum(noise.holds for noise in agreeing)
    return Finding(
        case="those with B d ≥ a",
        paper="",
        here=f"held in {held} of {len(agreeing)}",
        holds=held == len(agreeing),
        why="2g ≤ (α + 1) B d follows from B d ≥ a",
        numbers={"held": held, "trials": len(agreeing)},
    )
