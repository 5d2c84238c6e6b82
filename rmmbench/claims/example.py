"""The paper's example of a sketch whose noise can be any multiple of SGD's."""

from collections.abc import Iterator

import torch

from rmmbench.claims._estimate import are_equal, written
from rmmbench.claims._gaussian import squared_error
from rmmbench.claims._layer import generator, noise_of
from rmmbench.claims.claim import Claim, Finding

_EPSILONS = (1.0, 0.5, 0.1, 0.01)
_PROJ_DIM, _DRAWS = 1, 20_000


class Example(Claim):
    """Eq. 14 to 16 for several ε."""

    title = "Two rows where the sketch's noise has no limit (eq. 14 to 16)"
    statement = "XᵀY = 0, (B − 1) D²_SGD = 4, k D²_RMM = 2 + ε² + ε⁻²"
    method = (
        f"eq. 9 and 11 on the example, and {_DRAWS:,} draws of a Gaussian S with k = {_PROJ_DIM}"
    )

    def findings(self, seed: int) -> Iterator[Finding]:
        """Try each ε."""
        random = generator(seed)
        for epsilon in _EPSILONS:
            x = torch.tensor([[1, 0], [-epsilon, 0]], dtype=torch.float64)
            y = torch.tensor([[1, 0], [1 / epsilon, 0]], dtype=torch.float64)
            noise, expected = noise_of(x, y, _PROJ_DIM), 2 + epsilon**2 + epsilon**-2
            sgd = (noise.rows - 1) * noise.sgd_by_rows
            by_formula = _PROJ_DIM * noise.papers_variance
            measured = squared_error(x, y, _PROJ_DIM, _DRAWS, random)
            pairs = ((noise.g, 0.0), (sgd, 4.0), (by_formula, expected))
            is_as_printed = all(are_equal(found, printed) for found, printed in pairs)
            yield Finding(
                case=f"ε = {epsilon:g}",
                paper=f"4; {written(expected)}",
                here=f"{written(sgd)}; {written(by_formula)}, drawn {measured}",
                holds=is_as_printed and measured.agrees(expected / _PROJ_DIM),
                why="the numbers differ from eq. 14 to 16",
                numbers=measured.numbers()
                | {"g": noise.g, "b_minus_1_d2_sgd": sgd, "k_d2_rmm": by_formula}
                | {"eq_16": expected, "closed_form": noise.variances["gaussian"]},
            )
