"""What sketches do to a whole step: whether its memory falls, and which of them only add to it.

A sketch of an input that is alive where a step's memory is highest adds to it. The usual case is
the last block: its caller still holds what the last linear layers have read when the forward pass
ends, and that is where the memory of a sketched model is highest.
"""

import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from torch import nn
from torch.utils._pytree import tree_leaves

from rmmbench.nn.analysis.live import LiveBytes
from rmmbench.nn.analysis.rehearsal import Example, input_of, rehearsal
from rmmbench.nn.size import SketchSettings
from rmmbench.nn.swap import swap


class Peak(NamedTuple):
    """The highest memory of forward and backward pass.

    Attributes:
        size_bytes: With parameters, buffers and the batch.
        alive: The layers whose input is alive there, though nothing keeps it for them.
    """

    size_bytes: int
    alive: set[str]


def what_only_adds(
    model: nn.Module,
    layers: Sequence[str],
    settings: SketchSettings,
    example: Example,
    *,
    share: bool,
) -> dict[str, str]:
    """Return those of the layers without whose sketches a step's peak is lower, and why.

    Args:
        model: Rehearsed without sketches, with them all, and without those that are alive there.
        layers: Qualified names of linear layers that would be sketched.
        settings: Of the sketches.
        example: A batch like those of training.
        share: Whether layers of one block share.
    """
    if not layers:
        return {}
    best = _peak(model, layers, settings, example, share=share)
    crowded: set[str] = set()
    rest = [name for name in layers if name not in best.alive]
    if 0 < len(rest) < len(layers):
        without = _peak(model, rest, settings, example, share=share)
        if without.size_bytes < best.size_bytes:
            best, crowded = without, best.alive
    exact = _peak(model, [], settings, example, share=share)
    if best.size_bytes > exact.size_bytes:
        return dict.fromkeys(layers, "the step as a whole would grow")
    return dict.fromkeys(crowded, "alive at the peak anyway")


def _peak(
    model: nn.Module,
    layers: Sequence[str],
    settings: SketchSettings,
    example: Example,
    *,
    share: bool,
) -> Peak:
    read: dict[str, int] = {}
    died: dict[str, int] = {}
    with rehearsal(model, example) as step, LiveBytes() as count, ExitStack() as stack:
        count.count((*step.state.values(), *tree_leaves(step.batch)))
        stack.callback(swap(model, layers, settings, share=share))
        watched: list[weakref.ref[Any]] = []

        def watch(name: str, given: dict[str, Any], args: tuple[Any, ...]) -> None:
            read[name] = count.births
            died.pop(name, None)
            storage = input_of(args, given).untyped_storage()
            watched.append(weakref.ref(storage, lambda _: died.update({name: count.births})))

        for name in layers:
            hook = model.get_submodule(name).register_forward_pre_hook(
                lambda _, args, given, name=name: watch(name, given, args), with_kwargs=True
            )
            stack.callback(hook.remove)
        step.step()
        at = count.peak_at
    # What died after the birth that made the peak was alive at it.
    alive = {name for name in read if read[name] <= at <= died.get(name, at)}
    return Peak(count.peak, alive)
