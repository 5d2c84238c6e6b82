"""torch.compile told to keep less: what is cheap to compute again is, in the backward pass.

The budget is a share: 1 keeps all that `compile` would, 0 the inputs of the program alone, and
between them a knapsack chooses what costs least to compute again, as counted in its arithmetic.
Random numbers, such as dropout's masks, are kept at any budget, since a second draw would be
another; so a model with dropout keeps more than the budget says.
"""

from typing import Annotated

from rmmbench.methods.compile import Compiled
from rmmbench.spec.ranges import Fraction
from rmmbench.spec.settings import Setting, Settings


class MemoryBudgetSettings(Settings):
    """How much is kept.

    Attributes:
        budget: What the compiler may keep, 1 for all it would, 0 for the inputs.
    """

    budget: Annotated[Fraction, Setting("budget {:g}", varies=True, amount=True, alone="{:g}")] = (
        0.5
    )


class MemoryBudget(Compiled[MemoryBudgetSettings]):
    """Runs the whole model compiled, within a budget."""

    def budget(self, settings: MemoryBudgetSettings) -> float:
        """Return the budget."""
        return settings.budget
