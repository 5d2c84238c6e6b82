"""Models as others trained and measured them, whose figures predictions are held to.

What an older PyTorch did otherwise, and no case can say, is done by the model itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rmmbench.errors import did_you_mean
from rmmbench.models.model import Built
from rmmbench.spec.case import Case

_MIB = 2**20


def from_name(argument: str, case: Case) -> Built:
    """Build "published:NAME".

    Raises:
        ValueError: If there is no such model, or the case does not suit it.
    """
    if argument not in _MODELS:
        known = ", ".join(_MODELS)
        hint = did_you_mean(argument, _MODELS)
        raise ValueError(f"no published model named '{argument}'{hint}; choose from: {known}")
    return _MODELS[argument](case)


def _bert_large(case: Case) -> Built:
    """Build BERT-large with a classifier, and eager attention as torch had it up to 1.10.

    The softmax kept its input for the backward pass, beside its output (pytorch#64000).
    """
    from transformers import AttentionInterface

    from rmmbench.models import huggingface

    if case.attention != "eager":
        raise ValueError(f"{case.model} has eager attention, got attention '{case.attention}'")
    sizes = "hidden_size=1024,intermediate_size=4096,num_hidden_layers=24,num_attention_heads=16"
    built = huggingface.from_name(f"bert:{sizes}", case)
    AttentionInterface.register("softmax-keeps-input", _attend)
    model: Any = built.model
    model.set_attn_implementation("softmax-keeps-input")
    return built


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **unused: Any,
) -> tuple[Tensor, Tensor]:
    """Return what attention makes of queries, keys and values (batch, heads, tokens, size)."""
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query, key.transpose(-1, -2)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    probabilities = _KeepInput.apply(scores).softmax(dim=-1)  # type: ignore[no-untyped-call]
    probabilities = nn.functional.dropout(probabilities, dropout, module.training)
    return (probabilities @ value).transpose(1, 2).contiguous(), probabilities


def _llama(case: Case) -> Built:
    """Build Llama 3.2 of 3 billion parameters, whose embeddings are tied.

    PEFT's comparison pads its batches, so they have a mask.
    """
    from rmmbench.models import huggingface

    sizes = "hidden_size=3072,intermediate_size=8192,num_hidden_layers=28,num_attention_heads=24"
    more = "num_key_value_heads=8,vocab_size=128256,max_position_embeddings=131072"
    built = huggingface.from_name(f"llama:{sizes},{more},tie_word_embeddings=true", case)

    def make_batch() -> dict[str, Tensor]:
        batch = dict(built.make_batch())
        return batch | {"attention_mask": torch.ones_like(batch["input_ids"])}

    return built._replace(make_batch=make_batch)


class _KeepInput(torch.autograd.Function):
    """Returns its input, and keeps it until the backward pass has come by."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _DistributedLinears(nn.Module):
    """Linear layers of one width in a row, with the buckets that DistributedDataParallel adds.

    A bucket is as large as the gradients in it: those of the last layers fill the first, of 1 MiB,
    then come others of 25 MiB, each until it has that much or more.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))
        self.loss = nn.MSELoss()
        for number, size in enumerate(_bucket_sizes(self.layers)):
            self.register_buffer(f"bucket{number}", torch.zeros(size), persistent=False)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = self.loss(self.layers(x), target)
        return loss


def _bucket_sizes(model: nn.Module) -> list[int]:
    """Return how many numbers each bucket has."""
    sizes, filled, limit = [], 0, 1 * _MIB
    for parameter in reversed(list(model.parameters())):
        filled += parameter.numel()
        if filled * parameter.itemsize >= limit:
            sizes.append(filled)
            filled, limit = 0, 25 * _MIB
    return [*sizes, filled] if filled else sizes


def _linears(case: Case) -> Built:
    """Build 20 linear layers of width 2000 under DistributedDataParallel."""

    def make_batch() -> Mapping[str, Any]:
        shape = (case.batch_size, 2000)
        return {"x": torch.randn(shape), "target": torch.randn(shape)}

    return Built(_DistributedLinears(20, 2000), make_batch)


def _titan(case: Case) -> Built:
    """Build Llama 3 of 8 billion parameters as torchtitan had it, selective checkpoints too.

    Raises:
        ValueError: If the case gives no length.
    """
    from rmmbench.models._titan import Titan
    from rmmbench.models.llama import SIZES, VOCABULARY

    length = case.seq_len
    if length is None:
        raise ValueError(f"{case.model} reads tokens: it needs seq_len")

    def make_batch() -> Mapping[str, Any]:
        shape = (case.batch_size, length)
        names = ("input_ids", "labels")
        return {name: torch.randint(VOCABULARY, shape) for name in names}

    return Built(Titan(SIZES["8b"], length), make_batch)


_MODELS: dict[str, Callable[[Case], Built]] = {
    "llama-3b": _llama,
    "bert-large": _bert_large,
    "linears": _linears,
    "torchtitan-8b": _titan,
}
