"""What every figure gives: whether a run's records allow it, and the drawing."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmmbench.results.record import Environment, Record
from rmmbench.results.store import Run
from rmmbench.results.tidy import Row, read_rows
from rmmbench.spec.profile import Profile

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing


@dataclass(frozen=True)
class FigureData:
    """What a figure is drawn from.

    Attributes:
        rows: One a case.
        profile: With the published numbers, and the device limit where memory is predicted.
        environment: Where the run was made.
        synthetic: What of the workload is made up.
        records: Of each case the last, for what is more than a number: curves.
    """

    rows: tuple[Row, ...]
    profile: Profile
    environment: Environment
    synthetic: str = ""
    records: tuple[Record, ...] = ()

    @classmethod
    def of(cls, run: Run) -> "FigureData":
        """Read a run directory."""
        records = run.records()
        notes = dict.fromkeys(record.synthetic for record in records)
        synthetic = "; ".join(filter(None, notes))
        latest = tuple({record.key: record for record in records}.values())
        about = (run.info.profile, run.info.environment, synthetic, latest)
        return cls(tuple(read_rows(records)), *about)

    @property
    def step_rows(self) -> list[Row]:
        """The rows without those of training runs, of which there is one a seed."""
        trained = {record.key for record in self.records if record.case.training is not None}
        return [row for row in self.rows if row["key"] not in trained]


class Figure(ABC):
    """A drawing that some runs allow.

    Laws: `draw` works where `lacks` returns None; what is drawn is in the rows or the profile; no
    two cases are drawn as one; a case that has no number is marked, or counted in the footnote.
    """

    @abstractmethod
    def lacks(self, data: FigureData) -> str | None:
        """Return what is needed, as "figure2 needs ..." goes on; None if the records have it."""

    @abstractmethod
    def draw(self, data: FigureData) -> "Drawing":
        """Return the figure, of a fixed size."""
