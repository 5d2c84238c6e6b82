"""Which linear layers gain by a sketch, and what each keeps with it and without."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from rmmbench import sketches
from rmmbench.nn.crowding import crowded_layers
from rmmbench.nn.readers import Reading, readings
from rmmbench.nn.rehearsal import Example
from rmmbench.nn.sharing import sharing_modules
from rmmbench.nn.size import SketchSettings
from rmmbench.nn.swap import check_forwards


class LayerAdvice(NamedTuple):
    """What sketching one layer's input would do.

    What several layers keep between them is counted with the first of them.

    Attributes:
        layer: Qualified name.
        kept_bytes: What autograd keeps of the input now.
        sketched_bytes: What is kept if the layers that read the input are sketched.
        together_with: The other layers that read the same input.
        others: What else keeps the input.
        is_beneficial: Whether the layer should be sketched.
        reason: Why, or why not.
    """

    layer: str
    kept_bytes: int
    sketched_bytes: int
    together_with: tuple[str, ...]
    others: tuple[str, ...]
    is_beneficial: bool
    reason: str


def advise(
    model: nn.Module,
    layers: Sequence[str],
    settings: SketchSettings,
    example: Example,
    *,
    share: bool,
) -> list[LayerAdvice]:
    """Return for each linear layer whether a sketch of its input saves memory.

    Args:
        model: One forward pass of it is followed, on fake tensors.
        layers: Qualified names of its linear layers.
        settings: Of the sketch.
        example: A batch like those of training.
        share: Whether layers of one module keep one sketch of a tensor between them.

    Raises:
        ValueError: If the model's forward pass asks for values, or the sketch cannot do what is
            asked with one of the inputs.
    """
    check_forwards({name: model.get_submodule(name) for name in layers})
    modules = sharing_modules(model, layers) if share else {name: name for name in layers}
    found = readings(model, layers, example)
    kept = _first_counts(found, lambda reading: reading.storage, lambda reading: reading.kept_bytes)
    sketched = _first_counts(
        found,
        lambda reading: (modules[reading.layer], reading.tensor),
        lambda reading: _sketched_bytes(reading, settings),
    )
    advice = {}
    for group in _groups(found, modules):
        members = [reading for reading in found if reading.layer in group]
        others = tuple(dict.fromkeys(who for reading in members for who in reading.others))
        gain = sum(kept[layer] - sketched[layer] for layer in group)
        reason = "kept anyway" if others else "a sketch would keep no less"
        if gain > 0 and not others:
            reason = _GAINS
        for layer in group:
            rest = tuple(name for name in group if name != layer)
            verdict = (rest, others, reason == _GAINS, reason)
            advice[layer] = LayerAdvice(layer, kept[layer], sketched[layer], *verdict)
    _leave_crowded(advice, crowded_layers(model, _gaining(advice), settings, example, share=share))
    unread = "keeps nothing: its weight is frozen, or it was not called"
    nothing = (0, 0, (), (), False, unread)
    return [advice.get(layer) or LayerAdvice(layer, *nothing) for layer in layers]


def _gaining(advice: Mapping[str, LayerAdvice]) -> list[str]:
    return [layer for layer, given in advice.items() if given.is_beneficial]


def _leave_crowded(advice: dict[str, LayerAdvice], crowded: Iterable[str]) -> None:
    reason = "alive at the peak anyway"
    for layer in crowded:
        advice[layer] = advice[layer]._replace(is_beneficial=False, reason=reason)


_GAINS = "only linear layers keep the input"


def _first_counts(
    found: Sequence[Reading],
    what: Callable[[Reading], Any],
    size: Callable[[Reading], int],
) -> Counter[str]:
    """Return each layer's bytes, those of a `what` counted with the layer that has it first."""
    first = {what(reading): reading for reading in reversed(found)}
    counts: Counter[str] = Counter()
    for reading in first.values():
        counts[reading.layer] += size(reading)
    return counts


def _groups(found: Sequence[Reading], modules: Mapping[str, str]) -> list[list[str]]:
    """Return the layers in groups that keep a storage, or share a sketch, with one another."""
    groups: list[tuple[set[Any], list[str]]] = []
    for reading in found:
        marks: set[Any] = {reading.layer, reading.storage}
        marks.add((modules[reading.layer], reading.tensor))
        joined = [group for group in groups if group[0] & marks]
        names = [name for _, members in joined for name in members] + [reading.layer]
        groups = [group for group in groups if group not in joined]
        merged = marks.union(*(group[0] for group in joined))
        groups.append((merged, list(dict.fromkeys(names))))
    return [members for _, members in groups]


def _sketched_bytes(reading: Reading, settings: SketchSettings) -> int:
    proj_dim, block_rows = settings.at(reading.shape)
    if proj_dim >= math.prod(reading.shape[:-1]) or reading.dtype.is_complex:
        return reading.kept_bytes
    empty = torch.empty(0, device="meta")
    key = sketches.get(settings.sketch, block_rows).new_key(empty, proj_dim)
    return int(proj_dim * reading.shape[-1] * reading.dtype.itemsize + key.nbytes)
