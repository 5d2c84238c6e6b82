"""How many columns S has: from ρ or outright, clamped to an interval, as the paper has it."""

import math
from typing import NamedTuple

from rmmbench.sketches import SKETCHES


class SketchSettings(NamedTuple):
    """Which sketch, and how large.

    Attributes:
        sketch: A registered name.
        rho: Compression rate proj_dim / rows, in (0, 1].
        proj_dim: The projection dimension itself, instead of rho.
        min_proj_dim: Never fewer, but for fewer rows.
        max_proj_dim: Never more.
    """

    sketch: str = "gaussian"
    rho: float | None = None
    proj_dim: int | None = None
    min_proj_dim: int = 1
    max_proj_dim: int | None = None

    def checked(self) -> "SketchSettings":
        """Return these settings if they make sense.

        Raises:
            ValueError: If the sketch is unknown, not exactly one of rho and proj_dim is given, or a
                number is out of its range.
        """
        SKETCHES.check(self.sketch)
        if (self.rho is None) == (self.proj_dim is None):
            given = f"rho={self.rho} and proj_dim={self.proj_dim}"
            raise ValueError(f"exactly one of rho and proj_dim must be given, got {given}")
        if self.rho is not None and not 0 < self.rho <= 1:
            raise ValueError(f"rho must be in (0, 1], got {self.rho}")
        if self.proj_dim is not None and self.proj_dim < 1:
            raise ValueError(f"proj_dim must be at least 1, got {self.proj_dim}")
        if self.min_proj_dim < 1:
            raise ValueError(f"min_proj_dim must be at least 1, got {self.min_proj_dim}")
        if self.max_proj_dim is not None and self.max_proj_dim < self.min_proj_dim:
            limit = f"at least min_proj_dim ({self.min_proj_dim})"
            raise ValueError(f"max_proj_dim must be {limit}, got {self.max_proj_dim}")
        return self

    def proj_dim_for(self, rows: int) -> int:
        """Return min(rows, clamp(ceil(rho · rows), min_proj_dim, max_proj_dim)); 0 for no rows."""
        wanted = self.proj_dim
        if self.rho is not None:
            # As a dict's key, rho is a constant to torch.compile: as a symbol (dynamic=True) it
            # could not enter the autograd function.
            (rho,) = {self.rho: None}
            wanted = math.ceil(rho * rows)
        assert wanted is not None
        wanted = max(wanted, self.min_proj_dim)
        if self.max_proj_dim is not None:
            wanted = min(wanted, self.max_proj_dim)
        return min(rows, wanted)
