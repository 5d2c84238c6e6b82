"""Memory without a device: the training step runs on fake tensors, and live storages are added up.

What a kernel takes for itself is not seen, nor is CUDA's rounding of each tensor up to 512 bytes,
nor cuBLAS's workspace. A sketch's own temporaries are: its operators are looked into.
"""

import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from rmmbench import sketches
from rmmbench.measure.saved import saved_tensors
from rmmbench.measure.step import Prepare
from rmmbench.nn import ops
from rmmbench.record import Memory


class CannotPredictError(RuntimeError):
    """A model whose step depends on values, which fake tensors do not have."""


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, every storage that is made counts from its birth to its death.

    Attributes:
        live: Bytes alive now.
        peak: The most since it was last set.
    """

    def __init__(self) -> None:
        """Start from nothing."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
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
            self._count_workspace(*args)
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return result

    def _count_workspace(
        self, x: Tensor, proj_dim: int, name: str, block_rows: int | None, *_: Any
    ) -> None:
        """Raise the peak by what sketching takes at its highest; found once for each shape."""
        key = (name, x.shape, x.dtype, proj_dim, block_rows)
        if key not in self._workspaces:
            live, peak = self.live, self.peak
            self.peak = live
            with self:
                # Bytes do not depend on the seed, and a fake one has no value.
                sketches.get(name, block_rows).project(x, proj_dim, seed=0)
            self._workspaces[key] = self.peak - live
            self.peak = peak
        self.peak = max(self.peak, self.live + self._workspaces[key])

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive[key] = weakref.ref(storage, lambda _: self._forget(key, size))
            self.live += size
            self.peak = max(self.peak, self.live)

    def _forget(self, key: int, size: int) -> None:
        del self._alive[key]
        self.live -= size


def predict_memory(prepare: Prepare) -> Memory:
    """Return the memory of a training step on a device that is not there.

    Args:
        prepare: Builds the step; called where tensors are fake and on "cpu".

    Raises:
        CannotPredictError: If the step asks for the value of a tensor.
    """
    try:
        with FakeTensorMode(), LiveBytes() as count:
            return _measure(prepare, count)
    except Exception as error:
        why = _why_not(error)
        if why is None:
            raise
        remedy = "measure it on --device cpu or cuda"
        raise CannotPredictError(
            f"fake tensors cannot follow this model: {why}; {remedy}"
        ) from error


def _why_not(error: Exception) -> str | None:
    """Return why fake tensors do not do, or None if the error has nothing to do with them."""
    no_value = (
        DataDependentOutputException,
        DynamicOutputShapeException,
        UnsupportedOperatorException,
    )
    if isinstance(error, no_value):
        return f"{getattr(error, 'func', error)} needs real data"
    if "convert all Tensors to FakeTensors" in str(error):
        return "it uses a tensor that was made outside of it"
    if ".numpy() is not supported" in str(error) or "access data pointer" in str(error):
        return "it hands values to something that is not torch"
    return None


def _measure(prepare: Prepare, count: LiveBytes) -> Memory:
    step = prepare()
    peaks = []
    # One warmed-up step is enough: fake tensors repeat to the byte.
    for _ in range(2):
        count.peak = count.live
        step()
        peaks.append(count.peak)
    resting = count.live
    with saved_tensors(step.model) as saved:
        loss = step.forward()
    del loss
    return Memory(
        device="predict",
        peak_allocated_bytes=peaks[1],
        cold_peak_allocated_bytes=peaks[0],
        resting_bytes=resting,
        saved_bytes=saved.total_bytes(),
    )
