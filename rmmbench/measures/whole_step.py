"""A training step of somebody's own: a function of no arguments that does all of it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from rmmbench.fakes.mode import is_faking
from rmmbench.measures.optimizers import InBackward, make_optimizer, optimizers_need_no_numbers
from rmmbench.measures.step import TrainingStep, attending
from rmmbench.spec.choices import Kernel


class WholeStep(TrainingStep):
    """A function that does a forward pass, a backward pass and an update, or several of each.

    Attributes:
        is_known: Whether its model is; otherwise `model` has no parameters.
    """

    def __init__(
        self,
        run: Callable[[], object],
        where: str,
        device: str,
        model: nn.Module | None = None,
        attention_kernel: Kernel | None = None,
    ) -> None:
        """Take a function that does a step.

        Args:
            run: Called without arguments.
            where: What messages call it.
            device: On which tensors are made within the step.
            model: What the step trains, if that is known.
            attention_kernel: The kernel that attention takes; None for PyTorch's choice.
        """
        none: InBackward | Any = make_optimizer("sgd", (), foreach=False, update="in-backward")
        super().__init__(model or nn.Module(), {}, none, attention_kernel=attention_kernel)
        self.is_known = model is not None
        self._run, self._where, self._device = run, where, device
        self._is_tried = False

    def __call__(self) -> None:
        """Do one training step.

        Raises:
            TypeError: If the function returns what is neither nothing nor a loss.
            ValueError: If tensors are fake, and it trains or writes to a real one.
        """
        with (
            torch.device(self._device),
            attending(self.attention_kernel),
            optimizers_need_no_numbers(),
        ):
            if self._is_tried or not is_faking():
                result = self._run()
            else:
                with _OnlyFakes(self._where):
                    result = self._run()
        self._is_tried = True
        if result is not None and not isinstance(result, Tensor | float | int):
            need = "must do a training step and return nothing, or its loss"
            raise TypeError(f"the step of {self._where} {need}, got {type(result).__name__}")

    def forward(self) -> Tensor:
        """Refuse: where the forward pass of such a step ends is not known.

        Raises:
            TypeError: Always.
        """
        need = "a forward pass alone needs a factory that returns (model, make_batch)"
        raise TypeError(f"{need}, got a step from {self._where}")


class _OnlyFakes(TorchDispatchMode):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """Within it, no operator may train or change a real tensor, which would not be counted."""

    def __init__(self, where: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self._where = where

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        for argument, value in zip(func._schema.arguments, args, strict=False):
            is_written = argument.alias_info is not None and argument.alias_info.is_write
            for tensor in tree_iter(value):
                if not isinstance(tensor, Tensor) or isinstance(tensor, FakeTensor):
                    continue
                if is_written or tensor.requires_grad:
                    what = "changes" if is_written else "trains"
                    made = f"a real tensor of shape {tuple(tensor.shape)}"
                    remedy = "make all that it trains and changes within the factory"
                    raise ValueError(f"the step of {self._where} {what} {made}; {remedy}")
        return func(*args, **(kwargs or {}))
