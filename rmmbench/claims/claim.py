"""What a claim is: a statement of the paper, and what comes of trying it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar

from rmmbench.spec.strict import Strict


class Verdict(StrEnum):
    """What is to be said of a statement."""

    HOLDS = "holds"
    HOLDS_AS_CORRECTED = "holds as corrected"
    DOES_NOT_HOLD = "does not hold"


class Finding(Strict):
    """A statement, tried on one thing.

    Attributes:
        case: What it was tried on.
        paper: What the paper says of it, in numbers; "" where it says nothing.
        here: What was computed.
        holds: Whether the statement, as it stands, agrees with what was computed.
        corrected_holds: Whether a corrected one does; None if there is none.
        is_own: Whether this package relies on the statement, the corrected one if there is one.
        why: Where the statement does not hold as it stands, what is amiss with it.
        numbers: What `paper` and `here` are made of, in full.
    """

    case: str
    paper: str
    here: str
    holds: bool
    corrected_holds: bool | None = None
    is_own: bool = False
    why: str = ""
    numbers: dict[str, float]

    @property
    def verdict(self) -> Verdict:
        """What follows for the statement."""
        if self.holds:
            return Verdict.HOLDS
        return Verdict.HOLDS_AS_CORRECTED if self.corrected_holds else Verdict.DOES_NOT_HOLD

    @property
    def is_fault(self) -> bool:
        """Whether this package relies on what turns out not to be so."""
        relied_on = self.holds if self.corrected_holds is None else self.corrected_holds
        return self.is_own and not relied_on


class Claim(ABC):
    """One claim of the paper.

    Attributes:
        title: What it is about, with where it stands in the paper.
        statement: What is claimed; a formula where there is one.
        method: How it is tried, in a sentence.
    """

    title: ClassVar[str]
    statement: ClassVar[str]
    method: ClassVar[str]

    @abstractmethod
    def findings(self, seed: int) -> Iterator[Finding]:
        """Try the claim, in seconds; all random numbers follow from `seed`."""
