"""A device for fake tensors that stands for a GPU: a whole training step runs on it, without one.

Where there is such a GPU, the device is "cuda" itself. Elsewhere it is PrivateUse1, the one type of
device that Python may register. What torch decides by the type of the device is put back as CUDA
has it: autocast (`cuda_autocast`), attention (`cuda_attention`) and operators of one kernel
(`cuda_operators`).

Registered once, it stays for the rest of the process, in which torch takes it for the accelerator:
pinned memory of data loaders fails then. So it is for processes of rmmbench's own.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rmmbench.fakes import cuda_operators, cuda_streams, workspaces
from rmmbench.fakes.caching_allocator import Block, CachingAllocator
from rmmbench.fakes.cuda_attention import Attention, Call
from rmmbench.fakes.cuda_autocast import Autocast
from rmmbench.fakes.mode import fake_tensors
from rmmbench.spec.gpus import FAKE_DEVICE, GPU

_PRIVATE: Final = (
    "_C._acc.register_python_privateuseone_hook",
    "_C._acc.register_python_privateuseone_device_guard",
    "_C._current_graph_task_id",
    "_C._dispatch_get_all_op_names",
    "_C._dispatch_has_kernel_for_dispatch_key",
    "_C._AutoDispatchBelowAutograd",
    "_C._ExcludeDispatchKeyGuard",
    "utils.backend_registration._setup_privateuseone_for_python_backend",
)
"""Names of torch's own that all this relies on."""


class FakeGPU:
    """A GPU that is not there, and what a step on it takes.

    Attributes:
        gpu: The kind of GPU.
        device_type: Of its tensors.
        allocator: What is allocated and reserved on it.
        attention_kernels: How often each kernel of attention was called.
    """

    def __init__(self, gpu: GPU, device_type: str) -> None:
        """Start with nothing allocated, on tensors of a type of device."""
        self.gpu, self.device_type = gpu, device_type
        self.allocator = CachingAllocator()
        self.attention_kernels: Counter[str] = Counter()
        self._multiplied: set[bool] = set()

    def start_anew(self) -> None:
        """Forget all that was allocated and reserved, and begin with nothing."""
        self.allocator = CachingAllocator()
        self._multiplied.clear()

    def before(self, operator: Any) -> None:
        """Allocate what cuBLAS takes when a thread first multiplies matrices."""
        if operator in workspaces.PRODUCTS:
            # Autograd's thread has a handle of its own, and so a workspace.
            is_backward = torch._C._current_graph_task_id() != -1
            if is_backward not in self._multiplied:
                self._multiplied.add(is_backward)
                self.allocate(self.gpu.cublas_workspace_bytes)

    def after(self, operator: Any, args: Any) -> None:
        """Allocate, and free again, what a kernel took for itself; note attention's kernel."""
        kernel = workspaces.ATTENTION.get(operator)
        if kernel is not None:
            self.attention_kernels[kernel] += 1
        sizes = workspaces.inside(operator, args)
        for block in [self.allocate(size) for size in sizes]:
            self.allocator.free(block)

    def allocate(self, size_bytes: int) -> Block | None:
        """Return a block for so many bytes on the current stream; None for none."""
        return self.allocator.allocate(size_bytes, self._stream())

    def _stream(self) -> int:
        if self.device_type == FAKE_DEVICE:
            return cuda_streams.current_stream().number
        return int(torch.cuda.current_stream().stream_id)


@cache
def why_no_fake_gpu() -> str | None:
    """Return why there can be no fake GPU with this torch; None if there can."""
    for name in _PRIVATE:
        found: Any = torch
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is None:
            return f"torch {torch.__version__} has no torch.{name}"
    return None


