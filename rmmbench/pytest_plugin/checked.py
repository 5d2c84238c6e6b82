"""A check and what came of it, as it goes from the test to the process that has the terminal."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from rmmbench.results.record import Record
from rmmbench.spec.printable import printable
from rmmbench.spec.ranges import Line, Name, Whole
from rmmbench.spec.strict import Strict

Verdict = Literal["ok", "over", "same", "less", "more", "stored", "failed"]

LIMITS: Final = {
    "peak": "peak_allocated_bytes",
    "reserved": "reserved_bytes",
    "saved": "saved_bytes",
}
"""What can be limited, and which number of a step's memory it is."""


class Held(Strict):
    """A number that was held to a limit or to the baseline.

    Attributes:
        what: One of LIMITS.
        now: Measured, in bytes.
        most: The limit, or the baseline's number.
    """

    what: Literal["peak", "reserved", "saved"]
    now: Whole
    most: Whole

    @property
    def change(self) -> float:
        """How far `now` is from `most`, as a fraction of it."""
        return self.now / self.most - 1 if self.most else 0.0


class Checked(Strict):
    """A check of a training step's memory.

    Attributes:
        name: Of the test, and of the check if the test has several.
        record: What was measured; its case has the name for its model.
        held: The numbers that were held to something; none if there was nothing to hold them to.
        against: What to.
        verdict: What came of it.
        fault: Why the test fails, in lines; none if it does not.
    """

    name: Name
    record: Record
    held: tuple[Held, ...]
    against: Literal["limit", "baseline"]
    verdict: Verdict
    fault: tuple[Line, ...] = ()

    @property
    def nearest(self) -> Held | None:
        """The number that is farthest over its limit, or nearest to it."""
        return max(self.held, key=lambda each: each.change, default=None)


def read(told: Iterable[str]) -> list[Checked]:
    """Return the checks that some tests told; of a test that ran again the last ones."""
    checks = map(Checked.model_validate_json, told)
    return list({each.name: each for each in checks}.values())


def named(name: str, record: Record) -> Record:
    """Return a record whose case has a test's name for its model, and the key of such a case."""
    case = record.case.model_copy(update={"model": f"import:{name}"})
    return record.model_copy(update={"case": case, "key": case.key})


def check_name(node_id: str, own: str | None, before: Sequence[str]) -> str:
    """Return the name of a check that no other of its test has.

    Args:
        node_id: pytest's name of the test.
        own: The check's, if it has one.
        before: The names of the test's checks before this one.
    """
    told = node_id if own is None else f"{node_id}:{own}"
    name = printable(told).replace("::", ":").replace("<", "‹")
    number = 2
    unique = name
    while unique in before:
        unique, number = f"{name}:{number}", number + 1
    return unique
