"""Convert layers, and undo it, by changing the class of the objects."""

import functools
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import Any

from torch import nn

from rmmbench.nn.compressed import Compression
from rmmbench.nn.compressed_layers import CompressedConv1D, CompressedLinear
from rmmbench.nn.conv1d import RMMConv1D
from rmmbench.nn.functional import Sketching
from rmmbench.nn.layer import RMMLinear
from rmmbench.nn.principal import place_basis
from rmmbench.nn.sharing import share_inputs
from rmmbench.nn.size import SketchSettings


def swap(
    model: nn.Module, names: Iterable[str], settings: SketchSettings, *, share: bool
) -> Callable[[], None]:
    """Make linear layers of a model sketched ones, and return a function that undoes it.

    Raises:
        ValueError: If a layer's own `forward` would hide that of its new class.
    """
    layers: dict[str, Any] = {name: model.get_submodule(name) for name in names}
    check_forwards(layers)
    shared, handles = share_inputs(model, layers) if share else ({}, [])
    undoings = []
    for name, layer in layers.items():
        undoings.append(become(layer, RMMLinear, RMMConv1D))
        layer.compression, layer.exact = Sketching(settings, None, shared.get(name)), False
        place_basis(layer, settings.principal)

    def undo() -> None:
        for handle in handles:
            handle.remove()
        for undo_one, layer in zip(undoings, layers.values(), strict=True):
            undo_one()
            place_basis(layer, None)
            del layer.compression, layer.exact

    return undo


def compress(layer: Any, compression: Compression) -> None:
    """Make a linear layer keep its input as `compression` decides."""
    become(layer, CompressedLinear, CompressedConv1D)
    layer.compression, layer.exact = compression, False


def check_forwards(layers: Mapping[str, nn.Module]) -> None:
    """Raise ValueError if a layer has a `forward` of its own that would hide a new class's.

    accelerate's hooks are allowed: their `forward` calls a method that the layer holds, and that
    method changes with the class.
    """
    for name, layer in layers.items():
        own = vars(layer).get("forward")
        hooked = "_hf_hook" in vars(layer) and _is_forward(vars(layer).get("_old_forward"), layer)
        if own is not None and not hooked and not _is_forward(own, layer):
            need = f"layer '{name}' must have the forward of its class, got one put in its place"
            remedy = "put it there afterwards, or leave the layer out"
            raise ValueError(f"{need}; {remedy}")


def become(layer: nn.Module, linear: type, conv1d: type) -> Callable[[], None]:
    """Change a linear layer's class, and return a function that undoes it.

    Args:
        layer: Of `linear_layers`. The object stays the same, and so do references, ties and hooks.
        linear: The new class of an `nn.Linear`, mixed into the class of a subclass.
        conv1d: The new class of transformers' `Conv1D`.
    """
    kind: Any = type(layer)
    if kind is nn.Linear:
        return change_class(layer, linear)
    return change_class(layer, _on_top(linear, kind) if isinstance(layer, nn.Linear) else conv1d)


def change_class(module: nn.Module, kind: type) -> Callable[[], None]:
    """Change a module's class, and return a function that undoes it.

    Bound methods `forward` among the module's attributes become those of the new class.
    """
    before = type(module)
    held = [name for name, value in vars(module).items() if _is_forward(value, module)]

    def be(kind: Any) -> None:
        module.__class__ = kind
        vars(module).update(dict.fromkeys(held, kind.forward.__get__(module)))

    be(kind)
    return lambda: be(before)


def _is_forward(value: object, module: nn.Module) -> bool:
    """Tell whether a value is the method `forward` of the module's class, bound to it."""
    if not isinstance(value, MethodType):
        return False
    return value.__self__ is module and value.__func__ is type(module).forward


@functools.cache
def _on_top(ours: type, theirs: type) -> type:
    """Return a class derived from `ours` and then from `theirs`, a subclass of `nn.Linear`."""

    def reduce(self: Any, _: Any) -> tuple[Any, ...]:
        return _rebuild, (ours, theirs), self.__getstate__()

    # No module has this class by name, so it must say how it is pickled.
    members = {"__module__": theirs.__module__, "__reduce_ex__": reduce}
    return type(f"{ours.__name__}Of{theirs.__name__}", (ours, theirs), members)


def _rebuild(ours: type, theirs: type) -> Any:
    return object.__new__(_on_top(ours, theirs))
