"""The ways to keep a layer's input that a plan chooses from."""

from typing import Final, NamedTuple


class Way(NamedTuple):
    """A compression rate, and the bits of each number; None for all that it has."""

    rho: float
    bits: int | None


_RATES: Final = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)

WAYS: Final = tuple(
    Way(rho, bits) for rho in _RATES for bits in (None, 8, 4, 2) if rho < 1 or bits is not None
)
"""Without the one that keeps all."""
