"""The paper's method: linear layers keep a sketch of their input."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from torch import Tensor, nn

from rmmbench.methods.method import Method
from rmmbench.nn import convert, converted_layers, exact_layers
from rmmbench.spec.case import Case


class RMM(Method):
    """Converts each linear layer that the case's patterns let through, or those that gain by it."""

    takes_over = frozenset({"the inputs of linear layers"})

    def apply(self, model: nn.Module, case: Case, batch: Mapping[str, Tensor]) -> int:
        """Convert the model's linear layers and return how many were."""
        convert(
            model,
            sketch=case.sketch or "gaussian",
            rho=case.rho,
            proj_dim=case.proj_dim,
            min_proj_dim=case.min_proj_dim,
            max_proj_dim=case.max_proj_dim,
            block_rows=case.block_rows,
            include=case.include,
            exclude=case.exclude,
            where=case.where,
            example=batch if case.where == "beneficial" else None,
            share=case.share,
        )
        return len(converted_layers(model))

    def reference(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which every layer is exact."""
        return exact_layers(model)
