"""What a survey of a model's training step finds: bytes and counted work."""

from dataclasses import dataclass
from typing import NamedTuple

from rmmbench.running.planning.ways_to_keep import Way


class Work(NamedTuple):
    """What is counted of some operators."""

    flops: int = 0
    moved_bytes: int = 0

    def less(self, other: "Work") -> "Work":
        """Return what this is more than another."""
        return Work(self.flops - other.flops, self.moved_bytes - other.moved_bytes)

    def plus(self, other: "Work") -> "Work":
        """Return this and another."""
        return Work(self.flops + other.flops, self.moved_bytes + other.moved_bytes)


class SurveyedUnit(NamedTuple):
    """Layers that read one input.

    Attributes:
        layers: Qualified names.
        rows: Of the input.
        saved_bytes: By way.
        forward, backward: Work that each way adds, by way.
        exact: Work of each layer as it is, forward and backward.
        made_again_bytes: Of the input, if it is not kept where operators are computed again.
    """

    layers: tuple[str, ...]
    rows: int
    saved_bytes: dict[Way, int]
    forward: dict[Way, Work]
    backward: dict[Way, Work]
    exact: tuple[Work, ...]
    made_again_bytes: int = 0


class SurveyedBlock(NamedTuple):
    """A block, by name; bytes and work as in `Block`."""

    name: str
    kept_bytes: int
    output_bytes: int
    work: Work
    gradient_bytes: int


class SurveyedPart(NamedTuple):
    """A part of blocks that is computed again; see `Part`.

    Attributes:
        operators, attention, products: As in `Part`.
        saved_bytes: Of each block.
        work: That it adds in all blocks together.
        beside_bytes: As in `Part`.
    """

    operators: bool
    attention: bool
    products: tuple[str, ...]
    saved_bytes: tuple[int, ...]
    work: Work
    beside_bytes: int

    @property
    def total_bytes(self) -> int:
        """Of all blocks."""
        return sum(self.saved_bytes)


@dataclass(frozen=True)
class Survey:
    """What there is to choose from.

    Attributes:
        blocks: In the order of the forward pass.
        parts: Of them that can be computed again by themselves.
        units: Those that gain.
        shapes: Of every linear layer of the model, by name.
        trained: The linear layers whose weight has a gradient.
    """

    blocks: tuple[SurveyedBlock, ...]
    parts: tuple[SurveyedPart, ...]
    units: tuple[SurveyedUnit, ...]
    shapes: dict[str, str]
    trained: tuple[str, ...]
