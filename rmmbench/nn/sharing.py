"""One sketch for one input: layers that read the same tensor keep one x_proj between them.

Q, K and V read one tensor, of which autograd keeps one copy; three sketches of it would keep 3ρ of
it. Layers below one module share while its `forward` runs: the first to read a tensor leaves its
x_proj, the next that reads the very same tensor, unchanged and with the same settings, takes it.
Under torch.compile that is the compiler's work, which makes one of calls that are alike.
"""

import weakref
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


class SharedInput:
    """What the layers below one module kept of the tensor that was read last."""

    def __init__(self) -> None:
        """Share nothing until the module's forward pass begins."""
        self._is_open = False
        self._last: _Reading | None = None

    def attach(self, module: nn.Module) -> list[RemovableHandle]:
        """Share while `module` runs its forward pass, and no longer, whatever ends it."""
        opening = module.register_forward_pre_hook(self._open)
        return [opening, module.register_forward_hook(self._close, always_call=True)]

    def find(self, input: Tensor, settings: object) -> Kept | None:
        """Return what was kept of this very tensor under these settings, None if nothing was."""
        last = self._last
        if last is None or last.settings != settings:
            return None
        is_unchanged = last.input() is input and last.version == input._version
        return last.kept if is_unchanged else None

    def keep(self, input: Tensor, settings: object, kept: Kept) -> None:
        """Remember what was kept of `input`; nothing outside of the module's forward pass."""
        if self._is_open:
            # Weakly, or the last input would live longer than without sharing.
            self._last = _Reading(weakref.ref(input), input._version, settings, kept)

    def _open(self, *_: Any) -> None:
        self._set_open(True)

    def _close(self, *_: Any) -> None:
        self._set_open(False)

    def _set_open(self, is_open: bool) -> None:
        # A compiler may not be able to follow what is changed here, and does not need it.
        if not torch.compiler.is_compiling():
            self._is_open = is_open
            self._last = None


def share_inputs(
    model: nn.Module, layers: Iterable[str]
) -> tuple[dict[str, SharedInput], list[RemovableHandle]]:
    """Let the layers of each module of a model share.

    Args:
        model: Its modules that call more than one of the layers get hooks.
        layers: Qualified names; those alone below their module are left out.

    Returns:
        What each layer shares in, and the handles of the hooks.
    """
    groups: dict[str, list[str]] = {}
    for name, module in sharing_modules(model, layers).items():
        groups.setdefault(module, []).append(name)
    shared: dict[str, SharedInput] = {}
    handles: list[RemovableHandle] = []
    for module, names in groups.items():
        if len(names) > 1:
            group = SharedInput()
            handles += group.attach(model.get_submodule(module))
            shared |= dict.fromkeys(names, group)
    return shared, handles


def sharing_modules(model: nn.Module, layers: Iterable[str]) -> dict[str, str]:
    """Return for each layer the module below which it would share: the nearest that calls it."""
    return {name: _calling_module(model, name) for name in layers}


def _calling_module(model: nn.Module, name: str) -> str:
    """Return the nearest module above a layer that has a forward pass of its own."""
    while name:
        name = name.rpartition(".")[0]
        if not isinstance(model.get_submodule(name), nn.ModuleList | nn.ModuleDict):
            break
    return name
