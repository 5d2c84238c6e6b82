"""Single operators of a block that are computed again, one by one, as the backward pass asks.

What normalisation, activation and dropout give is most of what a block keeps, and little of its
work. Where autograd saves the result of such an operator, its arguments are kept in its place: an
activation's input, which its own backward pass keeps anyway, or a dropout's mask. If an argument
can be made again too, it is not kept either. So no operator runs again in vain, unlike in a
selective checkpoint, which computes a whole block to get at one result of it, and nothing is drawn
again: gradients stay the same to the last bit.

What is made again lives until all who wait for it have had it.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from rmmbench.nn.recipes import (
    Kept,
    View,
    forget,
    forget_written,
    kept,
    note,
    note_dropout,
    storage_key,
    view_of,
)

aten = torch.ops.aten

_CHEAP_NAMES: Final = (
    *("gelu", "silu", "mish", "hardswish", "leaky_relu", "native_layer_norm", "_fused_rms_norm"),
    *("mul", "_to_copy"),
)
CHEAP: Final = frozenset(getattr(aten, name) for name in _CHEAP_NAMES if hasattr(aten, name))
"""Operators whose arguments are kept anyway, or are no larger, and that are quickly done again.

A dropout is one as well, or where it is not fused a product with a mask, one of these."""

_PRODUCTS: Final = frozenset({aten.addmm, aten.mm, aten.linear})


class OperatorsAgain:
    """Runs a block so that single operators of it are computed again.

    While torch.compile traces, the block runs as ever: what is kept is then the compiler's choice.
    """

    def __init__(self, products: Iterable[nn.Module] = ()) -> None:
        """Take the linear layers of the block whose output is made again too."""
        self.products = tuple(products)

    def __call__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what the block returns."""
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return call(*args, **kwargs)
        recording, saves = Recording(self.products), _Saves()
        with recording.current(), saved_tensors_hooks(saves.pack, saves.unpack), recording:
            result = call(*args, **kwargs)
        if _is_sharded(call):
            # Its weights are gone when the next block's backward pass would make this again.
            forget(result)
        return result


def current_recording() -> "Recording | None":
    """Return that of the block that runs now in this thread, if single operators of it are."""
    return getattr(_THREAD, "recording", None)


def is_made_again(tensor: Tensor) -> bool:
    """Tell whether a tensor that is saved for the backward pass would be made again."""
    return view_of(tensor) is not None


_THREAD = threading.local()


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes how the results of chosen operators can be made again, while a block runs."""

    def __init__(self, products: Sequence[Any]) -> None:
        """Take linear layers whose output is made again too."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._products = products
        self._casts: set[int] = set()
        self._is_everything = False

    @contextmanager
    def everything(self) -> Iterator[None]:
        """Within, all that is not drawn is made again."""
        before, self._is_everything = self._is_everything, True
        try:
            yield
        finally:
            self._is_everything = before

    @contextmanager
    def current(self) -> Iterator[None]:
        """Within, this is what `current_recording` returns."""
        before, _THREAD.recording = current_recording(), self
        try:
            yield
        finally:
            _THREAD.recording = before

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operator, and note how to make its result again."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not isinstance(func, OpOverload) or func.is_view:
            return result
        if func._schema.is_mutable:
            forget_written(func, args, kwargs)
        elif func._overloadpacket is aten.native_dropout:
            note_dropout(result, *args)
        elif self._chooses(func, args):
            first = result[0] if isinstance(result, tuple | list) else result
            self._follow_cast(func, args, first)
            note(first, func, args, kwargs)
        return result

    def _chooses(self, func: OpOverload, args: tuple[Any, ...]) -> bool:
        packet = func._overloadpacket
        if packet in CHEAP:
            return True
        if packet in _PRODUCTS and self._products:
            weights = self._weights()
            if any(isinstance(one, Tensor) and storage_key(one) in weights for one in args):
                return True
        return self._is_everything and torch.Tag.nondeterministic_seeded not in func.tags

    def _weights(self) -> set[int]:
        # Asked for each time: FSDP exchanges weights as a block begins.
        return self._casts | {storage_key(layer.weight) for layer in self._products}

    def _follow_cast(self, func: OpOverload, args: tuple[Any, ...], result: Any) -> None:
        # Under autocast a product's weight is a copy.
        if func._overloadpacket is aten._to_copy and storage_key(args[0]) in self._weights():
            self._casts.add(storage_key(result))


def _is_sharded(call: Callable[..., Any]) -> bool:
    """Tell whether a module, whose call this is, has its parameters gathered by FSDP2.

    It is the owner of a bound method, or of a `partial` of one, or the first argument of that.
    """
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp is None:
        return False
    owner = getattr(getattr(call, "func", call), "__self__", None)
    found = (owner, *getattr(call, "args", ()))
    return any(isinstance(each, fsdp.FSDPModule) for each in found)


class _Saves:
    """What autograd saves in a block: views of what is made again, and the rest as ever."""

    def __init__(self) -> None:
        # Only the innermost hooks are called.
        around = torch._C._autograd._top_saved_tensors_default_hooks(True)
        self._pack_around, self._unpack_around = around or (kept, Kept.get)

    def pack(self, tensor: Tensor) -> Any:
        view = view_of(tensor)
        if view is None:
            return self._pack_around(tensor)
        view.recipe.wait()
        return view

    def unpack(self, saved: Any) -> Tensor:
        if isinstance(saved, View):
            return saved.get()
        tensor: Tensor = self._unpack_around(saved)
        return tensor
