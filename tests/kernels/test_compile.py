"""Kernels compile for a GPU that is not here."""

import os
from types import SimpleNamespace

import pytest
import torch

from rmmbench.kernels import dense

SEED = torch.tensor(3)
SHARED_BYTES = 227 * 1024  # of a program on an H100


def launch(kind, dtype):
    """Launch one of the kernels."""
    from rmmbench.kernels import (
        _triton_bins,
        _triton_dense,
        _triton_permutation,
        _triton_philox,
        _triton_rounding,
    )

    if kind == "philox":
        return _triton_philox.stream(SEED, 100, 1)
    if kind == "permutation":
        return _triton_permutation.permutation(SEED, 1000)
    if kind.startswith("bins"):
        order, x = torch.arange(64, dtype=torch.int32), torch.zeros(64, 768, dtype=dtype)
        arguments = (x, order, order[:8] * 8, torch.zeros(2, dtype=torch.int64))
        if kind == "bins in bits":
            return _triton_bins.bin_sums_in_bits(*arguments, 4, SEED)
        return _triton_bins.bin_sums_and_total(*arguments)
    if kind == "rounding":
        return _triton_rounding.round_to_bits(torch.zeros(64, 768, dtype=dtype), 4, SEED)
    if kind == "restoring":
        kept = torch.zeros(64, 384, dtype=torch.uint8), torch.zeros(64, 12, 2, dtype=torch.bfloat16)
        return _triton_rounding.restored(*kept, 768, 4, dtype)
    entries = dense.normal_entries if kind == "normals" else dense.sign_entries
    return _triton_dense.project(torch.zeros(256, 768, dtype=dtype), 128, 256, SEED, entries)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with -m cuda they run on the GPU here")
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter runs them")
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("philox", None),
        ("permutation", None),
        ("bins", torch.bfloat16),
        ("bins", torch.float64),
        ("bins in bits", torch.bfloat16),
        ("rounding", torch.bfloat16),
        ("restoring", torch.bfloat16),
        ("signs", torch.bfloat16),
        ("normals", torch.bfloat16),
        ("normals", torch.float32),
    ],
    ids=str,
)
def test_compiles_for_an_h100(kind, dtype, monkeypatch, tmp_path):
    """What a launch would run becomes machine code that fits an H100's shared memory."""
    pytest.importorskip("triton", reason="triton is not installed")
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    # As much as Triton asks of a GPU before it launches.
    absent_gpu = SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
        get_current_device=lambda: 0,
        get_current_stream=lambda device: 0,
    )
    compiled = []
    run = JITFunction.run

    def compile_only(self, *args, warmup, **kwargs):
        compiled.append(run(self, *args, warmup=True, **kwargs))

    monkeypatch.setattr(JITFunction, "run", compile_only)
    monkeypatch.setattr(driver, "_active", absent_gpu, raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    launch(kind, dtype)
    [kernel] = compiled
    assert kernel.asm["cubin"]
    assert kernel.metadata.shared <= SHARED_BYTES
