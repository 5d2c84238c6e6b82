"""How far a method's weight gradients are from exact's on the same batch and weights."""

import torch
from torch import Tensor

from rmmbench.measure.step import TrainingStep
from rmmbench.measure.timing import Reference
from rmmbench.record import GradientError


def measure_gradient_error(
    step: TrainingStep, reference: Reference, draws: int, seed: int
) -> GradientError:
    """Compare gradients `draws` times with exact's; parameters stay as they are.

    Args:
        step: Of the changed model, on the CPU or a GPU.
        reference: Gives a context in which the model is exact.
        draws: How often the method draws; dropout is drawn alike each time.
        seed: Of dropout.
    """
    with reference():
        exact = _weight_gradients(step, seed)
    total = torch.stack([gradient.square().sum() for gradient in exact]).sum()
    if not total > 0:
        raise ValueError("the weights must have a gradient to compare with, and it is 0")
    errors: list[float] = []
    mean = [torch.zeros_like(gradient) for gradient in exact]
    for _ in range(draws):
        drawn = _weight_gradients(step, seed)
        errors.append(_distance(drawn, exact, total))
        for kept, new in zip(mean, drawn, strict=True):
            kept.add_(new, alpha=1 / draws)
    return GradientError(
        device="cuda" if exact[0].is_cuda else "cpu",
        errors=tuple(errors),
        mean_error=_distance(mean, exact, total),
    )


def _weight_gradients(step: TrainingStep, seed: int) -> list[Tensor]:
    """Return copies of the gradients of all parameters of two or more dimensions."""
    torch.manual_seed(seed)
    step.forward().backward()  # type: ignore[no-untyped-call]
    weights = [weight for weight in step.model.parameters() if weight.dim() > 1]
    gradients = [weight.grad.detach().float() for weight in weights if weight.grad is not None]
    step.drop_gradients()
    return gradients


def _distance(gradients: list[Tensor], exact: list[Tensor], total: Tensor) -> float:
    """Return ‖Ĝ − G‖_F ÷ ‖G‖_F, where `total` is ‖G‖²_F."""
    pairs = zip(gradients, exact, strict=True)
    squares = torch.stack([(drawn - true).square().sum() for drawn, true in pairs])
    return float((squares.sum() / total).sqrt())
