"""The machine, the versions and the settings that a case runs on."""

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from pathlib import Path
from typing import Any

import rmmbench
from rmmbench.measures.repository import code_state
from rmmbench.results.record import Environment
from rmmbench.spec.gpus import GPU, gpu_of_card

# Settings below `torch` that change numbers or times.
_FLAGS = (
    "are_deterministic_algorithms_enabled",
    "backends.cuda.matmul.fp32_precision",
    "backends.cudnn.benchmark",
    "backends.cudnn.conv.fp32_precision",
    "backends.cudnn.deterministic",
    "backends.mkldnn.matmul.fp32_precision",
)

# Variables that change memory or times and show nowhere else; the number of threads has a field.
_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "MALLOC_CONF",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_MAX_CPU_ISA",
    "OMP_PROC_BIND",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_HIP_ALLOC_CONF",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)


def environment() -> Environment:
    """Return what this process runs on; if there is a GPU, this initialises CUDA.

    The state of the user's code is that of the working directory.
    """
    # Imported here, so that the rest of this file works where torch or pynvml is broken.
    import torch

    from rmmbench.measures.nvml import driver_version

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
        torch_build=torch.version.git_version,
        triton=installed("triton"),
        cudnn=_cudnn(),
        torch_flags=torch_flags(),
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        **code_state(Path()),
    )


def gpu_here() -> GPU | None:
    """Return what the current GPU is among those that memory is predicted for; None without one.

    This initialises CUDA.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    card = torch.cuda.get_device_properties()
    return gpu_of_card(card.name, card.total_memory, (card.major, card.minor))


def gpus() -> list[tuple[str, int]]:
    """Return name and memory in bytes of each GPU that torch sees, in its order.

    This initialises CUDA.
    """
    import torch

    found = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return [(each.name, each.total_memory) for each in found]


def as_left(found: Environment, model: str) -> Environment:
    """Return an environment with the settings as the case's code left them, and that code's state.

    Args:
        found: Of this machine.
        model: The case's; for "import:package.module:factory" the module's repository counts.
    """
    import torch

    changes: dict[str, Any] = {
        "torch_threads": torch.get_num_threads(),
        "torch_flags": torch_flags(),
    }
    kind, _, argument = model.partition(":")
    module = sys.modules.get(argument.partition(":")[0]) if kind == "import" else None
    path = getattr(module, "__file__", None)
    if path is not None:
        file = Path(path).absolute()
        changes |= code_state(file.parent, file)
    return found.model_copy(update=changes)


def torch_flags() -> dict[str, str]:
    """Return torch's current settings, by their names below `torch`."""
    import torch

    flags = {name: attrgetter(name)(torch) for name in _FLAGS}
    return {name: str(flag() if callable(flag) else flag) for name, flag in flags.items()}


def _cudnn() -> str | None:
    import torch

    version: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return None if version is None else str(version)


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
    return len(usable_cpus())


def usable_cpus() -> set[int]:
    """Return the numbers of the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def memory_bytes(root: Path = Path("/")) -> int | None:
    """Return the RAM that this process may use: all, or what its control group leaves it."""
    try:
        ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    limits = (numbers(each / "memory.max", "limit ").get("limit") for each in control_groups(root))
    return min([ram, *(limit for limit in limits if limit is not None)])


def control_groups(root: Path = Path("/")) -> Iterator[Path]:
    """Yield the folders of the control groups (version 2) from this process's own upward."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    top = root / "sys/fs/cgroup"
    for group in (top / line[len("0::/") :] for line in lines if line.startswith("0::/")):
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def numbers(file: Path, before: str = "") -> dict[str, int]:
    """Return by name the numbers in a file of lines "NAME NUMBER"; none if it cannot be read."""
    try:
        lines = (before + file.read_text(encoding="utf-8")).splitlines()
    except (OSError, ValueError):
        return {}
    words = [line.split() for line in lines]
    return {each[0]: int(each[1]) for each in words if len(each) > 1 and each[1].isdecimal()}
