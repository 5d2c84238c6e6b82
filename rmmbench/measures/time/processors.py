"""Records how much other programs use the CPUs while steps are timed.

Linux counts, in hundredths of a second, how long each CPU was busy; this process's own time is
subtracted. Only control groups of version 2 are read.
"""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from rmmbench.measures.environment import control_groups, numbers, usable_cpus
from rmmbench.measures.nvml import Reading
from rmmbench.measures.time.conditions import Readings

# In less time the counts are too coarse.
_LEAST_SECONDS = 0.5
# How much of a CPU an idle system uses.
_QUIET = 0.1
# Of user, nice, system, idle, iowait, irq, softirq and steal: all but idle and iowait.
_BUSY = (0, 1, 2, 5, 6, 7)


class _Counts(NamedTuple):
    """Counts up to one moment, in seconds; None if the system does not have them.

    Attributes:
        clock: The time.
        busy: How long the CPUs that this process may use were busy, stolen time included.
        own: CPU time of this process and its children that have ended.
        held: How long a quota held back threads of this control group, summed over threads.
    """

    clock: float
    busy: float | None
    own: float
    held: float | None


class ProcessorWatch:
    """Watches the CPUs that this process may use while the body of a `with` runs.

    Counts are taken before and after, and nothing runs in between.
    """

    def __init__(self, threads: int, root: Path = Path("/")) -> None:
        """Prepare to watch a body that uses `threads` CPUs; `root` has /proc and /sys."""
        self._threads, self._root = threads, root

    def __enter__(self) -> Self:
        self._before = self._after = _counts(self._root)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._after = _counts(self._root)

    def readings(self) -> Readings:
        """Return how many CPUs others used, how long a quota held steps back, and the governor."""
        return {
            "other_cpus": self._others(),
            "quota_held_seconds": self._held(),
            "cpu_governor": _governor(self._root),
        }

    def warnings(self) -> tuple[str, ...]:
        """Return what makes the times doubtful, with the likely cause and what to do."""
        texts = []
        others, cpus = self._others()[0] or 0.0, len(usable_cpus())
        if others > _QUIET and others + self._threads > cpus + _QUIET:
            texts.append(
                f"other programs kept about {others:.1g} of {cpus} CPUs busy while steps were "
                "timed, which makes times long and uneven; end them, or leave them CPUs with "
                "OMP_NUM_THREADS, and measure again"
            )
        held = self._held()[0] or 0.0
        if held > _QUIET * self._seconds:
            texts.append(
                f"a CPU quota held the steps back for {held:.1g} s, which makes times long and "
                "uneven; raise it, or use no more threads than it allows with OMP_NUM_THREADS, and "
                "measure again"
            )
        return tuple(texts)

    @property
    def _seconds(self) -> float:
        return self._after.clock - self._before.clock

    def _others(self) -> Reading[float]:
        before, after = self._before, self._after
        if before.busy is None or after.busy is None:
            return None, "the system does not tell what its CPUs do"
        if self._seconds < _LEAST_SECONDS:
            return None, f"the timed steps took less than {_LEAST_SECONDS:g} s, too short to tell"
        busy, own = after.busy - before.busy, after.own - before.own
        return max(0.0, busy - own) / self._seconds, None

    def _held(self) -> Reading[float]:
        if self._before.held is None or self._after.held is None:
            return None, "no control group of version 2 tells of a CPU quota"
        return max(0.0, self._after.held - self._before.held), None


def _counts(root: Path) -> _Counts:
    ended = os.times()
    own = time.process_time() + ended.children_user + ended.children_system
    return _Counts(time.monotonic(), _busy_seconds(root), own, _held_seconds(root))


def _busy_seconds(root: Path) -> float | None:
    names = {f"cpu{number}" for number in usable_cpus()}
    try:
        lines = (root / "proc/stat").read_text(encoding="utf-8").splitlines()
        rows = [line.split() for line in lines]
        ticks = [[int(count) for count in row[1:]] for row in rows if row and row[0] in names]
        busy = sum(row[index] for row in ticks for index in _BUSY)
    except (OSError, ValueError, IndexError):
        return None
    return busy / os.sysconf("SC_CLK_TCK") if ticks else None


def _held_seconds(root: Path) -> float | None:
    """Return how long the strictest quota of this control group and its parents held it back."""
    counts = [numbers(group / "cpu.stat").get("throttled_usec") for group in control_groups(root)]
    return max((count / 1e6 for count in counts if count is not None), default=None)


def _governor(root: Path) -> Reading[str]:
    """Return the rule by which the system chooses the clock of the first usable CPU."""
    first = min(usable_cpus())
    file = root / f"sys/devices/system/cpu/cpu{first}/cpufreq/scaling_governor"
    try:
        return file.read_text(encoding="utf-8").strip(), None
    except OSError:
        return None, "the system does not tell how it chooses clocks"
