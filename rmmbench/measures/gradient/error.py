"""Measures how far a method's weight gradients are from exact's on the same batch and weights."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from rmmbench.measures.gradient.watching import NoiseWatch
from rmmbench.measures.step import TrainingStep
from rmmbench.measures.time.turns import Reference
from rmmbench.nn.patterns import converted_or_not
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
    size = _norm(gradient for gradient, _ in exact)
    if not 0 < size < float("inf"):
        raise ValueError(f"the weights must have a gradient to compare with, and it is {size:g}")
    total = _Differences(exact)
    errors = [total.add(_weight_gradients(step, seed)) / size for _ in range(draws)]
    return GradientError(
        device="cuda" if next(step.model.parameters()).is_cuda else "cpu",
        errors=tuple(errors),
        mean_error=_norm(total.sums) / draws / size,
        variance=total.of_linears / draws,
    )


def measure_sgd_noise(step: TrainingStep, reference: Reference, seed: int) -> float:
    """Return D²_SGD of the weights of all linear layers by whole samples, in the exact model.

    Args:
        step: Of the changed model.
        reference: Gives a context in which the model is exact.
        seed: Of dropout.

    Raises:
        ValueError: If a linear layer cannot be watched, or the batch is one sample.
    """
    with reference(), NoiseWatch(step.model, "*") as watch:
        torch.manual_seed(seed)
        try:
            step.find_gradients()
        finally:
            step.forget_gradients()
        noise = watch.collect(1)
    total = math.fsum(each.sgd_by_samples for each in noise)
    if not total:
        raise ValueError("the noise of SGD needs two samples at least, whose gradients differ")
    return total


class _Differences:
    """Differences of gradients from exact's, added up.

    Attributes:
        sums: Of all draws, by weight.
        of_linears: The sum of their squares in the weights of linear layers.
    """

    def __init__(self, exact: "list[_Gradient]") -> None:
        self._exact = exact
        self.sums = [torch.zeros_like(gradient) for gradient, _ in exact]
        self.of_linears = 0.0

    def add(self, drawn: "Iterator[_Gradient]") -> float:
        """Add the differences of a draw, and return their Frobenius norm."""
        squares = []
        for (gradient, is_linear), (true, _), total in zip(
            drawn, self._exact, self.sums, strict=True
        ):
            off_by = gradient - true
            total += off_by
            squares.append(_norm([off_by]) ** 2)
            self.of_linears += squares[-1] if is_linear else 0.0
        return math.sqrt(math.fsum(squares))


_Gradient = tuple[Tensor, bool]


def _weight_gradients(step: TrainingStep, seed: int) -> Iterator[_Gradient]:
    """Yield the gradients of all parameters of two or more dimensions, each moved to the host.

    With each comes whether it is the weight of a linear layer.
    """
    torch.manual_seed(seed)
    linears = {id(layer.weight) for layer in converted_or_not(step.model).values()}
    step.find_gradients()
    try:
        for weight in step.model.parameters():
            if weight.dim() > 1 and weight.grad is not None:
                gradient = weight.grad.detach().to("cpu", torch.float32)
                yield gradient, id(weight) in linears
                weight.grad = None
    finally:
        step.forget_gradients()


def _norm(gradients: Iterable[Tensor]) -> float:
    """Return the Frobenius norm of all gradients together."""
    squares = (
        float(torch.linalg.vector_norm(each, dtype=torch.float64)) ** 2 for each in gradients
    )
    return math.sqrt(math.fsum(squares))
