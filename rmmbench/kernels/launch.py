"""Takes a Triton kernel where one can run, and its PyTorch twin everywhere else.

Triton is optional. It is imported at the first launch; where that fails, or a kernel does not
compile or is too large for the GPU, its twin takes over for the rest of the process. The first time
a warning says so. Any other error, of memory above all, is the caller's.
"""

import re
import subprocess
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Literal, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

from rmmbench.results.out_of_memory import is_out_of_memory

P = ParamSpec("P")
T = TypeVar("T")

Path = Literal["triton", "torch", "both"]

# What says in a RuntimeError that there is no such kernel here: Triton's build and its compiler,
# its search for a driver, and the driver where it loads one or does not have what it takes.
_NO_KERNEL = re.compile(
    r"Failed to find C compiler|Failed to load newly compiled|Cannot find ptxas"
    r"|PassManager::run failed|Triton only support|active drivers|is not active|libcuda\.so"
    r"|no kernel image is available|kernel image is invalid|unsupported toolchain"
    r"|PTX JIT|invalid device function|too many resources requested",
    re.IGNORECASE,
)

_failed: dict[str, str] = {}
_taken: set[Literal["triton", "torch"]] = set()


def kernel_or_twin(
    kernel: str | None, twin: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Return what the kernel gives for some arguments; what its twin gives where it cannot run.

    Args:
        kernel: "file:function" in this folder; takes what the twin takes. None where there is none.
        twin: The same in PyTorch's own operators.
        args: The twin's arguments, at least one tensor among them.
        kwargs: More of them.
    """
    tensors = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor)]
    if kernel is not None and kernel not in _failed and usable(*tensors):
        try:
            # Triton launches on the current device, whichever its arguments are on.
            with torch.cuda.device_of(tensors[0]):  # type: ignore[no-untyped-call]
                result = cast("Callable[P, T]", _load(kernel))(*args, **kwargs)
        except Exception as error:
            if not means_no_kernel(error):
                raise
            _give_up(kernel, error)
        else:
            _taken.add("triton")
            return result
    if "torch" not in _taken and _are_real(*tensors):
        _taken.add("torch")
    return twin(*args, **kwargs)


def usable(*tensors: Tensor) -> bool:
    """Return whether kernels can take these tensors: real ones, all on one GPU."""
    if not tensors[0].is_cuda:
        return False
    # A kernel reads what is in memory: of a negative view, numbers of the other sign.
    if not _are_real(*tensors) or any(tensor.is_neg() for tensor in tensors):
        return False
    return len({tensor.device for tensor in tensors}) == 1


def note_sketch(x: Tensor) -> None:
    """Note that a sketch of x was computed, by PyTorch's operators if no kernel was asked."""
    if not _taken and _are_real(x):
        _taken.add("torch")


def path_taken() -> Path | None:
    """Return what sketches of this process ran on: kernels, twins or both; None if none has run."""
    return "both" if len(_taken) > 1 else next(iter(_taken), None)


def complaint() -> str | None:
    """Return why a kernel did not run where it should, what that means and what to do, or None."""
    if not _failed:
        return None
    observed = f"a Triton kernel cannot run here ({next(iter(_failed.values()))})"
    meaning = "sketches run on PyTorch's own operators, which is slower"
    return f"{observed}; {meaning}; install a Triton that works with this torch"


def means_no_kernel(error: Exception) -> bool:
    """Tell whether an error says that a kernel cannot be imported, compiled or fitted in here."""
    if is_out_of_memory(error):
        return False
    # By name, as Triton need not be there: it could not compile, or a GPU has too few registers.
    is_tritons = any(kind.__module__.split(".")[0] == "triton" for kind in type(error).__mro__)
    # A compiler failed, or the folder where kernels are kept did.
    if is_tritons or isinstance(error, ImportError | OSError | subprocess.SubprocessError):
        return True
    if isinstance(error, AttributeError):
        return "triton" in str(error)  # of another version
    return isinstance(error, RuntimeError | AssertionError) and bool(_NO_KERNEL.search(str(error)))


def _are_real(*tensors: Tensor) -> bool:
    # Whatever stands for a tensor, such as a fake one, has no memory for a kernel to read.
    plain = all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in tensors)
    return plain and not torch.compiler.is_compiling()


def _load(kernel: str) -> object:
    file, function = kernel.split(":")
    return getattr(import_module(f"rmmbench.kernels.{file}"), function)


def _give_up(kernel: str, error: Exception) -> None:
    is_first = not _failed
    reason = next(iter(str(error).strip().splitlines()), "no reason given")
    _failed[kernel] = f"{type(error).__name__}: {reason}"
    if is_first:
        warnings.warn(complaint() or "", RuntimeWarning, stacklevel=3)
