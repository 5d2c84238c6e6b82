"""The runs of one setting, and what they amount to."""

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
    """The runs of one setting at one place, which differ in their seed alone.

    Runs that did not end well count in no number below.

    Attributes:
        place: Names what is trained, on what and how, apart from method and seed.
        row: Of the first run, for names.
        records: Every run by its seed, in that order, whatever came of it.
        metric: The name of the score that counts; None if no run at the place tells.
        higher_is_better: Of that score.
        against: The difference from exact; None for exact, and without a common seed.
        relative_throughputs: Exact's train_seconds ÷ this setting's, of each common seed.
    """

    place: str
    row: Row
    records: Mapping[int, Record]
    metric: str | None = None
    higher_is_better: bool = True
    against: Difference | None = None
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
        """The runs that ended well, by seed."""
        return {seed: run for seed, run in self.records.items() if run.outcome == "ok"}

    @property
    def failures(self) -> Counter[str]:
        """How many runs ended otherwise, by outcome."""
        return Counter(run.outcome for run in self.records.values() if run.outcome != "ok")

    @cached_property
    def scores(self) -> dict[int, float]:
        """The score that counts, after the last step, by seed."""
        return self._by_seed("score")

    @cached_property
    def seconds(self) -> dict[int, float]:
        """The time of a run's steps, by seed."""
        return self._by_seed("train_seconds")

    @cached_property
    def score(self) -> Spread | None:
        """The score that counts, after the last step."""
        return Spread.of(self.scores.values())

    @cached_property
    def eval_loss(self) -> Spread | None:
        """The loss on the evaluation set, after the last step."""
        return self._spread("eval_loss")

    @cached_property
    def train_seconds(self) -> Spread | None:
        """The time of a run's steps."""
        return Spread.of(self.seconds.values())

    @cached_property
    def samples_per_second(self) -> Spread | None:
        """Trained samples a second."""
        return self._spread("train_samples_per_second")

    @cached_property
    def peak_bytes(self) -> Spread | None:
        """The peak of a step's memory."""
        return self._spread("peak_allocated_bytes")

    @property
    def metric_name(self) -> str:
        """The score as a heading says it: "accuracy, %", "bits per byte, lower is better"."""
        name = (self.metric or "score").replace("_", " ")
        return f"{name}, %" if self.higher_is_better else f"{name}, lower is better"

    @property
    def printed_score(self) -> Spread | None:
        """The score as it is printed."""
        return None if self.score is None else self.score.scaled(self.scale)

    @property
    def scale(self) -> int:
        """What a score is multiplied by to be printed: fractions are percentages on paper."""
        return 100 if self.higher_is_better else 1

    @property
    def digits(self) -> int:
        """Decimal places of a printed score."""
        return 2 if self.higher_is_better else 3

    def write(self, score: float) -> str:
        """Return a score, or a difference of two, as it is printed: "60.51"."""
        return f"{self.scale * score:.{self.digits}f}"

    def _spread(self, column: str) -> Spread | None:
        return Spread.of(self._by_seed(column).values())

    def _by_seed(self, column: str) -> dict[int, float]:
        values = {seed: run.row()[column] for seed, run in self.finished.items()}
        return {seed: value for seed, value in values.items() if isinstance(value, int | float)}
