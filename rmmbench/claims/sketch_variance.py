"""The noise of every sketch, from its closed form and from draws of S."""

from collections.abc import Iterator

import torch
from torch import Tensor

from rmmbench import sketches
from rmmbench.claims._estimate import Estimate, written
from rmmbench.claims._layer import generator, input_and_gradient
from rmmbench.claims.claim import Claim, Finding
from rmmbench.sketches.sketch import Sketch

_BATCH, _LENGTH, _PROJ_DIM, _DRAWS = 4, 16, 32, 1000
# The entries of these differ in size, so their closed form is exact to a relative 1/B.
_NEAR = {"dct", "dft"}


class SketchVariance(Claim):
    """The closed form of every sketch; apart from the dense ones they are this package's own."""

    title = "The noise of the other sketches (section 5)"
    statement = "subsampled transforms (SORS) have a quite large variance"
    method = (
        f"{_DRAWS:,} draws of each S for {_BATCH} × {_LENGTH} rows, k = {_PROJ_DIM}, beside the "
        "sketch's closed form; large is more than a Gaussian sketch has"
    )

    def findings(self, seed: int) -> Iterator[Finding]:
        """Try each sketch's closed form, then the paper's words."""
        x, y = input_and_gradient(_BATCH * _LENGTH, 0.5, generator(seed))
        measured = {}
        for name in sketches.names():
            sketch = sketches.get(name).at(torch.Size([_BATCH, _LENGTH, x.shape[1]]))
            formula = sketch.variance(sketch.moments(x, y), len(x), _PROJ_DIM)
            measured[name] = _squared_error(sketch, x, y, seed)
            yield _closed_form(name, formula, measured[name], len(x))
        for name in ("dct", "dft", "hadamard"):
            yield _beside_gaussian(name, measured[name], measured["gaussian"])


def _squared_error(sketch: Sketch, x: Tensor, y: Tensor, seed: int) -> Estimate:
    exact, both, errors = x.T @ y, torch.cat([x, y], dim=1), []
    for draw in range(_DRAWS):
        key = sketch.draw(x, _PROJ_DIM, torch.tensor(seed * _DRAWS + draw))
        x_proj, y_proj = sketch.project(both, _PROJ_DIM, key).tensor_split([x.shape[1]], dim=1)
        errors.append((x_proj.T @ y_proj - exact).square().sum())
    return Estimate.of(torch.stack(errors))


def _closed_form(name: str, formula: float, measured: Estimate, rows: int) -> Finding:
    return Finding(
        case=name,
        paper="",
        here=f"{measured}; closed form {written(formula)}",
        holds=measured.agrees(formula, slack=formula / rows if name in _NEAR else 0.0),
        is_own=True,
        why="the sketch's noise differs from its closed form",
        numbers=measured.numbers() | {"closed_form": formula},
    )


def _beside_gaussian(name: str, measured: Estimate, gaussian: Estimate) -> Finding:
    ratio = measured.mean / gaussian.mean
    return Finding(
        case=f"{name} ÷ gaussian",
        paper="quite large",
        here=f"{ratio:.2f}",
        holds=ratio > 1,
        why="with random signs, and rows kept without replacement, it is below a Gaussian sketch's",
        numbers={"measured": measured.mean, "gaussian": gaussian.mean},
    )
