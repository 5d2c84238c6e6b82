"""Whether an error says that memory ran out, of a GPU or of the host, by all its names.

PyTorch has a class of its own for its caching allocator alone. What a library or the driver takes
beside it (a handle's workspace, pinned memory, a kernel's code) fails as an AcceleratorError or a
RuntimeError, told by its text; what a compiler was doing is wrapped once more.
"""

import errno
import re
from collections.abc import Iterator

_TEXTS = re.compile(
    # CUDA's, HIP's and MPS's allocators, the drivers' own, Triton's and NCCL's word for the latter.
    r"\bout of memory\b"
    r"|\b(CUBLAS|CUBLASLT|CUDNN|CUSPARSE|CUSOLVER|CUFFT|CURAND)_\w*ALLOC(ATION)?_FAILED\b"
    # The host's: PyTorch's allocator on Linux and elsewhere, its shared memory, C++.
    r"|DefaultCPUAllocator: not enough memory"
    r"|\b(can't|cannot) allocate memory\b"
    r"|\bbad_alloc\b",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, or one that it came of, says that memory ran out."""
    return any(map(_says_so, _with_origins(error)))


def _says_so(error: BaseException) -> bool:
    # By name, as torch need not be imported here; accelerators other than CUDA share the class.
    named = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, MemoryError) or "OutOfMemoryError" in named:
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and bool(_TEXTS.search(str(error)))


def _with_origins(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it was raised from or while handling, and all of a group."""
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
