"""The interface of a figure: what it needs of a run's records, and the drawing."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
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
        rows: One per case.
        profile: Has the published numbers, and the device limit if memory is predicted.
        environment: The machine and software of the run.
        synthetic: Which parts of the workload are synthetic.
        records: The last record of each case, for curves.
        runs: What several runs were joined from; none if it is one run.
    """

    rows: tuple[Row, ...]
    profile: Profile
    environment: Environment
    synthetic: str = ""
    records: tuple[Record, ...] = ()
    runs: "tuple[FigureData, ...]" = ()

    @classmethod
    def of(cls, run: Run) -> "FigureData":
        """Read a run directory."""
        return cls.of_records(run.records(), run.info.profile, run.info.environment)

    @classmethod
    def of_records(
        cls, records: Sequence[Record], profile: Profile, environment: Environment
    ) -> "FigureData":
        """Take records of one profile and machine."""
        synthetic = "; ".join(dict.fromkeys(filter(None, (each.synthetic for each in records))))
        latest = tuple({record.key: record for record in records}.values())
        return cls(tuple(read_rows(records)), profile, environment, synthetic, latest)

    @property
    def step_rows(self) -> list[Row]:
        """The rows of single steps; training runs, with one row per seed, are left out."""
        trained = {record.key for record in self.records if record.case.training is not None}
        return [row for row in self.rows if row["key"] not in trained]


class Figure(ABC):
    """A drawing of a run that has the records for it.

    Laws: `draw` works if `lacks` returns None; everything drawn is in the rows or the profile; no
    two cases are drawn as one; a case without a number is marked, or counted in the footnote.
    """

    @abstractmethod
    def lacks(self, data: FigureData) -> str | None:
        """Return the object of "figure2 needs ..."; None if the records have all it needs."""

    @abstractmethod
    def draw(self, data: FigureData) -> "Drawing":
        """Return the figure, of a fixed size."""
