"""Linear layers become sketched ones, and back, by a change of class: every object stays itself."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from rmmbench.nn.conv1d import RMMConv1D
from rmmbench.nn.linear import RMMLinear
from rmmbench.nn.sharing import share_inputs
from rmmbench.nn.size import SketchSettings


def linear_layers(model: nn.Module) -> dict[str, Any]:
    """Return by qualified name the layers that can become sketched ones."""
    return {name: layer for name, layer in model.named_modules() if can_be_sketched(layer)}


def can_be_sketched(layer: nn.Module) -> bool:
    """Tell whether a module is a linear layer that can become a sketched one."""
    return _target(layer) is not None


def swap(
    model: nn.Module, names: Iterable[str], settings: SketchSettings, *, share: bool
) -> Callable[[], None]:
    """Make some of a model's linear layers sketched ones, and return what makes that undone."""
    layers: dict[str, Any] = {name: model.get_submodule(name) for name in names}
    classes = {name: type(layer) for name, layer in layers.items()}
    shared, handles = share_inputs(model, layers) if share else ({}, [])
    for name, layer in layers.items():
        target = _target(layer)
        assert target is not None
        # References, ties and hooks need no care, as the object stays the same.
        layer.__class__ = target
        layer.settings, layer.exact, layer.shared = settings, False, shared.get(name)

    def undo() -> None:
        for handle in handles:
            handle.remove()
        for name, layer in layers.items():
            layer.__class__ = classes[name]
            del layer.settings, layer.exact, layer.shared

    return undo


def _target(layer: nn.Module) -> type[nn.Module] | None:
    if type(layer) is nn.Linear:
        return RMMLinear
    # A model that has the layer has imported its module.
    transformers = sys.modules.get("transformers.pytorch_utils")
    if transformers is not None and type(layer) is transformers.Conv1D:
        return RMMConv1D
    return None
