"""The runs of one setting at one place, and their statistics."""

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from rmmbench.report.scores.statistics import Difference, Spread
from rmmbench.results.record import Record
from rmmbench.results.tidy import Row


@dataclass(frozen=True)
class Line:
    """The runs of one setting at one place, which differ only in their seed.

    Failed runs are left out of all statistics.

    Attributes:
        place: An identifier of what is trained, on what and how, without method and seed.
        row: The first run's, for names.
        records: Every run by seed, in that order, whatever its outcome.
        metric: The name of the main score; None if no run at the place has one.
        higher_is_better: Whether a higher main score is better.
        against: The difference of scores from exact; None for exact, or without a common seed.
        loss_against: The same of the evaluation loss.
        relative_throughputs: Exact's train_seconds ÷ this setting's, per common seed.
    """

    place: str
    row: Row
    records: Mapping[int, Record]
    metric: str | None = None
    higher_is_better: bool = True
    against: Difference | None = None
    loss_against: Difference | None = None
    relative_throughputs: tuple[float, ...] = ()

    @property
    def relative_throughput(self) -> float | None:
        """The median over common seeds; None without one."""
        return statistics.median(self.relative_throughputs) if self.relative_throughputs else None

    @property
    def is_exact(self) -> bool:
        """Whether this is the unchanged model."""
        return bool(self.row["method"] == "exact")

    @property
    def finished(self) -> dict[int, Record]:
        """The successful runs, by seed."""
        return {seed: run for seed, run in self.records.items() if run.outcome == "ok"}

    @property
    def failures(self) -> Counter[str]:
        """How many runs failed, by outcome."""
        return Counter(run.outcome for run in self.records.values() if run.outcome != "ok")

    @cached_property
    def scores(self) -> dict[int, float]:
        """The main score after the last step, by seed."""
        return self._by_seed("score")

    @cached_property
    def losses(self) -> dict[int, float]:
        """The evaluation loss after the last step, by seed; none where the score is made of it."""
        return self._by_seed("eval_loss") if self.higher_is_better else {}

    @cached_property
    def loss(self) -> Spread | None:
        """The evaluation loss after the last step."""
        return Spread.of(self.losses.values())

    @cached_property
    def seconds(self) -> dict[int, float]:
        """The time of a run's steps, by seed."""
        return self._by_seed("train_seconds")

    @cached_property
    def score(self) -> Spread | None:
        """The main score after the last step."""
        return Spread.of(self.scores.values())

    @cached_property
    def train_seconds(self) -> Spread | None:
        """The time of a run's steps."""
        return Spread.of(self.seconds.values())

    @cached_property
    def peak_bytes(self) -> Spread | None:
        """The peak of a step's memory."""
        return Spread.of(self._by_seed("peak_allocated_bytes").values())

    @property
    def metric_name(self) -> str:
        """The main score's name for headings: "accuracy, %", "bits per byte, lower is better"."""
        name = (self.metric or "score").replace("_", " ")
        return f"{name}, %" if self.higher_is_better else f"{name}, lower is better"

    @property
    def printed_score(self) -> Spread | None:
        """The score as it is printed."""
        return None if self.score is None else self.score.scaled(self.scale)

    @property
    def scale(self) -> int:
        """The factor from a score to its printed form: fractions are printed as percentages."""
        return 100 if self.higher_is_better else 1

    @property
    def digits(self) -> int:
        """Decimal places of a printed score."""
        return 2 if self.higher_is_better else 3

    def write(self, score: float) -> str:
        """Format a score or a difference of two: "60.51"."""
        return f"{self.scale * score:.{self.digits}f}"

    def _by_seed(self, column: str) -> dict[int, float]:
        values = {seed: run.row()[column] for seed, run in self.finished.items()}
        return {seed: value for seed, value in values.items() if isinstance(value, int | float)}
