"""What sketches that may treat consecutive rows as blocks can be set to."""

from typing import Annotated

from rmmbench.spec.ranges import Count
from rmmbench.spec.settings import Setting, Settings


class BlockSettings(Settings):
    """How rows are divided.

    Attributes:
        block_rows: Consecutive rows that make a block; None for no blocks, or those of the input.
    """

    block_rows: Annotated[Count | None, Setting("blocks of {}")] = None
