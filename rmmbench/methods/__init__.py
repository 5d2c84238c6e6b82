"""Ways of saving memory, one file each. To add one: add its file, and its line here.

Several make a stack, joined by "+". They are applied in the order of the lines below, however the
stack is written: what changes single layers before what follows the whole forward pass.
"""

from rmmbench.errors import UsageError
from rmmbench.methods.method import Method
from rmmbench.registry import Entry, Registry

METHODS: Registry[type[Method]] = Registry(
    "method",
    __name__,
    {
        "exact": Entry("exact:Exact", "the unchanged model; the reference"),
        "fewbit-activation": Entry(
            "fewbit_activation:FewBitActivation", "GELU and SiLU keep a few bits of each element"
        ),
        "checkpoint-attention": Entry(
            "checkpoint_attention:CheckpointAttention", "attention is computed again, nothing else"
        ),
        "checkpoint": Entry("checkpoint:Checkpoint", "whole blocks are computed again"),
        "selective-checkpoint": Entry(
            "selective_checkpoint:SelectiveCheckpoint", "blocks again, but for products of matrices"
        ),
        "rmm": Entry("rmm:RMM", "linear layers keep a sketch of their input"),
        "exact-rp": Entry("exact_rp:ExactRP", "linear layers keep random features, in few bits"),
        "velora": Entry("velora:VeLoRA", "linear layers keep one coefficient of each few features"),
        "quantize": Entry("quantize:Quantize", "what autograd saves is kept in few bits"),
        "offload": Entry("offload:Offload", "what autograd saves waits in the host's memory"),
        "compile": Entry("compile:Compile", "torch.compile with its default settings"),
        "memory-budget": Entry("memory_budget:MemoryBudget", "torch.compile, told to keep less"),
    },
)


def names() -> list[str]:
    """Return the names of all methods."""
    return METHODS.names()


def check(stack: str) -> list[str]:
    """Return the names in a stack such as "rmm+checkpoint", in the order they are applied.

    Raises:
        UnknownNameError: A ValueError, if one is no method's.
        UsageError: If one is there twice, or exact is one of several.
    """
    parts = [METHODS.check(name) for name in stack.split("+")]
    if len(set(parts)) < len(parts):
        raise UsageError(f"a method can be in a stack once, got '{stack}'")
    if "exact" in parts and parts != ["exact"]:
        raise UsageError(f"exact cannot be combined with another method, got '{stack}'")
    return sorted(parts, key=names().index)


def get(stack: str) -> Method:
    """Return the method called `stack`, or those that it joins by "+" as one.

    Raises:
        UnknownNameError: A ValueError, if one is no method's.
        UsageError: If they cannot be combined.
    """
    parts = {name: METHODS.get(name)() for name in check(stack)}
    if len(parts) == 1:
        return next(iter(parts.values()))
    from rmmbench.methods._stack import Stack

    return Stack(parts)
