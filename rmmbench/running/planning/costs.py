"""What each choice for a model's layers and blocks saves and costs: plain numbers."""

from typing import NamedTuple


class Choice(NamedTuple):
    """One way for layers that read one input to keep it.

    Attributes:
        rho: Compression rate; 1 for no sketch.
        bits: Of each number; None for all that it has.
        saved_bytes: Against keeping the input.
        noise: That it adds, as a share of ‖G‖² of all linear layers.
        seconds: That a step takes more, if below 0 less.
        again_seconds: The same where the layers' block is computed again.
        beyond_count: Seconds of these that counted work does not tell.
    """

    rho: float = 1.0
    bits: int | None = None
    saved_bytes: int = 0
    noise: float = 0.0
    seconds: float = 0.0
    again_seconds: float = 0.0
    beyond_count: float = 0.0


EXACT = Choice()


class Unit(NamedTuple):
    """Linear layers that read one input, and keep it or a sketch of it between them.

    Attributes:
        layers: Qualified names.
        block: Which of the blocks they are in; None for none.
        choices: `EXACT` first; none is worse than another in all respects.
        made_again_bytes: Of the input, if it is not kept where operators are computed again; else
            0.
    """

    layers: tuple[str, ...]
    block: int | None
    choices: tuple[Choice, ...]
    made_again_bytes: int = 0

    def saved_bytes(self, choice: Choice, *, beside_operators: bool) -> int:
        """Return what a choice saves; below 0 if without it nothing would be kept."""
        if beside_operators and choice != EXACT:
            return choice.saved_bytes - self.made_again_bytes
        return choice.saved_bytes


class Part(NamedTuple):
    """What is computed again of a block, while the rest of it is kept.

    Attributes:
        operators: Whether single operators are: normalisation, activation, dropout.
        attention: Whether attention is.
        products: Linear layers, by their names in the block, whose output is.
        saved_bytes: Of what the block leaves for the backward pass.
        seconds: That a step takes more.
        beside_bytes: What is made again at once, beside what all blocks left, where the last block
            is the first to be gone through backwards.
    """

    operators: bool
    attention: bool
    products: tuple[str, ...] = ()
    saved_bytes: int = 0
    seconds: float = 0.0
    beside_bytes: int = 0


class Block(NamedTuple):
    """A part of the model that can be computed again, in the order of the forward pass.

    Attributes:
        name: Qualified.
        kept_bytes: What its forward pass leaves for the backward pass, its output too.
        output_bytes: What it leaves if it is computed again.
        seconds: Of its forward pass.
        gradient_bytes: Of its parameters' gradients.
        parts: Of it that can be computed again by themselves.
    """

    name: str
    kept_bytes: int
    output_bytes: int
    seconds: float
    gradient_bytes: int
    parts: tuple[Part, ...] = ()


class Costs(NamedTuple):
    """A model's training step, and all that can be chosen in it.

    Attributes:
        exact_bytes: The highest memory of the unchanged step.
        again_bytes: What is there while a block is computed again, without what blocks left and
            without gradients of blocks.
        exact_seconds: Of the unchanged step.
        units: Only those that gain by a choice.
        blocks: In the order of the forward pass.
        sgd_noise: SGD's own noise, as a share of ‖G‖²; None if it is not known.
    """

    exact_bytes: int
    again_bytes: int
    exact_seconds: float
    units: tuple[Unit, ...]
    blocks: tuple[Block, ...]
    sgd_noise: float | None = None


class Chosen(NamedTuple):
    """A choice for everything.

    Attributes:
        layers: The choice of each unit that is not exact, by the unit's number.
        again: The numbers of blocks that are computed again.
        parts: What is of other blocks, by the block's number.
    """

    layers: dict[int, Choice]
    again: tuple[int, ...]
    parts: dict[int, Part]

    def beside_operators(self, block: int | None) -> bool:
        """Tell whether operators of a block are computed again."""
        return block in self.parts and self.parts[block].operators

    def beyond_count(self) -> float:
        """Return the seconds of all choices that counted work does not tell."""
        return sum(choice.beyond_count for choice in self.layers.values())

    def noise(self) -> float:
        """Return what all choices add."""
        return sum(choice.noise for choice in self.layers.values())


def worthwhile(choices: list[Choice]) -> tuple[Choice, ...]:
    """Return `EXACT`, and those choices that none other beats in every respect."""
    pool = [EXACT, *(each for each in choices if each.saved_bytes > 0)]
    return tuple(
        one
        for i, one in enumerate(pool)
        if not any(_beats(other, one, j < i) for j, other in enumerate(pool) if j != i)
    )


def paying(parts: list[Part]) -> tuple[Part, ...]:
    """Return those parts beside which none saves more in as little time, by time."""
    found: list[Part] = []
    for part in sorted(parts, key=lambda each: (each.seconds, -each.saved_bytes)):
        if part.saved_bytes > (found[-1].saved_bytes if found else 0):
            found.append(part)
    return tuple(found)


def _beats(one: Choice, other: Choice, is_first: bool) -> bool:
    mine = (-one.saved_bytes, one.noise, one.seconds)
    theirs = (-other.saved_bytes, other.noise, other.seconds)
    is_as_good = all(m <= t for m, t in zip(mine, theirs, strict=True))
    return is_as_good and (mine != theirs or is_first)
