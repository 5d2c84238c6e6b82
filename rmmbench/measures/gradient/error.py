"""Measures how far a method's weight gradients are from exact's on the same batch and weights."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from rmmbench.measures.step import TrainingStep
from rmmbench.measures.time.turns import Reference
from rmmbench.results.gradient_error import GradientError


def measure_gradient_error(
    step: TrainingStep, reference: Reference, draws: int, seed: int
) -> GradientError:
    """Compare the method's gradients `draws` times with exact's; parameters do not change.

    The host holds, in float32, exact's gradients and the sum of the differences from them. The
    device holds no more than in a training step.

    Args:
        step: Of the changed model, on the CPU or a GPU.
        reference: Gives a context in which the model is exact.
        draws: How often the method draws; dropout is the same each time.
        seed: Of dropout.

    Raises:
        ValueError: If the gradient is 0 or not finite.
    """
    with reference():
        exact = list(_weight_gradients(step, seed))
    size = _norm(exact)
    if not 0 < size < float("inf"):
        raise ValueError(f"the weights must have a gradient to compare with, and it is {size:g}")
    off_by = [torch.zeros_like(gradient) for gradient in exact]
    errors: list[float] = []
    for _ in range(draws):
        drawn = _weight_gradients(step, seed)
        errors.append(_norm(_added(drawn, exact, off_by)) / size)
    return GradientError(
        device="cuda" if next(step.model.parameters()).is_cuda else "cpu",
        errors=tuple(errors),
        mean_error=_norm(off_by) / draws / size,
    )


def _weight_gradients(step: TrainingStep, seed: int) -> Iterator[Tensor]:
    """Yield the gradients of all parameters of two or more dimensions, each moved to the host."""
    torch.manual_seed(seed)
    step.find_gradients()
    try:
        for weight in step.model.parameters():
            if weight.dim() > 1 and weight.grad is not None:
                yield weight.grad.detach().to("cpu", torch.float32)
                weight.grad = None
    finally:
        step.forget_gradients()


def _added(drawn: Iterator[Tensor], exact: list[Tensor], sums: list[Tensor]) -> Iterator[Tensor]:
    """Yield the difference of each gradient from exact's, and add it to `sums`."""
    for gradient, true, total in zip(drawn, exact, sums, strict=True):
        off_by = gradient - true
        total += off_by
        yield off_by


def _norm(gradients: Iterable[Tensor]) -> float:
    """Return the Frobenius norm of all gradients together."""
    squares = (
        float(torch.linalg.vector_norm(each, dtype=torch.float64)) ** 2 for each in gradients
    )
    return math.sqrt(math.fsum(squares))
