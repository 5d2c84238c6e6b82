"""The one way by which work tells how far it is: what happens is learned from, and shown."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rmmbench.running.display import Display, State, display
from rmmbench.running.estimate import Estimate
from rmmbench.running.events import Ahead, Event, Events, Finished, Started, Working
from rmmbench.running.pieces import Piece, piece_of
from rmmbench.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rmmbench.results.record import Record
    from rmmbench.results.stage import Stage
    from rmmbench.spec.case import Case

_SMOOTHED: Final = 3.0, 0.1
"""An estimate that changes is followed in so many seconds, or that share of the time so far."""


class Progress:
    """How far some work in pieces is."""

    def __init__(
        self, shown: Display, noun: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin.

        Args:
            shown: What draws it.
            noun: What a piece is called.
            clock: Returns seconds.
        """
        self._shown, self._noun, self._clock = shown, noun, clock
        self._estimate = Estimate(clock)
        self._start = self._last = clock()
        self._ends_at: float | None = None
        self._at_most: float | None = None
        self._done = 0
        self._doing = "starting"
        self._is_known = True

    def expect(
        self, pieces: Iterable[Piece], *, is_known: bool = True, at_most: float | None = None
    ) -> None:
        """Tell what is ahead, besides what is being done.

        Args:
            pieces: As many as it may take.
            is_known: Whether it takes just these.
            at_most: Seconds after which it ends in any case.
        """
        self._estimate.expect(pieces)
        self._is_known = is_known
        self._at_most = None if at_most is None else self._clock() + at_most
        self._show()

    def learn(self, piece: Piece, seconds: float) -> None:
        """Tell how long a piece took before."""
        self._estimate.learn(piece, seconds)

    def begin(self, name: str, piece: Piece) -> None:
        """Tell that a piece begins."""
        self._estimate.begin(name, piece)
        self._show()

    def working(self, doing: str | None, shares: Mapping[str, float | None] | None = None) -> None:
        """Tell that time has passed, what is being done, and which share of pieces is."""
        self._estimate.working(shares or {})
        self._show(doing)

    def finish(
        self,
        name: str,
        piece: Piece,
        seconds: float | None,
        told: str = "",
        *,
        is_bad: bool = False,
    ) -> None:
        """Tell that a piece is done.

        Args:
            name: As it began.
            piece: As it began.
            seconds: How long it took; None if that tells nothing of others.
            told: What came of it; the last one is shown where there is no bar.
            is_bad: Whether that must be seen at once.
        """
        self._estimate.finish(name, piece, seconds)
        self._done += 1
        if is_bad:
            self._shown.tell(told)
        self._show(told)

    def _show(self, doing: str | None = None) -> None:
        self._doing = self._doing if doing is None else doing
        total = self._done + self._estimate.left
        ends_at = self._follow(self._estimate.seconds_left())
        state = State(self._done, total, self._noun, self._doing, ends_at, self._at_most)
        self._shown.show(state._replace(is_known=self._is_known))

    def _follow(self, left: float | None) -> float | None:
        """Return when all is done, following the estimate of it, so that it does not jump."""
        now = self._clock()
        passed, self._last = now - self._last, now
        if left is None or self._ends_at is None:
            self._ends_at = None if left is None else now + left
        else:
            seconds, share = _SMOOTHED
            slow = max(seconds, share * (now - self._start))
            self._ends_at += (now + left - self._ends_at) * -math.expm1(-passed / slow)
        return self._ends_at


@contextmanager
def progress(noun: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Give what is told how far work in pieces is, and shows it unless `quiet`."""
    with display(is_wanted=not quiet) as shown:
        yield Progress(shown, noun)


def show_progress(events: Events, noun: str = "case") -> None:
    """Go through the events of a run to the end, and show how far it is and how long it takes."""
    with progress(noun) as told:
        for event in events:
            tell_event(told, event)


def show_nothing(events: Events, noun: str = "case") -> None:
    """Go through events to the end, and show nothing."""
    deque(events, maxlen=0)


def tell_event(told: Progress, event: Event) -> None:
    """Tell of an event."""
    match event:
        case Ahead(cases, known, is_known):
            for record in filter(_tells_time, known):
                told.learn(piece_of(record.case), record.wall_seconds)
            told.expect(map(piece_of, cases), is_known=is_known)
        case Started(case):
            told.begin(case.key, piece_of(case))
        case Working(running):
            told.working(_running(running), {case.key: stage.share for case, stage in running})
        case Finished(record):
            seconds = record.wall_seconds if _tells_time(record) else None
            about = piece_of(record.case), seconds, _outcome(record)
            told.finish(record.key, *about, is_bad=record.has_failed)


def _tells_time(record: "Record") -> bool:
    """Return whether others may take as long as this one did."""
    return record.outcome not in ("skipped", "error") and record.wall_seconds > 0


def _running(running: "Sequence[tuple[Case, Stage]]") -> str | None:
    """Return what is being done; None if that is nothing, and what was done stays to be seen."""
    if not running:
        return None
    (case, stage), *others = running
    return f"{case.title}: {stage}" + (f" (+{len(others)})" if others else "")


def _outcome(record: "Record") -> str:
    """Return the result of a case in one line."""
    case, took = record.case, format_seconds(record.wall_seconds)
    is_probe = case.memory_limit_bytes is not None
    memory = record.memory
    peak = memory.peak_allocated_bytes if memory else None
    found = [memory.needed if is_probe else format_bytes(peak)] if memory else []
    if record.outcome != "ok":
        is_too_large = is_probe and record.outcome == "out_of_memory"
        found.append("does not fit" if is_too_large else record.outcome.replace("_", " "))
    elif record.training and record.training.score is not None:
        found = [f"{record.training.metric} {record.training.score:.4g}"]
    elif record.timing:
        found.append(f"{record.timing.samples_per_second:.4g} samples/s")
    elif is_probe:
        found.append("fits")
    where = f", {case.device}" if is_probe else ""
    return f"{case.title}{where}: {', '.join(found)} ({took})"
