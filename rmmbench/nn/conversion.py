"""Turn the linear layers of a model into sketched ones, in place."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, TypeVar

from torch import nn

from rmmbench.nn.advice import advise
from rmmbench.nn.candidates import left_out_layers, linear_layers
from rmmbench.nn.linear import Sketched
from rmmbench.nn.patterns import select
from rmmbench.nn.rehearsal import Example
from rmmbench.nn.size import SketchSettings
from rmmbench.nn.swap import swap

M = TypeVar("M", bound=nn.Module)

logger = logging.getLogger("rmmbench")


def convert(
    model: M,
    *,
    sketch: str = "gaussian",
    rho: float | None = None,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    where: Literal["all", "beneficial"] = "all",
    example: Example | None = None,
    share: bool = True,
    **settings: Any,
) -> M:
    """Make the linear layers of a model keep a sketch of their input, and return the model.

    Layers of `torch.nn.Linear`, of subclasses that compute what it does, and of transformers'
    `Conv1D` become `RMMLinear` and `RMMConv1D`; what else multiplies by a weight is left alone. The
    module objects stay the same, and with them parameters, ties, requires_grad, hooks and every
    other reference. What was converted is logged at INFO by the logger "rmmbench", and
    `converted_layers` lists it; what cannot be, too, and `left_out_layers` says why.

    Args:
        model: Changed in place.
        sketch: A name of `rmmbench.sketches.names()`.
        rho: Compression rate proj_dim / rows, in (0, 1].
        include: Patterns of qualified names ("*.attention.*"); only layers that match one.
        exclude: Patterns; no layer that matches one.
        where: "beneficial" leaves out layers whose input is kept anyway, is no smaller as a sketch,
            or is alive where the step's memory is highest.
        example: A batch like those of training, by whose shapes `where` decides; a mapping of the
            model's keyword arguments, a sequence of its arguments, or the only one. Under autocast
            if training is.
        share: Whether layers of one block that read the same tensor (Q, K and V; gate and up) keep
            one sketch of it between them. Under torch.compile they do in any case.
        settings: proj_dim, min_proj_dim, max_proj_dim and block_rows, as `rmm_linear` takes them.

    Raises:
        TypeError: If a setting has no such name, or is not of its type; nothing is changed then.
        ValueError: If the settings make no sense, `where` needs an example and there is none, or no
            layer is left to convert, or what stands in a layer's `forward` would hide the sketch.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    beside = ("include", "exclude", "where", "example", "share")
    chosen = SketchSettings.of({"sketch": sketch, "rho": rho, **settings}, beside)
    layers = linear_layers(model)
    if not layers:
        raise ValueError(_nothing_to_convert(converted_layers(model), left_out_layers(model)))
    matching = select(layers, include, exclude)
    if where not in ("all", "beneficial"):
        raise ValueError(f"where must be 'all' or 'beneficial', got {where!r}")
    if where == "beneficial":
        matching = _beneficial(model, matching, chosen, example, share=share)
    swap(model, matching, chosen, share=share)
    names = ", ".join(matching)
    counts = len(matching), len(layers)
    logger.info("%d of %d linear layers keep a %s sketch: %s", *counts, sketch, names)
    for reason, count in Counter(left_out_layers(model).values()).items():
        logger.info("left out: %d, as %s", count, reason)
    return model


def converted_layers(model: nn.Module) -> dict[str, Sketched]:
    """Return the sketched layers of a model by qualified name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, Sketched)}


def exact_layers(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which the sketched layers of a model are exact."""
    return all_exact(converted_layers(model).values())


@contextmanager
def all_exact(layers: Iterable[Any]) -> Iterator[None]:
    """Let layers that have a switch `exact` be so for a while."""
    layers = list(layers)
    before = [layer.exact for layer in layers]
    try:
        for layer in layers:
            layer.exact = True
        yield
    finally:
        for layer, exact in zip(layers, before, strict=True):
            layer.exact = exact


def _beneficial(
    model: nn.Module,
    layers: list[str],
    settings: SketchSettings,
    example: Example | None,
    *,
    share: bool,
) -> list[str]:
    if example is None:
        remedy = "give example=batch, or where='all'"
        raise ValueError(f"where='beneficial' must see one batch to decide, got none; {remedy}")
    advice = advise(model, layers, settings, example, share=share)
    gaining = [layer.layer for layer in advice if layer.is_beneficial]
    if not gaining:
        reasons = ", ".join(dict.fromkeys(layer.reason for layer in advice))
        raise ValueError(f"none of the {len(advice)} linear layers gains by a sketch: {reasons}")
    return gaining


def _nothing_to_convert(converted: dict[str, Sketched], left_out: dict[str, str]) -> str:
    if converted:
        return f"all {len(converted)} linear layers of the model are sketched already"
    told = "the model has no torch.nn.Linear or transformers Conv1D to convert"
    reasons = list(dict.fromkeys(left_out.values()))
    return f"{told}: {', '.join(reasons)}" if reasons else told
