"""Sketches that can divide the rows into blocks of consecutive rows."""

from typing import TYPE_CHECKING, Annotated

from rmmbench.sketches.sketch import Sketch
from rmmbench.spec.ranges import Count
from rmmbench.spec.settings import Setting, Settings

if TYPE_CHECKING:
    from torch import Tensor


class BlockSettings(Settings):
    """How the rows are divided.

    Attributes:
        block_rows: Consecutive rows per block; None for no blocks, or for the input's sequences.
    """

    block_rows: Annotated[Count | None, Setting("blocks of {}")] = None


class Blocked(Sketch):
    """A sketch with `BlockSettings`."""

    def __init__(self, block_rows: int | None = None) -> None:
        """Take the number of rows per block."""
        super().__init__(block_rows=block_rows)
        self.block_rows = block_rows

    @property
    def takes_any_rows(self) -> bool:
        """Whether the rows need not divide into blocks."""
        return self.block_rows is None and not self.has_factors

    def sums(self, x: "Tensor", y: "Tensor") -> "Tensor":
        """Return the moments of X and Y, including those of the blocks."""
        from rmmbench.sketches._sums import moment_sums

        return moment_sums(x, y, self.block_rows)

    def check_rows(self, rows: int) -> None:
        """Raise ValueError if `rows` are not a whole number of blocks."""
        if self.block_rows is not None and rows % self.block_rows:
            remedy = "choose one that divides batch × sequence, or none"
            given = f"{self.block_rows} and {rows} rows"
            raise ValueError(f"block_rows must divide the rows, got {given}; {remedy}")
