"""What a training step cannot be: parts of it that rule each other out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rmmbench.spec.gpus import GPUS

if TYPE_CHECKING:
    from rmmbench.spec.case import Case

_MOST_RANKS: Final = 2**20
"""What is known of each of them, even in a prediction, takes some memory."""


def contradiction(case: "Case") -> str | None:
    """Return what a case asks for that cannot be, in one line; None if there is nothing."""
    return next(_contradictions(case), None)


def _contradictions(case: "Case") -> Iterator[str]:
    if case.attention_kernel is not None and case.attention != "sdpa":
        need = f"attention_kernel must be with attention 'sdpa', got '{case.attention}'"
        yield f"{need}; set attention = 'sdpa', or leave attention_kernel out"
    gpu = GPUS.get(case.gpu or "")
    if gpu is not None and gpu.capability < (8, 0) and case.attention_kernel in ("flash", "cudnn"):
        need = f"attention_kernel must be one that {gpu.name} has, efficient or math"
        yield f"{need}, got '{case.attention_kernel}'; a GPU from a100 on has it"
    if case.update == "in-backward":
        yield from _in_backward(case)
    if case.update == "fused" and case.optimizer not in ("adam", "adamw", "sgd"):
        need = "update 'fused' must be with optimizer adam, adamw or sgd"
        yield f"{need}, got '{case.optimizer}'; PyTorch has no other fused ones"
    if case.ranks > 1 or case.parallel is not None or not case.reshard:
        yield from _over_ranks(case)
    if case.training is not None:
        yield from _in_training(case)


def _in_backward(case: "Case") -> Iterator[str]:
    """Yield what needs all gradients at once, or to keep them."""
    need = "update 'in-backward', which drops each gradient as soon as it is used, must be without"
    if case.clip_norm is not None:
        yield f"{need} clip_norm, got clip_norm {case.clip_norm:g}; leave one of them out"
    if case.accumulate > 1:
        yield f"{need} accumulate, got accumulate {case.accumulate}; leave one of them out"
    if case.dtype == "float16":
        yield f"{need} the scaled loss of dtype 'float16'; take bfloat16, or leave update out"
    if case.drop_gradients != "after-step":
        yield f"{need} drop_gradients, got '{case.drop_gradients}'; leave one of them out"
    if case.zeroed_gradients:
        yield f"{need} zeroed_gradients; leave one of them out"


def _over_ranks(case: "Case") -> Iterator[str]:
    """Yield what a step over several ranks cannot be, and what only such a step can."""
    if case.ranks > 1 and case.parallel is None:
        need = "parallel must say how a step is spread over several ranks"
        yield f"{need}, got ranks {case.ranks} alone; set parallel to ddp, fsdp2 or tensor"
    if case.ranks == 1 and case.parallel is not None:
        need = "parallel must be with two ranks or more"
        yield f"{need}, got '{case.parallel}' on one; set ranks, or leave parallel out"
    if case.ranks > _MOST_RANKS:
        yield f"ranks must be at most {_MOST_RANKS}, got {case.ranks}; take fewer ranks"
    if not case.reshard and case.parallel != "fsdp2":
        got = f"'{case.parallel}'" if case.parallel else "none"
        yield f"reshard must be with parallel 'fsdp2', got {got}; leave reshard out"
    need = "a step over several ranks must be without"
    if case.dtype == "float16" and case.parallel != "ddp":
        got = f"got parallel '{case.parallel}'"
        yield f"{need} the scaled loss of dtype 'float16', {got}; take bfloat16"
    if case.update == "in-backward":
        yield f"{need} update 'in-backward', which sees each rank's own gradients; leave update out"
    if case.gradient_draws is not None:
        yield f"{need} gradient_draws, which are of one rank; compare gradients with ranks = 1"
    if case.timeline is not None:
        yield f"{need} a timeline, which is of one rank; follow memory with ranks = 1"
    if case.projection_device is not None:
        yield f"{need} a projection, which is of one rank; time it with ranks = 1"
    if case.training is not None and case.training.watch:
        yield f"{need} watch, which sees one rank's noise; leave watch out, or train on one"
    if case.clip_norm is not None and case.parallel == "tensor":
        yield f"{need} clip_norm where layers are split; leave clip_norm out, or take fsdp2"
    if case.training is not None and case.parallel != "ddp":
        need = "a training over several ranks must be with parallel 'ddp', transformers' Trainer's"
        yield f"{need} own way, got '{case.parallel}'; take ddp, or train on one rank"


def _in_training(case: "Case") -> Iterator[str]:
    """Yield what transformers' Trainer does its own way."""
    need = "a training is done by transformers' Trainer, which"
    if case.drop_gradients != "after-step":
        yield f"{need} drops gradients after-step, got drop_gradients '{case.drop_gradients}'"
    if case.zeroed_gradients:
        yield f"{need} keeps no gradients as zeros; leave zeroed_gradients out"
    if case.update not in (None, "fused"):
        yield f"{need} updates as PyTorch does by default, or 'fused', got update '{case.update}'"
    if case.update == "fused" and case.optimizer == "sgd":
        yield f"{need} has no fused sgd; leave update out"
    if case.optimizer == "adafactor":
        yield f"{need} has an Adafactor of its own; train with adam, adamw or sgd"
    if case.dtype.endswith("-true"):
        dtype = case.dtype.removesuffix("-true")
        yield f"a training must have float32 parameters, got '{case.dtype}'; take '{dtype}'"
    assert case.training is not None
    if case.accumulate > 1 and case.training.watch:
        yield f"watch must be without accumulate, got accumulate {case.accumulate}; leave one out"
    if case.clip_norm is not None and case.training.max_grad_norm:
        given = f"{case.clip_norm:g} and {case.training.max_grad_norm:g}"
        yield f"clip_norm must be without training's max_grad_norm, got {given}; leave one out"
