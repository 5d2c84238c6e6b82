"""What a launcher tells while it runs."""

from typing import NamedTuple

from rmmbench.results.record import Record
from rmmbench.spec.case import Case


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
