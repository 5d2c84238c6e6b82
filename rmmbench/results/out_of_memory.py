"""Recognises errors which say that memory ran out, of a GPU or of the host.

PyTorch has its own class only for its caching allocator. If a library or the driver has no memory
(for a handle's workspace, pinned memory, a kernel's code), an AcceleratorError or a RuntimeError
says so in its text; a compiler wraps such an error once more.
"""

import errno
import re
from collections.abc import Iterator

_TEXTS = re.compile(
    # The allocators of CUDA, HIP and MPS, the drivers, and what Triton and NCCL report of those.
    r"\bout of memory\b"
    r"|\b(CUBLAS|CUBLASLT|CUDNN|CUSPARSE|CUSOLVER|CUFFT|CURAND)_\w*ALLOC(ATION)?_FAILED\b"
    # The host: PyTorch's allocator on Linux and elsewhere, its shared memory, C++.
    r"|DefaultCPUAllocator: not enough memory"
    r"|\b(can't|cannot) allocate memory\b"
    r"|\bbad_alloc\b",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one that caused it, says that memory ran out."""
    return any(map(_says_so, _with_origins(error)))


def _says_so(error: BaseException) -> bool:
    # By name, so that torch need not be imported; accelerators other than CUDA share the class.
    named = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, MemoryError) or "OutOfMemoryError" in named:
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and bool(_TEXTS.search(str(error)))


def _with_origins(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its causes and contexts, and the members of groups."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
        context = None if current.__suppress_context__ else current.__context__
        waiting += [origin for origin in (current.__cause__, context) if origin is not None]
