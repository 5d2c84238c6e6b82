"""Turn the linear layers of a model into sketched ones, in place."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from torch import nn

from rmmbench.nn.analysis.layer_advice import FLOOR, Floor, LayerAdvice, advise_layers
from rmmbench.nn.analysis.rehearsal import Example
from rmmbench.nn.candidates import left_out_layers, linear_layers
from rmmbench.nn.layer import Sketched
from rmmbench.nn.patterns import select
from rmmbench.nn.sharing import sharing_groups
from rmmbench.nn.size import SketchSettings
from rmmbench.nn.swap import swap

if TYPE_CHECKING:
    from rmmbench.spec.saving_plan import SavingPlan

M = TypeVar("M", bound=nn.Module)

logger = logging.getLogger("rmmbench")

_BESIDE = (
    *("include", "exclude", "where", "example", "min_gain_bytes", "min_gain_ratio", "share"),
    "plan",
)
"""The arguments of `convert` that are no sketch's."""


def convert(
    model: M,
    *,
    sketch: str = "gaussian",
    rho: float | None = None,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    where: Literal["all", "beneficial"] = "all",
    example: Example | None = None,
    min_gain_bytes: int = FLOOR.gain_bytes,
    min_gain_ratio: float = FLOOR.gain_ratio,
    share: bool = True,
    plan: "SavingPlan | str | Path | None" = None,
    **settings: Any,
) -> M:
    """Make the linear layers of a model keep a sketch of their input, and return the model.

    `torch.nn.Linear`, its subclasses that compute the same, and transformers' `Conv1D` become
    `RMMLinear` and `RMMConv1D`; other modules with weights stay as they are. The module objects
    stay the same, and so do parameters, ties, requires_grad, hooks and all references to them. The
    logger "rmmbench" reports at INFO what was converted and what was not; `converted_layers` and
    `left_out_layers` return both.

    Args:
        model: Changed in place.
        sketch: A name of `rmmbench.sketches.names()`.
        rho: Compression rate proj_dim / rows, in (0, 1].
        include: Patterns of qualified names ("*.attention.*"); only matching layers are converted.
        exclude: Patterns; layers that match one are not converted.
        where: "beneficial" leaves out layers whose input is kept anyway, is hardly smaller as a
            sketch, or is alive at the step's peak; and all layers if the peak would rise.
        example: A batch like those of training, which "beneficial" needs for its shapes: a mapping
            of the model's keyword arguments, a sequence of its arguments, or its only argument.
            Call this under autocast if training uses it.
        min_gain_bytes: The least a sketch must save to be beneficial.
        min_gain_ratio: The same, as a share of what the best sketch saves. It leaves out a
            classifier with few rows, where little memory is saved and noise does most harm.
        share: Whether layers of one block that read the same tensor (Q, K and V; gate and up) keep
            one sketch of it. Under torch.compile they always do.
        plan: A saving plan, or its path, which says all of this. One of another model is refused.
        settings: proj_dim, min_proj_dim, max_proj_dim, bits and the sketch's own, as for
            `rmm_linear`; and principal, as for `RMMLinear`.

    Raises:
        TypeError: If a setting does not exist or has the wrong type; nothing is changed then.
        ValueError: If the settings make no sense, "beneficial" has no example, no layer is left to
            convert, or a layer has a `forward` of its own that would hide the sketch.

    Examples:
        >>> import rmmbench, torch
        >>> rmmbench.convert(torch.nn.Sequential(torch.nn.Linear(8, 4)), sketch="oporp", rho=0.5)
        Sequential(
          (0): RMMLinear(in_features=8, out_features=4, bias=True, sketch=oporp, rho=0.5)
        )
    """
    _check_module(model)
    if plan is not None:
        sized = {"rho": rho, "include": include, "exclude": exclude, "example": example, **settings}
        return _convert_by_plan(model, plan, [name for name in sized if sized[name] is not None])
    chosen = SketchSettings.of({"sketch": sketch, "rho": rho, **settings}, _BESIDE)
    floor = Floor(min_gain_bytes, min_gain_ratio).checked()
    layers = linear_layers(model)
    if not layers:
        raise ValueError(_nothing_to_convert(converted_layers(model), left_out_layers(model)))
    matching = select(layers, include, exclude)
    advice: list[LayerAdvice] = []
    if _known_where(where) == "beneficial":
        advice = _advice(model, matching, chosen, example, share=share, floor=floor)
        matching = [layer.layer for layer in advice if layer.is_beneficial]
    swap(model, matching, chosen, share=share)
    counts = len(matching), len(layers)
    logger.info("%d of %d linear layers keep a %s sketch: %s", *counts, sketch, ", ".join(matching))
    _log_sharing(model, matching, advice, share=share)
    _log_left_out(model, advice)
    return model


