"""Change a model as a saving plan says: what layers keep, and what is computed again."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from rmmbench.errors import PlanError, did_you_mean
from rmmbench.nn.blocks import checkpoint_chosen, checkpoint_operators, everything_kept
from rmmbench.nn.candidates import is_conv1d, linear_layers
from rmmbench.nn.conversion import exact_layers
from rmmbench.nn.recomputed_attention import attention_kept, recompute_attention
from rmmbench.nn.size import SketchSettings
from rmmbench.nn.swap import check_forwards, swap
from rmmbench.spec.name_ranges import expanded
from rmmbench.spec.saving_plan import LayerChoice, SavingPlan, named


def apply_plan(model: nn.Module, plan: SavingPlan) -> int:
    """Change a model in place, and return how many layers and blocks of it changed.

    Args:
        model: Not converted yet.
        plan: Of this model, by the names and shapes of its linear layers.

    Raises:
        PlanError: If the plan is another model's, or names what the model does not have; nothing is
            changed then.
        ValueError: If a sketch cannot do what a layer is to keep.
    """
    layers = linear_layers(model)
    check_shapes(plan, shapes_of(layers))
    chosen = chosen_layers(plan, list(layers))
    modules = [name for name, _ in model.named_modules() if name]
    blocks = _matching(plan.checkpoint, modules, "block")
    attention = _matching(plan.checkpoint_attention, modules, "block")
    operators = _matching(plan.checkpoint_operators, modules, "block")
    products = _matching(plan.checkpoint_products, list(layers), "linear layer")
    _check_operators(blocks, operators, products)
    groups: dict[SketchSettings, list[str]] = {}
    for name, choice in chosen.items():
        groups.setdefault(settings_of(choice), []).append(name)
    check_forwards({name: layers[name] for name in chosen})
    for settings, names in groups.items():
        swap(model, names, settings, share=True)
    checkpoint_chosen(model, blocks)
    checkpoint_operators(model, operators, products)
    if attention:
        recompute_attention(model, attention)
    return len(chosen) + len(blocks) + len({*attention, *operators})


def _check_operators(blocks: list[str], operators: list[str], products: list[str]) -> None:
    both = [name for name in operators if name in blocks]
    if both:
        need = "a block must be in one of checkpoint and checkpoint_operators"
        raise PlanError(f"{need}, and '{both[0]}' is in both")
    within = tuple(f"{name}." for name in operators)
    other = [name for name in products if not name.startswith(within)]
    if other:
        need = "checkpoint_products must be linear layers of blocks in checkpoint_operators"
        raise PlanError(f"{need}, got '{other[0]}'")


@contextmanager
def unplanned(model: nn.Module) -> Iterator[None]:
    """Let a model that a plan has changed train for a while as the unchanged one does."""
    with ExitStack() as stack:
        for unchanged in (exact_layers, everything_kept, attention_kept):
            stack.enter_context(unchanged(model))
        yield


def settings_of(choice: LayerChoice) -> SketchSettings:
    """Return what a layer is told to keep.

    Raises:
        TypeError, ValueError: If there is no such sketch, or it cannot do so.
    """
    given: dict[str, Any] = {"sketch": choice.sketch, "rho": choice.rho}
    return SketchSettings.of(given | ({"bits": choice.bits} if choice.bits else {}))


def shapes_of(layers: Mapping[str, Any]) -> dict[str, str]:
    """Return the shape of each linear layer's weight, out x in, by name."""
    shapes = {}
    for name, layer in layers.items():
        out, inner = reversed(layer.weight.shape) if is_conv1d(layer) else layer.weight.shape
        shapes[name] = f"{out}x{inner}"
    return shapes


def check_shapes(plan: SavingPlan, here: Mapping[str, str]) -> None:
    """Raise PlanError if a plan tells other names or shapes of linear layers than a model has.

    A plan without shapes is taken at its word.
    """
    there = plan.shape_of()
    if not there or there == here:
        return
    told = [
        f"'{name}' is {there.get(name, 'missing')} in the plan and {here.get(name, 'missing')} here"
        for name in dict.fromkeys([*here, *there])
        if here.get(name) != there.get(name)
    ]
    shown = "; ".join(told[:3]) + (f"; and {len(told) - 3} more" if told[3:] else "")
    need = f"a plan must be of the model that it is used for, and this one is of {plan.model}"
    raise PlanError(f"{need}: {len(told)} linear layers differ: {shown}; make a plan of this model")


def chosen_layers(plan: SavingPlan, layers: Iterable[str]) -> dict[str, LayerChoice]:
    """Return what each layer keeps that a plan names.

    Raises:
        PlanError: If a name or pattern has no layer, or a layer has two choices.
    """
    layers, chosen = list(layers), dict[str, LayerChoice]()
    for text, choice in named(plan):
        for name in _matching([text], layers, "linear layer"):
            if chosen.setdefault(name, choice) != choice:
                both = f"{chosen[name].words} and {choice.words}"
                raise PlanError(f"a layer must be named once, and '{name}' is to keep {both}")
    return chosen


def _matching(texts: Iterable[str], names: list[str], kind: str) -> list[str]:
    """Return the names that some texts stand for, by ranges or as patterns."""
    found: dict[str, None] = {}
    for text in texts:
        for each in expanded(text):
            is_pattern = any(letter in each for letter in "*?[")
            matching = [name for name in names if fnmatchcase(name, each)] if is_pattern else [each]
            missing = not matching or (not is_pattern and each not in names)
            if missing:
                hint = did_you_mean(each, names)
                raise PlanError(f"the plan names '{each}', and the model has no such {kind}{hint}")
            found |= dict.fromkeys(matching)
    return list(found)
