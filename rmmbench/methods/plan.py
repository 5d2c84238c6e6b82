"""A saving plan: each layer, and each block, saves as `rmmbench plan` found best for a model."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

from rmmbench.methods.method import Method
from rmmbench.spec.saving_plan import AnyPlan
from rmmbench.spec.settings import Setting, Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


class PlanSettings(Settings):
    """What is planned.

    Attributes:
        plan: The plan itself, or the path of its file; a record has its content.
    """

    plan: Annotated[AnyPlan, Setting("{}", varies=True)]


class Plan(Method[PlanSettings]):
    """Changes the layers and blocks that a plan names."""

    takes_over = frozenset({"the inputs of linear layers", "recomputation"})

    def apply(
        self, model: "nn.Module", settings: PlanSettings, batch: "Mapping[str, Tensor]"
    ) -> int:
        """Change the model and return how many layers and blocks were.

        Raises:
            PlanError: A ValueError, if the plan is another model's.
        """
        from rmmbench.nn.planned import apply_plan

        return apply_plan(model, settings.plan)

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which layers are exact and nothing is computed again."""
        from rmmbench.nn.planned import unplanned

        return unplanned(model)

    def is_exact_with(self, settings: PlanSettings) -> bool:
        """Return whether the plan has no layer that keeps an estimate."""
        return settings.plan.is_exact
