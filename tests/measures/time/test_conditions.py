"""What a watch over the GPU makes of NVML's readings."""

import os
import threading
import time

import pynvml
import pytest
import torch

from rmmbench.measures.time.conditions import GpuWatch, conditions
from rmmbench.results.record import Conditions

ALONE = {os.getpid(): 1}
OF_A_GPU = set(Conditions.model_fields) - {"other_cpus", "quota_held_seconds", "cpu_governor"}


def in_turn(*values):
    """Return an answer that takes its values in turn; the last one stays."""
    rest = list(values)
    return lambda *_: rest.pop(0) if len(rest) > 1 else rest[0]


def watched(fake_nvml, ticks=0):
    """Return a watch that has ended, after at least `ticks` samples of its thread."""
    with GpuWatch(0, interval_seconds=0.001) as watch:
        deadline = time.monotonic() + 10
        while len(watch._readings.get("throttle_reasons", [])) < ticks:
            assert time.monotonic() < deadline, "the thread took no samples"
            time.sleep(0.001)
    return watch


def told(watch, samples=1):
    """Return the conditions that a watch tells, and what is missing."""
    energy = {"energy_joules_per_sample": watch.energy(samples)}
    return conditions(watch.readings() | energy, unread="")


def test_numbers_are_in_si_units(fake_nvml):
    """Clocks are in Hz, power in W, and energy in J for each sample."""
    fake_nvml.answers["nvmlDeviceGetTotalEnergyConsumption"] = in_turn(1_000_000, 1_070_000)
    found, missing = told(watched(fake_nvml), samples=35)
    assert missing == {}
    assert found == Conditions(
        sm_clock_hertz=1.98e9,
        memory_clock_hertz=3.201e9,
        temperature_celsius=41,
        power_watts=350.5,
        energy_joules_per_sample=2.0,
        throttle_reasons=(),
        foreign_processes=0,
    )


def test_a_median_is_kept_and_not_a_mean(fake_nvml):
    """One odd sample among many moves neither power nor temperature."""
    fake_nvml.answers["nvmlDeviceGetPowerUsage"] = in_turn(1_000, 300_000)
    fake_nvml.answers["nvmlDeviceGetTemperatureV"] = in_turn(1, 50)
    found, _ = told(watched(fake_nvml, ticks=5), samples=1)
    assert (found.power_watts, found.temperature_celsius) == (300, 50)


def test_steps_shorter_than_an_interval_are_sampled_once(fake_nvml):
    """However short the steps, there is one sample of every reading."""
    with GpuWatch(0, interval_seconds=60) as watch:
        pass
    found, _ = told(watch)
    assert found.power_watts == 350.5


def test_no_thread_outlives_the_watch(fake_nvml):
    """After the body, also one that failed, the thread has ended and NVML is closed."""

    def running():
        return "gpu-watch" in {thread.name for thread in threading.enumerate()}

    with pytest.raises(ZeroDivisionError), GpuWatch(0, interval_seconds=60):
        1 / (not running())
    assert not running()
    assert fake_nvml.opened == 0


def test_one_reading_that_is_not_supported_costs_the_others_nothing(fake_nvml, not_supported):
    """A number that NVML cannot tell is None with the reason by its path; the rest are there."""
    fake_nvml.answers["nvmlDeviceGetPowerUsage"] = not_supported
    fake_nvml.answers["nvmlDeviceGetTotalEnergyConsumption"] = not_supported
    found, missing = told(watched(fake_nvml, ticks=2), samples=1)
    assert found.power_watts is None
    assert found.energy_joules_per_sample is None
    assert found.sm_clock_hertz == 1.98e9
    assert missing == {
        "conditions.power_watts": "NVML: Not Supported",
        "conditions.energy_joules_per_sample": "NVML: Not Supported",
    }


def test_energy_that_the_counter_is_too_coarse_for_is_not_zero(fake_nvml):
    """A counter that did not move gives None and the reason."""
    found, missing = told(watched(fake_nvml), samples=8)
    assert found.energy_joules_per_sample is None
    assert "rose by 0 J over 8 samples" in missing["conditions.energy_joules_per_sample"]


def test_without_a_driver_every_number_is_missing_for_one_reason(monkeypatch, fake_nvml):
    """On a machine without NVML nothing is watched, nothing is raised and nothing is warned of."""

    def no_library():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(fake_nvml, "nvmlInit", no_library)
    watch = watched(fake_nvml)
    found, missing = told(watch)
    assert found == Conditions()
    assert set(missing) == {f"conditions.{name}" for name in OF_A_GPU}
    assert set(missing.values()) == {"no NVIDIA driver: NVML Shared Library Not Found"}
    assert watch.warnings() == ()


