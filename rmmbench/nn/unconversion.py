"""Turn the converted layers of a model back into the original ones, in place."""

from importlib import import_module
from typing import Any, TypeVar

from torch import nn

from rmmbench.errors import arguments_checked
from rmmbench.nn.blocks import keep_chosen
from rmmbench.nn.compressed_layers import (
    Compressed,
    CompressedConv1D,
    CompressedLinear,
    named_compressed,
)
from rmmbench.nn.conv1d import RMMConv1D
from rmmbench.nn.layer import RMMLinear
from rmmbench.nn.recomputed_attention import keep_attention
from rmmbench.nn.sharing import stop_sharing
from rmmbench.nn.swap import change_class

M = TypeVar("M", bound=nn.Module)


@arguments_checked
def unconvert(model: M) -> M:
    """Make the converted layers of a model linear ones again, and return the model.

    This undoes `convert`, a plan's too, and the methods exact-rp, prac and velora. Modules and
    parameters stay the same objects, so optimizers, hooks and the keys of `state_dict` stay valid.
    A layer that was created as `RMMLinear` becomes `torch.nn.Linear`. A model without converted
    layers stays as it is.

    Args:
        model: Changed in place.

    Raises:
        ValueError: If a layer's class is a user's subclass of `RMMLinear`; nothing is changed then.

    Examples:
        >>> import rmmbench, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4))
        >>> rmmbench.unconvert(rmmbench.convert(model, rho=0.5))
        Sequential(
          (0): Linear(in_features=8, out_features=4, bias=True)
        )
    """
    layers = named_compressed(model)
    plain = {name: _plain_class(name, layer) for name, layer in layers.items()}
    stop_sharing(model)
    keep_chosen(model)
    keep_attention(model)
    for name, layer in layers.items():
        module: Any = layer
        change_class(module, plain[name])
        for each in ("exact", *getattr(module.compression, "beside", ()), "compression"):
            delattr(module, each)
    return model


_PLAIN = {RMMLinear: nn.Linear, CompressedLinear: nn.Linear}


def _plain_class(name: str, layer: Any) -> type:
    """Return the class that a layer had before it was converted."""
    kind = type(layer)
    if kind in (RMMConv1D, CompressedConv1D):
        conv1d: type = import_module("transformers.pytorch_utils").Conv1D
        return conv1d
    # The bases are our class and then the subclass of nn.Linear.
    plain: type = _PLAIN.get(kind) or kind.__bases__[-1]
    if issubclass(plain, Compressed):
        known = f"{type(layer).__name__}, which is derived from {plain.__name__}"
        need = "must have been made by convert, or be an RMMLinear"
        raise ValueError(f"layer '{name}' {need}, got a {known}; replace it yourself")
    return plain
