"""A model that runs as torch.compile's inductor makes it, and a switch back to the eager one.

Two settings differ from the compiler's own, so that gradients can be compared with eager ones.
Random numbers are drawn as eager draws them, by a kernel of their own, where inductor would draw
others within its kernels. And what is drawn is kept for the backward pass: within a memory budget
below 1 the partitioner would draw it anew there, and gradients behind dropout would be wrong
(pytorch#190758, open as of torch 2.13).
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch._dynamo
import torch._functorch.config
import torch._inductor.config
from torch import fx, nn
from torch._dynamo.exc import FailOnRecompileLimitHit
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch.utils._triton import has_triton_package
from torch.utils.checkpoint import CheckpointPolicy

aten = torch.ops.aten

# At 0 nothing but the inputs is kept, whatever it is marked as; here, what is marked as well.
_LEAST_BUDGET = 1e-9


def compile_in_place(model: nn.Module, budget: float) -> None:
    """Let calls of a model run compiled; it is compiled when it is first called.

    Models that are alike are compiled once for each budget.

    Args:
        model: Changed in place; its parameters and modules stay the same objects.
        budget: Of what the compiler would keep for the backward pass, the share that it may, in
            [0, 1]; the rest is computed again.

    Raises:
        ValueError: If there is no compiler for the model's device.
    """
    reason = what_is_missing(next(model.parameters()).device.type)
    if reason is not None:
        raise ValueError(reason)
    compiled = torch.compile(model._call_impl, backend=_backend(budget))

    def call(*args: Any, **kwargs: Any) -> Any:
        # Beyond its limit torch would go on with the eager model, which looks like any other.
        try:
            with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
                return compiled(*args, **kwargs)
        except FailOnRecompileLimitHit as error:
            limit = torch._dynamo.config.recompile_limit
            found = f"code must not be compiled more than {limit} times in a process, and was"
            raise RuntimeError(f"{found}; keep batches of one shape, or run fewer cases") from error

    model._compiled_call_impl = call


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
    """Return why nothing can be compiled for a device, or be told of it; None if it can.

    Args:
        device: "cuda", "cpu", or "predict".
    """
    if device == "predict":
        return "what compiled code allocates is the compiler's choice; measure it on cuda or cpu"
    if device == "cuda" and not has_triton_package():
        return "torch.compile needs triton on a GPU, and it is not installed; install triton"
    if device == "cpu":
        return _why_no_cpp_compiler()
    return None


def _why_no_cpp_compiler() -> str | None:
    from torch._inductor.cpp_builder import get_cpp_compiler  # only here, as it takes a second
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "torch.compile needs a C++ compiler on the CPU, and found none; install g++"
    return None


# One object for one budget, as code is compiled anew for each backend.
@functools.cache
def _backend(budget: float) -> Callable[[fx.GraphModule, Sequence[Any]], Any]:
    def compiled(graph: fx.GraphModule, inputs: Sequence[Any]) -> Any:
        from torch._inductor.compile_fx import compile_fx

        patches = {"fallback_random": True, "joint_custom_post_pass": _KeepWhatIsDrawn()}
        # Here alone a graph is cut into forward and backward pass; no other code sees the budget.
        with torch._functorch.config.patch(activation_memory_budget=max(budget, _LEAST_BUDGET)):
            return compile_fx(graph, list(inputs), config_patches=patches)

    return compiled


class _KeepWhatIsDrawn(CustomGraphPass):
    """Marks random numbers in a graph as what must be kept, of dropout the mask alone."""

    def __call__(self, graph: fx.Graph) -> None:
        for node in list(graph.nodes):
            if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                node.meta["recompute"] = CheckpointPolicy.MUST_SAVE
            if node.target is aten.native_dropout.default:
                _multiply_by_mask(graph, node)

    def uuid(self) -> bytes:
        # What the compiler has on disk is of one version of this pass.
        return get_hash_for_files((__file__,))


def _multiply_by_mask(graph: fx.Graph, dropout: fx.Node) -> None:
    """Take the output of a dropout from its input and mask, so that it can be computed again."""
    x, probability, is_training = dropout.args
    parts = {user.args[1]: user for user in dropout.users}
    if not is_training or not isinstance(probability, float) or not 0 < probability < 1:
        return
    if parts.keys() != {0, 1}:
        return
    output, mask = parts[0], parts[1]
    with graph.inserting_after(max(output, mask)):
        kept = graph.call_function(aten.mul.Tensor, (x, mask))
    with graph.inserting_after(kept):
        scaled = graph.call_function(aten.mul.Tensor, (kept, 1 / (1 - probability)))
    kept.meta = dict(output.meta)
    scaled.meta = dict(output.meta)
    output.replace_all_uses_with(scaled)
    graph.erase_node(output)
