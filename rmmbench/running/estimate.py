"""How long the work that is left will take, learned from how long what is done took."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rmmbench.running.pieces import Kind, Piece

_SOME: Final = 0.03
"""A share of a piece that is enough to tell from it how long the piece takes."""

_OVERDUE: Final = 0.25
"""A piece that takes longer than it should is taken to go on for so much of its time."""

_DOUBT: Final = 3.0
"""Seconds for which a lane is taken to have no pieces side by side, and no pauses."""

_ANY: Final = Kind("any")

Rates = dict[str, tuple[float, float]]
"""Seconds and weights of pieces, summed by kind."""


class Estimate:
    """The time that is left for work in pieces.

    A piece takes as long as those that are done and most alike, by their weights. How much less
    time pieces take that are done side by side, and how much more all of them take with the pauses
    between, is learned for each lane.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with nothing done and nothing ahead; `clock` returns seconds."""
        self._clock = clock
        self._last = clock()
        self._pause = 0.0
        self._ahead: Counter[Piece] = Counter()
        self._running: dict[str, _Running] = {}
        self._rates: Rates = {}
        self._lanes: dict[str, _Lane] = {}

    @property
    def left(self) -> int:
        """How many pieces are not done yet, as far as is known."""
        return self._ahead.total() + len(self._running)

    def expect(self, pieces: Iterable[Piece]) -> None:
        """Take these for what is ahead, besides what is being done."""
        self._ahead = Counter(pieces)

    def learn(self, piece: Piece, seconds: float) -> None:
        """Take into account how long a piece took."""
        _add(self._rates, piece, seconds)

    def begin(self, name: str, piece: Piece) -> None:
        """Begin a piece that was ahead, or some other in its place."""
        self._pass()
        self._take(piece)
        self._end_pause(piece)
        self._running[name] = _Running(piece, self._clock())

    def working(self, shares: Mapping[str, float | None]) -> None:
        """Take into account that time has passed, and which share of what runs is done."""
        self._pass()
        for name, share in shares.items():
            if share is not None and name in self._running:
                self._running[name].tell(share, self._last)

    def finish(self, name: str, piece: Piece, seconds: float | None = None) -> None:
        """End a piece, which may have begun unseen.

        Args:
            name: As it began.
            piece: As it began.
            seconds: How long it took; None if that tells nothing of others.
        """
        self._pass()
        if self._running.pop(name, None) is None:
            self._take(piece)
        self._end_pause(piece)
        if seconds is not None:
            self._lane(piece).work += seconds
            self.learn(piece, seconds)

    def seconds_left(self) -> float | None:
        """Return the estimate, or None where too little is known."""
        self._pass()
        seen = self._with_running()
        lefts = [(each.piece, each.left(seen, self._last)) for each in self._running.values()]
        expected = [(one, _expected(seen, one), count) for one, count in self._ahead.items()]
        sums: dict[str, float] = defaultdict(float)
        longest: dict[str, float] = defaultdict(float)
        for piece, seconds, count in [*expected, *((one, left, 1) for one, left in lefts)]:
            if seconds is None:
                return None
            sums[piece.lane] += self._factor(piece) * seconds * count
        for piece, left in lefts:
            longest[piece.lane] = max(longest[piece.lane], left or 0.0)
        return sum(max(seconds, longest[lane]) for lane, seconds in sums.items())

    def _with_running(self) -> Rates:
        """Return the rates with what pieces tell that are being done."""
        seen = dict(self._rates)
        for each in self._running.values():
            seconds = each.seconds(self._rates, self._last)
            if seconds is not None:
                _add(seen, each.piece, seconds)
        return seen

    def _factor(self, piece: Piece) -> float:
        """Return the time that a piece's lane takes for a second of its pieces' own time."""
        lane = self._lane(piece)
        begun = [each.start for each in self._running.values() if each.piece.lane == piece.lane]
        work = lane.work + sum(self._last - start for start in begun)
        return (lane.wall + _DOUBT) / (work + _DOUBT)

    def _lane(self, piece: Piece) -> "_Lane":
        return self._lanes.setdefault(piece.lane, _Lane())

    def _take(self, piece: Piece) -> None:
        taken = piece if self._ahead[piece] > 0 else next(iter(self._ahead), piece)
        self._ahead -= Counter([taken])

    def _pass(self) -> None:
        """Count the time since the last event for the lanes that worked, or as a pause."""
        now = self._clock()
        passed, self._last = now - self._last, now
        lanes = {each.piece.lane: each.piece for each in self._running.values()}
        for piece in lanes.values():
            self._lane(piece).wall += passed
        if not lanes:
            self._pause += passed

    def _end_pause(self, piece: Piece) -> None:
        """Count the pause for the lane of the piece that ended it."""
        self._lane(piece).wall += self._pause
        self._pause = 0.0


@dataclass
class _Lane:
    """The time that passed while pieces of a lane were done, and the sum of their own times."""

    wall: float = 0.0
    work: float = 0.0


@dataclass
class _Running:
    """A piece that is being done; `first` and `last` are shares, and when they were told."""

    piece: Piece
    start: float
    first: tuple[float, float] | None = None
    last: tuple[float, float] | None = None

    def tell(self, share: float, now: float) -> None:
        """Take into account how much is done; less than before is of another part."""
        if self.first is None or self.last is None or share < self.last[0]:
            self.first = self.last = (share, now)
        elif share > self.last[0]:
            self.last = (share, now)

    def seconds(self, rates: Rates, now: float) -> float | None:
        """Return how long it takes in all, if that is seen already: by its share, or as overdue."""
        if self.first is not None and self.last is not None:
            (before, since), (share, then) = self.first, self.last
            if share - before >= _SOME:
                return then - self.start + (1 - share) * (then - since) / (share - before)
        expected, elapsed = _expected(rates, self.piece), now - self.start
        is_overdue = expected is not None and elapsed * (1 + _OVERDUE) > expected
        return elapsed * (1 + _OVERDUE) if is_overdue else None

    def left(self, rates: Rates, now: float) -> float | None:
        """Return how long it still takes; None if nothing tells."""
        whole = self.seconds(rates, now)
        whole = _expected(rates, self.piece) if whole is None else whole
        return None if whole is None else max(0.0, self.start + whole - now)


def _add(rates: Rates, piece: Piece, seconds: float) -> None:
    for name, weight in (*piece.kinds, _ANY):
        before = rates.get(name, (0.0, 0.0))
        rates[name] = (before[0] + seconds, before[1] + weight)


def _expected(rates: Rates, piece: Piece) -> float | None:
    """Return how long a piece takes, by those most like it; None if none is done."""
    for name, weight in (*piece.kinds, _ANY):
        if name in rates:
            seconds, weights = rates[name]
            return weight * seconds / weights
    return None
