"""Random sketches SᵀX, one file each. To add one: add its file, and its line here."""

from rmmbench.registry import Entry, Registry
from rmmbench.sketches.sketch import Sketch

_IN_BLOCKS = "_blocks:BlockSettings"

SKETCHES: Registry[type[Sketch]] = Registry(
    "sketch",
    __name__,
    {
        "gaussian": Entry(
            "gaussian:Gaussian", "independent normal entries; dense", settings=_IN_BLOCKS
        ),
        "rademacher": Entry(
            "rademacher:Rademacher", "independent random signs; dense", settings=_IN_BLOCKS
        ),
        "dft": Entry("dft:DFT", "rows of the real Fourier basis, after random signs"),
        "dct": Entry("dct:DCT", "rows of the cosine basis (DCT-II), after random signs"),
        "hadamard": Entry("hadamard:Hadamard", "rows of a Hadamard matrix, after random signs"),
        "countsketch": Entry("countsketch:CountSketch", "signed sums of rows in random bins"),
        "oporp": Entry("oporp:OPORP", "signed sums of rows in equal bins; one pass over X"),
        "rows": Entry("rows:Rows", "some of the rows, uniformly without replacement"),
        "norm-rows": Entry("norm_rows:NormRows", "rows drawn in proportion to their norms"),
        "kronecker": Entry(
            "kronecker:Kronecker", "signs over batch × signs over sequence", settings=_IN_BLOCKS
        ),
    },
)


def names() -> list[str]:
    """Return the names of all sketches."""
    return SKETCHES.names()


def get(name: str, block_rows: int | None = None) -> Sketch:
    """Return the sketch called `name`; some take consecutive rows as blocks of block_rows.

    Raises:
        UnknownNameError: A ValueError, if there is none.
        ValueError: If it takes no block_rows, or not such.
    """
    return SKETCHES.get(name)(block_rows)
