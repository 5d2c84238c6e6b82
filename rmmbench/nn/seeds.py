"""The seeds of sketches: a stream of their own, so that dropout and shuffling do not change.

Of torch's generators only the number given to `torch.manual_seed` is read, and nothing is changed.
On the CPU the n-th seed is a hash of that number, the process's rank and n. On a GPU the stream is
in the GPU's memory: its seeds, keys of Philox, count up from such a hash, which includes the GPU's
index. So nothing waits for the GPU, and a CUDA graph draws another sketch at each replay. A graph
owns what it allocates, so `make_ready` makes the stream before.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

_MASK = 2**64 - 1


@dataclass
class _Stream:
    """The stream of seeds since it was last started.

    Attributes:
        seed: The number given to `manual_seed`; None to use torch's.
        counter: Counts the seeds drawn on the CPU.
        is_alike: Whether all ranks draw the same.
        on_gpu: For each GPU, the seed its stream started from and the last number drawn.
    """

    seed: int | None = None
    counter: Iterator[int] = field(default_factory=itertools.count)
    is_alike: bool = False
    on_gpu: dict[torch.device, tuple[int | None, Tensor]] = field(default_factory=dict)

    def next(self, device: torch.device) -> Tensor:
        """Return the next seed on a device."""
        seed = torch.initial_seed() if self.seed is None else self.seed
        if is_host(device):
            number = _hash(seed, next(self.counter))
            return torch.full((), number, dtype=torch.int64, device=device)
        return self.last(device, seed).add_(1).clone()

    def last(self, device: torch.device, seed: int) -> Tensor:
        """Return the last number drawn on a GPU; start its stream first if necessary."""
        if device.index is None and device.type != "cpu":
            device = torch.device(device.type, torch.get_device_module(device).current_device())
        started_from, last = self.on_gpu.get(device, (None, None))
        if last is None or started_from != seed:
            last = self._start(device, seed, last)
        return last

    def _start(self, device: torch.device, seed: int, last: Tensor | None) -> Tensor:
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            remedy = "run one step, after seeding, before the graph is captured"
            raise RuntimeError(f"a CUDA graph cannot start the stream of seeds; {remedy}")
        if last is None:
            last = torch.empty((), dtype=torch.int64, device=device)
        # In place, so that graphs captured before use the new seeds.
        last.fill_(_hash(seed, -1 - (device.index or 0)) >> 1)  # far from the end of int64
        self.on_gpu[device] = (seed, last)
        return last


_stream = _Stream()


def next_seed(device: torch.device | str = "cpu") -> Tensor:
    """Return a seed that is new in this process: one int64 number on `device`."""
    return _stream.next(torch.device(device) if isinstance(device, str) else device)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def make_ready(device: torch.device) -> bool:
    """Start the stream of a GPU; a compiler calls this at compile time, before its code runs.

    If compiled code started it, it would lie in the memory of a CUDA graph, which the mode
    `reduce-overhead` reuses.
    """
    if not is_host(device) and device.type != "meta":
        # The compiler's own tensors are fake.
        with _disable_current_modes():
            _stream.last(device, torch.initial_seed() if _stream.seed is None else _stream.seed)
    return True


def is_host(device: torch.device) -> bool:
    """Tell whether the host draws the seeds for a device."""
    return device.type == "cpu"


def manual_seed(seed: int) -> None:
    """Restart the stream of seeds from `seed`, so that the sketches that follow can be repeated.

    Without a call the stream starts from torch's initial seed and never restarts within a process.

    Examples:
        >>> import rmmbench, torch
        >>> x, weight = torch.ones(64, 8), torch.ones(4, 8, requires_grad=True)
        >>> gradients = []
        >>> for _ in range(2):
        ...     rmmbench.manual_seed(0)
        ...     loss = rmmbench.rmm_linear(x, weight, rho=0.5).sum()
        ...     gradients += torch.autograd.grad(loss, weight)
        >>> torch.equal(*gradients)
        True
    """
    _stream.seed, _stream.counter = seed, itertools.count()
    _stream.on_gpu = {device: (None, last) for device, (_, last) in _stream.on_gpu.items()}


def draw_alike(alike: bool) -> None:
    """Let all ranks draw the same seeds from now on, or each its own, which is usual."""
    if alike != _stream.is_alike:
        _stream.is_alike = alike
        _stream.on_gpu = {device: (None, last) for device, (_, last) in _stream.on_gpu.items()}


@contextmanager
def seeds_kept() -> Iterator[None]:
    """Restore the stream of the CPU's seeds afterwards."""
    seed, counter = _stream.seed, _stream.counter
    _stream.counter = itertools.count()
    try:
        yield
    finally:
        _stream.seed, _stream.counter = seed, counter


def _hash(*values: int) -> int:
    """Return a number below 2⁶³ from integers and the process's rank."""
    is_one_of_many = dist.is_available() and dist.is_initialized() and not _stream.is_alike
    rank = dist.get_rank() if is_one_of_many else 0
    mixed = 0
    for value in (rank, *values):
        mixed = _splitmix64((mixed ^ value) & _MASK)
    return mixed >> 1


def _splitmix64(value: int) -> int:
    """Return one step of SplitMix64 [Steele, Lea, Flood 2014, Fast splittable generators]."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
