"""The paper's method: linear layers keep a sketch of their input."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from rmmbench.methods.method import Method
from rmmbench.spec.ranges import Count, Flag, Name, Rho
from rmmbench.spec.settings import Setting, Settings
from rmmbench.spec.steps import Of, Step

if TYPE_CHECKING:
    from torch import Tensor, nn


class RMMSettings(Settings):
    """What is kept of which layers.

    Attributes:
        sketch: By name, with its own settings.
        rho: B_proj ÷ B; or else
        proj_dim: B_proj itself.
        bits: Of a number that is kept; None for all that it has. With ρ = 1 there is no sketch, and
            the inputs themselves are kept in few bits.
        principal: Principal features, whose part of the gradient is exact; None for none.
        min_proj_dim, max_proj_dim: Where B_proj ends, whatever ρ says.
        include, exclude: Patterns of the layers to convert, by qualified name.
        where: Of these layers "all", or those that gain by a sketch.
        share: Whether layers that read one tensor keep one sketch of it between them.
    """

    sketch: Annotated[Step, Of("sketches"), Setting(varies=True)] = Field(
        default_factory=lambda: Of("sketches").read("gaussian")
    )
    rho: Annotated[Rho | None, Setting(varies=True, amount=True)] = None
    proj_dim: Annotated[Count | None, Setting(varies=True, amount=True, instead_of="rho")] = None
    bits: Annotated[
        Literal[2, 4, 8] | None, Setting("{} bits", varies=True, amount=True, alone="{} bits")
    ] = None
    principal: Annotated[Count | None, Setting("{} principal", varies=True)] = None
    min_proj_dim: Count = 1
    max_proj_dim: Count | None = None
    include: tuple[Name, ...] = ()
    exclude: tuple[Name, ...] = ()
    where: Annotated[Literal["all", "beneficial"], Setting("{} layers")] = "all"
    share: Annotated[Flag, Setting("unshared")] = True

    @model_validator(mode="after")
    def _ordered(self) -> "RMMSettings":
        if self.max_proj_dim is not None and self.max_proj_dim < self.min_proj_dim:
            limit = f"at least min_proj_dim ({self.min_proj_dim})"
            raise ValueError(f"max_proj_dim must be {limit}, got {self.max_proj_dim}")
        return self


class RMM(Method[RMMSettings]):
    """Converts each linear layer that the patterns let through, or those that gain by it."""

    takes_over = frozenset({"the inputs of linear layers"})

    def apply(
        self, model: "nn.Module", settings: RMMSettings, batch: "Mapping[str, Tensor]"
    ) -> int:
        """Convert the model's linear layers and return how many were."""
        from rmmbench.nn import convert, converted_layers

        convert(
            model,
            sketch=settings.sketch.name,
            rho=settings.rho,
            proj_dim=settings.proj_dim,
            min_proj_dim=settings.min_proj_dim,
            max_proj_dim=settings.max_proj_dim,
            bits=settings.bits,
            principal=settings.principal,
            include=settings.include,
            exclude=settings.exclude,
            where=settings.where,
            example=batch if settings.where == "beneficial" else None,
            share=settings.share,
            **dict(settings.sketch.settings),
        )
        return len(converted_layers(model))

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which every layer is exact."""
        from rmmbench.nn import exact_layers

        return exact_layers(model)