def test_what_was_not_watched_is_missing_with_its_reason():
    """A CPU's record says of each of a GPU's numbers why it is null."""
    found, missing = conditions({"other_cpus": (0.5, None)}, unread="timed on the CPU")
    assert found == Conditions(other_cpus=0.5)
    names = {f"conditions.{name}" for name in Conditions.model_fields} - {"conditions.other_cpus"}
    assert missing == dict.fromkeys(names, "timed on the CPU")


def test_every_throttle_reason_seen_is_kept(fake_nvml):
    """A reason that held for one sample only is recorded too."""
    fake_nvml.answers["nvmlDeviceGetCurrentClocksEventReasons"] = in_turn(0x40, 0x4, 0x1)
    found, _ = told(watched(fake_nvml, ticks=5), samples=1)
    assert found.throttle_reasons == ("hw_thermal_slowdown", "sw_power_cap")


@pytest.mark.parametrize(
    ("bits", "word", "advice"),
    [
        (0x4, "sw_power_cap", "--lock-gpu-clocks"),
        (0x40, "hw_thermal_slowdown", "see to its cooling"),
        (0x80, "hw_power_brake_slowdown", "power supply"),
    ],
)
def test_a_throttled_gpu_is_warned_of(fake_nvml, bits, word, advice):
    """The warning says which reason, in how many samples, and what to do."""
    fake_nvml.answers["nvmlDeviceGetCurrentClocksEventReasons"] = bits
    (warning,) = watched(fake_nvml, ticks=3).warnings()
    assert f"({word}) in 100% of the samples" in warning
    assert advice in warning


@pytest.mark.parametrize("bits", [0x0, 0x1, 0x2])
def test_idling_and_locked_clocks_are_no_cause_for_a_warning(fake_nvml, bits):
    """Clocks that a person locked, as one should, are recorded without complaint."""
    fake_nvml.answers["nvmlDeviceGetCurrentClocksEventReasons"] = bits
    assert watched(fake_nvml, ticks=3).warnings() == ()


def test_a_rare_reason_is_not_warned_of(fake_nvml):
    """One throttled sample in many is recorded and moves no median."""
    fake_nvml.answers["nvmlDeviceGetCurrentClocksEventReasons"] = in_turn(0x4, 0x0)
    assert watched(fake_nvml, ticks=20).warnings() == ()


@pytest.mark.parametrize(
    ("before", "after", "foreign", "warned"),
    [
        (ALONE, ALONE, 0, None),
        ({}, ALONE, 0, None),  # this process has no CUDA context yet
        (ALONE | {1: 1}, ALONE | {2: 1}, 2, "(2 at least)"),
        (ALONE | {1: 1}, ALONE, 1, "(1 at least)"),
        ({1: 1}, {1: 1}, None, None),  # in a container, 1 may well be this one
        ({1: 1, 2: 1, 3: 1}, {1: 1}, None, "(2 at least)"),
    ],
)
def test_other_processes_are_counted_where_this_one_is_known(
    fake_nvml, before, after, foreign, warned
):
    """Processes seen before or after count; where NVML does not know this one, none is counted."""
    lists = (fake_nvml.processes(before), fake_nvml.processes(after))
    fake_nvml.answers["nvmlDeviceGetComputeRunningProcesses"] = in_turn(*lists)
    watch = watched(fake_nvml)
    found, missing = told(watch)
    assert found.foreign_processes == foreign
    assert ("conditions.foreign_processes" in missing) == (foreign is None)
    assert [warned in text for text in watch.warnings()] == ([True] if warned else [])


@pytest.mark.cuda
def test_a_real_gpu_is_watched():
    """While a GPU works its clocks and power are seen, and every null has a reason."""
    matrix = torch.randn(4096, 4096, device="cuda")
    with GpuWatch(torch.cuda.current_device()) as watch:
        ended = time.monotonic() + 1
        while time.monotonic() < ended:
            matrix @ matrix
            torch.cuda.synchronize()
    found, missing = told(watch)
    assert found.sm_clock_hertz > 1e8
    for name in OF_A_GPU:
        assert (getattr(found, name) is None) == (f"conditions.{name}" in missing)
