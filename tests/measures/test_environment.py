"""What a record says of the machine."""

import os
import platform
from importlib import import_module
from importlib.metadata import version

import pytest
import torch

from rmmbench.measures import environment as module
from rmmbench.measures.environment import (
    as_left,
    cpu_count,
    environment,
    installed,
    memory_bytes,
    processor,
)
from rmmbench.results.record import Environment


def test_versions_are_those_that_run():
    """Python, torch and transformers are named by what is installed here."""
    found = environment()
    assert found.python == platform.python_version()
    assert found.torch == torch.__version__
    assert found.transformers == version("transformers")
    assert found.torch_threads == torch.get_num_threads()
    assert found == Environment.model_validate_json(found.model_dump_json())


def test_a_gpu_is_named_with_its_memory_and_driver(fake_nvml):
    """Where torch has a GPU its name and memory are torch's, the driver NVML's."""
    found = environment()
    assert (found.gpu, found.gpu_memory_bytes, found.driver) == ("Fake", 2**34, "580.95.05")


def test_without_a_gpu_there_is_none(monkeypatch):
    """Where torch has no GPU, name and memory are None."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = environment()
    assert (found.gpu, found.gpu_memory_bytes) == (None, None)


def test_settings_that_change_numbers_are_told(monkeypatch):
    """Torch's own flags, as they are, and those variables that are set."""
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    monkeypatch.delenv("MALLOC_CONF", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    found = environment()
    assert found.variables["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    assert "MALLOC_CONF" not in found.variables
    assert found.torch_flags["backends.cudnn.benchmark"] == "True"
    assert found.torch_flags["are_deterministic_algorithms_enabled"] == "False"
    assert found.torch_build == torch.version.git_version


def test_the_environment_is_as_a_cases_code_leaves_it(monkeypatch, tmp_path):
    """Flags and threads that a model's own code sets are the record's, and so is its repository."""
    found = environment()
    states = {"commit": "1234", "dirty": True}
    monkeypatch.setattr(module, "code_state", lambda folder, file: states | {"commit": file.name})
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_model.py").write_text("")
    import_module("own_model")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    left = as_left(found, "import:own_model:factory")
    assert (left.commit, left.dirty, left.torch_threads) == ("own_model.py", True, 77)
    assert left.torch_flags["backends.cudnn.benchmark"] == "True"
    for model in ("mlp:8-4", "import:not_imported:factory", "import:sys:exit"):
        assert as_left(found, model).commit == found.commit


def test_what_is_not_installed_is_none():
    """A distribution that is not here has no version."""
    assert installed("no-such-distribution-anywhere") is None


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9654\nmodel name\t: other\n", "AMD EPYC 9654"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", platform.processor() or platform.machine()),
        (None, platform.processor() or platform.machine()),
    ],
)
def test_the_processor_is_named_as_the_system_does(tmp_path, cpuinfo, name):
    """The first model name of /proc/cpuinfo counts; where there is none, the architecture."""
    if cpuinfo is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    assert processor(tmp_path) == name


def test_only_usable_cpus_count(monkeypatch):
    """A process that is bound to one CPU has one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert cpu_count() == 1


def test_cpus_are_counted_where_none_can_be_bound(monkeypatch):
    """A system without affinity tells how many there are."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cpu_count() == 7


@pytest.mark.parametrize(
    ("limits", "usable"),
    [
        ({}, 2**30),
        ({"job": "max\n"}, 2**30),
        ({"job": f"{2**40}\n"}, 2**30),
        ({"job": f"{2**28}\n"}, 2**28),
        ({"": f"{2**27}\n", "job": "max\n"}, 2**27),
    ],
)
def test_memory_is_what_the_control_group_leaves(monkeypatch, tmp_path, limits, usable):
    """The lowest limit from the process's group upward counts where it is below the RAM."""
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**18}
    monkeypatch.setattr(module.os, "sysconf", sizes.__getitem__)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/other\n0::/job\n")
    (tmp_path / "sys/fs/cgroup/job").mkdir(parents=True)
    for group, limit in limits.items():
        (tmp_path / "sys/fs/cgroup" / group / "memory.max").write_text(limit)
    assert memory_bytes(tmp_path) == usable


def test_memory_that_the_system_does_not_tell_is_none(monkeypatch):
    """Where the RAM is unknown it is None and not 0."""

    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(module.os, "sysconf", unknown)
    assert memory_bytes() is None
