"""Random sketches SᵀX, one file each. To add one: add its file, and its line here."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from rmmbench.errors import did_you_mean
from rmmbench.registry import Entry, Registry
from rmmbench.sketches._text import read
from rmmbench.sketches._text import written as written
from rmmbench.sketches.sketch import Sketch

if TYPE_CHECKING:
    from rmmbench.spec.settings import Settings

_IN_BLOCKS = "_blocked:BlockSettings"

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
        "householder": Entry(
            "householder:Householder", "oporp; above half of the rows, all but signed means"
        ),
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


def get(name: str, **settings: object) -> Sketch:
    """Return the sketch called `name` with the given settings.

    Args:
        name: A registered name; settings may follow, as in "gaussian:block_rows=128".
        settings: Settings by name; None leaves the default.

    Raises:
        UnknownNameError: A ValueError, if there is no such sketch.
        TypeError: If a setting has the wrong type, or no sketch has a setting of this name.
        ValueError: If this sketch has no such setting, or the value is out of its range.
    """
    return _get(written(name, settings) if settings else name)


def settings_of(name: str) -> "type[Settings]":
    """Return the class of a sketch's settings; torch is not imported."""
    from rmmbench.spec.settings import Settings

    return SKETCHES.settings(name) or Settings


@lru_cache(maxsize=1024)
def _get(text: str) -> Sketch:
    name, given = read(text)
    kind = SKETCHES.get(name)
    return kind(**_checked(name, given)) if given else kind()


def _checked(name: str, given: Mapping[str, object]) -> dict[str, object]:
    """Return the settings as the sketch's constructor takes them, if they are valid."""
    from pydantic import ValidationError

    from rmmbench.spec.strict import complaint

    kind = settings_of(name)
    for setting, value in given.items():
        if setting in kind.model_fields:
            continue
        if any(setting in settings_of(other).model_fields for other in names()):
            raise ValueError(f"sketch '{name}' takes no {setting}, got {value}; leave it out")
        choice = did_you_mean(setting, kind.model_fields)
        raise TypeError(f"sketch '{name}' has no setting named '{setting}'{choice}")
    try:
        return kind.model_validate(given).model_dump(exclude_unset=True)
    except ValidationError as error:
        fault = error.errors()[0]
        words = complaint(fault).replace("a valid integer", "a whole number")
        wrong = TypeError if fault["type"].endswith("_type") else ValueError
        raise wrong(f"{fault['loc'][0]}{words}") from None
