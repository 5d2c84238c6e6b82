"""The machine and the versions that a case runs on."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import rmmbench
from rmmbench.record import Environment


def environment() -> Environment:
    """Return what this process runs on; where there is a GPU, CUDA is initialised in it."""
    # Here, so that the rest can be asked for where torch or pynvml is broken.
    import torch

    from rmmbench.measure.nvml import driver_version

    gpu = torch.cuda.get_device_properties() if torch.cuda.is_available() else None
    return Environment(
        rmmbench=rmmbench.__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=installed("transformers"),
        system=f"{platform.system()} {platform.release()}",
        processor=processor(),
        cpu_count=cpu_count(),
        memory_bytes=memory_bytes(),
        torch_threads=torch.get_num_threads(),
        gpu=gpu.name if gpu else None,
        gpu_memory_bytes=gpu.total_memory if gpu else None,
        cuda=torch.version.cuda,
        driver=driver_version()[0],
    )


def installed(distribution: str) -> str | None:
    """Return the version of a distribution, without importing it; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def processor(root: Path = Path("/")) -> str:
    """Return the processor's model as the system names it, or its architecture."""
    # platform.processor() is empty or the architecture on most Linux systems.
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, models), "") or platform.processor() or platform.machine()


def cpu_count() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes(root: Path = Path("/")) -> int | None:
    """Return the RAM that this process may use: all, or what its control group leaves it."""
    try:
        ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return min([ram, *_group_limits(root)])


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the memory limit of each control group (version 2) from this process's own upward."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    top = root / "sys/fs/cgroup"
    for group in (top / line[len("0::/") :] for line in lines if line.startswith("0::/")):
        for folder in (group, *group.parents):
            limit = folder / "memory.max"
            if folder.is_relative_to(top) and limit.is_file():
                text = limit.read_text(encoding="utf-8").strip()
                if text.isdecimal():  # else "max"
                    yield int(text)
