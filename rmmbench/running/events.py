"""What a launcher reports while it runs."""

from typing import NamedTuple

from rmmbench.results.record import Record
from rmmbench.spec.case import Case


class Started(NamedTuple):
    """A case begins."""

    case: Case


class Working(NamedTuple):
    """Some time has passed; these cases are running, each at its stage."""

    running: list[tuple[Case, str]]


class Finished(NamedTuple):
    """A case is done, successfully or not."""

    record: Record


Event = Started | Working | Finished
