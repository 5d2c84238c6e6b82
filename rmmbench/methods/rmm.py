"""The paper's method: linear layers keep a sketch of their input."""

from contextlib import AbstractContextManager

from torch import nn

from rmmbench.methods.method import Method
from rmmbench.nn import convert, converted_layers, exact_layers
from rmmbench.record import Case


class RMM(Method):
    """Converts each linear layer that the case's patterns let through, Q, K and V separately."""

    def apply(self, model: nn.Module, case: Case) -> int:
        """Convert the model's linear layers and return how many there are."""
        convert(
            model,
            sketch=case.sketch or "gaussian",
            rho=case.rho,
            proj_dim=case.proj_dim,
            min_proj_dim=case.min_proj_dim,
            max_proj_dim=case.max_proj_dim,
            include=case.include,
            exclude=case.exclude,
        )
        return len(converted_layers(model))

    def reference(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which every layer is exact."""
        return exact_layers(model)
