"""The noise of a batch's gradient, which comes from drawing the batch at random."""

from collections.abc import Iterator

import torch
from torch import Tensor

from rmmbench.claims._estimate import Estimate, are_equal, written
from rmmbench.claims._layer import generator, input_and_gradient, noise_of, normal
from rmmbench.claims.claim import Claim, Finding

_ROWS, _POPULATION, _BATCHES = 16, 512, 2000


class SGDVariance(Claim):
    """Eq. 9 as an identity, and as an estimate of the error of fresh batches."""

    title = "The noise of SGD itself (Lemma 2.1, eq. 9)"
    statement = "D²_SGD = (B Σ‖x_i‖²‖y_i‖² − ‖XᵀY‖²)/(B − 1)"
    method = (
        f"the variance of the rows' gradients, one by one; the squared error of {_BATCHES} batches "
        f"from {_POPULATION} rows, whose gradient is known, and from sequences of 4 like rows"
    )

    def findings(self, seed: int) -> Iterator[Finding]:
        """Try the identity, then rows as samples, then sequences as samples."""
        random = generator(seed)
        x, y = input_and_gradient(_POPULATION, 1.0, random)
        yield _identity(x[:_ROWS], y[:_ROWS])
        yield _fresh_batches(x, y, 1, random)
        # Tokens of one sequence are similar.
        x, y = (matrix.repeat_interleave(4, 0) for matrix in (x, y))
        x, y = (matrix + 0.3 * normal(*matrix.shape, random=random) for matrix in (x, y))
        yield _fresh_batches(x, y, 4, random)


def _identity(x: Tensor, y: Tensor) -> Finding:
    rows, total, direct = x.shape[0], x.T @ y, 0.0
    for x_row, y_row in zip(x, y, strict=True):
        direct += (rows * torch.outer(x_row, y_row) - total).square().sum().item()
    direct /= rows * (rows - 1)
    formula = noise_of(x, y, 1).sgd_by_rows
    return Finding(
        case=f"identity, B = {rows}",
        paper=written(formula),
        here=written(direct),
        holds=are_equal(formula, direct),
        is_own=True,
        why="eq. 9 is not the sample variance of the rows' gradients",
        numbers={"eq_9": formula, "measured": direct},
    )


def _fresh_batches(x: Tensor, y: Tensor, length: int, random: torch.Generator) -> Finding:
    """Compare eq. 9 with the squared error of batches of _ROWS samples with `length` rows each."""
    x, y = (matrix.view(-1, length, matrix.shape[1]) for matrix in (x, y))
    true_gradient = torch.einsum("sln,slm->nm", x, y) / len(x) * _ROWS
    errors, by_rows, by_samples = [], [], []
    for _ in range(_BATCHES):
        drawn = torch.randint(len(x), (_ROWS,), generator=random)
        batch = x[drawn].flatten(0, 1), y[drawn].flatten(0, 1)
        errors.append((batch[0].T @ batch[1] - true_gradient).square().sum().item())
        noise = noise_of(*batch, 1, samples=_ROWS)
        by_rows.append(noise.sgd_by_rows)
        by_samples.append(noise.sgd_by_samples)
    squared, rows, samples = (
        torch.tensor(values, dtype=torch.float64) for values in (errors, by_rows, by_samples)
    )
    measured, means = Estimate.of(squared), (rows.mean().item(), samples.mean().item())
    by_sequences = f"; by sequences {written(means[1])}" if length > 1 else ""
    return Finding(
        case="batches of rows" if length == 1 else "batches of sequences",
        paper=written(means[0]),
        here=f"{measured}{by_sequences}",
        # Both are of the same batches, so the mean of their differences must be 0.
        holds=Estimate.of(squared - rows).agrees(0.0),
        corrected_holds=Estimate.of(squared - samples).agrees(0.0),
        is_own=True,
        why="rows of one sequence are not independent samples; eq. 9 holds over whole sequences",
        numbers=measured.numbers() | {"eq_9_by_rows": means[0], "eq_9_by_samples": means[1]},
    )
