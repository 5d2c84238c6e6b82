"""The noise that a Gaussian sketch adds to the weight gradient."""

from collections.abc import Iterator

from torch import Tensor

from rmmbench.claims._estimate import written
from rmmbench.claims._gaussian import squared_error
from rmmbench.claims._layer import generator, input_and_gradient, noise_of
from rmmbench.claims.claim import Claim, Finding

_ROWS, _PROJ_DIM, _DRAWS = 32, 8, 20_000


class RMMVariance(Claim):
    """Eq. 11, and the form with all terms."""

    title = "The noise of a Gaussian sketch (Lemma 2.2, eq. 11)"
    statement = "D²_RMM = (a − g)/k, with a = ‖X‖²‖Y‖² and g = ‖XᵀY‖²"
    method = f"{_DRAWS:,} draws of S for B = {_ROWS}, k = {_PROJ_DIM}; corrected form (a + g)/k"

    def findings(self, seed: int) -> Iterator[Finding]:
        """Try matrices with XᵀY = 0, then matrices whose rows agree more and more."""
        random = generator(seed)
        x, y = input_and_gradient(_ROWS, 0.0, random)
        cases: list[tuple[Tensor, Tensor]] = [(x, _orthogonal_to(x, y))]
        cases += [input_and_gradient(_ROWS, agreement, random) for agreement in (0.5, 1.0, 2.0)]
        for x, y in cases:
            noise = noise_of(x, y, _PROJ_DIM)
            measured = squared_error(x, y, _PROJ_DIM, _DRAWS, random)
            papers, true = noise.papers_variance, noise.variances["gaussian"]
            yield Finding(
                case=f"α = {noise.alpha:.2f}",
                paper=written(papers),
                here=f"{measured}; (a + g)/k = {written(true)}",
                holds=measured.agrees(papers),
                corrected_holds=measured.agrees(true),
                is_own=True,
                why="eq. 36 drops cross terms and the fourth moment; the true form is (a + g)/k",
                numbers=measured.numbers() | {"eq_11": papers, "closed_form": true},
            )


def _orthogonal_to(x: Tensor, y: Tensor) -> Tensor:
    """Return the part of Y that is orthogonal to the columns of X, so that XᵀY = 0."""
    basis = x.svd().U
    return y - basis @ (basis.T @ y)
