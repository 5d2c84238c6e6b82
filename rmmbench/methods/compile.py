"""torch.compile as it comes: what a compiler saves without being asked to.

Ansel, Yang, He and others (2024): PyTorch 2: Faster Machine Learning Through Dynamic Python
Bytecode Transformation and Graph Compilation. ASPLOS.

It fuses operations, so that what lies between them is never there, and computes again what costs
nothing. What `memory-budget` saves is to be compared with this.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rmmbench.methods.method import Method, S
from rmmbench.spec.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


class Compiled(Method[S]):
    """Runs the whole model compiled."""

    takes_over = frozenset({"the whole program", "recomputation", "what autograd saves"})
    is_exact = True

    def budget(self, settings: S) -> float:
        """Return what the compiler may keep, in [0, 1]."""
        return 1.0

    def apply(self, model: "nn.Module", settings: S, batch: "Mapping[str, Tensor]") -> int:
        """Have the model compiled when it is first called, and return 1: it is one program."""
        from rmmbench.methods._compiled import compile_in_place

        compile_in_place(model, self.budget(settings))
        return 1

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which the model runs uncompiled."""
        from rmmbench.methods._compiled import eager

        return eager(model)

    def lacks(self, device: str) -> str | None:
        """Return which compiler is missing, or why nothing can be predicted."""
        from rmmbench.methods._compiled import what_is_missing

        return what_is_missing(device)


class Compile(Compiled[Settings]):
    """With all that the compiler would keep."""
