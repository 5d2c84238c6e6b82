"""Ways of saving memory, one file each. To add one: add its file, and its line here.

What a method can be set to stands in its file too, and nowhere else.

Several make a stack, joined by "+". They are applied in the order of the lines below, however the
stack is written: what changes single layers before what follows the whole forward pass.
"""

from collections.abc import Sequence
from typing import Any

from rmmbench.errors import UsageError
from rmmbench.methods._stack import Stack as Stack
from rmmbench.methods.method import Method
from rmmbench.registry import Entry, Registry
from rmmbench.spec.steps import Step

METHODS: Registry[type[Method[Any]]] = Registry(
    "method",
    __name__,
    {
        "exact": Entry("exact:Exact", "the unchanged model; the reference"),
        "fewbit-activation": Entry(
            "fewbit_activation:FewBitActivation",
            "GELU and SiLU keep a few bits of each element",
            settings="fewbit_activation:FewBitSettings",
        ),
        "checkpoint-attention": Entry(
            "checkpoint_attention:CheckpointAttention", "attention is computed again, nothing else"
        ),
        "checkpoint": Entry("checkpoint:Checkpoint", "whole blocks are computed again"),
        "selective-checkpoint": Entry(
            "selective_checkpoint:SelectiveCheckpoint", "blocks again, but for products of matrices"
        ),
        "rmm": Entry(
            "rmm:RMM",
            "linear layers keep a sketch of their input",
            settings="rmm:RMMSettings",
        ),
        "plan": Entry(
            "plan:Plan",
            "each layer and each block saves as a plan says",
            settings="plan:PlanSettings",
        ),
        "exact-rp": Entry(
            "exact_rp:ExactRP",
            "linear layers keep random features, in few bits",
            settings="exact_rp:ExactRPSettings",
        ),
        "prac": Entry(
            "prac:PRAC",
            "linear layers keep principal features, and random ones",
            settings="prac:PRACSettings",
        ),
        "velora": Entry(
            "velora:VeLoRA",
            "linear layers keep one coefficient of each few features",
            settings="velora:VeLoRASettings",
        ),
        "quantize": Entry(
            "quantize:Quantize",
            "what autograd saves is kept in few bits",
            settings="quantize:QuantizeSettings",
        ),
        "offload": Entry("offload:Offload", "what autograd saves waits in the host's memory"),
        "compile": Entry("compile:Compile", "torch.compile with its default settings"),
        "memory-budget": Entry(
            "memory_budget:MemoryBudget",
            "torch.compile, told to keep less",
            settings="memory_budget:MemoryBudgetSettings",
        ),
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


def get(name: str) -> Method[Any]:
    """Return the method called `name`.

    Raises:
        UnknownNameError: A ValueError, if there is none.
    """
    return METHODS.get(name)()


def stack(steps: Sequence[Step]) -> Stack:
    """Return the methods of a case as one, with their settings; of no steps, the unchanged model.

    Raises:
        UnknownNameError: A ValueError, if one is no method's.
        UsageError: If they cannot be combined.
    """
    settings = {step.name: step.settings for step in steps}
    order = check("+".join(step.name for step in steps)) if steps else []
    return Stack({name: (get(name), settings[name]) for name in order})
