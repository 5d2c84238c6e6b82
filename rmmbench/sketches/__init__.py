"""Random sketches SᵀX, one file each. To add one: add its file, and its line here."""

from rmmbench.registry import Entry, Registry
from rmmbench.sketches.sketch import Sketch

SKETCHES: Registry[type[Sketch]] = Registry(
    "sketch",
    __name__,
    {
        "gaussian": Entry("gaussian:Gaussian", "independent normal entries; dense"),
        "rademacher": Entry("rademacher:Rademacher", "independent random signs; dense"),
        "dft": Entry("dft:DFT", "rows of the real Fourier basis, after random signs"),
        "dct": Entry("dct:DCT", "rows of the cosine basis (DCT-II), after random signs"),
    },
)


def names() -> list[str]:
    """Return the names of all sketches."""
    return SKETCHES.names()


def get(name: str) -> Sketch:
    """Return the sketch called `name`.

    Raises:
        UnknownNameError: A ValueError, if there is none.
    """
    return SKETCHES.get(name)()
