"""Records the state of the GPU while steps are timed."""

import os
from collections import Counter
from contextlib import ExitStack
from statistics import median
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from rmmbench.measures.nvml import Gpu, Reading, open_gpu, unseen
from rmmbench.results.record import Conditions

_MEDIANS = ("sm_clock_hertz", "memory_clock_hertz", "temperature_celsius", "power_watts")

# A reason seen in a smaller share of the samples than this moves no median.
_WORTH_A_WARNING = 0.1

_ADVICE = {
    "sw_power_cap": "it reached its power limit; compare only with runs under the same limit, or "
    "lock lower clocks with nvidia-smi --lock-gpu-clocks",
    "sw_thermal_slowdown": "it is too hot; see to its cooling and measure again",
    "hw_thermal_slowdown": "it is far too hot; see to its cooling and measure again",
    "hw_slowdown": "it is too hot or short of power; see to both and measure again",
    "hw_power_brake_slowdown": "the power supply calls for less; see to it and measure again",
}


Readings = dict[str, Reading[Any]]
"""Readings of some fields of `Conditions`, by name."""


def conditions(readings: Readings, unread: str) -> tuple[Conditions, dict[str, str]]:
    """Return the conditions, and by dotted path the reason why a number is missing.

    Args:
        readings: Of all that was watched.
        unread: Why the other fields have no reading.
    """
    found = {name: readings.get(name, (None, unread)) for name in Conditions.model_fields}
    missing = {f"conditions.{name}": reason for name, (_, reason) in found.items() if reason}
    return Conditions(**{name: value for name, (value, _) in found.items()}), missing


class GpuWatch:
    """Watches one GPU from a thread of its own while the body of a `with` runs.

        with GpuWatch(index=0) as watch:
            ...  # timed steps, ended by a synchronise
        watch.readings(), watch.energy(samples=steps * batch_size)

    It makes a few NVML calls every `interval_seconds`, and no CUDA call. Without NVML or a GPU it
    watches nothing, and every number is None with the reason.
    """

    def __init__(self, index: int = 0, interval_seconds: float = 0.1) -> None:
        """Prepare to watch the GPU that torch calls `index`."""
        self._index = index
        self._interval_seconds = interval_seconds
        self._readings: dict[str, list[Reading[Any]]] = {}
        self._stack = ExitStack()
        self._ended = Event()
        self._thread = Thread(target=self._watch, name="gpu-watch", daemon=True)

    def __enter__(self) -> Self:
        self._gpu: Gpu = self._stack.enter_context(open_gpu(self._index))
        self._read("processes", "energy_joules")
        if self._gpu.absent is None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._read("energy_joules", "processes")
        if "power_watts" not in self._readings:  # shorter than one interval
            self._read(*_MEDIANS, "throttle_reasons")
        self._stack.close()

    def readings(self) -> Readings:
        """Return medians, every throttle reason seen, and how many other processes computed."""
        found: dict[str, Reading[Any]] = {name: self._median(name) for name in _MEDIANS}
        found["throttle_reasons"] = self._throttle_reasons()
        found["foreign_processes"] = self._foreign_processes()
        return found

    def energy(self, samples: int) -> Reading[float]:
        """Return joules per sample, for `samples` that the GPU processed while it was watched."""
        values = self._values("energy_joules")
        if len(values) < 2:
            return None, self._reason("energy_joules")
        joules = values[-1] - values[0]
        if samples < 1 or joules <= 0:
            return None, f"NVML's energy counter rose by {joules:g} J over {samples} samples"
        return joules / samples, None

    def warnings(self) -> tuple[str, ...]:
        """Return what makes the times doubtful, with the likely cause and what to do."""
        sampled = self._values("throttle_reasons")
        counts = Counter(word for words in sampled for word in words)
        shares = {word: counts[word] / len(sampled) for word in _ADVICE if counts[word]}
        texts = [
            f"the GPU was slowed down ({word}) in {share:.0%} of the samples: {_ADVICE[word]}"
            for word, share in shares.items()
            if share >= _WORTH_A_WARNING
        ]
        others = self._others()
        if others:
            texts.append(
                f"other processes computed on the GPU ({others} at least), which makes times long "
                "and uneven; end them or choose another GPU with CUDA_VISIBLE_DEVICES, and measure "
                "again"
            )
        return tuple(texts)

    def _watch(self) -> None:
        while not self._ended.wait(self._interval_seconds):
            self._read(*_MEDIANS, "throttle_reasons")

    def _read(self, *names: str) -> None:
        for name in names:
            self._readings.setdefault(name, []).append(getattr(self._gpu, name)())

    def _values(self, name: str) -> list[Any]:
        return [value for value, _ in self._readings.get(name, []) if value is not None]

    def _reason(self, name: str) -> str:
        reasons = [reason for _, reason in self._readings.get(name, []) if reason]
        return reasons[-1] if reasons else "the GPU was not watched"

    def _median(self, name: str) -> Reading[float]:
        values = self._values(name)
        return (median(values), None) if values else (None, self._reason(name))

    def _throttle_reasons(self) -> Reading[tuple[str, ...]]:
        sampled = self._values("throttle_reasons")
        if not sampled:
            return None, self._reason("throttle_reasons")
        return tuple(sorted({word for words in sampled for word in words})), None

    def _foreign_processes(self) -> Reading[int]:
        listed = self._values("processes")
        if not listed:
            return None, self._reason("processes")
        return (self._others(), None) if os.getpid() in listed[-1] else (None, unseen())

    def _others(self) -> int:
        """Return how many other processes there were at least.

        If NVML knows this process by another id, one of the listed processes is this one.
        """
        listed = self._values("processes")
        if any(os.getpid() in processes for processes in listed):
            return len({pid for processes in listed for pid in processes} - {os.getpid()})
        return max((len(processes) - 1 for processes in listed if processes), default=0)
