"""Report which layers of a model are converted, what they keep, and which share it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from rmmbench.errors import arguments_checked
from rmmbench.nn.analysis.rehearsal import Example, rehearsal
from rmmbench.nn.compressed import Compression
from rmmbench.nn.compressed_layers import Compressed, named_compressed
from rmmbench.nn.layer import Sketched
from rmmbench.nn.size import SketchSettings
from rmmbench.results.listing import Listing, beside
from rmmbench.units import format_bytes


class InspectedLayer(NamedTuple):
    """One converted layer.

    Attributes:
        layer: Qualified name.
        settings: Which sketch, and how large; for exact-rp, prac and velora, their `Compression`.
        shares_with: The layers with which it shares one sketch; empty without an example, since
            only a forward pass shows what layers read.
        kept_bytes: What it keeps between forward and backward pass, without parameters. What
            layers share counts for the first of them. None without an example.
    """

    layer: str
    settings: SketchSettings | Compression
    shares_with: tuple[str, ...]
    kept_bytes: int | None


class Inspection(Listing[InspectedLayer]):
    """The converted layers of a model, a row each."""

    @property
    def kept_bytes(self) -> int | None:
        """The bytes that all layers keep; None without an example."""
        known = [layer.kept_bytes for layer in self if layer.kept_bytes is not None]
        return sum(known) if known else None

    def cells(self, item: InspectedLayer) -> Mapping[str, str]:
        """Return the text of each column by its heading."""
        return {
            "layer": item.layer,
            "settings": _words(item.settings),
            "keeps": format_bytes(item.kept_bytes),
            "shares with": ", ".join(beside(item.layer, other) for other in item.shares_with),
        }


@arguments_checked
def inspect(model: nn.Module, example: Example | None = None) -> Inspection:
    """Return the converted layers of a model with their settings, and what each of them keeps.

    Nothing is computed or changed: the forward pass of `example` runs on fake tensors, in training
    mode.

    Args:
        model: One that `convert` changed, or that has `RMMLinear` layers.
        example: A batch like those of training: a mapping of the model's keyword arguments, a
            sequence of its arguments, or its only argument. Bytes are known only with it.

    Raises:
        ValueError: If the forward pass reads values of tensors, which fake tensors do not have.

    Examples:
        >>> import rmmbench, torch
        >>> model = rmmbench.convert(torch.nn.Sequential(torch.nn.Linear(8, 4)), rho=0.5)
        >>> rmmbench.inspect(model, torch.zeros(64, 8))
        layer  settings                  keeps    shares with
        0      sketch=gaussian, rho=0.5  1.0 KiB
        >>> rmmbench.inspect(model)[0].settings.rho
        0.5
    """
    layers = named_compressed(model)
    kept: dict[str, int | None] = dict.fromkeys(layers)
    shares: dict[str, tuple[str, ...]] = dict.fromkeys(layers, ())
    if example is not None:
        keepers = _keepers(model, example)
        kept |= dict.fromkeys(layers, 0)
        for names, size in keepers:
            kept[names[0]] = (kept[names[0]] or 0) + size
            for name in names:
                others = [other for other in names if other != name]
                shares[name] = tuple(dict.fromkeys([*shares[name], *others]))
    return Inspection(
        InspectedLayer(name, _settings(layer), shares[name], kept[name])
        for name, layer in layers.items()
    )


def _settings(layer: Compressed) -> SketchSettings | Compression:
    return layer.settings if isinstance(layer, Sketched) else layer.compression


def _words(settings: SketchSettings | Compression) -> str:
    return settings.in_words() if isinstance(settings, SketchSettings) else str(settings)


def _keepers(model: nn.Module, example: Example) -> list[tuple[list[str], int]]:
    """Return the names of the layers that keep a storage, in order, and its bytes, for each."""
    with rehearsal(model, example) as step:
        own = {tensor.untyped_storage()._cdata for tensor in step.state.values()}
        running: list[str] = []
        saved: dict[int, tuple[list[str], Tensor]] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()._cdata
            if running and storage not in own:
                names, _ = saved.setdefault(storage, ([], tensor))
                if running[-1] not in names:
                    names.append(running[-1])
            return tensor

        with _naming(model, running), saved_tensors_hooks(note, lambda tensor: tensor):
            output = step.forward()
        del output
        return [(names, tensor.untyped_storage().nbytes()) for names, tensor in saved.values()]


@contextmanager
def _naming(model: nn.Module, running: list[str]) -> Iterator[None]:
    """Keep the names of the converted layers that are running in a list, the innermost last."""

    def begin(name: str) -> Any:
        return lambda *_: running.append(name)

    def end(*_: Any) -> None:
        running.pop()

    handles = []
    for name, layer in named_compressed(model).items():
        module: Any = layer
        handles.append(module.register_forward_pre_hook(begin(name)))
        handles.append(module.register_forward_hook(end, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
