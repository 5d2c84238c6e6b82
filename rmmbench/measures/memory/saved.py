"""Finds what the growth of memory in a forward pass shows wrongly of what autograd keeps.

The tensors of the batch are kept, but were there before; parameters that FSDP2 gathers are not kept
for the backward pass, but stay where they are not given back.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from rmmbench.measures.step import tensors_of


class SavedInputs:
    """The storages of a batch that autograd saved, each once.

    They are kept for the backward pass like others, but existed before the forward pass, so the
    growth of memory in it does not show them. A saved view keeps its whole storage, so that counts.
    """

    def __init__(self, batch: Mapping[str, Any]) -> None:
        """Watch for the tensors of `batch`."""
        storages = [tensor.untyped_storage() for tensor in tensors_of(batch)]
        self._batch = {storage._cdata: storage.nbytes() for storage in storages}
        self._saved: set[int] = set()

    def note(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd saves, and return it."""
        self._saved.add(tensor.untyped_storage()._cdata)
        return tensor

    def total_bytes(self) -> int:
        """Return the bytes of the batch's storages that were saved."""
        return sum(size for key, size in self._batch.items() if key in self._saved)


class GatheredParameters:
    """The parameters of a model that were gathered since this was made, and are still there."""

    def __init__(self, model: nn.Module) -> None:
        """Look at the model's parameters as they are."""
        self._model = model
        self._before = _storages(model)

    def total_bytes(self) -> int:
        """Return the bytes of what is there beside the shards."""
        now = _storages(self._model)
        return sum(size for key, size in now.items() if key not in self._before)


def _storages(model: nn.Module) -> dict[int, int]:
    """Return the bytes of the storages of a model's parameters on this rank."""
    local = [getattr(each, "_local_tensor", each) for each in model.parameters()]
    storages = [tensor.untyped_storage() for tensor in local]
    return {storage._cdata: storage.nbytes() for storage in storages}


@contextmanager
def saved_inputs(batch: Mapping[str, Any]) -> Iterator[SavedInputs]:
    """Watch which tensors of `batch` autograd saves in a forward pass."""
    saved = SavedInputs(batch)
    with saved_tensors_hooks(saved.note, lambda tensor: tensor):
        yield saved
