"""torch.compile told to keep less: what is cheap to compute again is, in the backward pass.

The budget is a share: 1 keeps all that `compile` would, 0 the inputs of the program alone, and
between them a knapsack chooses what costs least to compute again, as counted in its arithmetic.
Random numbers, such as dropout's masks, are kept at any budget, since a second draw would be
another; so a model with dropout keeps more than the budget says.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from rmmbench.methods._compiled import compile_in_place
from rmmbench.methods.compile import Compile
from rmmbench.spec.case import DEFAULTS, Case


class MemoryBudget(Compile):
    """Runs the whole model compiled, within the case's budget."""

    def apply(self, model: nn.Module, case: Case, batch: Mapping[str, Tensor]) -> int:
        """Have the model compiled when it is first called, and return 1: it is one program."""
        budget = DEFAULTS["memory-budget", "budget"] if case.budget is None else case.budget
        compile_in_place(model, budget)
        return 1
