"""One training step: what is measured."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves, tree_map_only

from rmmbench.measures.optimizers import InBackward, LossScaler, numbers_do_not_matter
from rmmbench.spec.choices import Dropping, Kernel


@dataclass
class TrainingStep:
    """A model, a batch and an optimizer; a call does one whole training step.

    Attributes:
        batch: The model's keyword arguments: tensors, containers of tensors, or anything else.
        autocast: The dtype of autocast; None runs in the parameters' own dtype.
        scaler: Scales the loss; None leaves it.
        attention_kernel: The kernel that attention takes; None for PyTorch's choice.
        accumulate: How often the batch is run through the model for one update.
        drop: When the gradients of the step before go.
        zeroed: Whether they are filled with zeros and stay.
        clip_norm: The norm that all gradients together are clipped to; None leaves them.
        foreach: Whether they are clipped all together.
    """

    model: nn.Module
    batch: Mapping[str, Any]
    optimizer: Optimizer | InBackward
    autocast: torch.dtype | None = None
    scaler: LossScaler | None = None
    attention_kernel: Kernel | None = None
    accumulate: int = 1
    drop: Dropping = "after-step"
    zeroed: bool = False
    clip_norm: float | None = None
    foreach: bool = False

    def forward(self) -> Tensor:
        """Return the loss.

        Raises:
            TypeError: If the model returns no loss.
        """
        with attending(self.attention_kernel), autocast(self.model, self.autocast):
            output = self.model(**self.batch)
        loss = output if isinstance(output, Tensor) else getattr(output, "loss", None)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{output!r:.60}"
            need = "a scalar loss, or something whose `loss` is one"
            raise TypeError(f"the model must return {need}, got {got}")
        return loss

    def __call__(self) -> None:
        """Do forward and backward passes and an optimizer step, and drop the gradients."""
        if self.drop == "before-forward":
            self.drop_gradients()
        for number in range(self.accumulate):
            loss = self.forward()
            if self.drop == "before-backward" and number == 0:
                self.drop_gradients()
            self._backward(loss)
            del loss
        with numbers_do_not_matter():
            self._update()
        if self.drop == "after-step":
            self.drop_gradients()

    def _backward(self, loss: Tensor) -> None:
        if self.accumulate > 1:
            loss = loss / self.accumulate
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        # Blocks that are computed again attend once more.
        with attending(self.attention_kernel):
            loss.backward()  # type: ignore[no-untyped-call]

    def _update(self) -> None:
        if self.scaler is None:
            self._clip()
            self.optimizer.step()
            return
        assert isinstance(self.optimizer, Optimizer)
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _clip(self) -> None:
        if self.clip_norm is not None:
            trained = [each for each in self.model.parameters() if each.requires_grad]
            nn.utils.clip_grad_norm_(trained, self.clip_norm, foreach=self.foreach)

    def find_gradients(self) -> None:
        """Do one forward and one backward pass from no gradients, and update nothing."""
        self.forget_gradients()
        optimizer = self.optimizer
        with optimizer.waiting() if isinstance(optimizer, InBackward) else nullcontext():
            self._backward(self.forward())

    def drop_gradients(self) -> None:
        """Drop all gradients, also those of the batch, or fill those of parameters with zeros."""
        self.optimizer.zero_grad(set_to_none=not self.zeroed)
        for tensor in tensors_of(self.batch):
            tensor.grad = None

    def forget_gradients(self) -> None:
        """Drop all gradients, whatever a step does with them."""
        self.drop_gradients()
        self.optimizer.zero_grad(set_to_none=True)

    def warnings(self) -> list[str]:
        """Return what was unlike a usual step."""
        skipped = self.scaler.skipped if self.scaler is not None else 0
        if not skipped:
            return []
        what = f"{skipped} step{'s' * (skipped > 1)} that updated nothing: a float16 gradient"
        return [f"{what} had overflowed; bfloat16 does not overflow"]


def tensors_of(batch: Any) -> list[Tensor]:
    """Return the tensors of a batch, however deeply they are nested."""
    return [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]


def placed(
    batch: Mapping[str, Any], device: str, dtype: torch.dtype | None = None
) -> dict[str, Any]:
    """Return a batch whose tensors, however deeply nested, are on a type of device.

    Tensors that are there already stay the same objects; copies are leaves of autograd.

    Args:
        batch: Of any tensors, or anything else.
        device: The type.
        dtype: What floating-point tensors are made; None leaves them.
    """

    def moved(tensor: Tensor) -> Tensor:
        wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        if tensor.device.type == device and tensor.dtype == wanted:
            return tensor
        return tensor.detach().to(device, wanted).requires_grad_(tensor.requires_grad)

    result: dict[str, Any] = tree_map_only(Tensor, moved, dict(batch))
    return result


def autocast(model: nn.Module, dtype: torch.dtype | None) -> AbstractContextManager[None]:
    """Return autocast to `dtype` on the model's device, or for None a context that does nothing."""
    if dtype is None:
        return nullcontext()
    return torch.autocast(next(model.parameters()).device.type, dtype=dtype)


AUTOCAST = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "bfloat16-true": None,
    "float16-true": None,
}
"""The dtype of autocast for a case's dtype."""

PARAMETERS = {"bfloat16-true": torch.bfloat16, "float16-true": torch.float16}
"""The dtype of parameters for a case's dtype, if it is not float32."""


def attending(kernel: Kernel | None) -> AbstractContextManager[None]:
    """Return a context in which attention takes that kernel, or fails; for None any may be."""
    if kernel is None:
        return nullcontext()
    return sdpa_kernel(_KERNELS[kernel])


_KERNELS: Mapping[Kernel, SDPBackend] = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}

Prepare = Callable[[], TrainingStep]
"""Builds everything for a training step on the current device."""
