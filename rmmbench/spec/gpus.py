"""The GPUs that memory can be predicted for: what of them decides how much a step takes."""

import re
from typing import Final, NamedTuple

from rmmbench.errors import UnknownNameError
from rmmbench.units import GIB, format_bytes, parse_bytes

_SMALL_WORKSPACE: Final = 8_519_680
_LARGE_WORKSPACE: Final = 32 * 2**20


class GPU(NamedTuple):
    """One kind of GPU.

    Attributes:
        name: What `--gpu` takes.
        title: The product's name.
        memory_bytes: Its whole memory.
        capability: CUDA's compute capability, which decides what attention runs on.
    """

    name: str
    title: str
    memory_bytes: int
    capability: tuple[int, int]

    @property
    def summary(self) -> str:
        """The product, its memory and its compute capability."""
        major, minor = self.capability
        return f"{self.title}: {format_bytes(self.memory_bytes)}, capability {major}.{minor}"

    @property
    def cublas_workspace_bytes(self) -> int:
        """What cuBLAS takes for each thread that multiplies matrices (torch 1.11 and later).

        Two buffers of 4 MiB and eight of 16 KiB, or 32 MiB from Hopper on, as
        `getChosenWorkspaceSize` in ATen/cuda/CublasHandlePool.cpp has it.
        """
        return _LARGE_WORKSPACE if self.capability[0] in (9, 10) else _SMALL_WORKSPACE


def _gpu(name: str, title: str, gibibytes: int, major: int, minor: int) -> tuple[str, GPU]:
    return name, GPU(name, title, gibibytes * GIB, (major, minor))


GPUS: Final = dict(
    [
        _gpu("v100", "Tesla V100", 32, 7, 0),
        _gpu("v100-16gb", "Tesla V100", 16, 7, 0),
        _gpu("t4", "Tesla T4", 16, 7, 5),
        _gpu("a100", "A100", 80, 8, 0),
        _gpu("a100-40gb", "A100", 40, 8, 0),
        _gpu("a10", "A10", 24, 8, 6),
        _gpu("a40", "A40", 48, 8, 6),
        _gpu("rtx3090", "GeForce RTX 3090", 24, 8, 6),
        _gpu("l4", "L4", 24, 8, 9),
        _gpu("l40s", "L40S", 48, 8, 9),
        _gpu("rtx4090", "GeForce RTX 4090", 24, 8, 9),
        _gpu("h100", "H100", 80, 9, 0),
        _gpu("h200", "H200", 141, 9, 0),
        _gpu("b200", "B200", 180, 10, 0),
        _gpu("rtx5090", "GeForce RTX 5090", 32, 12, 0),
    ]
)
"""By name. Sizes are those of NVIDIA's data sheets, and capabilities those of its list of CUDA GPUs
(developer.nvidia.com/cuda-gpus)."""

DEFAULT_GPU: Final = "a100"

FAKE_DEVICE: Final = "fakecuda"
"""The type of device that stands for a GPU where there is none."""


def find_gpu(name: str) -> GPU:
    """Return the GPU of that name, or the one that CAPABILITY:MEMORY describes: "8.6:24GiB".

    Raises:
        UnknownNameError: If there is none.
    """
    if name in GPUS:
        return GPUS[name]
    described = re.fullmatch(r"(\d+)\.(\d):(\d+(?:\.\d+)?GiB)", name)
    if described is None:
        raise UnknownNameError("GPU", name, GPUS)
    major, minor, memory = described.groups()
    return GPU(
        name, f"GPU of capability {major}.{minor}", parse_bytes(memory), (int(major), int(minor))
    )


def gpu_of_card(title: str, memory_bytes: int, capability: tuple[int, int]) -> GPU:
    """Return the GPU that a card is, by what CUDA tells of it; one in no table is described.

    Args:
        title: The card's name: "NVIDIA A100-SXM4-80GB".
        memory_bytes: Its whole memory; drivers keep a part of what the data sheet has.
        capability: Its compute capability.
    """
    words = re.split(r"[\s-]+", title)
    for gpu in GPUS.values():
        is_named = set(gpu.title.split()) <= set(words)
        is_as_large = abs(memory_bytes / gpu.memory_bytes - 1) < _DRIVERS_PART
        if is_named and is_as_large and gpu.capability == capability:
            return gpu
    major, minor = capability
    return find_gpu(f"{major}.{minor}:{memory_bytes / GIB:.2f}GiB")


_DRIVERS_PART: Final = 0.1
"""Cards of one name whose sizes differ by less are one: 79.3 GiB is 80 GB."""
