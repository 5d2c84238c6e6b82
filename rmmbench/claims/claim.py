"""A claim is a statement of the paper, and a finding is the result of trying it once."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar

from rmmbench.spec.strict import Strict


class Verdict(StrEnum):
    """The result for a statement."""

    HOLDS = "holds"
    HOLDS_AS_CORRECTED = "holds as corrected"
    DOES_NOT_HOLD = "does not hold"


class Finding(Strict):
    """The result of trying a statement in one case.

    Attributes:
        case: The case.
        paper: The paper's number or formula for it; "" if it has none.
        here: What was computed.
        holds: Whether the statement as printed agrees with what was computed.
        corrected_holds: Whether a corrected statement agrees; None if there is none.
        is_own: Whether this package relies on the statement, or on the corrected one if any.
        why: What is wrong with the statement if it does not hold.
        numbers: The numbers of `paper` and `here` in full precision.
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
        """The verdict on the statement as printed."""
        if self.holds:
            return Verdict.HOLDS
        return Verdict.HOLDS_AS_CORRECTED if self.corrected_holds else Verdict.DOES_NOT_HOLD

    @property
    def is_fault(self) -> bool:
        """Whether this package relies on the statement, and it does not hold."""
        relied_on = self.holds if self.corrected_holds is None else self.corrected_holds
        return self.is_own and not relied_on


class Claim(ABC):
    """One claim of the paper.

    Attributes:
        title: Its subject and its place in the paper.
        statement: The claim, as a formula if possible.
        method: How it is tried, in one sentence.
    """

    title: ClassVar[str]
    statement: ClassVar[str]
    method: ClassVar[str]

    @abstractmethod
    def findings(self, seed: int) -> Iterator[Finding]:
        """Try the claim, in seconds; all random numbers follow from `seed`."""
