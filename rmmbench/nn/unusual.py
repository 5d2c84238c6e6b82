"""Inputs that `torch.nn.functional.linear` takes and a sketch cannot; they take the exact path.

Nested tensors of jagged layout can be sketched, since their rows follow one another.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.fx import Proxy


def can_be_sketched(*tensors: Tensor | None) -> bool:
    """Tell whether a linear map of these (input, weight, bias) may keep a sketch.

    They must be real floating-point numbers, strided and not nested. Under a transform of
    `torch.func` or with tangents of forward mode they may not, because one estimate serves neither
    gradients of gradients, nor directional derivatives, nor gradients of single samples.
    """
    if torch._C._are_functorch_transforms_active():
        return False
    return all(tensor is None or _is_plain(tensor) for tensor in tensors)


def _is_plain(tensor: Tensor) -> bool:
    if not isinstance(tensor, Tensor) or tensor.is_nested or tensor.layout is not torch.strided:
        return False
    if not tensor.is_floating_point():
        return False
    if forward_ad._current_level < 0:
        return True
    return forward_ad.unpack_dual(tensor).tangent is None  # type: ignore[no-untyped-call]


def is_jagged(input: Tensor) -> bool:
    """Tell whether an input is nested, its rows one after another without gaps."""
    if not isinstance(input, Tensor) or input.layout is not torch.jagged:
        return False
    return input.is_contiguous()  # torch's linear refuses what is not


def as_jagged(values: Tensor, like: Any) -> Tensor:
    """Return a matrix of rows as a nested tensor with the lengths of another."""
    return torch.nested.nested_tensor_from_jagged(values, like.offsets())


def traced_call(layer: nn.Module, input: object) -> Tensor | None:
    """Return the proxy of a layer's output if `torch.fx` is tracing, as it does for nn.Linear.

    The call becomes one node of the graph. None if nothing is traced, or if the layer is itself the
    root that is traced.
    """
    if not isinstance(input, Proxy):
        return None
    tracer: Any = input.tracer
    name = tracer.path_of_module(layer)
    return tracer.create_proxy("call_module", name, (input,), {}) if name else None
