"""Tells when the phases of a training step begin, and which of its tensors are what."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from rmmbench.measures.memory.categories import LiveByCategory
from rmmbench.measures.optimizers import InBackward
from rmmbench.measures.step import TrainingStep, tensors_of
from rmmbench.measures.whole_step import WholeStep


@contextmanager
def watched(step: TrainingStep, count: LiveByCategory) -> Iterator[Callable[[], None]]:
    """Within, tell `count` the category of the step's tensors, and when each phase begins.

    Yields:
        What must be called after each step: it tells which tensors are the optimizer's.
    """
    if isinstance(step, WholeStep):
        with _watched_whole(count) as end:
            yield end
        return
    count.count(tensors_of(step.batch))
    count.give((*step.model.parameters(), *step.model.buffers()), "parameters")
    _watch_gradients(step.model.parameters(), count)

    def begin_forward(*_: Any) -> None:
        if count.phase != "forward":
            count.enter("forward")

    def begin_update(optimizer: Any, *_: Any) -> None:
        if count.phase == "backward" and not isinstance(step.optimizer, InBackward):
            count.enter("optimizer")
        count.give((each.grad for each in _parameters_of(optimizer)), "gradients")

    step.model.register_forward_pre_hook(begin_forward)
    step.model.register_forward_hook(lambda *_: count.enter("backward"))
    step.optimizer.register_step_pre_hook(begin_update)
    yield lambda: count.give_state(step.optimizer)


@contextmanager
def _watched_whole(count: LiveByCategory) -> Iterator[Callable[[], None]]:
    """Watch a step whose model and optimizers are not known: autograd's engine tells the phases.

    Operators that autograd's engine runs are the backward pass. What an optimizer does outside of
    it is the optimizer's, and what follows a backward pass with gradients on is the next forward.
    """
    optimizers: set[Optimizer] = set()
    parameters = [each for each in gc.get_objects() if _is_parameter(each)]
    count.give(parameters, "parameters")
    _watch_gradients(parameters, count)

    def is_in_engine() -> bool:
        return torch._C._current_graph_task_id() != -1

    def before_operator() -> None:
        if is_in_engine():
            if count.phase != "backward":
                count.enter("backward")
        elif count.phase == "backward" and torch.is_grad_enabled():
            count.enter("forward")

    def begin_update(optimizer: Optimizer, *_: Any) -> None:
        optimizers.add(optimizer)
        if not is_in_engine() and count.phase != "optimizer":
            count.enter("optimizer")
        count.give((each.grad for each in _parameters_of(optimizer)), "gradients")

    def give_states() -> None:
        for optimizer in optimizers:
            count.give_state(optimizer)

    count.before_operator = before_operator
    hook = register_optimizer_step_pre_hook(begin_update)
    try:
        yield give_states
    finally:
        hook.remove()


def _watch_gradients(parameters: Any, count: LiveByCategory) -> None:
    def give_gradient(parameter: nn.Parameter) -> None:
        count.give([parameter.grad], "gradients")

    for parameter in parameters:
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(give_gradient)


def _parameters_of(optimizer: Any) -> Iterator[nn.Parameter]:
    return (each for group in optimizer.param_groups for each in group["params"])


def _is_parameter(value: object) -> bool:
    # Asking any object for its class may run its code, and a fake parameter is of no such class.
    return issubclass(type(value), Tensor) and isinstance(value, nn.Parameter)
