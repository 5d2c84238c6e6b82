"""torch.compile as it comes: what a compiler saves without being asked to.

Ansel, Yang, He and others (2024): PyTorch 2: Faster Machine Learning Through Dynamic Python
Bytecode Transformation and Graph Compilation. ASPLOS.

It fuses operations, so that what lies between them is never there, and computes again what costs
nothing. What `memory-budget` saves is to be compared with this.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from torch import Tensor, nn

from rmmbench.methods._compiled import compile_in_place, eager, what_is_missing
from rmmbench.methods.method import Method
from rmmbench.spec.case import Case


class Compile(Method):
    """Runs the whole model compiled."""

    takes_over = frozenset({"the whole program", "recomputation", "what autograd saves"})
    is_exact = True

    def apply(self, model: nn.Module, case: Case, batch: Mapping[str, Tensor]) -> int:
        """Have the model compiled when it is first called, and return 1: it is one program."""
        compile_in_place(model, budget=1.0)
        return 1

    def reference(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which the model runs uncompiled."""
        return eager(model)

    def lacks(self, device: str) -> str | None:
        """Return which compiler is missing, or why nothing can be predicted."""
        return what_is_missing(device)
