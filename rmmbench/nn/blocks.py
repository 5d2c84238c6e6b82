"""The repeated blocks of a model, computed again in the backward pass.

Chen, Xu, Zhang, Guestrin (2016): Training Deep Nets with Sublinear Memory Cost. arXiv 1604.06174.
"""

import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from rmmbench.nn.recomputed_operators import OperatorsAgain

_BLOCK = "GradientCheckpointingLayer"
"""What blocks are in transformers, which is not imported for a model that is not of it."""


class Checkpointed:
    """What a block of a model without a switch of its own becomes; named as transformers does.

    Attributes:
        gradient_checkpointing: While false the block keeps what it always kept.
    """

    gradient_checkpointing: bool
    training: bool
    _gradient_checkpointing_func: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the block, its hooks too, and once more in the backward pass."""
        call: Callable[..., Any] = super().__call__  # type: ignore[misc]
        if self.gradient_checkpointing and self.training:
            return self._gradient_checkpointing_func(call, *args, **kwargs)
        return call(*args, **kwargs)


def checkpoint_blocks(model: nn.Module, **settings: Any) -> int:
    """Let each block keep its input alone, in place, and return how many blocks there are.

    A part of the model that has a switch for this, as those of transformers have, says itself what
    a block is. Where there is none, blocks are what `repeated_blocks` finds.

    Args:
        model: May have no blocks at all.
        settings: Of `torch.utils.checkpoint.checkpoint`, beside use_reentrant.
    """
    settings = {"use_reentrant": False} | settings
    switched = list(_switched_parts(model))
    for part in switched:
        _switch_on(part, settings)
    if switched:
        return sum(map(_count_switched, switched))
    blocks = repeated_blocks(model)
    for block in blocks:
        _make_switch(block, functools.partial(checkpoint, **settings))
    return len(blocks)


def checkpoint_chosen(model: nn.Module, names: Iterable[str]) -> None:
    """Let some of a model's `named_blocks` keep their input alone, in place."""
    for name in names:
        _make_switch(model.get_submodule(name), _computed_again)


def checkpoint_operators(
    model: nn.Module, names: Iterable[str], products: Iterable[str] = ()
) -> None:
    """Let some of a model's `named_blocks` compute single operators again, in place.

    Args:
        model: Its blocks may have been changed so before.
        names: Of the blocks.
        products: Names of linear layers in them whose output is computed again too.
    """
    products = list(products)
    for name in names:
        inside = [each for each in products if each.startswith(f"{name}.")]
        again = OperatorsAgain(model.get_submodule(each) for each in inside)
        _make_switch(model.get_submodule(name), again)


def keep_chosen(model: nn.Module) -> None:
    """Undo `checkpoint_chosen` and `checkpoint_operators`."""
    for module in _switched_on(model):
        compute = vars(module).get("_gradient_checkpointing_func")
        if compute is _computed_again or isinstance(compute, OperatorsAgain):
            module.gradient_checkpointing = False


def named_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Return `repeated_blocks` by qualified name, in the order in which the model has them."""
    names = {module: name for name, module in model.named_modules()}
    return {names[block]: block for block in repeated_blocks(model)}


@contextmanager
def everything_kept(model: nn.Module) -> Iterator[None]:
    """Let blocks keep for a while what they would keep without checkpoints."""
    on = _switched_on(model)
    try:
        for module in on:
            module.gradient_checkpointing = False
        yield
    finally:
        for module in on:
            module.gradient_checkpointing = True


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the blocks of a model: two or more of one class, in one list, with parts of their own.

    A list is a `torch.nn.ModuleList` or `torch.nn.Sequential`; lists without a forward pass within
    it belong to it. Within a block no other is looked for.
    """
    if isinstance(model, nn.ModuleList | nn.Sequential):
        items = list(dict.fromkeys(_flat(model)))
        kinds = Counter(map(_kind, items))
        found = []
        for item in items:
            is_block = kinds[_kind(item)] > 1 and any(item.children())
            found += [item] if is_block else repeated_blocks(item)
        return found
    return [block for child in model.children() for block in repeated_blocks(child)]


def _kind(item: nn.Module) -> type:
    """Return an item's class, of one that got a switch the class that it had before."""
    return type(item).__bases__[-1] if isinstance(item, Checkpointed) else type(item)


def _computed_again(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return checkpoint(call, *args, use_reentrant=False, **kwargs)


def _flat(container: nn.Module) -> Iterator[nn.Module]:
    for item in container.children():
        if isinstance(item, nn.ModuleList | nn.ModuleDict):
            yield from _flat(item)
        else:
            yield item


def _make_switch(block: Any, compute: Callable[..., Any]) -> None:
    """Give a block a switch, and turn it on."""
    kind = type(block)
    # transformers' blocks look at the two attributes themselves.
    if not hasattr(block, "gradient_checkpointing"):
        name = f"Checkpointed{kind.__name__}"
        block.__class__ = type(name, (Checkpointed, kind), {"__module__": kind.__module__})
    block._gradient_checkpointing_func = compute
    block.gradient_checkpointing = True


def _switched_parts(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost parts of a model that have a switch."""
    supports = getattr(model, "supports_gradient_checkpointing", False)
    if supports and any(hasattr(part, "gradient_checkpointing") for part in model.modules()):
        yield model
        return
    for child in model.children():
        yield from _switched_parts(child)


def _switch_on(part: Any, settings: dict[str, Any]) -> None:
    had_hook = hasattr(part, "_require_grads_hook")
    # The older name is the only one before transformers 5.23.
    old_name = "gradient_checkpointing_enable"
    enable = getattr(part, "activation_checkpointing_enable", None) or getattr(part, old_name)
    enable(settings)
    # Embeddings that are frozen need no gradient for this kind of checkpoint.
    if hasattr(part, "_require_grads_hook") and not had_hook:
        part.disable_input_require_grads()


def _count_switched(part: nn.Module) -> int:
    on = _switched_on(part)
    block: Any = getattr(sys.modules.get("transformers.modeling_layers"), _BLOCK, ())
    # A model from elsewhere may do it all in the module that calls the blocks.
    return len([module for module in on if isinstance(module, block)]) or len(on)


def _switched_on(model: nn.Module) -> list[Any]:
    # Not by getattr, which is slow where a module has no such attribute.
    return [module for module in model.modules() if vars(module).get("gradient_checkpointing")]
