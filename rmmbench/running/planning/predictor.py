"""Predicts the steps of plans, each once, as many side by side as there are CPUs."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from rmmbench.errors import UsageError
from rmmbench.results.record import Environment, Record
from rmmbench.running.events import Finished
from rmmbench.running.local import LocalLauncher
from rmmbench.running.progress import bar
from rmmbench.spec.case import Case
from rmmbench.spec.saving_plan import SavingPlan
from rmmbench.spec.steps import Of
from rmmbench.units import format_bytes, format_seconds

_LIMIT_SECONDS: Final = 600.0
_USUAL: Final = 20
"""About how many predictions a planning takes; fewer mostly."""


class Predictor:
    """Predicts plans of one case, and remembers what came of them."""

    def __init__(self, case: Case, environment: Environment, folder: Path, *, quiet: bool) -> None:
        """Take the case without steps.

        Args:
            case: The unchanged model's.
            environment: Of this machine.
            folder: Where processes may leave files.
            quiet: Show no progress.
        """
        self._case = case
        self._launcher = LocalLauncher(
            environment, _LIMIT_SECONDS, max(1, environment.cpu_count), folder
        )
        self._records: dict[str, Record] = {}
        self._quiet = quiet
        self._stack = ExitStack()
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        """Begin to show progress."""
        self._update, self._is_seen = self._stack.enter_context(
            bar(_USUAL, is_wanted=not self._quiet)
        )
        return self

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self._stack.close()

    def tell(self, what: str) -> None:
        """Show what is being done."""
        self._update(description=what)

    def case_of(self, plan: SavingPlan) -> Case:
        """Return the case of a plan; of one that changes nothing the unchanged model's."""
        if plan.does_nothing:
            return self._case
        # What it is called, and what it was made for, makes no difference to a step.
        bare = plan.model_copy(update={"title": "", "predicted": None})
        step = Of("methods").taking("plan", {"plan": bare})
        return self._case.model_copy(update={"steps": (step,)})

    def predict(self, plans: Sequence[SavingPlan]) -> list[Record]:
        """Return the record of each plan.

        Raises:
            UsageError: If one cannot be predicted.
        """
        cases = [self.case_of(plan) for plan in plans]
        new = {case.key: case for case in cases if case.key not in self._records}
        for event in self._launcher.run(list(new.values())):
            if isinstance(event, Finished):
                self._take(event.record)
        return [self._records[case.key] for case in cases]

    def known(self, plan: SavingPlan) -> Record:
        """Return the record of a plan that was predicted."""
        return self._records[self.case_of(plan).key]

    def _take(self, record: Record) -> None:
        if record.outcome != "ok" or record.memory is None or record.counts is None:
            raise UsageError(f"{record.case.title} cannot be predicted: {record.reason}")
        self._records[record.key] = record
        done = len(self._records)
        each = (time.monotonic() - self._start) / done
        left = format_seconds(each * max(1, _USUAL - done))
        words = f"{record.case.label}: {format_bytes(record.memory.needed_bytes)}"
        self._update(advance=1, description=words, left=f"at most about {left} left")
        if not (self._is_seen or self._quiet):
            print(f"predicted {done}: {words}", file=sys.stderr)  # noqa: T201
