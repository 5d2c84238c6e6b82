"""Autocast for autograd functions, inside which torch does not cast."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _has_autocast(device_type: str) -> bool:
    """Tell whether a type of device has autocast; "meta" has none. Dynamo of torch 2.11 asks it."""
    return torch.amp.is_autocast_available(device_type)


def is_autocast(device_type: str) -> bool:
    """Tell whether autocast is on for a type of device."""
    return _has_autocast(device_type) and torch.is_autocast_enabled(device_type)


def as_autocast(tensor: Tensor) -> Tensor:
    """Return the tensor in the dtype to which autocast casts the inputs of F.linear."""
    device_type = tensor.device.type
    if not is_autocast(device_type):
        return tensor
    if not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(device_type))


def kept_weight(weight: Tensor, cast: Tensor) -> Tensor:
    """Return what to keep of a weight until the backward pass: itself, or its copy `cast`.

    A parameter is alive anyway and can be cast again, whereas each call would keep one more copy. A
    weight that was computed would be kept for this alone, and its copy is smaller.
    """
    if cast is weight or torch.compiler.is_compiling():
        return weight
    owner = weight._base if weight._is_view() else weight
    return weight if owner is not None and owner.is_leaf else cast


@contextmanager
def outside_of_autograd(tensor: Tensor) -> Iterator[None]:
    """Turn off gradients and autocast."""
    device_type = tensor.device.type
    with torch.no_grad():
        if not is_autocast(device_type):
            yield
            return
        with torch.autocast(device_type, enabled=False):
            yield
