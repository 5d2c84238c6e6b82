"""A stand-in for the NVML library, so that what is made of its answers is tested without a GPU."""

import os
import uuid
from functools import partial
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from rmmbench.measures import nvml

UUID = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")


class FakeNVML:
    """One GPU behind pynvml's own names, constants and errors.

    `answers` holds what each function returns: a value, an NVMLError to raise, or a function of the
    arguments after the handle. `opened` is how often the library was initialised and not shut down.
    """

    def __init__(self) -> None:
        """Answer as a GPU at work does, alone with this process."""
        self.opened = 0
        self.answers: dict[str, Any] = {
            "nvmlSystemGetDriverVersion": "580.95.05",
            "nvmlDeviceGetClockInfo": {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 3201}.get,
            "nvmlDeviceGetTemperatureV": 41,
            "nvmlDeviceGetPowerUsage": 350_500,
            "nvmlDeviceGetTotalEnergyConsumption": 1_000_000,
            "nvmlDeviceGetCurrentClocksEventReasons": 0,
            "nvmlDeviceGetComputeRunningProcesses": self.processes({os.getpid(): 2**30}),
        }

        self.nvmlInit = partial(self._count, 1)
        self.nvmlShutdown = partial(self._count, -1)
        self.nvmlDeviceGetHandleByUUID = self._find

    def __getattr__(self, name: str) -> Any:
        if name in self.answers:
            return lambda _handle=None, *args: self._answer(name, *args)
        return getattr(pynvml, name)

    @staticmethod
    def processes(memory: dict[int, int | None]) -> list[SimpleNamespace]:
        """Return a list as NVML's, from the bytes by process id."""
        return [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in memory.items()]

    def _count(self, step: int) -> None:
        self.opened += step

    def _find(self, name: str) -> str:
        if name != f"GPU-{UUID}":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return name

    def _answer(self, name: str, *args: Any) -> Any:
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer(*args) if callable(answer) else answer


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNVML:
    """Put a stand-in in pynvml's place, and its GPU in torch's."""
    fake = FakeNVML()
    properties = SimpleNamespace(
        uuid=UUID,
        pci_domain_id=0,
        pci_bus_id=0x1B,
        pci_device_id=0,
        name="Fake",
        total_memory=2**34,
    )
    monkeypatch.setattr(nvml, "pynvml", fake)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index=0: properties)
    return fake


@pytest.fixture
def not_supported() -> Exception:
    """Return NVML's error for what a GPU cannot tell."""
    return pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
