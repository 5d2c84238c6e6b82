"""`rmmbench.history`: what moved over runs and commits."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmmbench.errors import Exit, RunError, UnknownNameError, arguments_checked
from rmmbench.report.check import wording
from rmmbench.report.history import followed
from rmmbench.report.history.change_points import LEAST
from rmmbench.report.history.plain_data import commit_data, point_rows, series_data
from rmmbench.report.history.remarks import begun_anew, too_few
from rmmbench.report.history.series import Move, Series, collect, judged
from rmmbench.report.history.snapshots import Commit, counted, of_runs, read_snapshots
from rmmbench.results.reading import uncollected
from rmmbench.results.store import Run
from rmmbench.units import format_count

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class History:
    """The numbers of some runs over commits.

    Attributes:
        source: What was read, in words.
        commits: Of the runs, oldest first; several runs may be of one.
        series: One for each case, number and place, in the order in which they begin.
        notes: What was left out, what begins a new series, and what cannot be told.
    """

    source: str
    commits: tuple[Commit, ...]
    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def moves(self) -> tuple[tuple[Series, Move], ...]:
        """Every move with its series, in the order of commits, the worse ones of a commit first."""
        order = {commit.code: place for place, commit in enumerate(self.commits)}
        found = [(series, move) for series in self.series for move in series.moves]
        return tuple(
            sorted(found, key=lambda each: (order[each[1].commit.code], not each[1].is_worse))
        )

    @property
    def newly_worse(self) -> tuple[tuple[Series, Move], ...]:
        """The moves for the worse at the last commit; of noisy numbers at the last `LEAST` runs.

        So many runs it takes to tell.
        """
        last = self.commits[-1].code
        return tuple(
            (series, move)
            for series, move in self.moves
            if move.is_worse
            and series.points[-1].commit.code == last
            and (move.commit.code == last or _is_new(series, move))
        )

    @property
    def exit_code(self) -> Exit:
        """The exit code of `rmmbench history --fail`."""
        return Exit.REGRESSION if self.newly_worse else Exit.OK

    @property
    def failure(self) -> str:
        """What got worse at the last commit, and the gravest of it; "" if nothing did."""
        worse = [series.finding(move) for series, move in self.newly_worse]
        if not worse:
            return ""
        gravest = max(worse, key=lambda each: (each.change is None, abs(each.change or 0.0)))
        at = "at the last commit" if self._is_at_last else "in the last runs"
        what = f"{format_count(len(worse), 'number')} got worse {at}"
        return f"{what}; the gravest: {wording.line(gravest)}"

    @property
    def _is_at_last(self) -> bool:
        return all(move.commit.code == self.commits[-1].code for _, move in self.newly_worse)

    @property
    def counted(self) -> str:
        """How many numbers moved: "12 of 30 numbers moved"."""
        moved = sum(bool(series.moves) for series in self.series)
        return f"{moved or 'none'} of {format_count(len(self.series), 'number')} moved"

    def frame(self) -> "DataFrame":
        """Return a pandas DataFrame with a row per point: its series, commit and value.

        `level` is the number that holds there, the mean between two moves; `moved` says whether it
        moved at this point, and `confidence`, from 0 to 1, how sure that is.
        """
        from pandas import DataFrame

        return DataFrame([row for series in self.series for row in point_rows(series)])

    def data(self) -> dict[str, Any]:
        """Return everything for programs; numbers are in SI units."""
        return {
            "schema_version": 1,
            "source": self.source,
            "commits": [commit_data(commit) for commit in self.commits],
            "series": [series_data(series) for series in self.series],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return f"{self.source}: {self.counted}"

    def _repr_html_(self) -> str:
        from rmmbench.report.tables.history_table import moves_table

        table = moves_table(self)
        shown = str(table.frame().to_html(index=False)) if len(table) else ""
        return f"<p>{escape(str(self))}</p>{shown}"


def _is_new(series: Series, move: Move) -> bool:
    return not series.is_exact and len(series.points) - move.index <= LEAST


@uncollected()
@arguments_checked
def history(
    runs: str | Path | Sequence[Run | str | Path],
    *,
    numbers: Collection[str] | None = None,
    commits: str | None = None,
    allow: Collection[str] = (),
) -> History:
    """Return how the numbers of each case went over runs, and the commits at which they moved.

    What is predicted or counted moved if it differs at all. Of times and scores, which differ from
    run to run, a move is told if it is beyond chance: about one in a hundred histories of
    unchanged code shows any.

    Args:
        runs: A folder of run directories; or one run directory, whose committed states in git are
            the runs; or several runs, as `load` and `run` return them.
        numbers: Which to follow, by their columns in `frame()`; by default all of
            "peak_allocated_bytes", "relative_throughput" and so on that there are.
        commits: For one run, which commits to walk: a branch, a tag, or FROM..TO.
        allow: What may differ within a series: "gpu", "torch", "profile", "processor", "threads".

    Raises:
        RunError: If there are fewer than two runs, or one cannot be read.
        UsageError: If git does not track the run, or does not know the commits.
        UnknownNameError: If a number or what to allow has another name.

    Examples:
        >>> import rmmbench
        >>> rmmbench.history(["ci", "ci"], numbers=["peak_allocated_bytes"]).counted
        'none of 26 numbers moved'
    """
    for kind, given, known in (
        ("number", numbers or (), tuple(followed.NUMBERS)),
        ("difference to allow", allow, followed.PLACE),
    ):
        for name in given:
            if name not in known:
                raise UnknownNameError(kind, name, known)
    if isinstance(runs, str | Path):
        read = read_snapshots(runs, commits)
        source = f"{read.source}: {counted(read.runs)}"
    else:
        from rmmbench.report.check.two_runs import opened

        read = of_runs([opened(run) for run in runs])
        source = counted(read.runs)
    series = collect(read.runs, tuple(numbers or followed.NUMBERS), allow)
    if not series:
        raise RunError(
            f"{read.source} must have one of the numbers {', '.join(numbers or ())}, and has none"
        )
    return History(
        source,
        tuple({each.commit.code: each.commit for each in read.runs}.values()),
        tuple(judged(series)),
        (*read.notes, *begun_anew(series), *too_few(series)),
    )
