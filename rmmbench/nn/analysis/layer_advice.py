"""Which linear layers gain by a sketch, and what each keeps with it and without."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from rmmbench.nn.analysis.crowding import what_only_adds
from rmmbench.nn.analysis.readers import Reading, readings
from rmmbench.nn.analysis.rehearsal import Example
from rmmbench.nn.sharing import sharing_modules
from rmmbench.nn.size import SketchSettings
from rmmbench.nn.swap import check_forwards
from rmmbench.units import KIB, format_bytes


class Floor(NamedTuple):
    """The least that a sketch must save for the noise that it adds.

    The input of a classifier has a row a sample: a sketch of it saves next to nothing, in the layer
    whose gradient tells most.

    Attributes:
        gain_bytes: Of the input that it is of.
        gain_ratio: Of what the sketch that saves most does.
    """

    gain_bytes: int = 64 * KIB
    gain_ratio: float = 0.01

    def checked(self) -> "Floor":
        """Return this floor if it makes sense.

        Raises:
            ValueError: If a number is out of its range.
        """
        if self.gain_bytes < 0:
            raise ValueError(f"min_gain_bytes must be at least 0, got {self.gain_bytes}")
        if not 0 <= self.gain_ratio <= 1:
            raise ValueError(f"min_gain_ratio must be in [0, 1], got {self.gain_ratio}")
        return self


FLOOR = Floor()


class LayerAdvice(NamedTuple):
    """What sketching one layer's input would do.

    What several layers keep between them is counted with the first of them.

    Attributes:
        layer: Qualified name.
        kept_bytes: What autograd keeps of the input now.
        sketched_bytes: What is kept if the layers that read the input are sketched.
        together_with: The other layers that read the same input.
        shares_with: Those of them with which it would keep one sketch.
        others: What else keeps the input.
        is_beneficial: Whether the layer should be sketched.
        reason: Why, or why not.
    """

    layer: str
    kept_bytes: int
    sketched_bytes: int
    together_with: tuple[str, ...]
    shares_with: tuple[str, ...]
    others: tuple[str, ...]
    is_beneficial: bool
    reason: str


def advise_layers(
    model: nn.Module,
    layers: Sequence[str],
    settings: SketchSettings,
    example: Example,
    *,
    share: bool,
    floor: Floor = FLOOR,
) -> list[LayerAdvice]:
    """Return for each linear layer whether a sketch of its input saves memory.

    Args:
        model: One forward pass of it is followed, on fake tensors.
        layers: Qualified names of its linear layers.
        settings: Of the sketch.
        example: A batch like those of training.
        share: Whether layers of one block keep one sketch of a tensor between them.
        floor: What a sketch must save.

    Raises:
        ValueError: If the model's forward pass asks for values, or the sketch cannot do what is
            asked with one of the inputs.
    """
    check_forwards({name: model.get_submodule(name) for name in layers})
    modules = sharing_modules(model, layers) if share else {name: name for name in layers}

    def what_is_shared(reading: Reading) -> Any:
        return modules[reading.layer], reading.tensor

    found = readings(model, layers, example)
    kept = _first_counts(found, lambda reading: reading.storage, lambda reading: reading.kept_bytes)
    sketched = _first_counts(
        found, what_is_shared, lambda reading: sketched_bytes(reading, settings)
    )
    sharing = _sharing(found, what_is_shared)
    groups = [_Group(found, names, kept, sketched) for names in _groups(found, modules)]
    most = max((group.gain for group in groups if not group.others), default=0)
    advice = {}
    for group in groups:
        reason = group.verdict(most, floor)
        for layer in group.layers:
            together = tuple(name for name in group.layers if name != layer)
            shares = tuple(name for name in together if name in sharing[layer])
            verdict = (together, shares, group.others, reason == _GAINS, reason)
            advice[layer] = LayerAdvice(layer, kept[layer], sketched[layer], *verdict)
    gaining = [layer for layer, given in advice.items() if given.is_beneficial]
    for layer, why in what_only_adds(model, gaining, settings, example, share=share).items():
        advice[layer] = advice[layer]._replace(is_beneficial=False, reason=why)
    unread = "keeps nothing: its weight is frozen, or it was not called"
    nothing = (0, 0, (), (), (), False, unread)
    return [advice.get(layer) or LayerAdvice(layer, *nothing) for layer in layers]


_GAINS = "only linear layers keep the input"


class _Group:
    """Layers that keep a storage, or share a sketch, with one another.

    Attributes:
        layers: Qualified names.
        others: What else keeps what they keep.
        gain: Bytes that sketches of them all save.
    """

    def __init__(
        self,
        found: Iterable[Reading],
        layers: list[str],
        kept: Mapping[str, int],
        sketched: Mapping[str, int],
    ) -> None:
        keepers = (who for reading in found if reading.layer in layers for who in reading.others)
        self.layers, self.others = layers, tuple(dict.fromkeys(keepers))
        self.gain = sum(kept[layer] - sketched[layer] for layer in layers)

    def verdict(self, most: int, floor: Floor) -> str:
        """Return why they gain, or do not, where the group that gains most does so by `most`."""
        if self.others:
            return "kept anyway"
        if self.gain <= 0:
            return "a sketch would keep no less"
        if self.gain < floor.gain_bytes:
            return f"a sketch would save less than {format_bytes(floor.gain_bytes)}"
        if self.gain < floor.gain_ratio * most:
            percent = f"{100 * floor.gain_ratio:g} %"
            return f"a sketch would save less than {percent} of what the best one does"
        return _GAINS


def _sharing(found: Iterable[Reading], what: Callable[[Reading], Any]) -> dict[str, set[str]]:
    """Return for each layer those that have a `what` that it has."""
    layers: dict[Any, set[str]] = {}
    for reading in found:
        layers.setdefault(what(reading), set()).add(reading.layer)
    sharing: dict[str, set[str]] = {}
    for reading in found:
        sharing.setdefault(reading.layer, set()).update(layers[what(reading)])
    return sharing


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


def sketched_bytes(reading: Reading, settings: SketchSettings) -> int:
    """Return what is kept of a tensor that layers read, if they are sketched."""
    keeping = settings.keeping(reading.shape)
    if keeping is None or reading.dtype.is_complex:
        return reading.kept_bytes
    rows, width = math.prod(reading.shape[:-1]), reading.shape[-1]
    return keeping.size_bytes(rows, width, reading.dtype.itemsize)