def _convert_by_plan(model: M, plan: "SavingPlan | str | Path", given: list[str]) -> M:
    from rmmbench.nn.planned import apply_plan
    from rmmbench.spec.saving_plan import SavingPlan, read_plan

    if given:
        raise ValueError(f"{given[0]} must not be given beside plan, which says it; leave it out")
    if not isinstance(plan, SavingPlan):
        plan = read_plan(plan)
    apply_plan(model, plan)
    logger.info("changed as the plan %s says", plan)
    return model


def converted_layers(model: nn.Module) -> dict[str, Sketched]:
    """Return the sketched layers of a model by qualified name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, Sketched)}


def exact_layers(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which the sketched layers of a model are exact."""
    return all_exact(converted_layers(model).values())


@contextmanager
def all_exact(layers: Iterable[Any]) -> Iterator[None]:
    """Set the attribute `exact` of layers to True for a while."""
    layers = list(layers)
    before = [layer.exact for layer in layers]
    try:
        for layer in layers:
            layer.exact = True
        yield
    finally:
        for layer, exact in zip(layers, before, strict=True):
            layer.exact = exact


def _check_module(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")


def _known_where(where: str) -> str:
    if where not in ("all", "beneficial"):
        raise ValueError(f"where must be 'all' or 'beneficial', got {where!r}")
    return where


def _advice(
    model: nn.Module,
    layers: list[str],
    settings: SketchSettings,
    example: Example | None,
    *,
    share: bool,
    floor: Floor,
) -> list[LayerAdvice]:
    if example is None:
        remedy = "give example=batch, or where='all'"
        raise ValueError(f"where='beneficial' must see one batch to decide, got none; {remedy}")
    advice = advise_layers(model, layers, settings, example, share=share, floor=floor)
    if not any(layer.is_beneficial for layer in advice):
        reasons = ", ".join(dict.fromkeys(layer.reason for layer in advice))
        raise ValueError(f"none of the {len(advice)} linear layers gains by a sketch: {reasons}")
    return advice


def _log_sharing(
    model: nn.Module, layers: list[str], advice: list[LayerAdvice], *, share: bool
) -> None:
    """Log which layers share a sketch; without advice, in which blocks layers may share one."""
    gaining = (layer for layer in advice if layer.is_beneficial)
    groups = {tuple(sorted([one.layer, *one.shares_with])) for one in gaining if one.shares_with}
    if groups:
        told = "; ".join(", ".join(group) for group in sorted(groups))
        logger.info("layers that share one sketch: %s", told)
    elif share and not advice:
        blocks = [block or "the model" for block in sharing_groups(model, layers)]
        if blocks:
            logger.info("layers that read one tensor share its sketch within %s", ", ".join(blocks))


def _log_left_out(model: nn.Module, advice: list[LayerAdvice]) -> None:
    not_worth_it = [layer.reason for layer in advice if not layer.is_beneficial]
    for reason, count in Counter([*left_out_layers(model).values(), *not_worth_it]).items():
        logger.info("left out: %d, as %s", count, reason)


def _nothing_to_convert(converted: dict[str, Sketched], left_out: dict[str, str]) -> str:
    if converted:
        return f"all {len(converted)} linear layers of the model are sketched already"
    told = "the model has no torch.nn.Linear or transformers Conv1D to convert"
    reasons = list(dict.fromkeys(left_out.values()))
    return f"{told}: {', '.join(reasons)}" if reasons else told
