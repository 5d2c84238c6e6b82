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


class SurveyedUnit(NamedTuple):
    """Layers that read one input.

    Attributes:
        layers: Qualified names.
        rows: Of the input.
        saved_bytes: By way.
        forward, backward: Work that each way adds, by way.
    """

    layers: tuple[str, ...]
    rows: int
    saved_bytes: dict[Way, int]
    forward: dict[Way, Work]
    backward: dict[Way, Work]


class SurveyedBlock(NamedTuple):
    """A block, by name; bytes and work as in `Block`, but for attention's."""

    name: str
    kept_bytes: int
    output_bytes: int
    work: Work
    gradient_bytes: int


@dataclass(frozen=True)
class Survey:
    """What there is to choose from.

    Attributes:
        blocks: In the order of the forward pass.
        attention: Of each block, what it keeps less if its attention is computed again.
        attention_work: Of all that.
        units: Those that gain.
        shapes: Of every linear layer of the model, by name.
        trained: The linear layers whose weight has a gradient.
    """

    blocks: tuple[SurveyedBlock, ...]
    attention: tuple[int, ...]
    attention_work: Work
    units: tuple[SurveyedUnit, ...]
    shapes: dict[str, str]
    trained: tuple[str, ...]
