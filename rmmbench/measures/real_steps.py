"""Measures the steps of a training while somebody else's loop does them.

The first step tells the cold peak, the second the peak and what autograd holds; those that follow
are timed. On a GPU every step tells its peak, as that costs nothing. A step in which layers are
watched tells nothing, as it holds more and takes longer.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves

from rmmbench.measures.memory.cpu import highest_rise
from rmmbench.measures.memory.kept import Holding
from rmmbench.results.record import Memory
from rmmbench.results.timing import Timing

MEASURED_STEPS: Final = 2
"""Steps at the beginning whose memory is measured, and which are not timed."""

_MOST_TIMES: Final = 1000


class _Peaks(NamedTuple):
    """The most that a step took, in bytes."""

    live: int
    allocated: int
    reserved: int = 0

    def or_more(self, other: "_Peaks | None") -> "_Peaks":
        """Return the higher of each."""
        return self if other is None else _Peaks(*map(max, self, other))


class RealSteps:
    """Is told where each step begins and ends, and gathers memory and times.

    Attributes:
        count: Steps begun.
        seconds: How long all steps took that ended.
        missing: Why there is no memory or timing, by name.
    """

    def __init__(self, device: Literal["cuda", "cpu"], state: Callable[[], Iterable[Any]]) -> None:
        """Measure steps on a device.

        Args:
            device: Where the model is trained.
            state: Returns what is there between steps, tensors and containers of tensors: needed
                where no allocator tells how much is live.
        """
        self.device, self._state = device, state
        self.count, self.seconds = 0, 0.0
        self.missing: dict[str, str] = {}
        self._cold: _Peaks | None = None
        self._warm: _Peaks | None = None
        self._saved_bytes = self._resting_bytes = self._retries = 0
        self._times = _Times()
        self._open = ExitStack()
        self._profiler: profile | None = None
        self._holding: Holding | None = None
        self._is_quiet, self._began = True, 0.0

    def begin(self, *, is_watched: bool = False) -> None:
        """Tell that a step begins.

        Args:
            is_watched: Whether it holds more, or takes longer, than it would by itself.
        """
        self.abandon()
        self.count += 1
        self._is_quiet = not is_watched
        if self.count <= MEASURED_STEPS:
            gc.collect()
            self._follow()
        if self.device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self._began = time.perf_counter()

    def end(self) -> None:
        """Tell that the step is over: the parameters are updated."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        took = time.perf_counter() - self._began
        self.seconds += took
        self._open.close()
        if self._is_quiet:
            self._note_peaks()
            if self.count > MEASURED_STEPS:
                self._times.add(took)
        self._profiler = self._holding = None

    def abandon(self) -> None:
        """Stop to follow a step that did not end."""
        self._open.close()
        self._profiler = self._holding = None

    def memory(self) -> Memory | None:
        """Return the memory of a step; None before `MEASURED_STEPS` are done, or where unknown."""
        cold, warm = self._cold, self._warm
        if cold is None or warm is None:
            few = f"memory takes {MEASURED_STEPS} steps, and there were {self.count}"
            self.missing.setdefault("memory", few)
            return None
        if self.device == "cpu":
            only = "only a GPU's caching allocator has it"
            self.missing |= {f"memory.{name}": only for name in ("reserved_bytes", "alloc_retries")}
        other = "it is not asked for in a training of one's own"
        self.missing |= {f"memory.{name}": other for name in ("process_bytes", "attention_kernels")}
        return Memory(
            device=self.device,
            peak_live_bytes=warm.live,
            peak_allocated_bytes=warm.allocated,
            cold_peak_allocated_bytes=cold.allocated,
            resting_bytes=self._resting_bytes,
            saved_bytes=self._saved_bytes,
            reserved_bytes=max(cold.reserved, warm.reserved) or None,
            alloc_retries=self._retries if self.device == "cuda" else None,
        )

    def timing(self, samples: int) -> Timing | None:
        """Return the times of steps of so many samples; None if none was timed."""
        if not self._times.seconds:
            few = f"steps are timed from step {MEASURED_STEPS + 1} on, where no layer is watched"
            self.missing.setdefault("timing", f"{few}, and there were {self.count}")
            return None
        seconds = tuple(self._times.seconds)
        rate = samples / statistics.median(seconds)
        return Timing(device=self.device, step_seconds=seconds, samples_per_second=rate)

    def _follow(self) -> None:
        """Follow what this step allocates, and what autograd holds in it."""
        if self.device == "cpu" and torch._C._autograd._profiler_enabled():
            self.missing["memory"] = "a profiler was on already, and there can be one"
        elif self.device == "cpu":
            self._resting_bytes = size_of(self._state())
            # The profiler's library says on stderr when it starts and stops, unless told not to.
            os.environ.setdefault("KINETO_LOG_LEVEL", "6")
            cpu = [ProfilerActivity.CPU]
            # torch 2.11 warns without acc_events.
            following = profile(activities=cpu, profile_memory=True, acc_events=True)
            self._profiler = self._entered(following)
        if self.count == MEASURED_STEPS:
            self._holding = self._entered(Holding())

    def _entered(self, context: Any) -> Any:
        return self._open.enter_context(context)

    def _note_peaks(self) -> None:
        if self.device == "cuda":
            peaks = self._cuda_peaks()
        elif self._profiler is not None:
            highest = self._resting_bytes + highest_rise(self._profiler)
            peaks = _Peaks(highest, highest)
        else:
            return
        if self.count == 1:
            self._cold = peaks
        else:
            self._warm = peaks.or_more(self._warm)
        if self._holding is not None:
            self._saved_bytes = self._holding.most_bytes()

    def _cuda_peaks(self) -> _Peaks:
        statistics = torch.cuda.memory_stats()
        self._retries = statistics["num_alloc_retries"]
        self._resting_bytes = torch.cuda.memory_allocated()
        names = ("requested_bytes", "allocated_bytes", "reserved_bytes")
        return _Peaks(*(statistics[f"{name}.all.peak"] for name in names))


class _Times:
    """The times of steps, evenly spread over the training where there are many."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._every, self._seen = 1, 0

    def add(self, seconds: float) -> None:
        """Take the next step's time, or not."""
        if self._seen % self._every == 0:
            self.seconds.append(seconds)
        self._seen += 1
        if len(self.seconds) > _MOST_TIMES:
            self.seconds = self.seconds[::2]
            self._every *= 2


def size_of(state: Iterable[Any]) -> int:
    """Return the bytes of all tensors in some containers, each storage once."""
    storages = (
        each.untyped_storage() for each in tree_leaves(list(state)) if isinstance(each, Tensor)
    )
    return sum({one._cdata: one.nbytes() for one in storages}.values())
