"""Autocast around an autograd function, which its casts do not reach into."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def is_autocast(device_type: str) -> bool:
    """Tell whether autocast is on for a kind of device; "meta", for one, has none."""
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def as_autocast(tensor: Tensor) -> Tensor:
    """Return the tensor as autocast would hand it to F.linear."""
    device_type = tensor.device.type
    if not is_autocast(device_type):
        return tensor
    if not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(device_type))


def kept_weight(weight: Tensor, cast: Tensor) -> Tensor:
    """Return what of a weight, which autocast made `cast`, is kept until the backward pass.

    A parameter is alive anyway, and is cast again: a cast copy would be one more for each call,
    where autocast's own is made once. A weight that was computed dies, and its copy is smaller.
    """
    if cast is weight or torch.compiler.is_compiling():
        return weight
    owner = weight._base if weight._is_view() else weight
    return weight if owner is not None and owner.is_leaf else cast


@contextmanager
def outside_of_autograd(tensor: Tensor) -> Iterator[None]:
    """Compute without gradients, and in the dtypes that tensors have."""
    device_type = tensor.device.type
    with torch.no_grad():
        if not is_autocast(device_type):
            yield
            return
        with torch.autocast(device_type, enabled=False):
            yield
