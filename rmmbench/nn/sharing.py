"""One sketch for one input: layers that read the same tensor keep one x_proj between them.

Q, K and V read one tensor, of which autograd keeps one copy; three sketches of it would keep 3ρ of
it. The layers of one block share while it runs its forward pass: the first to read a tensor leaves
its x_proj, any other that reads the very same tensor, unchanged and with the same settings, takes
it, however many wrappers (adapters, say) stand between it and the block. Where a part of the block
is computed again by itself, the layers of that part share. Under torch.compile all this is the
compiler's work, which makes one of calls that are alike.
"""

import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Kept(NamedTuple):
    """What a layer keeps of its input.

    Attributes:
        x_proj: SᵀX, shape (proj_dim, features).
        key: Of S.
    """

    x_proj: Tensor
    key: Tensor


class _Reading(NamedTuple):
    input: weakref.ref[Tensor]
    version: int
    settings: object
    kept: Kept

    def is_valid(self) -> bool:
        """Tell whether the tensor is alive and as it was."""
        input = self.input()
        return input is not None and input._version == self.version


class SharedInput:
    """What the layers of one block kept of the tensors that they have read and that are alive."""

    def __init__(self) -> None:
        """Share nothing until a forward pass begins."""
        self._running: list[nn.Module] = []
        self._readings: list[_Reading] = []

    def attach(self, module: nn.Module) -> list[RemovableHandle]:
        """Share while `module` runs its forward pass, and no longer, whatever ends it."""
        opening = module.register_forward_pre_hook(self._open)
        return [opening, module.register_forward_hook(self._close, always_call=True)]

    def find(self, input: Tensor, settings: object) -> Kept | None:
        """Return what was kept of this very tensor under these settings, None if nothing was."""
        for reading in self._readings:
            if reading.input() is input and reading.is_valid() and reading.settings == settings:
                return reading.kept
        return None

    def keep(self, input: Tensor, settings: object, kept: Kept) -> None:
        """Remember what was kept of `input`; nothing outside of a forward pass."""
        if self._running:
            valid = [reading for reading in self._readings if reading.is_valid()]
            # Weakly, or an input would live longer than without sharing.
            new = _Reading(weakref.ref(input), input._version, settings, kept)
            self._readings = [*valid, new]

    def _open(self, module: nn.Module, *_: Any) -> None:
        # A compiler may not be able to follow what is changed here, and does not need it.
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
        model: Its modules in which layers of one block meet get hooks.
        layers: Qualified names; those alone in their block are left out.

    Returns:
        What each layer shares in, and the handles of the hooks.
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
    """Remove the hooks by which the layers of a model share; those of a copy of it, too."""
    for module in model.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key, hook in list(hooks.items()):
                if isinstance(getattr(hook, "__self__", None), SharedInput):
                    del hooks[key]
                    module._forward_hooks_always_called.pop(key, None)


def sharing_groups(model: nn.Module, layers: Iterable[str]) -> dict[str, list[str]]:
    """Return the layers that share, should they read one tensor, by the block that they are in."""
    groups: dict[str, list[str]] = {}
    for name, block in sharing_modules(model, layers).items():
        groups.setdefault(block, []).append(name)
    return {block: names for block, names in groups.items() if len(names) > 1}


def sharing_modules(model: nn.Module, layers: Iterable[str]) -> dict[str, str]:
    """Return for each layer the block in which it would share.

    It is the nearest module above that is an item of a list and has several layers, or the model.
    A wider one would keep x_proj longer than a block that is computed again needs it.
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
    """Return the modules that call two or more of the layers, or modules with one below each."""
    branches: dict[str, set[str]] = {}
    for name in layers:
        child = name
        for above in _above(name):
            # A list calls nothing: what calls its items is above it.
            if _is_called(model, above):
                branches.setdefault(above, set()).add(child)
                child = above
    return [name for name, children in branches.items() if len(children) > 1]


def _above(name: str) -> list[str]:
    """Return the names of the modules above one, the nearest first and the model's, "", last."""
    parts = name.split(".")[:-1] if name else []
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)] + [""]


def _is_called(model: nn.Module, name: str) -> bool:
    return not isinstance(model.get_submodule(name), nn.ModuleList | nn.ModuleDict)
