"""NVML's readings in SI units; a stand-in for the library serves where there is no GPU."""

import os

import pynvml
import pytest
import torch

from rmmbench.measures import nvml

READINGS = {
    "sm_clock_hertz": 1.98e9,
    "memory_clock_hertz": 3.201e9,
    "temperature_celsius": 41,
    "power_watts": 350.5,
    "energy_joules": 1000.0,
    "throttle_reasons": (),
    "processes": {os.getpid(): 2**30},
}


def read(name):
    """Return one reading of torch's first GPU."""
    with nvml.open_gpu(0) as gpu:
        return getattr(gpu, name)()


@pytest.mark.parametrize(("name", "value"), READINGS.items())
def test_readings_are_in_si_units(fake_nvml, name, value):
    """MHz, mW and mJ become Hz, W and J, and nothing is said to be missing."""
    found, reason = read(name)
    assert reason is None
    assert found == pytest.approx(value) if isinstance(value, float) else found == value


@pytest.mark.parametrize(
    ("name", "functions"),
    {
        "sm_clock_hertz": ["nvmlDeviceGetClockInfo"],
        "temperature_celsius": ["nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"],
        "power_watts": ["nvmlDeviceGetPowerUsage"],
        "energy_joules": ["nvmlDeviceGetTotalEnergyConsumption"],
        "throttle_reasons": [
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
        ],
        "processes": ["nvmlDeviceGetComputeRunningProcesses"],
    }.items(),
)
def test_what_nvml_cannot_tell_is_none_with_the_reason(fake_nvml, not_supported, name, functions):
    """A GPU that does not support a reading gives None and NVML's own words, never 0."""
    fake_nvml.answers |= dict.fromkeys(functions, not_supported)
    assert read(name) == (None, "NVML: Not Supported")


@pytest.mark.parametrize(
    ("name", "newer", "older", "value"),
    [
        ("temperature_celsius", "nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature", 41),
        (
            "throttle_reasons",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
            ("sw_power_cap",),
        ),
    ],
)
def test_an_older_driver_is_asked_by_the_older_name(fake_nvml, name, newer, older, value):
    """A function that the driver lacks is replaced by the one before it."""
    fake_nvml.answers[newer] = pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    fake_nvml.answers[older] = 0x4 if name == "throttle_reasons" else 41
    assert read(name) == (value, None)


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0x0, ()),
        (0x1, ()),  # idle is not throttled
        (0x4, ("sw_power_cap",)),
        (0x1 | 0x8 | 0x40, ("hw_slowdown", "hw_thermal_slowdown")),
        (0x4 | 0x8000, ("sw_power_cap", "unknown_0x8000")),
    ],
)
def test_throttle_reasons_are_words(fake_nvml, bits, words):
    """Every bit that holds the clocks down has its word, one that NVML adds later its number."""
    fake_nvml.answers["nvmlDeviceGetCurrentClocksEventReasons"] = bits
    assert read("throttle_reasons") == (words, None)


def test_a_library_that_fails_costs_its_reading_only(fake_nvml):
    """Whatever a driver's answer makes of its binding, the figures beside it stand."""
    fake_nvml.answers["nvmlDeviceGetPowerUsage"] = ValueError("no number")
    assert read("power_watts") == (None, "NVML: ValueError: no number")


def test_throttle_words_are_nvmls_own(fake_nvml):
    """The words are those of the bits that pynvml names."""
    for bit, word in {
        pynvml.nvmlClocksEventReasonSwPowerCap: "sw_power_cap",
        pynvml.nvmlClocksEventReasonHwThermalSlowdown: "hw_thermal_slowdown",
        pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "hw_power_brake_slowdown",
        pynvml.nvmlClocksEventReasonSyncBoost: "sync_boost",
    }.items():
        fake_nvml.answers["nvmlDeviceGetCurrentClocksEventReasons"] = bit
        assert read("throttle_reasons") == ((word,), None)


@pytest.mark.parametrize("name", READINGS)
def test_without_a_driver_every_reading_says_so(monkeypatch, fake_nvml, name):
    """On a machine without an NVIDIA driver nothing is raised; the reason is the same for all."""

    def no_library():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(fake_nvml, "nvmlInit", no_library)
    reason = "no NVIDIA driver: NVML Shared Library Not Found"
    assert read(name) == (None, reason)
    assert nvml.driver_version() == (None, reason)
    assert nvml.process_bytes() == (None, reason)


def test_a_gpu_that_torch_cannot_use_is_not_read(monkeypatch, fake_nvml):
    """Where torch has no CUDA, no GPU's figures are taken for those of the device that ran."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert read("power_watts") == (None, "torch sees no CUDA device")


def test_a_gpu_is_found_by_its_pci_address_where_its_uuid_is_unknown(monkeypatch, fake_nvml):
    """The address is the one that torch gives, in NVML's notation."""
    asked = []
    monkeypatch.setattr(torch.cuda.get_device_properties(), "uuid", "another")
    fake_nvml.answers["nvmlDeviceGetHandleByPciBusId"] = "a handle"
    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetHandleByPciBusId", asked.append, raising=False)
    assert read("power_watts") == (350.5, None)
    assert asked == ["00000000:1B:00.0"]


def test_a_gpu_that_nvml_does_not_know_is_named(monkeypatch, fake_nvml):
    """Where neither UUID nor PCI address is known, the reason gives both."""
    monkeypatch.setattr(torch.cuda.get_device_properties(), "uuid", "another")
    fake_nvml.answers["nvmlDeviceGetHandleByPciBusId"] = pynvml.NVMLError(
        pynvml.NVML_ERROR_NOT_FOUND
    )
    assert read("power_watts") == (
        None,
        "NVML: Not Found (looked for GPU-another and PCI 00000000:1B:00.0)",
    )


def test_nvml_is_closed_again(fake_nvml):
    """Every way in shuts the library down again, an exception in the body included."""
    nvml.driver_version()
    nvml.process_bytes()
    with pytest.raises(KeyError), nvml.open_gpu(0):
        raise KeyError
    assert fake_nvml.opened == 0


def test_the_driver_is_told(fake_nvml):
    """The driver's version is NVML's."""
    assert nvml.driver_version() == ("580.95.05", None)


@pytest.mark.parametrize(
    ("processes", "held", "words"),
    [
        ({os.getpid(): 5, 1: 7}, 5, None),
        ({1: 7}, None, "NVML does not list this process"),
        ({}, None, "NVML does not list this process"),
        ({os.getpid(): None}, None, "NVML lists this process without its memory"),
    ],
)
def test_process_bytes_are_this_processes_own(fake_nvml, processes, held, words):
    """The bytes are those beside this process's id; in a container NVML may not know it."""
    fake_nvml.answers["nvmlDeviceGetComputeRunningProcesses"] = fake_nvml.processes(processes)
    found, reason = nvml.process_bytes()
    assert found == held
    assert (reason or "").startswith(words or "")
    assert (found is None) == (reason is not None)


@pytest.mark.cuda
def test_a_real_gpu_is_found_and_read():
    """NVML knows torch's GPU, and what it tells is of a plausible size."""
    with nvml.open_gpu(torch.cuda.current_device()) as gpu:
        assert gpu.absent is None
        clock, reason = gpu.sm_clock_hertz()
        assert reason is None
        assert 1e8 < clock < 1e10
        temperature, reason = gpu.temperature_celsius()
        assert reason is not None or 0 < temperature < 120
    assert nvml.driver_version()[0]
    held, reason = nvml.process_bytes()
    assert (held is None) == (reason is not None)
