"""The largest batch that fits in a given memory: a search whose every probe is a case.

A step's memory grows with its batch and, apart from what the optimizer takes, by about as much
with every sample. So a few probes and a line through them come close, and the rest is bisection.
What counts is what is reserved, where anything is. That grows in steps, and may even be a little
less for a larger batch, so the line is through what is allocated.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rmmbench.results.record import Memory, Record
from rmmbench.results.store import Run
from rmmbench.running.events import Ahead, Event
from rmmbench.running.isolation import process
from rmmbench.running.launchers.launcher import Launcher
from rmmbench.running.sweeping import measured, remaining
from rmmbench.spec.case import Case
from rmmbench.spec.gpus import DEFAULT_GPU

FIRST = 8
"""The batch that is predicted first."""

MOST = 2**30
"""No larger batch is tried."""

# Lines through memory that is not straight may come near by small steps only; bisection does not.
_ESTIMATES = 8
_LIMIT_SECONDS = 600.0

_PROBES, _PROBES_AFTER = 5, 3
"""What a search mostly takes, and one that begins with what a prediction found."""


def next_batch(fits: int, fails: int | None, start: int) -> int | None:
    """Return the batch to probe next, or None if the largest that fits is known.

    The start comes first; then, away from it by steps of 1, 2, 4, ..., up while batches fit and
    down while they do not, until one does otherwise; then the middle of what is open.

    Args:
        fits: The largest that is known to fit; 0 if none is.
        fails: The smallest that is known not to; None if none is.
        start: Where the search began; every probe after it was one of this function's.
    """
    high = MOST + 1 if fails is None else fails
    if high - fits <= 1:
        return None
    if fits < start < high:
        return start
    stepped = 2 * fits - start + 1 if start <= fits else 2 * high - start - 1
    return stepped if fits < stepped < high else (fits + high) // 2


def estimate(memories: Mapping[int, Memory], limit_bytes: int) -> int | None:
    """Return about how large a batch fits, by a straight line; None if nothing is known.

    Up to some batch the peak is the optimizer's, whatever the batch; from there it grows straight.
    So the line is through two batches above the limit, if there are, else through two that grow;
    one alone has it through the empty batch too, which takes what rests between steps. What is
    reserved beyond what is allocated is taken for the same in all batches.
    """
    peaks = {size: memories[size].peak_allocated_bytes for size in sorted(memories)}
    above = [size for size in peaks if memories[size].needed_bytes > limit_bytes]
    below = [size for size in peaks if memories[size].needed_bytes <= limit_bytes]
    near = above[:2] if len(above) > 1 else below[-1:] + above if above else below[-2:]
    if not near:
        return None
    first, last = near[0], near[-1]
    limit_bytes -= memories[last].needed_bytes - peaks[last]
    grown = {size: peaks[size] - memories[size].resting_bytes for size in near}
    rise = (peaks[last] - peaks[first]) / (last - first) if last > first else 0.0
    saved = memories[last].saved_bytes
    do_both_grow = grown[first] / first < 2 * grown[last] / last if above else rise > saved / last
    if rise > 0 and do_both_grow:
        return _within(last + (limit_bytes - peaks[last]) / rise)
    # Two peaks of the optimizer's tell nothing of a larger batch, but what is saved does.
    is_flat = not above and last > first and 0 < 2 * saved < grown[last]
    share = saved if is_flat else max(1, grown[last])
    return _within(last * (limit_bytes - memories[last].resting_bytes) / share)


def _within(size: float) -> int:
    return min(MOST, max(1, int(size)))


@dataclass
class Line:
    """One way of saving memory on one device, and what is known of its batches.

    Attributes:
        case: At batch size 1.
        start: What is probed first.
        known: What came of a probe, by batch size.
        timed: The record of its time at the largest batch; None if it was not timed.
    """

    case: Case
    start: int = FIRST
    known: dict[int, Record] = field(default_factory=dict)
    timed: Record | None = None

    @property
    def fits(self) -> int:
        """The largest batch that is known to fit; 0 if none is."""
        return max((n for n, record in self.known.items() if record.outcome == "ok"), default=0)

    @property
    def fails(self) -> int | None:
        """The smallest batch that is known to need more; None if none is."""
        too_large = (n for n, record in self.known.items() if record.outcome == "out_of_memory")
        return min(too_large, default=None)

    @property
    def trouble(self) -> Record | None:
        """What ended the search before its end, if anything did."""
        results = ("ok", "out_of_memory")
        return next((one for one in self.known.values() if one.outcome not in results), None)

    def memory(self, size: int | None) -> Memory | None:
        """Return what a step takes at a batch that was probed; None if it is not known."""
        record = self.known.get(size or 0)
        return record.memory if record else None

    def at(self, size: int) -> Case:
        """Return the case at another batch size."""
        return self.case.model_copy(update={"batch_size": size})

    def next_case(self) -> Case | None:
        """Return what to measure next, or None if the search has ended."""
        if self.trouble is not None:
            return None
        if 0 < len(self.known) <= _ESTIMATES:
            self._start_anew()
        size = next_batch(self.fits, self.fails, self.start)
        return None if size is None else self.at(size)

    def probes_left(self) -> int:
        """Return about how many probes it still takes.

        That is as many as if the largest were where it starts; where guesses went wrong, as many as
        bisection takes.
        """
        if not self.known:
            return _PROBES if self.start == FIRST else _PROBES_AFTER
        fits, fails, count = self.fits, self.fails, 0
        while (size := next_batch(fits, fails, self.start)) is not None:
            count += 1
            fits, fails = (size, fails) if size <= self.start else (fits, size)
        if self.fails is None or len(self.known) < _PROBES:
            return count
        return max(count, (self.fails - self.fits).bit_length())

    def _start_anew(self) -> None:
        """Start from where all that is known says that the largest is."""
        limit = self.case.memory_limit_bytes
        memories = {n: record.memory for n, record in self.known.items() if record.memory}
        guess = estimate(memories, limit) if limit is not None else None
        if guess is None:
            return
        high = MOST + 1 if self.fails is None else self.fails
        if self.fits < guess < high:
            self.start = guess
        elif guess <= self.fits < self.start:
            self.start = self.fits
        elif guess >= high > self.start:
            self.start = high


def find(
    run: Run,
    cases: Iterable[Case],
    launcher: Launcher,
    time_device: Literal["cuda", "cpu"] | None,
    *,
    retry: bool = False,
) -> Iterator[Event]:
    """Search the largest batch of each case, and yield what happens; all stays in `run`.

    Where memory is not predicted itself, the search starts from what a prediction found. Batches
    that the run has records of are not launched again. The run's lock must be held.

    Args:
        run: Where records go.
        cases: With `memory_limit_bytes`, of whatever batch size.
        launcher: What measures them.
        time_device: Where the largest that fit are timed; None for nowhere.
        retry: Launch batches anew that failed.

    Raises:
        EndedError: If no process can be started.
        RunError: If a record cannot be written; those before it stand.
    """
    cases = list(cases)
    lines = [
        Line(_at(case, memory_device="predict", gpu=case.gpu or DEFAULT_GPU)) for case in cases
    ]
    yield Ahead((), run.records())
    is_measured = any(case.memory_device != "predict" for case in cases)
    after = [_at(case) for case in cases for _ in range(_PROBES_AFTER)] if is_measured else []
    last = [] if time_device is None else [_timed(line, time_device) for line in lines]
    yield from _search(run, lines, launcher, [*after, *last], retry=retry)
    if is_measured:
        lines = [Line(_at(case), start) for case, start in zip(cases, _starts(lines), strict=True)]
        yield from _search(run, lines, launcher, last, retry=retry)
    if time_device is not None:
        ended = [line for line in lines if line.trouble is None and line.fits]
        timed = remaining(run, [_timed(line, time_device) for line in ended], retry=retry)
        yield Ahead(timed)
        yield from measured(run, timed, launcher)


def found(
    records: Iterable[Record], cases: Iterable[Case], time_device: Literal["cuda", "cpu"] | None
) -> list[Line]:
    """Return what records tell of each case's largest batch."""
    by_key = {record.key: record for record in records}
    lines = [Line(_at(case)) for case in cases]
    probed: dict[str, dict[int, Record]] = {line.case.key: {} for line in lines}
    for record in by_key.values():
        probed.get(_at(record.case).key, {})[record.case.batch_size] = record
    for line in lines:
        line.known = probed[line.case.key]
        if time_device is not None and line.fits:
            line.timed = by_key.get(_timed(line, time_device).key)
    return lines


