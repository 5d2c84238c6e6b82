"""What each way to keep a layer's input saves, and the work that it adds."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import nn

from rmmbench.measures.memory.counting import CountedWork
from rmmbench.nn.analysis.layer_advice import advise_layers, sketched_bytes
from rmmbench.nn.analysis.readers import Reading, readings
from rmmbench.nn.analysis.rehearsal import Example
from rmmbench.nn.functional import rmm_linear
from rmmbench.nn.sharing import sharing_modules
from rmmbench.nn.size import SketchSettings
from rmmbench.running.planning.surveyed import SurveyedUnit, Work
from rmmbench.running.planning.ways_to_keep import WAYS, Way

_NOMINAL: Final = 0.1
"""ρ of the sketches whose advice says which layers gain."""


class Gaining(NamedTuple):
    """Layers that read one input, and gain if it is not kept.

    Attributes:
        layers: Qualified names.
        read: What they keep of it.
        shared: One reading for each sketch that they keep between them.
    """

    layers: tuple[str, ...]
    read: tuple[Reading, ...]
    shared: tuple[Reading, ...]

    def surveyed(
        self,
        sketch: str,
        count: Callable[[Reading, SketchSettings | None], tuple[Work, Work]],
        made_again: Mapping[str, int],
    ) -> SurveyedUnit:
        """Return what each way saves, and what it adds by a count of work.

        Args:
            sketch: By name.
            count: Returns the work of a layer's forward and backward pass.
            made_again: Bytes of inputs that are not kept where operators are computed again.
        """
        kept = sum({reading.storage: reading.kept_bytes for reading in self.read}.values())
        saved, forward, backward = dict[Way, int](), dict[Way, Work](), dict[Way, Work]()
        exact = [count(reading, None) for reading in self.read]
        for way in WAYS:
            settings = SketchSettings(sketch, way.rho, bits=way.bits).checked()
            saved[way] = kept - sum(sketched_bytes(each, settings) for each in self.shared)
            pairs = list(zip((count(each, settings) for each in self.read), exact, strict=True))
            forward[way] = _sum(one[0].less(other[0]) for one, other in pairs)
            backward[way] = _sum(one[1].less(other[1]) for one, other in pairs)
        rows = math.prod(self.read[0].shape[:-1])
        again = min(kept, sum({r.storage: made_again.get(r.layer, 0) for r in self.read}.values()))
        whole = tuple(there.plus(back) for there, back in exact)
        return SurveyedUnit(self.layers, rows, saved, forward, backward, whole, again)


def gaining(
    model: nn.Module, layers: Sequence[str], example: Example, sketch: str
) -> tuple[Gaining, ...]:
    """Return the layers of a model that gain by a sketch, those of one input together."""
    nominal = SketchSettings(sketch, _NOMINAL).checked()
    found: dict[str, list[Reading]] = {}
    for reading in readings(model, layers, example):
        found.setdefault(reading.layer, []).append(reading)
    modules, units = sharing_modules(model, layers), []
    seen: set[str] = set()
    for layer in advise_layers(model, layers, nominal, example, share=True):
        if layer.is_beneficial and layer.layer not in seen:
            names = (layer.layer, *layer.together_with)
            seen |= {*names}
            read = tuple(reading for name in names for reading in found[name])
            shared = {(modules[each.layer], each.tensor): each for each in read}
            units.append(Gaining(names, read, tuple(shared.values())))
    return tuple(units)


def counting_layers(
    model: nn.Module,
) -> Callable[[Reading, SketchSettings | None], tuple[Work, Work]]:
    """Return what counts a layer's forward and backward pass on fake tensors, once a shape."""
    count = functools.cache(_count_layer)

    def counted(reading: Reading, settings: SketchSettings | None) -> tuple[Work, Work]:
        layer: Any = model.get_submodule(reading.layer)
        out = layer.weight.numel() // reading.shape[-1]
        about = (reading.shape, reading.dtype, out, layer.bias is not None)
        return count(layer.weight.device, *about, settings)

    return counted


class WorkAlone(CountedWork):  # type: ignore[no-untyped-call]
    """Counts work, and not what a sketch takes for a moment, which takes long to follow."""

    def _count_workspace(self, func: Any, *args: Any) -> None:
        pass


def _count_layer(
    device: torch.device,
    shape: torch.Size,
    dtype: torch.dtype,
    out: int,
    has_bias: bool,
    settings: SketchSettings | None,
) -> tuple[Work, Work]:
    about: dict[str, Any] = {"device": device, "dtype": dtype}
    x = torch.empty(shape, requires_grad=True, **about)
    weight = torch.empty(out, shape[-1], requires_grad=True, **about)
    bias = torch.empty(out, requires_grad=True, **about) if has_bias else None
    with WorkAlone() as count:
        count.begin_counts()
        if settings is None:
            y = nn.functional.linear(x, weight, bias)
        else:
            y = rmm_linear(x, weight, bias, **settings.given())  # type: ignore[arg-type]
        forward = work_of(count)
        y.backward(torch.empty_like(y))  # type: ignore[no-untyped-call]
        return forward, work_of(count).less(forward)


def work_of(count: CountedWork) -> Work:
    """Return what was counted so far."""
    counts = count.so_far()
    return Work(counts.flops, counts.moved_bytes)


def _sum(works: Iterable[Work]) -> Work:
    flops, moved = zip(*works, strict=True)
    return Work(sum(flops), sum(moved))
