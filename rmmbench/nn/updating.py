"""Give the sketched layers of a model other settings, in place."""

from collections.abc import Iterable
from typing import Any, TypeVar

from torch import nn

from rmmbench.nn.conversion import converted_layers
from rmmbench.nn.patterns import select

M = TypeVar("M", bound=nn.Module)


def update(
    model: M,
    *,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    **settings: Any,
) -> M:
    """Change settings of the sketched layers of a model, and return the model.

    Other settings stay as they are, except that `rho` replaces `proj_dim` and the other way round.
    The next forward pass uses the new settings, even in the middle of training.

    Args:
        model: One that `convert` changed, or that has `RMMLinear` layers.
        include: Patterns of qualified names ("*.attention.*"); only matching layers change.
        exclude: Patterns; layers that match one do not change.
        settings: Those of `convert`: sketch, rho, proj_dim, min_proj_dim, max_proj_dim and the
            sketch's own.

    Raises:
        TypeError: If a setting does not exist or has the wrong type; nothing is changed then.
        ValueError: If there are no settings or they make no sense, or no sketched layer matches;
            nothing is changed then.

    Examples:
        >>> import rmmbench, torch
        >>> model = rmmbench.convert(torch.nn.Sequential(torch.nn.Linear(8, 4)), rho=0.5)
        >>> rmmbench.update(model, sketch="oporp", rho=0.2)
        Sequential(
          (0): RMMLinear(in_features=8, out_features=4, bias=True, sketch=oporp, rho=0.2)
        )
    """
    layers = converted_layers(model)
    if not layers:
        raise ValueError("the model must have sketched layers, and has none; convert it first")
    if not settings:
        raise ValueError("update must be given a setting to change, such as rho=0.2, got none")
    chosen = {name: layers[name] for name in select(layers, include, exclude)}
    beside = ("include", "exclude")
    changed = {name: each.settings.changed(settings, beside) for name, each in chosen.items()}
    for name, layer in chosen.items():
        layer.settings = changed[name]
    return model
