"""More memory than the host has is refused, where it would have been granted and paid for."""

import sys

import pytest

from rmmbench.measures import host_memory
from rmmbench.measures.host_memory import available_bytes, no_more_than_there_is

MIB = 2**20


@pytest.fixture
def machine(tmp_path):
    """Return a maker of what /proc and /sys say: 100 MiB to be had, 60 in use by the group."""

    def make(**groups):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/meminfo").write_text("MemTotal: 999999 kB\nMemAvailable: 102400 kB\n")
        (tmp_path / "proc/self/cgroup").write_text("0::/job\n")
        for name, limit in groups.items():
            folder = tmp_path / "sys/fs/cgroup" / name.replace("top", "")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "memory.max").write_text(f"{limit}\n")
            (folder / "memory.stat").write_text(f"anon {60 * MIB}\nfile {999 * MIB}\n")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("groups", "left"),
    [
        ({}, 100),
        ({"job": "max"}, 100),
        ({"job": 90 * MIB}, 30),
        ({"job": 50 * MIB}, 0),
        ({"top": 70 * MIB, "job": "max"}, 10),
    ],
)
def test_what_can_be_had_is_what_system_and_group_leave(machine, groups, left):
    """The lowest counts; a cache of files is not in use."""
    assert available_bytes(machine(**groups)) == left * MIB


def test_where_the_system_does_not_tell_nothing_is_limited(tmp_path):
    """Without /proc there is no figure, and whatever is asked for is asked for."""
    assert available_bytes(tmp_path) is None
    with no_more_than_there_is(tmp_path):
        assert len(bytearray(MIB)) == MIB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what a process has taken")
def test_more_than_there_is_fails_within_and_not_after(monkeypatch):
    """An error says that memory ran out, the process lives on, and so does its old limit."""
    monkeypatch.setattr(host_memory, "available_bytes", lambda root: 64 * MIB)
    with no_more_than_there_is():
        assert len(bytearray(16 * MIB)) == 16 * MIB
        with pytest.raises(MemoryError):
            bytearray(256 * MIB)
    assert len(bytearray(256 * MIB)) == 256 * MIB
