"""Layers become others, and back, by a change of class: every object stays itself."""

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
from rmmbench.nn.sharing import share_inputs
from rmmbench.nn.size import SketchSettings


def swap(
    model: nn.Module, names: Iterable[str], settings: SketchSettings, *, share: bool
) -> Callable[[], None]:
    """Make some of a model's linear layers sketched ones, and return what makes that undone.

    Raises:
        ValueError: If a layer's own `forward` would hide what it becomes.
    """
    layers: dict[str, Any] = {name: model.get_submodule(name) for name in names}
    check_forwards(layers)
    shared, handles = share_inputs(model, layers) if share else ({}, [])
    undoings = []
    for name, layer in layers.items():
        undoings.append(become(layer, RMMLinear, RMMConv1D))
        layer.compression, layer.exact = Sketching(settings, None, shared.get(name)), False

    def undo() -> None:
        for handle in handles:
            handle.remove()
        for undo_one, layer in zip(undoings, layers.values(), strict=True):
            undo_one()
            del layer.compression, layer.exact

    return undo


def compress(layer: Any, compression: Compression) -> None:
    """Make a linear layer keep of its input what `compression` does."""
    become(layer, CompressedLinear, CompressedConv1D)
    layer.compression, layer.exact = compression, False


def check_forwards(layers: Mapping[str, nn.Module]) -> None:
    """Raise ValueError if the `forward` that a layer has of its own would hide another class's.

    One that only calls the class's, by way of a method that the layer holds, does not: that method
    changes with the class. accelerate's hooks do so.
    """
    for name, layer in layers.items():
        own = vars(layer).get("forward")
        hooked = "_hf_hook" in vars(layer) and _is_forward(vars(layer).get("_old_forward"), layer)
        if own is not None and not hooked and not _is_forward(own, layer):
            need = f"layer '{name}' must have the forward of its class, got one put in its place"
            remedy = "put it there afterwards, or leave the layer out"
            raise ValueError(f"{need}; {remedy}")


def become(layer: nn.Module, linear: type, conv1d: type) -> Callable[[], None]:
    """Change a linear layer's class, and return what makes that undone.

    Args:
        layer: Of `linear_layers`. References, ties and hooks need no care, as it stays itself.
        linear: What an `nn.Linear` becomes; a subclass of it stays one.
        conv1d: What transformers' `Conv1D` becomes.
    """
    kind: Any = type(layer)
    if kind is nn.Linear:
        return change_class(layer, linear)
    return change_class(layer, _on_top(linear, kind) if isinstance(layer, nn.Linear) else conv1d)


def change_class(module: nn.Module, kind: type) -> Callable[[], None]:
    """Change a module's class, and return what makes that undone.

    Methods `forward` that it holds, bound to itself, become those of the new class.
    """
    before = type(module)
    held = [name for name, value in vars(module).items() if _is_forward(value, module)]

    def be(kind: Any) -> None:
        module.__class__ = kind
        vars(module).update(dict.fromkeys(held, kind.forward.__get__(module)))

    be(kind)
    return lambda: be(before)


def _is_forward(value: object, module: nn.Module) -> bool:
    """Tell whether a value is the module's method `forward`, as its class has it."""
    if not isinstance(value, MethodType):
        return False
    return value.__self__ is module and value.__func__ is type(module).forward


@functools.cache
def _on_top(ours: type, theirs: type) -> type:
    """Return a class that is `ours`, and a subclass of `nn.Linear` in all else."""

    def reduce(self: Any, _: Any) -> tuple[Any, ...]:
        return _rebuild, (ours, theirs), self.__getstate__()

    # A class that no module has by name must tell how it is pickled.
    members = {"__module__": theirs.__module__, "__reduce_ex__": reduce}
    return type(f"{ours.__name__}Of{theirs.__name__}", (ours, theirs), members)


def _rebuild(ours: type, theirs: type) -> Any:
    return object.__new__(_on_top(ours, theirs))
