"""Memory that ran out is known by all its names, and nothing else is taken for it."""

import errno

import pytest

from rmmbench.results.out_of_memory import is_out_of_memory

OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})  # torch's, by its name
AcceleratorError = type("AcceleratorError", (RuntimeError,), {})


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        type("_ArrayMemoryError", (MemoryError,), {})("Unable to allocate 2.00 EiB for an array"),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of"),
        OutOfMemoryError(""),
        AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously"),
        RuntimeError("HIP error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB, other allocations: 1 GB"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreat"),
        RuntimeError("NCCL error: unhandled cuda error\nCuda failure 2 'out of memory'"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("unable to mmap 9 bytes from file </torch_1>: Cannot allocate memory (12)"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ExceptionGroup("of two tasks", [ValueError("no"), MemoryError()]),
    ],
    ids=str,
)
def test_every_name_is_known(error):
    """The allocators', the drivers', the libraries' and the host's."""
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("out of resource: shared memory, Required: 163840, Hardware limit: 101376"),
        ValueError("can't allocate memory"),
        KeyError("out of memory"),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyboardInterrupt(),
    ],
    ids=str,
)
def test_nothing_else_is_taken_for_it(error):
    """An error of another kind is none, whatever it speaks of."""
    assert not is_out_of_memory(error)


def raised(error, *, origin, how):
    """Return an error as it is caught: raised `how` another one was being handled."""
    try:
        try:
            raise origin
        except type(origin):
            if how == "from":
                raise error from origin
            if how == "instead":
                raise error from None
            raise error  # noqa: B904 -- the context is what is tested
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(("how", "expected"), [("from", True), ("while", True), ("instead", False)])
def test_what_a_compiler_wraps_is_found(how, expected):
    """The error that another came of counts, unless it was replaced on purpose."""
    wrapped = raised(ValueError("backend failed"), origin=MemoryError(), how=how)
    assert is_out_of_memory(wrapped) == expected
    outer = raised(KeyError("lowering"), origin=wrapped, how="from")
    assert is_out_of_memory(outer) == expected


def test_errors_in_a_circle_end():
    """Two errors, each the other's context, are looked at once."""
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    assert not is_out_of_memory(first)


def test_torchs_own_class_has_the_name():
    """The name that is looked for is that of the caching allocator's error."""
    torch = pytest.importorskip("torch")
    assert torch.OutOfMemoryError.__name__ == "OutOfMemoryError"
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA is full"))
