"""What `rmmbench doctor --calibrate` finds of kernels is what there is."""

import pytest
import torch

from rmmbench.kernels import launch
from rmmbench.measures.kernel_twins import compare_kernels

SIZE = {"rows": 130, "features": 20, "proj_dim": 37}


def test_kernels_and_twins_agree(device):
    """Each kernel ran and gave what its twin gives; on a GPU both say what they take."""
    found = compare_kernels(device.type, **SIZE)
    assert {twin.verdict for twin in found} == {"ok"}
    assert {twin.dtype for twin in found} == {None, "float32", "bfloat16"}
    assert all(twin.difference == 0 for twin in found if twin.dtype is None)
    on_gpu = device.type == "cuda"
    assert all((twin.kernel_bytes is not None) == on_gpu for twin in found)


def test_a_wrong_kernel_is_off(device, monkeypatch):
    """A kernel that leaves out a sign, or gives what is no number, is seen."""
    right = launch.loaded

    def wrong(kernel):
        run = right(kernel)
        if kernel.endswith(":project"):
            return lambda *args: run(*args) * torch.nan
        if kernel.endswith(":stream"):
            return lambda *args: run(*args) ^ 1
        return run

    monkeypatch.setattr(launch, "loaded", wrong)
    off = {twin.kernel for twin in compare_kernels(device.type, **SIZE) if twin.verdict == "off"}
    assert off == {"random bits", "product with signs", "product with normals"}


@pytest.mark.parametrize("error", [ImportError("No module named 'triton'"), OSError("no space")])
def test_a_kernel_that_cannot_run_says_why(monkeypatch, error):
    """Without a Triton that works there is a reason in the place of a difference."""

    def fails(_):
        raise error

    monkeypatch.setattr(launch, "loaded", fails)
    found = compare_kernels("cpu", **SIZE)
    assert {twin.verdict for twin in found} == {"failed"}
    assert {twin.reason for twin in found} == {f"{type(error).__name__}: {error}"}
