"""Predicts the steps of plans in this process, each once."""

import gc
from collections.abc import Callable
from typing import NamedTuple

from rmmbench.errors import CannotPredictError
from rmmbench.results.counts import Counts
from rmmbench.results.record import Memory
from rmmbench.running.draft import Draft
from rmmbench.running.planning.told import PredictedStep
from rmmbench.running.predicting import predict
from rmmbench.spec.case import Case
from rmmbench.spec.saving_plan import SavingPlan
from rmmbench.spec.steps import Of


class Step(NamedTuple):
    """What a step takes, and what it does."""

    memory: Memory
    counts: Counts


class Predictor:
    """Predicts plans of one case, and remembers what came of them.

    Attributes:
        warnings: On all predictions.
    """

    def __init__(self, case: Case, tell: Callable[[object], None]) -> None:
        """Take the case without steps; `tell` hears of each prediction."""
        self._case, self._tell = case, tell
        self._steps: dict[str, Step] = {}
        self.warnings: tuple[str, ...] = ()
        # What was imported is no garbage, and takes long to look through.
        gc.freeze()

    def step(self, plan: SavingPlan) -> Step:
        """Return what a step of a plan takes.

        Raises:
            CannotPredictError: If the step asks for the value of a tensor, or its work cannot be
                counted.
        """
        case = self._case_of(plan)
        if case.key not in self._steps:
            draft = Draft(case, lambda stage: None)
            predict(draft)
            if draft.memory is None or draft.counts is None:
                why = "; ".join(draft.warnings) or "there is no fake GPU"
                raise CannotPredictError(f"a plan needs the work of a step counted: {why}")
            self.warnings = tuple(draft.warnings)
            self._steps[case.key] = Step(draft.memory, draft.counts)
            self._tell(PredictedStep(plan.words, draft.memory.needed_bytes))
        return self._steps[case.key]

    def peak(self, plan: SavingPlan) -> int:
        """Return what a step of a plan needs."""
        return self.step(plan).memory.needed_bytes

    def _case_of(self, plan: SavingPlan) -> Case:
        if plan.does_nothing:
            return self._case
        # What it is called, and what it was made for, makes no difference to a step.
        bare = plan.model_copy(update={"title": "", "predicted": None})
        step = Of("methods").taking("plan", {"plan": bare})
        return self._case.model_copy(update={"steps": (step,)})
