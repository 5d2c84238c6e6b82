"""Live bytes of tensors, counted as operators make them and as their last reference goes."""

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from rmmbench import sketches
from rmmbench.nn import ops


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, every storage that is made counts from its birth to its death.

    Attributes:
        live: Bytes alive now.
        peak: The most since it was last set.
        births: How many storages have been made so far, which is the time here.
        peak_at: When the peak was.
    """

    def __init__(self) -> None:
        """Start from nothing."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self.births = self.peak_at = 0
        self._alive: dict[int, weakref.ref[Any]] = {}
        self._workspaces: dict[Any, int] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operator and count what it made."""
        if func in ops.OPERATORS:
            self._count_workspace(func, *args)
        result = func(*args, **(kwargs or {}))
        self.count(tree_iter(result))
        return result

    def count(self, values: Iterable[Any]) -> None:
        """Count the tensors among some values, each storage once."""
        for value in values:
            if isinstance(value, Tensor):
                self._count(value)

    def _count_workspace(self, func: Any, *args: Any) -> None:
        """Raise the peak by what sketching takes at its highest."""
        self._note(self.live + self._workspace(func, *args))

    def _workspace(
        self,
        func: Any,
        x: Tensor,
        proj_dim: int,
        sketch: str,
        *given: Tensor | None,
    ) -> int:
        """Return what sketching takes at its highest; found once for each shape."""
        settings = (proj_dim, sketch)
        if func is ops.sketch and given[1] is not None:
            return 0  # another layer's
        case = (func, x.shape, x.dtype, *settings)
        if case not in self._workspaces:
            live, peak, peak_at = self.live, self.peak, self.peak_at
            self.peak = live
            with self:
                _sketch_again(func, x, *settings, given[0])
            self._workspaces[case] = self.peak - live
            self.peak, self.peak_at = peak, peak_at
        return self._workspaces[case]

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive[key] = weakref.ref(storage, lambda _: self._forget(key, size))
            self.live += size
            self.births += 1
            self._note(self.live)

    def _note(self, size: int) -> None:
        if size > self.peak:
            self.peak, self.peak_at = size, self.births

    def _forget(self, key: int, size: int) -> None:
        del self._alive[key]
        self.live -= size


def _sketch_again(func: Any, x: Tensor, proj_dim: int, name: str, key: Tensor | None) -> None:
    """Do what an operator does inside."""
    sketch = sketches.get(name)
    # Bytes do not depend on the seed, and a fake one has no value.
    if key is None or key.dim() == 0:
        key = torch.tensor(0, device=x.device)
    if func is ops.sketch:
        sketch.project(x, proj_dim, sketch.draw(x, proj_dim, key))
    elif func is ops.project:
        sketch.project(x, proj_dim, key)
    else:
        sketch.project_and_sum(x, proj_dim, key)
