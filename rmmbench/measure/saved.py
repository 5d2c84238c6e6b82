"""What autograd holds between forward and backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


class SavedTensors:
    """Every storage that autograd saved, once, a model's own parameters and buffers left out.

    A view that is saved keeps its whole storage, so the storage counts.
    """

    def __init__(self, model: nn.Module) -> None:
        """Leave out the parameters and buffers of `model`."""
        state = [*model.parameters(), *model.buffers()]
        self._own = {tensor.untyped_storage()._cdata for tensor in state}
        self._by_storage: dict[int, Tensor] = {}

    def note(self, tensor: Tensor) -> Tensor:
        """Take a tensor in, and return it."""
        key = tensor.untyped_storage()._cdata
        if key not in self._own:
            self._by_storage.setdefault(key, tensor)
        return tensor

    def total_bytes(self) -> int:
        """Return the bytes of all storages."""
        return sum(tensor.untyped_storage().nbytes() for tensor in self._by_storage.values())

    def sizes_by_address(self) -> dict[int, int]:
        """Return the bytes of each storage that is not empty, by where it starts."""
        storages = [tensor.untyped_storage() for tensor in self._by_storage.values()]
        return {storage.data_ptr(): storage.nbytes() for storage in storages if storage.nbytes()}


@contextmanager
def saved_tensors(model: nn.Module) -> Iterator[SavedTensors]:
    """Collect what autograd saves for the backward pass of `model`; held until the result goes."""
    saved = SavedTensors(model)
    with saved_tensors_hooks(saved.note, lambda tensor: tensor):
        yield saved
