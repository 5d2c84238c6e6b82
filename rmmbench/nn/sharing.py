"""One sketch for one input: layers that read the same tensor share one x_proj.

Q, K and V read one tensor, of which autograd keeps one copy; three sketches would keep 3ρ of it.
The layers of a block share during its forward pass. The first layer that reads a tensor stores its
x_proj. Another layer of the block that reads the same tensor, unchanged and with the same settings,
uses it, even through wrappers such as adapters. If a part of the block is computed again by itself,
the layers of that part share. Under torch.compile the compiler merges equal calls instead.
"""

import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Kept = tuple[Tensor, ...]
"""What a layer keeps of its input, as the operator that sketches it returned it."""


class _Reading(NamedTuple):
    input: weakref.ref[Tensor]
    version: int
    settings: object
    kept: Kept

    def is_valid(self) -> bool:
        """Tell whether the tensor is alive and unchanged."""
        input = self.input()
        return input is not None and input._version == self.version


class SharedInput:
    """What the layers of one block kept of the tensors they read, as long as those are alive."""

    def __init__(self) -> None:
        """Share nothing until a forward pass begins."""
        self._running: list[nn.Module] = []
        self._readings: list[_Reading] = []

    def attach(self, module: nn.Module) -> list[RemovableHandle]:
        """Share during the forward pass of `module`, even if that ends with an error."""
        opening = module.register_forward_pre_hook(self._open)
        return [opening, module.register_forward_hook(self._close, always_call=True)]

    def find(self, input: Tensor, settings: object) -> Kept | None:
        """Return what was kept of this tensor object with these settings; None if nothing was."""
        for reading in self._readings:
            if reading.input() is input and reading.is_valid() and reading.settings == settings:
                return reading.kept
        return None

    def keep(self, input: Tensor, settings: object, kept: Kept) -> None:
        """Remember what was kept of `input`; do nothing outside of a forward pass."""
        if self._running:
            valid = [reading for reading in self._readings if reading.is_valid()]
            # A strong reference would make the input live longer than without sharing.
            new = _Reading(weakref.ref(input), input._version, settings, kept)
            self._readings = [*valid, new]

    def _open(self, module: nn.Module, *_: Any) -> None:
        # A compiler may not be able to trace these changes, and does not need them.
        if not torch.compiler.is_compiling():
            self._running.append(module)

    def _close(self, module: nn.Module, *_: Any) -> None:
        if torch.compiler.is_compiling():
            return
        while self._running and self._running.pop() is not module:
            pass
        if not self._running:
            self._readings = []


def share_inputs(
    model: nn.Module, layers: Iterable[str]
) -> tuple[dict[str, SharedInput], list[RemovableHandle]]:
    """Let the layers of each block of a model share.

    Args:
        model: Gets hooks on the modules that call several layers of one block.
        layers: Qualified names; a layer that is alone in its block is left out.

    Returns:
        The `SharedInput` of each layer, and the handles of the hooks.
    """
    shared: dict[str, SharedInput] = {}
    handles: list[RemovableHandle] = []
    for names in sharing_groups(model, layers).values():
        group = SharedInput()
        for module in _meeting_points(model, names):
            handles += group.attach(model.get_submodule(module))
        shared |= dict.fromkeys(names, group)
    return shared, handles


def stop_sharing(model: nn.Module) -> None:
    """Remove the hooks for sharing from a model, or from a copy of it."""
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key, hook in list(hooks.items()):
                if isinstance(getattr(hook, "__self__", None), SharedInput):
                    del hooks[key]
                    module._forward_hooks_always_called.pop(key, None)


def sharing_groups(model: nn.Module, layers: Iterable[str]) -> dict[str, list[str]]:
    """Return, by block, the layers that share a sketch if they read the same tensor."""
    groups: dict[str, list[str]] = {}
    for name, block in sharing_modules(model, layers).items():
        groups.setdefault(block, []).append(name)
    return {block: names for block, names in groups.items() if len(names) > 1}


def sharing_modules(model: nn.Module, layers: Iterable[str]) -> dict[str, str]:
    """Return for each layer the block within which it shares.

    It is the nearest module above the layer that is an item of a list and has several layers, or
    else the model. In a larger block, x_proj would outlive a checkpointed block that needs it.
    """
    layers = list(layers)
    below = Counter(above for name in layers for above in _above(name))
    lists = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
    items = {
        name
        for name in below
        if name and isinstance(model.get_submodule(name.rpartition(".")[0]), lists)
    }
    blocks = {name for name in items if below[name] > 1 and _is_called(model, name)}
    return {name: next((above for above in _above(name) if above in blocks), "") for name in layers}


def _meeting_points(model: nn.Module, layers: Iterable[str]) -> list[str]:
    """Return the modules that call several layers, directly or through their submodules."""
    branches: dict[str, set[str]] = {}
    for name in layers:
        child = name
        for above in _above(name):
            # A list is never called; a module above it calls its items.
            if _is_called(model, above):
                branches.setdefault(above, set()).add(child)
                child = above
    return [name for name, children in branches.items() if len(children) > 1]


def _above(name: str) -> list[str]:
    """Return the names of the modules above one, the nearest first, the model's last."""
    parts = name.split(".")[:-1] if name else []
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)] + [""]


def _is_called(model: nn.Module, name: str) -> bool:
    return not isinstance(model.get_submodule(name), nn.ModuleList | nn.ModuleDict)