def parameter_bytes(case: Case) -> int | None:
    """Return what the parameters of a case's model take at least, from a process of its own.

    None if the model cannot be made without memory; its own cases will tell why.
    """
    try:
        n_bytes: int = process.call(_parameter_bytes, case, limit_seconds=_LIMIT_SECONDS)
    except Exception:
        # Of a model of the user's own anything may come.
        return None
    return n_bytes


def _search(
    run: Run, lines: Sequence[Line], launcher: Launcher, after: Sequence[Case], *, retry: bool
) -> Iterator[Event]:
    """Probe a batch of every line that has not ended, side by side, until all have."""
    while True:
        asked = [(line, case) for line in lines if (case := line.next_case()) is not None]
        if not asked:
            return
        left = remaining(run, [case for _, case in asked], retry=retry)
        probes = [case for line, case in asked for _ in range(_probes_left(line, lines))]
        yield Ahead([*probes, *after], is_known=False)
        yield from measured(run, left, launcher)
        records = {record.key: record for record in run.records()}
        for line, case in asked:
            line.known[case.batch_size] = records[case.key]


def _probes_left(line: Line, lines: Sequence[Line]) -> int:
    """Return about how many probes a line still takes: as many as others took, or more."""
    ended = [len(other.known) for other in lines if other.next_case() is None]
    usual = round(sum(ended) / len(ended)) if ended else 0
    return max(line.probes_left(), usual - len(line.known))


def _starts(predicted: Sequence[Line]) -> Iterator[int]:
    """Yield where to start on a device: from the prediction, exact's where there is none."""
    exact = {line.case.cell: line.fits for line in predicted if line.case.method == "exact"}
    for line in predicted:
        yield max(1, line.fits if line.trouble is None else exact.get(line.case.cell, 1))


def _at(case: Case, **changes: Any) -> Case:
    """Return the case at batch size 1, with changes."""
    return case.model_copy(update={"batch_size": 1} | changes)


def _timed(line: Line, time_device: Literal["cuda", "cpu"]) -> Case:
    where = {"memory_device": None, "gpu": None, "time_device": time_device}
    return line.at(line.fits).model_copy(update=where)


def _parameter_bytes(case: Case) -> int:
    from rmmbench import models
    from rmmbench.fakes.mode import fake_tensors

    with fake_tensors():
        model = models.build(case).model
        whole = sum(each.numel() * each.element_size() for each in model.parameters())
        return whole // case.ranks if case.parallel in ("fsdp2", "tensor") else whole
