"""One training step: what is measured."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.utils._pytree import tree_leaves, tree_map_only

LEARNING_RATE = 1e-5


@dataclass
class TrainingStep:
    """A model, a batch and an optimizer; a call does one whole training step.

    Attributes:
        batch: The model's keyword arguments: tensors, containers of tensors, or anything else.
        autocast: The dtype of autocast; None runs in the parameters' own dtype.
    """

    model: nn.Module
    batch: Mapping[str, Any]
    optimizer: Optimizer
    autocast: torch.dtype | None = None

    def forward(self) -> Tensor:
        """Return the loss.

        Raises:
            TypeError: If the model returns no loss.
        """
        with autocast(self.model, self.autocast):
            output = self.model(**self.batch)
        loss = output if isinstance(output, Tensor) else getattr(output, "loss", None)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{output!r:.60}"
            need = "a scalar loss, or something whose `loss` is one"
            raise TypeError(f"the model must return {need}, got {got}")
        return loss

    def __call__(self) -> None:
        """Do a forward pass, a backward pass and an optimizer step, and drop the gradients."""
        self.forward().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.drop_gradients()

    def drop_gradients(self) -> None:
        """Drop all gradients, also those of the batch."""
        self.optimizer.zero_grad(set_to_none=True)
        for tensor in tensors_of(self.batch):
            tensor.grad = None


def tensors_of(batch: Any) -> list[Tensor]:
    """Return the tensors of a batch, however deeply they are nested."""
    return [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]


def placed(batch: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Return a batch whose tensors, however deeply nested, are on a type of device.

    Tensors that are there already stay the same objects; copies are leaves of autograd.
    """

    def moved(tensor: Tensor) -> Tensor:
        if tensor.device.type == device:
            return tensor
        return tensor.detach().to(device).requires_grad_(tensor.requires_grad)

    result: dict[str, Any] = tree_map_only(Tensor, moved, dict(batch))
    return result


def autocast(model: nn.Module, dtype: torch.dtype | None) -> AbstractContextManager[None]:
    """Return autocast to `dtype` on the model's device, or for None a context that does nothing."""
    if dtype is None:
        return nullcontext()
    return torch.autocast(next(model.parameters()).device.type, dtype=dtype)


AUTOCAST = {"float32": None, "bfloat16": torch.bfloat16}
"""The dtype of autocast for a case's dtype."""

Prepare = Callable[[], TrainingStep]
"""Builds everything for a training step on the current device."""


def make_optimizer(name: str, parameters: Iterable[nn.Parameter], *, foreach: bool) -> Optimizer:
    """Return the optimizer called `name` for the parameters that are trained.

    Args:
        name: "adam", "adamw" or "sgd" (plain).
        parameters: Those without requires_grad are left out.
        foreach: Whether all parameters are updated together, PyTorch's default on a GPU.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    kinds: dict[str, Callable[..., Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}
    return kinds[name](trained, lr=LEARNING_RATE, foreach=foreach)
