"""Optimizers: how parameters are updated, all at once or each within the backward pass."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.optim import SGD, Adafactor, Adam, AdamW, Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from rmmbench.fakes.mode import is_faking
from rmmbench.spec.choices import Update

LEARNING_RATE = 1e-5

_KINDS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "sgd": SGD,
    "adafactor": Adafactor,
}


class InBackward:
    """An optimizer for each parameter, which updates it as soon as it has its gradient.

    The gradient is dropped at once, so that gradients of all parameters are never there together.
    """

    def __init__(
        self, make: Callable[[list[nn.Parameter]], Optimizer], trained: Iterable[nn.Parameter]
    ) -> None:
        """Update each of the `trained` parameters by an optimizer that `make` makes."""
        self._is_on = True
        self._optimizers = {parameter: make([parameter]) for parameter in trained}
        for parameter in self._optimizers:
            parameter.register_post_accumulate_grad_hook(self._update)  # type: ignore[no-untyped-call]

    @property
    def state(self) -> Mapping[Any, Any]:
        """The state of each parameter."""
        return {each: own.state[each] for each, own in self._optimizers.items()}

    def step(self) -> None:
        """Do nothing: the backward pass has updated already."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop what gradients there are, or fill them with zeros."""
        for optimizer in self._optimizers.values():
            optimizer.zero_grad(set_to_none=set_to_none)

    def register_step_pre_hook(self, hook: Callable[..., None]) -> None:
        """Call `hook` with the optimizer of each parameter before it is updated."""
        for optimizer in self._optimizers.values():
            optimizer.register_step_pre_hook(hook)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within, update nothing; gradients stay."""
        self._is_on = False
        try:
            yield
        finally:
            self._is_on = True

    def _update(self, parameter: nn.Parameter) -> None:
        if self._is_on:
            with numbers_do_not_matter():
                self._optimizers[parameter].step()
            parameter.grad = None


def make_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    *,
    foreach: bool,
    update: Update | None = None,
) -> Optimizer | InBackward:
    """Return the optimizer called `name` for the parameters that are trained.

    Args:
        name: "adam", "adamw", "sgd" (plain) or "adafactor".
        parameters: Those without requires_grad are left out.
        foreach: Whether all parameters are updated together, PyTorch's default on a GPU; its
            default for Adafactor is one by one everywhere.
        update: Another way than that.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    together = foreach and name != "adafactor"

    def make(some: Sequence[nn.Parameter], **how: Any) -> Optimizer:
        # Where layers are split, some parameters are DTensors, which are updated by themselves.
        kinds = [[each for each in some if _is_spread(each) is spread] for spread in (False, True)]
        groups = [{"params": kind} for kind in kinds if kind]
        return _KINDS[name](groups, lr=LEARNING_RATE, **how)

    if update == "in-backward":
        return InBackward(lambda one: make(one, foreach=together), trained)
    if update == "fused":
        return make(trained, fused=True)
    return make(trained, foreach=together if update is None else update == "foreach")


def _is_spread(parameter: Tensor) -> bool:
    return is_traceable_wrapper_subclass(parameter)


class LossScaler(torch.amp.GradScaler):
    """A scaled loss, whose float16 gradients neither vanish nor overflow.

    Attributes:
        skipped: How many steps updated nothing, because a gradient had overflowed.
    """

    def __init__(self, device: str) -> None:
        """Start below PyTorch's own scale, with which the first steps often are skipped."""
        super().__init__(device, init_scale=2.0**10)
        self.skipped = 0

    def _maybe_opt_step(
        self, optimizer: Optimizer, optimizer_state: dict[str, Any], *args: Any, **kwargs: Any
    ) -> float | None:
        # Fake gradients have no values, and do not overflow.
        found = optimizer_state["found_inf_per_device"].values()
        if not is_faking() and sum(value.item() for value in found):
            self.skipped += 1
            return None
        updated: float | None = optimizer.step(*args, **kwargs)
        return updated


@contextmanager
def numbers_do_not_matter() -> Iterator[None]:
    """Within, a number that a fake tensor lacks is 1: what an optimizer reads decides no shapes."""
    if not is_faking():
        yield
        return
    with _Ones():
        yield


@contextmanager
def optimizers_need_no_numbers() -> Iterator[None]:
    """Within, the same holds whenever any optimizer steps."""
    entered: list[AbstractContextManager[None]] = []

    def before(*_: Any) -> None:
        entered.append(numbers_do_not_matter())
        entered[-1].__enter__()

    def after(*_: Any) -> None:
        entered.pop().__exit__(None, None, None)

    hooks = register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)
    try:
        yield
    finally:
        while entered:  # a step that raised
            after()
        for hook in hooks:
            hook.remove()


class _Ones(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except DataDependentOutputException:
            if func is not Tensor.item:
                raise
            return 1.0