@contextmanager
def fake_gpu(gpu: GPU) -> Iterator[FakeGPU]:
    """Within, make new tensors fake ones; on the device of the fake GPU that is given they train.

    Args:
        gpu: The kind of GPU.
    """
    with ExitStack() as stack:
        if _is_here(gpu):
            fake = FakeGPU(gpu, "cuda")
        else:
            fake = FakeGPU(gpu, FAKE_DEVICE)
            stack.enter_context(_device().running(fake))
        stack.enter_context(fake_tensors())
        # On threads of its own autograd would not see the modes of this one.
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        yield fake


def _is_here(gpu: GPU) -> bool:
    return torch.cuda.is_available() and torch.cuda.get_device_capability() == gpu.capability


class _Device:
    """The device that is registered where there is no GPU."""

    def __init__(self) -> None:
        """Register it."""
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

        self._backend = _Backend()
        _setup_privateuseone_for_python_backend(FAKE_DEVICE, backend_module=self._backend)
        self._autocast = Autocast(FAKE_DEVICE)
        self._fake: FakeGPU | None = None
        self._library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
        cuda_operators.register(self._library)
        for key in ("AutogradPrivateUse1", "PrivateUse1"):
            self._library.impl("scaled_dot_product_attention", self._attend, key)  # type: ignore[no-untyped-call]

    @contextmanager
    def running(self, fake: FakeGPU) -> Iterator[None]:
        """Within, attention runs on one GPU's kernels, and autocast is CUDA's."""
        self._fake, self._backend.gpu = fake, fake.gpu
        with self._autocast.cache(), _Redirected():
            yield

    def _attend(self, *args: Any, **kwargs: Any) -> Tensor:
        assert self._fake is not None
        attention, call = Attention(self._fake.gpu), Call(*args, **kwargs)
        kind = attention.choose(call)
        if kind == "math":
            # It is made up of other operators, and is none of its own to be seen.
            self._fake.attention_kernels["math"] += 1
        return attention.run(kind, call)


_device = cache(_Device)


class Properties(NamedTuple):
    """What is known of the GPU."""

    name: str
    total_memory: int
    major: int
    minor: int


class _Backend:
    """What is asked of `torch.cuda`, for a device with nothing in it."""

    Stream, Event = cuda_streams.Stream, cuda_streams.Event
    current_stream = staticmethod(cuda_streams.current_stream)
    stream = staticmethod(cuda_streams.on_stream)

    def __init__(self) -> None:
        self.gpu: GPU | None = None

    def get_device_properties(self, device: object = None) -> Properties:
        """Return what is known of the GPU that the device stands for."""
        assert self.gpu is not None
        return Properties(self.gpu.title, self.gpu.memory_bytes, *self.gpu.capability)

    @staticmethod
    def is_available() -> bool:
        return True

    is_initialized = is_available

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        pass

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    @staticmethod
    def get_rng_state(device: object = None) -> Tensor:
        return torch.zeros(16, dtype=torch.uint8, device="cpu")

    @staticmethod
    def set_rng_state(state: Tensor, device: object = None) -> None:
        pass

    @staticmethod
    def synchronize(device: object = None) -> None:
        pass


class _Redirected(TorchFunctionMode):
    """Takes "cuda" for the device, and lets `torch.tensor` fill its numbers in on the CPU.

    A user's model may name "cuda", and C++ has no memory of the fake device to fill.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if given.get("device") is not None:
            given = {**given, "device": _redirected(given["device"])}
        if func is Tensor.cuda:
            return args[0].to(FAKE_DEVICE)
        if func is Tensor.to:
            args = (args[0], *map(_redirected, args[1:]))
        makes = func in (torch.tensor, torch.as_tensor)
        if makes and torch.device(given.get("device") or "cpu").type == FAKE_DEVICE:
            return func(*args, **{**given, "device": "cpu"}).to(FAKE_DEVICE)
        return func(*args, **given)


def _redirected(value: Any) -> Any:
    """Return the fake device for "cuda", with any index; anything else as it is."""
    is_cuda = isinstance(value, str | torch.device) and str(value).partition(":")[0] == "cuda"
    return torch.device(FAKE_DEVICE) if is_cuda else value
