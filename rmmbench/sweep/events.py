"""What a launcher tells while it runs."""

from typing import NamedTuple

from rmmbench.case import Case
from rmmbench.record import Record


class Started(NamedTuple):
    """A case begins."""

    case: Case


class Working(NamedTuple):
    """Some time has passed; these cases are running, each with what it does."""

    running: list[tuple[Case, str]]


class Finished(NamedTuple):
    """A case is done, well or not."""

    record: Record


Event = Started | Working | Finished
