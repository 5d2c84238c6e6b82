"""Advise which linear layers of a model to sketch."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from rmmbench.nn.analysis.layer_advice import LayerAdvice, advise_layers
from rmmbench.nn.analysis.rehearsal import Example
from rmmbench.nn.candidates import linear_layers
from rmmbench.nn.patterns import select
from rmmbench.nn.size import SketchSettings
from rmmbench.results.listing import Listing, beside
from rmmbench.units import format_bytes


class Advice(Listing[LayerAdvice]):
    """What a sketch of each linear layer would save, one row a layer."""

    @property
    def beneficial(self) -> list[str]:
        """The names of the layers to sketch, for `include` of `convert`."""
        return [layer.layer for layer in self if layer.is_beneficial]

    def cells(self, item: LayerAdvice) -> Mapping[str, str]:
        """Return the text of each column by its heading."""
        others = f" by {'; '.join(item.others)}" if item.others else ""
        return {
            "layer": item.layer,
            "keeps now": format_bytes(item.kept_bytes),
            "sketched": format_bytes(item.sketched_bytes),
            "verdict": "sketch" if item.is_beneficial else f"leave: {item.reason}{others}",
            "shares with": ", ".join(beside(item.layer, other) for other in item.shares_with),
        }


def advise(
    model: nn.Module,
    example: Example,
    *,
    sketch: str = "oporp",
    rho: float | None = None,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    share: bool = True,
    **settings: Any,
) -> Advice:
    """Return for each linear layer of a model whether a sketch of its input saves memory.

    Nothing is computed or changed: one training step runs on fake tensors. `convert(model,
    where="beneficial", example=example)` follows the same advice.

    Args:
        model: Not converted yet.
        example: A batch like those of training: a mapping of the model's keyword arguments, a
            sequence of its arguments, or its only argument. Call this under autocast if training
            uses it.
        sketch: A name of `rmmbench.sketches.names()`.
        rho: Compression rate, in (0, 1]; 0.5 if proj_dim is not given either.
        include: Patterns of qualified names; only matching layers are considered.
        exclude: Patterns; layers that match one are not considered.
        share: Whether layers of one block that read the same tensor keep one sketch of it.
        settings: proj_dim, min_proj_dim, max_proj_dim and the sketch's own, as for `convert`.

    Raises:
        TypeError: If a setting does not exist or has the wrong type.
        ValueError: If the settings make no sense, or the forward pass reads values of tensors.

    Examples:
        >>> import rmmbench, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.Linear(256, 10))
        >>> advice = rmmbench.advise(model, torch.zeros(4096, 256), rho=0.1)
        >>> advice[1].is_beneficial, advice[1].kept_bytes, advice[1].sketched_bytes
        (True, 4194304, 419848)
    """
    rho = 0.5 if rho is None and "proj_dim" not in settings else rho
    beside = ("include", "exclude", "share")
    chosen = SketchSettings.of({"sketch": sketch, "rho": rho, **settings}, beside)
    layers = select(linear_layers(model), include, exclude)
    return Advice(advise_layers(model, layers, chosen, example, share=share))
