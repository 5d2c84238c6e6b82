"""What a watch over the CPUs makes of the system's counts."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from rmmbench.measures.time import processors
from rmmbench.measures.time.processors import ProcessorWatch

TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """A machine of three CPUs, two of them for this process, whose counts are set by hand."""

    def __init__(self, root):
        """Begin with nothing done; files are below `root`."""
        self.root = root
        self.clock = self.own = 0.0
        self.busy, self.held = [0.0, 0.0, 0.0], 0.0
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text("0::/job\n")
        (root / "sys/fs/cgroup/job").mkdir(parents=True)
        self.write()

    def write(self):
        """Write the counts down as Linux does: half of what is busy is stolen or of the system."""
        lines = ["cpu  0 0 0 0 0 0 0 0 0 0"]
        for number, seconds in enumerate(self.busy):
            half = int(seconds * TICKS / 2)
            counts = [half, 0, half - 2, 10**6, 10**6, 1, 0, 1, half, 0]
            lines.append(f"cpu{number} {' '.join(map(str, counts))}")
        (self.root / "proc/stat").write_text("\n".join([*lines, "intr 1 2 3"]))
        held = f"usage_usec 5\nthrottled_usec {int(self.held * 1e6)}\n"
        (self.root / "sys/fs/cgroup/job/cpu.stat").write_text(held)

    def watch(self, seconds, others=0.0, own=0.0, held=0.0, threads=2):
        """Return a watch of `seconds`, in which others and this process did so many seconds."""
        with ProcessorWatch(threads, self.root) as watch:
            self.clock += seconds
            self.own += own
            self.held += held
            self.busy = [self.busy[0] + own, self.busy[1] + others, self.busy[2] + 100.0]
            self.write()
        return watch


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a machine whose clocks are the module's."""
    made = Machine(tmp_path)
    clock = SimpleNamespace(monotonic=lambda: made.clock, process_time=lambda: made.own)
    monkeypatch.setattr(processors, "time", clock)
    monkeypatch.setattr(processors, "usable_cpus", lambda: {0, 1})
    return made


def test_what_others_did_is_told(machine):
    """Of the usable CPUs, less what this process did itself, in CPUs' worth of work."""
    watch = machine.watch(4.0, others=3.0, own=4.0)
    assert watch.readings()["other_cpus"] == (pytest.approx(0.75), None)


@pytest.mark.parametrize(
    ("others", "threads", "warned"),
    [
        (0.0, 2, False),
        (0.3, 2, False),  # of ten seconds, 3 % of a CPU
        (3.0, 2, True),
        (9.0, 1, False),  # on the CPU that is free
        (15.0, 1, True),
    ],
)
def test_a_load_that_takes_cpus_from_the_steps_is_warned_of(machine, others, threads, warned):
    """Others' work beside threads that leave it room is only recorded."""
    watch = machine.watch(10.0, others=others, threads=threads)
    assert watch.readings()["other_cpus"][0] == pytest.approx(others / 10)
    texts = watch.warnings()
    assert len(texts) == warned
    for text in texts:
        assert text.startswith(f"other programs kept about {others / 10:.1g} of 2 CPUs busy")
        assert "OMP_NUM_THREADS" in text


@pytest.mark.parametrize(("held", "warned"), [(0.0, False), (0.05, False), (1.5, True)])
def test_a_quota_that_holds_the_steps_back_is_warned_of(machine, held, warned):
    """What a control group's quota took is recorded, and told where it is much of the time."""
    watch = machine.watch(5.0, own=5.0, held=held)
    assert watch.readings()["quota_held_seconds"] == (pytest.approx(held), None)
    assert ["a CPU quota held the steps back" in text for text in watch.warnings()] == [
        True
    ] * warned


def test_too_short_a_time_tells_nothing_of_others(machine):
    """Counts of hundredths of a second are no share of a tenth of one."""
    watch = machine.watch(0.2, others=0.2)
    value, reason = watch.readings()["other_cpus"]
    assert (value, watch.warnings()) == (None, ())
    assert reason == "the timed steps took less than 0.5 s, too short to tell"


@pytest.mark.parametrize("said", [None, "cpu0 1 2", "cpu0 a b c d e f g h", "", b"\xff"])
def test_a_system_that_tells_nothing_costs_nothing(tmp_path, said):
    """Without /proc and /sys, or with others than Linux's, every number has its reason."""
    if said is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/stat").write_bytes(said if isinstance(said, bytes) else said.encode())
    with ProcessorWatch(1, tmp_path) as watch:
        pass
    readings = watch.readings()
    assert all(value is None and reason for value, reason in readings.values())
    assert watch.warnings() == ()


def test_the_rule_of_the_clocks_is_told(machine, tmp_path):
    """The governor is the first usable CPU's."""
    folder = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    folder.mkdir(parents=True)
    (folder / "scaling_governor").write_text("powersave\n")
    assert machine.watch(1.0).readings()["cpu_governor"] == ("powersave", None)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system has no /proc")
def test_this_process_does_not_count_itself():
    """On a real machine a thread that works is no other program, whatever else there is."""
    with ProcessorWatch(1) as watch:
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            pass
    others, reason = watch.readings()["other_cpus"]
    assert reason is None
    assert 0 <= others <= len(processors.usable_cpus())
