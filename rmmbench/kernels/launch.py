"""Takes a Triton kernel where one can run, and its PyTorch twin everywhere else.

Triton is optional. It is imported at the first launch; where that fails, or a kernel does not
compile or start, its twin takes over for the rest of the process. The first time a warning says so.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

_failed: set[str] = set()


def kernel_or_twin(kernel: str, twin: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what the kernel gives for some arguments; what its twin gives where it cannot run.

    Args:
        kernel: "file:function" in this folder; takes what the twin takes.
        twin: The same in PyTorch's own operators.
        args: The twin's arguments, at least one tensor among them.
        kwargs: More of them.
    """
    tensors = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor)]
    if kernel not in _failed and usable(*tensors):
        try:
            # Triton launches on the current device, whichever its arguments are on.
            with torch.cuda.device_of(tensors[0]):  # type: ignore[no-untyped-call]
                return cast("Callable[P, T]", _load(kernel))(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise  # the twin would need no less
        except Exception as error:
            _give_up(kernel, error)
    return twin(*args, **kwargs)


def usable(*tensors: Tensor) -> bool:
    """Return whether kernels can take these tensors: real ones, all on one GPU."""
    # Whatever stands for a tensor, such as a fake one, has no memory for a kernel to read.
    plain = all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in tensors)
    if not plain or torch.compiler.is_compiling():
        return False
    return tensors[0].is_cuda and len({tensor.device for tensor in tensors}) == 1


def _load(kernel: str) -> object:
    file, function = kernel.split(":")
    return getattr(import_module(f"rmmbench.kernels.{file}"), function)


def _give_up(kernel: str, error: Exception) -> None:
    is_first = not _failed
    _failed.add(kernel)
    if is_first:
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        observed = f"a Triton kernel cannot run here ({type(error).__name__}: {reason})"
        meaning = "sketches run on PyTorch's own operators, which is slower"
        remedy = "install a Triton that works with this torch"
        warnings.warn(f"{observed}; {meaning}; {remedy}", RuntimeWarning, stacklevel=3)
