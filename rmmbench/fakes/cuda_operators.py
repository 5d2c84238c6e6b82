"""Operators that are one kernel on CUDA, and made up of several for a type of device of no kernels.

Such temporaries would be counted that CUDA does not have.
"""

from typing import Any

import torch


def register(library: Any) -> None:
    """Let backward operators that CPU and CUDA have kernels of reach them on the fake device too.

    Args:
        library: Of aten's implementations.
    """
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    for full in torch._C._dispatch_get_all_op_names():
        name = full.removeprefix("aten::")
        packet, _, overload = name.partition(".")
        if name == full or not packet.endswith("_backward"):
            continue
        if has_kernel(full, "CompositeImplicitAutograd") and has_kernel(full, "CPU"):
            operator = getattr(getattr(torch.ops.aten, packet), overload or "default")
            library.impl(name, _kernel(operator), "AutogradPrivateUse1")


def _kernel(operator: Any) -> Any:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*args, **kwargs)

    return kernel
