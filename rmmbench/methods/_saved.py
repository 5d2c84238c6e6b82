"""A model's forward pass of which autograd keeps what it saves in another way.

A storage is kept once, however many views of it are saved and however often: a linear layer's
input that Q, K and V read, or a softmax that two operators need. It comes back for each of them,
and goes when that one is done. What lives anyway is left alone: parameters, buffers, and the batch;
parameters also where FSDP2 gathers them, as it gives them back by itself.
So is what is small, as a norm's statistics or the input of a classifier: it is little beside one
activation, and costs as many kernels.
"""

import functools
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._pytree import tree_iter

from rmmbench.nn.conversion import all_exact

# A GPU takes as long to copy this much to its host as to start the copy.
_LEAST_BYTES = 64 * 2**10


class Keeping(ABC):
    """Another way to keep numbers from the forward to the backward pass."""

    @abstractmethod
    def takes(self, tensor: Tensor) -> bool:
        """Tell whether the numbers of a tensor that autograd saves can be kept so."""

    @abstractmethod
    def keep(self, run: Tensor) -> Any:
        """Return what is kept of some numbers, nothing of which may hold their storage.

        Args:
            run: All that a storage holds, shape (n,).
        """

    @abstractmethod
    def restore(self, kept: Any) -> Tensor:
        """Return the numbers that `keep` was given: same shape, dtype and device, new storage."""


class KeptForward:
    """The forward pass of a model in training; put in its place, and copied with it.

    Attributes:
        exact: While true autograd keeps what it saves as it is.
    """

    def __init__(self, model: nn.Module, keeping: Keeping) -> None:
        """Take the place of the model's `forward`, with its name and signature."""
        functools.update_wrapper(self, model.forward)
        self._forward, self._model, self._keeping = model.forward, model, keeping
        self.exact = False
        model.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model's own forward pass does."""
        if self.exact or not self._model.training:
            return self._forward(*args, **kwargs)
        living = chain(self._model.parameters(), self._model.buffers(), tree_iter((args, kwargs)))
        saves = _Saves(self._keeping, living)
        try:
            with saved_tensors_hooks(saves.pack, saves.unpack):
                return self._forward(*args, **kwargs)
        finally:
            saves.kept.clear()  # what the graph lets go of is not to be held here


def kept_exactly(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which autograd keeps what a model's forward pass saves as it is."""
    return all_exact(_kept_forwards(model))


def _kept_forwards(model: nn.Module) -> Iterator[KeptForward]:
    forward: Any = model.forward
    while forward is not None:
        if isinstance(forward, KeptForward):
            yield forward
        forward = getattr(forward, "__wrapped__", None)


class _Save(NamedTuple):
    """One tensor that autograd saved: a view of what is kept of a storage."""

    kept: Any
    size: torch.Size
    stride: tuple[int, ...]
    offset: int | torch.SymInt


class _Saves:
    """What autograd saves in one forward pass; what is left alone the hooks around it may have.

    Attributes:
        kept: Of each storage that is alive, by version and dtype.
    """

    def __init__(self, keeping: Keeping, living: Iterator[Any]) -> None:
        # Of a DTensor, this rank's part.
        parts = (getattr(value, "_local_tensor", value) for value in living)
        tensors = (value for value in parts if _has_storage(value))
        self._living = {tensor.untyped_storage()._cdata for tensor in tensors}
        self._keeping = keeping
        # Only the innermost hooks are called, and those around may count the batch.
        around = torch._C._autograd._top_saved_tensors_default_hooks(True)
        self._pack_around, self._unpack_around = around or (_itself, _itself)
        self.kept: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()

    @torch.no_grad()
    def pack(self, tensor: Tensor) -> Any:
        if self._stays(tensor):
            return self._pack_around(tensor)
        storage = tensor.untyped_storage()
        versions = self.kept.setdefault(storage, {})
        key = (tensor._version, tensor.dtype)
        if key not in versions:
            length = storage.nbytes() // tensor.itemsize
            run = tensor.detach().as_strided((length,), (1,), 0)
            versions[key] = self._keeping.keep(run)
        return _Save(versions[key], tensor.size(), tensor.stride(), tensor.storage_offset())

    @torch.no_grad()
    def unpack(self, saved: Any) -> Tensor:
        if not isinstance(saved, _Save):
            return self._unpack_around(saved)
        run = self._keeping.restore(saved.kept)
        return run.as_strided(saved.size, saved.stride, saved.offset)

    def _stays(self, tensor: Tensor) -> bool:
        if not _has_storage(tensor):
            return True
        storage = tensor.untyped_storage()
        lives = storage._cdata in self._living or _is_parameter(tensor)
        return lives or storage.nbytes() < _LEAST_BYTES or not self._keeping.takes(tensor)


def _has_storage(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not value.is_neg()
        and not is_traceable_wrapper_subclass(value)
    )


def _is_parameter(tensor: Tensor) -> bool:
    """Tell whether a tensor is a parameter, or a view of one."""
    return isinstance(tensor if tensor._base is None else tensor._base, nn.Parameter)


def _itself(tensor: Tensor) -> Tensor:
    return tensor
