"""Live bytes of tensors, counted as operators make them and as their last reference goes."""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Self
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from rmmbench import sketches
from rmmbench.fakes.caching_allocator import Block
from rmmbench.fakes.device import FakeGPU
from rmmbench.kernels import rounding
from rmmbench.nn import ops
from rmmbench.nn.analysis.shards import around_sharding, is_of_others, local
from rmmbench.nn.principal import split_off


class Workspace(NamedTuple):
    """What sketching takes beside its input and its result.

    Attributes:
        peak_bytes: At its highest.
        events: Storages in the order in which they come and go: the number of each, and its size
            in bytes, or None where it goes.
    """

    peak_bytes: int = 0
    events: tuple[tuple[int, int | None], ...] = ()


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, every storage that is made counts from its birth to its death.

    Attributes:
        live: Bytes alive now.
        peak: The most since it was last set.
        births: How many storages have been made so far, which is the time here.
        peak_at: When the peak was.
    """

    def __init__(self, device_type: str | None = None, gpu: FakeGPU | None = None) -> None:
        """Start from nothing.

        Args:
            device_type: Of the tensors that count; by default all do.
            gpu: The fake GPU that they are on, if any; it allocates what comes and frees what goes.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self.births = self.peak_at = 0
        self._device_type = gpu.device_type if gpu else device_type
        self._gpu = gpu
        self._alive: dict[int, weakref.ref[Any]] = {}
        self._sizes: dict[int, int] = {}
        self._blocks: dict[int, Block | None] = {}
        self._events: list[tuple[int, int | None]] | None = None
        self._is_paused = False

    def __enter__(self) -> Self:
        """Begin to count."""
        if not _COUNTING:
            _RESIZING.start()
            around_sharding(nothing_counted)
        _COUNTING.append(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        _COUNTING.remove(self)
        if not _COUNTING:
            _RESIZING.stop()
            around_sharding(None)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operator and count what it made; of a sharded tensor what is done to its part."""
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            # Two in three of all calls: autograd's engine asks for the device of each fake tensor.
            return args[0].device
        if any(map(is_of_others, types)):
            return NotImplemented
        # Modes of functions are for what a model calls, and an operator was called.
        with torch._C.DisableTorchFunction():
            return self._run(func, args, kwargs or {})

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator on tensors that hold their numbers themselves, and count what it made."""
        if self._is_paused:
            return func(*args, **kwargs)
        if func in ops.OPERATORS:
            self._count_workspace(func, *args)
        if self._gpu is not None:
            self._gpu.before(func)
        result = func(*args, **kwargs)
        self.count((result,))
        if self._gpu is not None:
            self._gpu.after(func, args)
        return result

    @property
    def is_inside(self) -> bool:
        """Whether what runs now is done again to see what a sketch takes."""
        return self._events is not None

    def count(self, values: Iterable[Any]) -> None:
        """Count the tensors among some values and lists of such, each storage once."""
        for tensor in local(values):
            self._count(tensor)

    def resized(self, storage: torch.UntypedStorage) -> None:
        """Count a storage's new size, if the storage counts."""
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive or size == self._sizes[key]:
            return
        self.live += size - self._sizes[key]
        self._sizes[key] = size
        if self._gpu is not None:
            self._gpu.allocator.free(self._blocks[key])
            self._blocks[key] = self._gpu.allocate(size)
        self._note(self.live)

    def allocate_anew(self) -> None:
        """Let the GPU hold what is alive now, and forget what it took to get there."""
        if self._gpu is not None:
            self._gpu.start_anew()
            self._blocks = {key: self._gpu.allocate(size) for key, size in self._sizes.items()}

    def _count_workspace(self, func: Any, *args: Any) -> None:
        """Raise the peak by what sketching takes at its highest."""
        self._note(self.live + self._workspace(func, *args))

    def _workspace(self, func: Any, x: Tensor, *rest: Any) -> int:
        """Return what sketching takes at its highest; found once for each shape."""
        settings = [each for each in rest if each is not None and not isinstance(each, Tensor)]
        given = rest[len(settings) :]
        if func in ops.DRAWING and given[1] is not None:
            return 0  # another layer's
        case = (func, x.device.type, x.shape, x.dtype, *settings)
        if case in _WORKSPACES:
            self._allocate_again(_WORKSPACES[case])
        else:
            live, peak, peak_at = self.live, self.peak, self.peak_at
            self.peak, self._events = live, []
            with self:
                _sketch_again(func, x, settings, given)
            _WORKSPACES[case] = Workspace(self.peak - live, tuple(self._events))
            self.peak, self.peak_at, self._events = peak, peak_at, None
        return _WORKSPACES[case].peak_bytes

    def _allocate_again(self, workspace: Workspace) -> None:
        """Let the GPU allocate and free what it did when sketching was followed."""
        if self._gpu is None:
            return
        blocks: dict[int, Block | None] = {}
        for number, size in workspace.events:
            if size is None:
                self._gpu.allocator.free(blocks.pop(number))
            else:
                blocks[number] = self._gpu.allocate(size)

    def _count(self, tensor: Tensor) -> None:
        if self._device_type not in (None, tensor.device.type):
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive[key] = weakref.ref(storage, lambda _: self._forget(key))
            self._sizes[key] = size
            self.live += size
            self.births += 1
            if self._gpu is not None:
                self._blocks[key] = self._gpu.allocate(size)
            if self._events is not None:
                self._events.append((key, size))
            self._note(self.live)

    def _note(self, size: int) -> None:
        if size > self.peak:
            self.peak, self.peak_at = size, self.births

    def _forget(self, key: int) -> None:
        del self._alive[key]
        self.live -= self._sizes.pop(key)
        if self._gpu is not None:
            self._gpu.allocator.free(self._blocks.pop(key))
        if self._events is not None:
            self._events.append((key, None))


_DEVICE: Final = torch.ops.prim.device.default

_COUNTING: list[LiveBytes] = []

_WORKSPACES: dict[Any, Workspace] = {}
"""By operator and shape; what was found once holds for every count of this process."""


_resize_storage = torch.UntypedStorage.resize_


def _resize(storage: torch.UntypedStorage, size: int) -> Any:
    """Resize a storage, which no dispatch mode sees."""
    result = _resize_storage(storage, size)
    for each in dict.fromkeys(_COUNTING):
        each.resized(storage)
    return result


_RESIZING = mock.patch.object(torch.UntypedStorage, "resize_", _resize)


@contextmanager
def nothing_counted() -> Iterator[None]:
    """Within, what was counting does not count: what runs is no part of the step."""
    counting = [each for each in _COUNTING if not each._is_paused]
    for each in counting:
        each._is_paused = True
    try:
        yield
    finally:
        for each in counting:
            each._is_paused = False


def _sketch_again(
    func: Any, x: Tensor, settings: Sequence[Any], given: Sequence[Tensor | None]
) -> None:
    """Do what an operator does inside."""
    if func is ops.product_in_bits:
        rounding.product(x, *given, *settings)  # type: ignore[arg-type]
        return
    key = given[0]
    # Bytes do not depend on the seed, and a fake one has no value.
    if key is None or key.dim() == 0:
        # On the CPU the seed of a generator is read.
        key = torch.tensor(0, device="cpu") if x.is_cpu else x.new_zeros((), dtype=torch.int64)
    proj_dim, name, *bits = settings
    if func is ops.principal_sketch:
        basis = given[-1]
        assert basis is not None
        split_off(x, proj_dim, name, bits[0], key, basis)
        return
    if not name:
        rounding.round_to_bits(x, bits[0], key)
        return
    sketch = sketches.get(name)
    if func in ops.DRAWING:
        drawn = sketch.draw(x, proj_dim, key)
    if func is ops.sketch:
        sketch.project(x, proj_dim, drawn)
    elif func is ops.sketch_in_bits:
        sketch.project_in_bits(x, proj_dim, drawn, bits[0], key)
    elif func is ops.project:
        sketch.project(x, proj_dim, key)
    else:
        sketch.project_and_sum(x, proj_dim, key)
