"""What each part of a block saves and costs that can be computed again by itself.

The step is followed once for each part, computed again in every block.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from rmmbench.measures.memory.counting import CountedWork
from rmmbench.measures.step import TrainingStep
from rmmbench.nn.blocks import checkpoint_operators, keep_chosen
from rmmbench.nn.planned import shapes_of
from rmmbench.nn.recipes import Awaited, view_of
from rmmbench.nn.recomputed_attention import keep_attention, recompute_attention
from rmmbench.nn.recomputed_operators import is_made_again
from rmmbench.running.planning.passages import Passed, passages
from rmmbench.running.planning.surveyed import SurveyedBlock, SurveyedPart


def surveyed_parts(
    step: TrainingStep,
    count: CountedWork,
    blocks: Sequence[SurveyedBlock],
    exact: Passed,
    layers: Mapping[str, Any],
) -> tuple[SurveyedPart, ...]:
    """Return the parts by which blocks save.

    Args:
        step: The unchanged one.
        count: What counts on while the step runs.
        blocks: As they are in it.
        exact: Its forward and backward pass.
        layers: Its model's linear layers, by name.
    """

    def of(operators: bool, attention: bool, products: Sequence[str] = ()) -> SurveyedPart:
        watched = {block.name: step.model.get_submodule(block.name) for block in blocks}
        again = _again(step.model, blocks, operators, attention, products)
        with again, _awaited(list(watched.values()), products) as needed:
            found = passages(step, count, watched)
        saved = [block.kept_bytes - found.blocks[block.name].kept_bytes for block in blocks]
        beside = found.peak_bytes - (exact.peak_bytes - sum(saved))
        products = tuple(name for name in products if any(one.is_so for one in needed[name]))
        what = (operators, attention, products)
        return SurveyedPart(*what, tuple(saved), found.work.less(exact.work), max(0, beside))

    if not blocks:
        return ()
    has_attention = _has_attention(step.model)
    parts = [of(True, False)]
    if has_attention:
        parts += [of(False, True), of(True, True)]
    base = parts[-1]
    single = [of(True, has_attention, some) for some in _alike(blocks, layers)]
    paying = [part for part in single if part.total_bytes > base.total_bytes]
    paying.sort(key=lambda part: _price(part, base))
    parts += paying[:1]
    for end in range(2, len(paying) + 1):
        parts.append(of(True, has_attention, [n for part in paying[:end] for n in part.products]))
    return tuple(part for part in parts if part.total_bytes > 0)


def made_again_inputs(
    step: TrainingStep, blocks: Sequence[SurveyedBlock], layers: Mapping[str, nn.Module]
) -> dict[str, int]:
    """Return the bytes of those layers' inputs that are not kept where operators are again."""
    found: dict[str, int] = {}
    handles = []
    for name, layer in layers.items():

        def look(_: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
            if args and isinstance(args[0], Tensor) and is_made_again(args[0]):
                found[name] = args[0].untyped_storage().nbytes()

        handles.append(layer.register_forward_pre_hook(look))
    with _again(step.model, blocks, True, _has_attention(step.model)):
        step.forward()
    for handle in handles:
        handle.remove()
    return found


@contextmanager
def _again(
    model: nn.Module,
    blocks: Sequence[SurveyedBlock],
    operators: bool,
    attention: bool,
    products: Sequence[str] = (),
) -> Iterator[None]:
    """Let a part of each block be computed again for a while."""
    names = [block.name for block in blocks]
    if operators:
        inside = [f"{name}.{product}" for name in names for product in products]
        checkpoint_operators(model, names, inside)
    if attention:
        recompute_attention(model, names)
    try:
        yield
    finally:
        keep_chosen(model)
        if attention:
            keep_attention(model)


@contextmanager
def _awaited(
    blocks: Sequence[nn.Module], products: Sequence[str]
) -> Iterator[dict[str, list[Awaited]]]:
    """Give of linear layers, by their names in a block, whether something keeps their output."""
    found: dict[str, list[Awaited]] = {name: [] for name in products}
    handles = []
    for name, block in ((name, block) for name in products for block in blocks):

        def look(_: nn.Module, __: Any, output: Tensor, name: str = name) -> None:
            view = view_of(output)
            if view is not None:
                found[name].append(view.recipe.awaited)

        handles.append(block.get_submodule(name).register_forward_hook(look))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _has_attention(model: nn.Module) -> bool:
    try:
        recompute_attention(model)
    except ValueError:
        return False
    keep_attention(model)
    return True


def _alike(blocks: Sequence[SurveyedBlock], layers: Mapping[str, Any]) -> list[list[str]]:
    """Return the linear layers that each block has, by names in the block, those of a shape."""
    found: dict[str, list[str]] = {}
    prefix = f"{blocks[0].name}."
    for name, shape in shapes_of(layers).items():
        inside = name.removeprefix(prefix)
        if name.startswith(prefix) and all(f"{b.name}.{inside}" in layers for b in blocks):
            found.setdefault(shape, []).append(inside)
    return list(found.values())


def _price(part: SurveyedPart, base: SurveyedPart) -> float:
    """Return the work that a part takes for each byte that it saves, both beside another's."""
    return part.work.less(base.work).flops / (part.total_bytes - base.total_bytes)
