"""Reads the state of one GPU from NVML, in SI units. Only this file knows pynvml.

A reading is a pair (value, reason): if NVML cannot tell, the value is None and the reason says why.

NVML numbers all GPUs of the machine, torch only those in CUDA_VISIBLE_DEVICES, in its order. So
torch's device is found by its UUID, or by its address on the PCI bus.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pynvml

T = TypeVar("T")
Reading = tuple[T | None, str | None]

# NVML's nvmlClocksEventReason bits. Idling, bit 0, does not slow anything and is left out.
_IDLE = 0x1
_THROTTLE_REASONS = {
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}


class Gpu:
    """One GPU as NVML knows it; without one, every reading is None with the same reason."""

    def __init__(self, handle: Any, absent: str | None = None) -> None:
        """Wrap the NVML `handle` of a GPU; `absent` says why there is none."""
        self._handle = handle
        self.absent = absent

    def sm_clock_hertz(self) -> Reading[float]:
        """Return the clock of the streaming multiprocessors."""
        return self._number(1e6, "nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM)

    def memory_clock_hertz(self) -> Reading[float]:
        """Return the clock of the memory."""
        return self._number(1e6, "nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_MEM)

    def temperature_celsius(self) -> Reading[float]:
        """Return the temperature of the GPU's die."""
        sensor = pynvml.NVML_TEMPERATURE_GPU
        value, reason = self._number(1.0, "nvmlDeviceGetTemperatureV", sensor)
        if reason is None:
            return value, None
        # Older drivers have only the older function.
        return self._number(1.0, "nvmlDeviceGetTemperature", sensor)

    def power_watts(self) -> Reading[float]:
        """Return the power drawn by the whole board."""
        return self._number(1e-3, "nvmlDeviceGetPowerUsage")

    def energy_joules(self) -> Reading[float]:
        """Return the energy used by the whole board since the driver was loaded."""
        return self._number(1e-3, "nvmlDeviceGetTotalEnergyConsumption")

    def throttle_reasons(self) -> Reading[tuple[str, ...]]:
        """Return what holds the clocks down now, in NVML's words."""
        bits, reason = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reason is not None:  # older drivers have only the older name
            bits, reason = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return (None, reason) if reason is not None else (_decode(bits), None)

    def processes(self) -> Reading[dict[int, int | None]]:
        """Return the bytes that each process computing on the GPU holds, by process id."""
        listed, reason = self._ask("nvmlDeviceGetComputeRunningProcesses")
        if reason is not None:
            return None, reason
        return {process.pid: process.usedGpuMemory for process in listed}, None

    def _number(self, unit: float, function: str, *args: int) -> Reading[float]:
        value, reason = self._ask(function, *args)
        return (None, reason) if reason is not None else (value * unit, None)

    def _ask(self, function: str, *args: int) -> tuple[Any, str | None]:
        if self.absent is not None:
            return None, self.absent
        if not hasattr(pynvml, function):
            return None, f"NVML: this nvidia-ml-py has no {function}"
        return _call(getattr(pynvml, function), self._handle, *args)


@contextmanager
def open_gpu(index: int = 0) -> Iterator[Gpu]:
    """Open NVML for the GPU that torch calls `index`; without one, all readings are None."""
    reason = _start()
    if reason is not None:
        yield Gpu(None, reason)
        return
    try:
        yield _find(index)
    finally:
        _stop()


def driver_version() -> Reading[str]:
    """Return the version of the NVIDIA driver."""
    reason = _start()
    if reason is not None:
        return None, reason
    try:
        return _call(pynvml.nvmlSystemGetDriverVersion)
    finally:
        _stop()


def process_bytes(index: int = 0) -> Reading[int]:
    """Return the bytes that NVML says this process holds on the GPU that torch calls `index`.

    Unlike the caching allocator's figure, they include the CUDA context and the loaded kernels.
    """
    with open_gpu(index) as gpu:
        processes, reason = gpu.processes()
    if processes is None:
        return None, reason
    if os.getpid() not in processes:
        return None, unseen()
    if processes[os.getpid()] is None:
        return None, "NVML lists this process without its memory"
    return processes[os.getpid()], None


def unseen() -> str:
    """Return why NVML's list of processes is of no use if this process is not on it."""
    return (
        f"NVML does not list this process ({os.getpid()}) on the GPU, as in containers with "
        "process ids of their own"
    )


def _find(index: int) -> Gpu:
    # Imported here, so that the driver's version can be read where torch is broken.
    import torch

    if not torch.cuda.is_available():
        return Gpu(None, "torch sees no CUDA device")
    properties = torch.cuda.get_device_properties(index)
    names = [f"{kind}-{properties.uuid}" for kind in ("GPU", "MIG")]
    for name in names:
        handle, reason = _call(pynvml.nvmlDeviceGetHandleByUUID, name)
        if reason is None:
            return Gpu(handle)
    domain, bus, device = (
        getattr(properties, f"pci_{part}_id", 0) for part in ("domain", "bus", "device")
    )
    address = f"{domain:08X}:{bus:02X}:{device:02X}.0"
    handle, reason = _call(pynvml.nvmlDeviceGetHandleByPciBusId, address)
    return Gpu(handle, reason and f"{reason} (looked for {names[0]} and PCI {address})")


def _start() -> str | None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        lacking = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)
        return f"no NVIDIA driver: {error}" if error.value in lacking else f"NVML: {error}"
    return None


def _stop() -> None:
    with suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()


def _call(function: Callable[..., Any], *args: Any) -> tuple[Any, str | None]:
    try:
        return function(*args), None
    except Exception as error:  # a failed reading must not end what is measured beside it
        named = "" if isinstance(error, pynvml.NVMLError) else f"{type(error).__name__}: "
        return None, f"NVML: {named}{error}"


def _decode(bits: int) -> tuple[str, ...]:
    named = [word for bit, word in _THROTTLE_REASONS.items() if bits & bit]
    rest = bits & ~(_IDLE | sum(_THROTTLE_REASONS))
    return (*named, f"unknown_{rest:#x}") if rest else tuple(named)
