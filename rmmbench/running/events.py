"""What a launcher reports while it runs."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rmmbench.results.record import Record
from rmmbench.results.stage import Stage
from rmmbench.spec.case import Case


class Ahead(NamedTuple):
    """What is still to be done, besides what runs.

    Attributes:
        cases: As many as it may take.
        known: Records of before, which tell how long cases take.
        is_known: Whether it takes just these; a search may take fewer or more.
    """

    cases: Sequence[Case]
    known: Sequence[Record] = ()
    is_known: bool = True


class Started(NamedTuple):
    """A case begins."""

    case: Case


class Working(NamedTuple):
    """Some time has passed; these cases are running, each at its stage."""

    running: Sequence[tuple[Case, Stage]]


class Finished(NamedTuple):
    """A case is done, successfully or not."""

    record: Record


Event = Ahead | Started | Working | Finished

Events = Iterator[Event]
