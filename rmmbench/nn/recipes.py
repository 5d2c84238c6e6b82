"""How to make a tensor of the forward pass again in the backward pass, from what is kept anyway.

A recipe is an operator and its arguments: tensors that are kept, or views of what other recipes
make. Recipes are known by storage, so that each view of a result finds its recipe, and only as long
as nobody has written to it.
"""

import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._pytree import tree_iter, tree_map_only

aten = torch.ops.aten


class Kept(NamedTuple):
    """A tensor that is kept as it was, and may not be changed until it is used."""

    tensor: Tensor
    version: int

    def get(self) -> Tensor:
        """Return the tensor.

        Raises:
            RuntimeError: If it was changed, or its storage let go of.
        """
        if self.tensor._version != self.version:
            need = "what is to be computed again needs its arguments as they were"
            raise RuntimeError(f"{need}; a tensor of {tuple(self.tensor.shape)} was changed since")
        if self.tensor.untyped_storage().nbytes() == 0 and self.tensor.numel():
            need = "what is to be computed again needs its arguments, and one was let go of"
            raise RuntimeError(f"{need}, as FSDP does with weights; leave out checkpoint_operators")
        return self.tensor


class View(NamedTuple):
    """A tensor that lies in what a recipe makes."""

    recipe: "Recipe"
    size: torch.Size
    stride: tuple[int, ...]
    offset: Any

    def get(self) -> Tensor:
        """Return the tensor, made again if it must be."""
        return self.recipe.make().as_strided(self.size, self.stride, self.offset)


class Awaited:
    """Whether a recipe is needed, for who must not hold the recipe itself."""

    is_so = False


class Recipe:
    """How to make the result of an operator again.

    Attributes:
        dtype: Of the result.
        awaited: Whether something that is kept needs it.
    """

    def __init__(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype
    ) -> None:
        """Take an operator with its arguments, and the dtype of its result."""
        self._func, self._kwargs, self.dtype = func, kwargs, dtype
        self._args: tuple[Any, ...] = tree_map_only(Tensor, _given, args)
        self._waiting = 0
        self.awaited = Awaited()
        self._made: Tensor | None = None

    def wait(self) -> None:
        """Hear of one more who will ask for it."""
        self._waiting += 1
        if not self.awaited.is_so:
            self.awaited.is_so = True
            for one in tree_iter(self._args, is_leaf=_is_given):
                if isinstance(one, View):
                    one.recipe.wait()

    def make(self) -> Tensor:
        """Return the result, which lives on until the last who waits has had it."""
        made = self._made
        if made is None:
            args = _resolved(self._args)
            with torch.no_grad(), torch._C._DisableAutocast():
                result = self._func(*args, **self._kwargs)
            made = result[0] if isinstance(result, tuple | list) else result
        self._waiting -= 1
        # Asked once more than awaited, as by a second backward pass, it is made each time.
        self._made = made if self._waiting > 0 else None
        return made


class _Noted(NamedTuple):
    """The recipe of a storage, as long as its numbers are still those."""

    storage: "weakref.ref[Any]"
    recipe: Recipe
    version: int


_RECIPES: dict[int, _Noted] = {}
"""By storage; of one block they serve the next, which reads what it gives."""


def note(result: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Remember how to make a result again."""
    if not _has_storage(result) or result.numel() == 0:
        return
    given = [one for one in tree_iter(args) if isinstance(one, Tensor)]
    key = storage_key(result)
    if any(not _has_storage(one) or storage_key(one) == key for one in given):
        return  # a view under another name, or nothing that can be held
    if any(isinstance(one, Tensor) for one in kwargs.values()):
        return
    storage = result.untyped_storage()
    recipe = Recipe(func, args, kwargs, result.dtype)
    gone = weakref.ref(storage, lambda _: _RECIPES.pop(key, None))
    _RECIPES[key] = _Noted(gone, recipe, result._version)


def note_dropout(result: tuple[Tensor, Tensor], x: Tensor, p: float, train: bool | None) -> None:
    """Remember how to drop out again what was dropped out, by its mask."""
    if train is not False and 0 < p < 1:
        args = (x, result[1], 1 / (1 - p))
        note(result[0], aten.native_dropout_backward.default, args, {})


def forget_written(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Forget the recipes of what an operator writes to."""
    for argument, value in zip(func._schema.arguments, args, strict=False):
        if argument.is_write:
            forget(value)
    for argument in func._schema.arguments:
        if argument.is_write and argument.name in kwargs:
            forget(kwargs[argument.name])


def forget(values: Any) -> None:
    """Forget the recipes of all tensors among some values, which are kept from now on."""
    for one in tree_iter(values):
        if isinstance(one, Tensor):
            _RECIPES.pop(storage_key(one), None)


def view_of(tensor: Tensor) -> View | None:
    """Return where a tensor lies in what can be made again, if it does."""
    if not _has_storage(tensor):
        return None
    noted = _RECIPES.get(storage_key(tensor))
    if noted is None or noted.version != tensor._version or noted.recipe.dtype != tensor.dtype:
        return None
    return View(noted.recipe, tensor.size(), tensor.stride(), tensor.storage_offset())


def _given(tensor: Tensor) -> View | Kept:
    return view_of(tensor) or kept(tensor)


def kept(tensor: Tensor) -> Kept:
    """Return a tensor as it is now."""
    return Kept(tensor, tensor._version)


def _resolved(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_one_resolved(one) for one in args)


def _one_resolved(one: Any) -> Any:
    if _is_given(one):
        return one.get()
    return [_one_resolved(each) for each in one] if isinstance(one, list) else one


def _is_given(one: Any) -> bool:
    return isinstance(one, View | Kept)


def storage_key(tensor: Tensor) -> int:
    """Return what names a tensor's storage while it lives."""
    key: int = tensor.untyped_storage()._cdata
    return key


def _has_storage(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_neg() or value.is_conj() or value.is_inference())
        # Of a tensor that wraps others, as FSDP's do, it is those that have storage.
        and not is_traceable_wrapper_subclass(value)
    )
