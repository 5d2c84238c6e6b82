"""Triton's kernels beside their twins in PyTorch's own operators, on the same numbers and seed."""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from rmmbench.kernels import bins, dense, launch, permutation, philox, rounding
from rmmbench.results.held import KernelTwin

ROWS, FEATURES, PROJ_DIM = 5000, 768, 1000
"""The size of what is projected: no power of two, and enough rows for several programs."""

_SEED: Final = 11
_ROUNDING: Final[dict[torch.dtype | None, float]] = {torch.float32: 1e-5, torch.bfloat16: 2**-6}
"""The largest difference, relative to the largest number, that rounding explains: of sums in
another order in float32; of S and of the result in bfloat16."""

_BITS: Final = 4

_LARGEST: Final = 1e15


class _Work(NamedTuple):
    """One computation.

    Attributes:
        kernel: "file:function" among the kernels.
        twin: Takes the same arguments.
        dtype: Of the input; None where there is none.
        limit: The largest difference that rounding explains; by default that of the dtype, and 0
            where there is none.
    """

    name: str
    kernel: str
    twin: Callable[..., Any]
    arguments: tuple[Any, ...]
    dtype: torch.dtype | None = None
    limit: float | None = None


def compare_kernels(
    device: str, rows: int = ROWS, features: int = FEATURES, proj_dim: int = PROJ_DIM
) -> list[KernelTwin]:
    """Return what each kernel gives and takes beside its twin.

    Args:
        device: "cuda"; "cpu" in a process with TRITON_INTERPRET=1.
        rows: Of what is projected.
        features: Of what is projected.
        proj_dim: Rows of the result.
    """
    return [_compared(work) for work in _works(torch.device(device), rows, features, proj_dim)]


def _works(device: torch.device, rows: int, features: int, proj_dim: int) -> Iterator[_Work]:
    seed = torch.full((), _SEED, dtype=torch.int64, device=device)
    words = (seed, rows, philox.Use.SIGNS)
    yield _Work("random bits", "_triton_philox:stream", philox.stream_twin, words)
    order = permutation.permutation_twin(seed, rows)
    permuted = permutation.permutation_twin
    yield _Work("permutation", "_triton_permutation:permutation", permuted, (seed, rows))
    starts = torch.arange(proj_dim, dtype=torch.int32, device=device) * rows // proj_dim
    signs = philox.stream_twin(seed, -(-rows // 32), philox.Use.SIGNS)
    generator = torch.Generator().manual_seed(_SEED)
    drawn = torch.randn(rows, features, generator=generator).to(device)
    for dtype in (torch.float32, torch.bfloat16):
        x = drawn.to(dtype)
        sums = (x, order, starts.to(torch.int32), signs)
        with_total = bins.bin_sums_and_total_twin
        yield _Work("signed sums", "_triton_bins:bin_sums_and_total", with_total, sums, dtype)
        yield from _in_bits(x, sums, seed)
        for name, entries in (("signs", dense.sign_entries), ("normals", dense.normal_entries)):
            product = (x, proj_dim, rows, seed, entries)
            told = f"product with {name}"
            yield _Work(told, "_triton_dense:project", dense.project_twin, product, dtype)


def _in_bits(x: Tensor, sums: tuple[Any, ...], seed: Tensor) -> Iterator[_Work]:
    """Yield what rounds to few bits, and what restores."""
    rounded = rounding.round_to_bits_twin
    yield _Work("few bits", "_triton_rounding:round_to_bits", rounded, (x, _BITS, seed), x.dtype, 0)
    kept = rounded(x, _BITS, seed)
    told, restored = "numbers of few bits", rounding.restored_twin
    restoring = (*kept, x.shape[1], _BITS, x.dtype)
    yield _Work(told, "_triton_rounding:restored", restored, restoring, x.dtype)
    # A sum that is rounded otherwise may go to the next level.
    told, summed = "signed sums in few bits", bins.bin_sums_in_bits_twin
    a_level = 1 / (2**_BITS - 1)
    bits = (*sums, _BITS, seed)
    yield _Work(told, "_triton_bins:bin_sums_in_bits", summed, bits, x.dtype, a_level)


def _compared(work: _Work) -> KernelTwin:
    expected, twin_bytes = _run(work.twin, work.arguments)
    found = kernel_bytes = reason = None
    try:
        kernel = launch.loaded(work.kernel)
        kernel(*work.arguments)  # compiled before it is measured
        found, kernel_bytes = _run(kernel, work.arguments)
    except Exception as error:
        if not launch.means_no_kernel(error):
            raise
        reason = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
    return KernelTwin(
        kernel=work.name,
        dtype=None if work.dtype is None else str(work.dtype).removeprefix("torch."),
        difference=None if found is None else _difference(found, expected),
        limit=_ROUNDING.get(work.dtype, 0.0) if work.limit is None else work.limit,
        kernel_bytes=kernel_bytes,
        twin_bytes=twin_bytes,
        reason=reason,
    )


def _run(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[list[Tensor], int | None]:
    """Return what a function gives, and the most bytes that it takes on a GPU."""
    on_gpu = any(isinstance(each, Tensor) and each.is_cuda for each in arguments)
    before = torch.cuda.memory_allocated() if on_gpu else 0
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    result = function(*arguments)
    if on_gpu:
        torch.cuda.synchronize()
    taken = torch.cuda.max_memory_allocated() - before if on_gpu else None
    return [result] if isinstance(result, Tensor) else list(result), taken


def _difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """Return the largest difference, relative to the largest number of what is expected."""
    each = [
        ((one.double() - other.double()).abs().max() / other.double().abs().max()).item()
        for one, other in zip(found, expected, strict=True)
    ]
    # What is no number at all is a difference too, and a record holds finite ones.
    return max(value if value <= _LARGEST else _LARGEST for value in each)
