"""Which layers of a model can be sketched, and why the others cannot."""

import sys
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized

from rmmbench.nn.bypass import bypassed_layers
from rmmbench.nn.layer import Sketched

# Their own forward pass computes what nn.Linear's does.
_SAME_AS_LINEAR = {"transformers.models.falcon.modeling_falcon.FalconLinear"}


def linear_layers(model: nn.Module) -> dict[str, Any]:
    """Return the layers that can be sketched, by qualified name.

    They are `torch.nn.Linear`, its subclasses that compute the same, and transformers' `Conv1D`. A
    layer whose parent module reads its weight without calling it is left out.
    """
    bypassed = bypassed_layers(model)
    return {
        name: layer
        for name, layer in model.named_modules()
        if layer not in bypassed and (is_conv1d(layer) or _is_linear(layer))
    }


def left_out_layers(model: nn.Module) -> dict[str, str]:
    """Return what multiplies by a weight but cannot be sketched, by qualified name, and why."""
    bypassed = bypassed_layers(model)
    return {
        name: reason
        for prefix, module in model.named_modules()
        for name, reason in _left_out(prefix, module, bypassed.get(module))
    }


def is_conv1d(layer: nn.Module) -> bool:
    """Tell whether a layer is transformers' `Conv1D`."""
    # If the model has such a layer, its module has been imported.
    transformers = sys.modules.get("transformers.pytorch_utils")
    return transformers is not None and type(layer) is transformers.Conv1D


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) and _obstacle(layer) is None


def _obstacle(layer: nn.Linear) -> str | None:
    kind = type(layer)
    if isinstance(layer, LazyModuleMixin):
        return f"{kind.__name__} has no shape before its first batch"
    if is_parametrized(layer):
        return "parametrized before it was converted"
    is_known = f"{kind.__module__}.{kind.__qualname__}" in _SAME_AS_LINEAR
    if kind.forward is not nn.Linear.forward and not is_known:
        return f"{kind.__name__} has a forward pass of its own"
    return None


def _left_out(prefix: str, module: nn.Module, reader: str | None) -> Iterator[tuple[str, str]]:
    kind = type(module).__name__
    if isinstance(module, Sketched):
        return
    if isinstance(module, nn.Linear) or is_conv1d(module):
        reason = _obstacle(module) if isinstance(module, nn.Linear) else None
        if reader is not None:
            reason = f"{reader} reads its weight without calling it"
        if reason is not None:
            yield prefix, reason
        return
    for name, weight in module.named_parameters(recurse=False):
        if _is_multiplied_by(module, name, weight):
            where = f"{prefix}.{name}".lstrip(".")
            yield where, f"{kind} multiplies by its own {weight.dim()}-dimensional weights"


def _is_multiplied_by(module: nn.Module, name: str, weight: nn.Parameter) -> bool:
    """Tell whether a module that is not a linear layer multiplies by a parameter as one does."""
    if isinstance(module, nn.MultiheadAttention):
        return weight.dim() == 2
    if type(module).__module__.startswith("torch.nn."):
        return False
    # Embeddings of positions, or of a class token, have a first dimension of 1.
    is_of_experts = weight.dim() == 3 and min(weight.shape) > 1
    is_linear = weight.dim() == 2 and name == "weight" and "Linear" in type(module).__name__
    return is_of_experts or is_linear
