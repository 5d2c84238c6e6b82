"""Runs a Triton kernel where one can run, and its PyTorch twin everywhere else.

Triton is optional. It is imported at the first launch. If that fails, or a kernel does not compile
or is too large for the GPU, its twin takes over for the rest of the process, and a warning says so
once. Any other error, such as out of memory, is raised.
"""

import re
import subprocess
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, ParamSpec, TypeVar, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from rmmbench.kernels import outlines
from rmmbench.results.out_of_memory import is_out_of_memory
from rmmbench.spec.gpus import FAKE_DEVICE

P = ParamSpec("P")
T = TypeVar("T")

Path = Literal["triton", "torch", "both"]

# Messages of a RuntimeError that mean the kernel cannot run here. They come from Triton's build,
# its compiler and its search for a driver, and from a driver that cannot load the kernel.
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
    """Return the result of the kernel, or of its twin where the kernel cannot run.

    Args:
        kernel: "file:function" in this folder, with the twin's parameters; None if there is none.
        twin: The same computation in PyTorch's own operators.
        args: The arguments, at least one of them a tensor.
        kwargs: More arguments.
    """
    tensors = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor)]
    if kernel is not None and all(stands_for_gpu(tensor) for tensor in tensors):
        outline = getattr(outlines, kernel.partition(":")[2])
        return cast("Callable[P, T]", outline)(*args, **kwargs)
    if kernel is not None and kernel not in _failed and usable(*tensors):
        try:
            # Triton launches on the current device, even if its arguments are on another.
            with torch.cuda.device_of(tensors[0]):  # type: ignore[no-untyped-call]
                result = cast("Callable[P, T]", loaded(kernel))(*args, **kwargs)
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


def is_on_gpu(tensor: Tensor) -> bool:
    """Tell whether a tensor is on a GPU, or on the device that stands for one."""
    return tensor.device.type in ("cuda", FAKE_DEVICE)


def stands_for_gpu(tensor: Tensor) -> bool:
    """Tell whether a tensor without numbers stands for one on a GPU."""
    return isinstance(tensor, FakeTensor) and is_on_gpu(tensor)


def usable(*tensors: Tensor) -> bool:
    """Return whether kernels can read these tensors: real ones, all on one GPU."""
    if not tensors[0].is_cuda:
        return False
    # A kernel reads memory as it is, and a negative view has the other sign there.
    if not _are_real(*tensors) or any(tensor.is_neg() for tensor in tensors):
        return False
    return len({tensor.device for tensor in tensors}) == 1


def note_sketch(x: Tensor) -> None:
    """Note that a sketch of x was computed: with PyTorch's operators, if no kernel was asked."""
    if not _taken and _are_real(x):
        _taken.add("torch")


def path_taken() -> Path | None:
    """Return what computed the sketches of this process; None if there was no sketch."""
    return "both" if len(_taken) > 1 else next(iter(_taken), None)


def complaint() -> str | None:
    """Return why a kernel could not run, what that means and what to do; None if all could."""
    if not _failed:
        return None
    observed = f"a Triton kernel cannot run here ({next(iter(_failed.values()))})"
    meaning = "sketches run on PyTorch's own operators, which is slower"
    return f"{observed}; {meaning}; install a Triton that works with this torch"


def means_no_kernel(error: Exception) -> bool:
    """Return whether an error says that a kernel cannot be imported, compiled or loaded here."""
    if is_out_of_memory(error):
        return False
    # Triton may be absent, so its errors are known by name: no compilation, too few registers.
    is_tritons = any(kind.__module__.split(".")[0] == "triton" for kind in type(error).__mro__)
    # A compiler failed, or Triton's cache folder cannot be written.
    if is_tritons or isinstance(error, ImportError | OSError | subprocess.SubprocessError):
        return True
    if isinstance(error, AttributeError):
        return "triton" in str(error)  # another version of Triton
    return isinstance(error, RuntimeError | AssertionError) and bool(_NO_KERNEL.search(str(error)))


def _are_real(*tensors: Tensor) -> bool:
    # A subclass, such as a fake tensor, may have no memory for a kernel to read.
    plain = all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in tensors)
    return plain and not torch.compiler.is_compiling()


def loaded(kernel: str) -> Any:
    """Return the function "file:function" that launches a kernel; this imports Triton."""
    file, function = kernel.split(":")
    return getattr(import_module(f"rmmbench.kernels.{file}"), function)


def _give_up(kernel: str, error: Exception) -> None:
    is_first = not _failed
    reason = next(iter(str(error).strip().splitlines()), "no reason given")
    _failed[kernel] = f"{type(error).__name__}: {reason}"
    if is_first:
        warnings.warn(complaint() or "", RuntimeWarning, stacklevel=3)
