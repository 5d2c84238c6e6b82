"""The GPUs that memory is predicted for, by their names and by what a card says of itself."""

import pytest

from rmmbench.errors import UnknownNameError
from rmmbench.spec.gpus import find_gpu, gpu_of_card
from rmmbench.units import GIB, MIB


@pytest.mark.parametrize(
    ("title", "gibibytes", "capability", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", 79.25, (8, 0), "a100"),
        ("NVIDIA A100-PCIE-40GB", 39.49, (8, 0), "a100-40gb"),
        ("Tesla V100-SXM2-16GB", 15.77, (7, 0), "v100-16gb"),
        ("NVIDIA H200", 139.8, (9, 0), "h200"),
        ("NVIDIA L4", 22.03, (8, 9), "l4"),
        ("NVIDIA L40S", 44.4, (8, 9), "l40s"),
        ("NVIDIA A10", 22.07, (8, 6), "a10"),
        ("NVIDIA A10G", 22.07, (8, 6), "8.6:22.07GiB"),
        ("NVIDIA H100 NVL", 93.1, (9, 0), "9.0:93.10GiB"),
        ("NVIDIA GB10", 119.7, (12, 1), "12.1:119.70GiB"),
    ],
)
def test_a_card_is_known_by_what_it_says(title, gibibytes, capability, name):
    """A card is the GPU of its name, size and capability; another one is described."""
    gpu = gpu_of_card(title, round(gibibytes * GIB), capability)
    assert gpu.name == name
    assert gpu == find_gpu(name)
    assert gpu.capability == capability


def test_a_gpu_can_be_described():
    """A GPU that has no name here is its capability and its memory."""
    gpu = find_gpu("9.0:96GiB")
    assert gpu.memory_bytes == 96 * GIB
    assert gpu.cublas_workspace_bytes == 32 * MIB
    assert find_gpu("8.6:24GiB").cublas_workspace_bytes == 8_519_680


@pytest.mark.parametrize("name", ["h10", "9.0", "9:96GiB", "9.0:96", "9.0:GiB"])
def test_an_unknown_gpu_is_answered_with_names(name):
    """A slip is answered with all names, and how to describe one."""
    with pytest.raises(UnknownNameError, match=f"no GPU named '{name}'.*choose from: v100,"):
        find_gpu(name)
