"""A model that runs as torch.compile's inductor makes it, and a switch back to the eager one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch._functorch.config
import torch._inductor.config
from torch import fx, nn
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch.utils._triton import has_triton_package
from torch.utils.checkpoint import CheckpointPolicy

# At 0 the partitioner lets nothing be kept whatever it is marked as; at this it is the marked only.
_LEAST_BUDGET = 1e-9
# Of what is drawn twice the second draw is another: inductor's own numbers differ from eager's.
_AS_EAGER_DRAWS = {"fallback_random": True}


def compile_in_place(model: nn.Module, budget: float) -> None:
    """Let calls of a model run compiled; it is compiled when it is first called.

    Args:
        model: Changed in place; its parameters and modules stay the same objects.
        budget: Of what the compiler would keep for the backward pass on its own, the share that it
            may; the rest is computed again.

    Raises:
        ValueError: If the device of the model has no compiler.
    """
    reason = what_is_missing(next(model.parameters()).device.type)
    if reason is not None:
        raise ValueError(reason)
    model.compile(backend=_backend(budget))


@contextmanager
def eager(model: nn.Module) -> Iterator[None]:
    """Let a compiled model run uncompiled for a while; it is not compiled again afterwards."""
    compiled = model._compiled_call_impl
    model._compiled_call_impl = None
    try:
        yield
    finally:
        model._compiled_call_impl = compiled


def what_is_missing(device: str) -> str | None:
    """Return why nothing can be compiled for a device, or be told of it; None if it can."""
    if device == "predict":
        return "what compiled code allocates is the compiler's choice; measure it on cuda or cpu"
    if device == "cuda" and not has_triton_package():
        return "torch.compile needs triton on a GPU, and it is not installed; install triton"
    if device == "cpu":
        return _why_no_compiler()
    return None


def _why_no_compiler() -> str | None:
    from torch._inductor.cpp_builder import get_cpp_compiler  # takes a second to import
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "torch.compile needs a C++ compiler on the CPU, and found none; install g++"
    return None


def _backend(budget: float) -> Callable[[fx.GraphModule, Sequence[Any]], Any]:
    def compiled(graph: fx.GraphModule, inputs: Sequence[Any]) -> Any:
        from torch._inductor.compile_fx import compile_fx

        patches = _AS_EAGER_DRAWS | {"joint_custom_post_pass": _KeepWhatIsDrawn()}
        # It is in force only here, where the graph is cut into forward and backward pass.
        with torch._functorch.config.patch(activation_memory_budget=max(budget, _LEAST_BUDGET)):
            return compile_fx(graph, list(inputs), config_patches=patches)

    return compiled


class _KeepWhatIsDrawn(CustomGraphPass):
    """Makes the partitioner keep random numbers, which it would draw anew in the backward pass."""

    def __call__(self, graph: fx.Graph) -> None:
        for node in graph.nodes:
            if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                node.meta["recompute"] = CheckpointPolicy.MUST_SAVE

    def uuid(self) -> str:
        return f"{__name__}.{type(self).__name__} 1"
