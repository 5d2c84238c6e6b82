"""Attention that is computed again: its function is exchanged, module by module."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rmmbench.nn.recomputed_operators import current_recording

NAME = "rmmbench_checkpoint"
"""What the function is called in a config."""

_EAGER = "eager_attention_forward"
_MUST_FIND = "checkpoint-attention must find attention that"


def recompute_attention(model: nn.Module, blocks: Iterable[str] | None = None) -> int:
    """Let attention modules compute their attention again, in place, and return how many do.

    Args:
        model: May have been changed so before; what it computes again is then replaced.
        blocks: Qualified names of the modules within which it is computed again; None for all.

    Raises:
        ValueError: If no module computes attention eagerly through transformers' interface.
    """
    found = {name: one for name, one in model.named_modules() if _eager_function(one) is not None}
    eager = {
        name: module
        for name, module in found.items()
        if _config(module)._attn_implementation in ("eager", NAME)
    }
    if not eager:
        raise ValueError(_nothing_to_exchange(list(found.values())))
    named = next((type(one).__name__ for one in eager.values() if _asks_for_eager(one)), None)
    if named is not None:
        need = f"{_MUST_FIND} does not ask what its function is called"
        raise ValueError(f"{need}, and {named} does; choose checkpoint")
    _register()
    above = None if blocks is None else tuple(f"{block}." for block in blocks)
    for name, module in eager.items():
        module.eager_attention = _eager_function(module)
        module.keeps_attention = above is not None and not name.startswith(above)
    _name_attention(NAME, map(_config, eager.values()))
    return sum(not module.keeps_attention for module in eager.values())


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, Tensor | None]:
    """Return what the module's own eager function does, without keeping more than is given."""
    compute = partial(module.eager_attention, module, **settings)
    output: tuple[Tensor, Tensor | None]
    recording = current_recording()
    if module.keeps_attention:
        output = compute(query, key, value, attention_mask)
    elif recording is not None:
        # A checkpoint would hold on to queries, keys and values, which may be made again too.
        with recording.everything():
            output = compute(query, key, value, attention_mask)
    else:
        output = checkpoint(compute, query, key, value, attention_mask, use_reentrant=False)
    return output


def _register() -> None:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["eager"])


@contextmanager
def attention_kept(model: nn.Module) -> Iterator[None]:
    """Let attention keep its probabilities for a while."""
    configs = map(_config, model.modules())
    changed = {id(c): c for c in configs if getattr(c, "_attn_implementation", None) == NAME}
    _name_attention("eager", changed.values())
    try:
        yield
    finally:
        _name_attention(NAME, changed.values())


def keep_attention(model: nn.Module) -> None:
    """Undo `recompute_attention`."""
    configs = [_config(module) for module in model.modules()]
    _name_attention("eager", [c for c in configs if getattr(c, "_attn_implementation", 0) == NAME])


def _name_attention(name: str, configs: Iterable[Any]) -> None:
    for config in configs:
        # In this form it is not handed on to the configs within, whose models may not be asked.
        config._attn_implementation = {"": name}


def _config(module: nn.Module) -> Any:
    return vars(module).get("config")


def _eager_function(module: nn.Module) -> Callable[..., Any] | None:
    """Return what a module hands to the interface as its eager function; None if it does not."""
    forward = inspect.unwrap(type(module).forward)
    code = getattr(forward, "__code__", None)
    if code is None or _EAGER not in code.co_names or _config(module) is None:
        return None
    function: Callable[..., Any] | None = forward.__globals__.get(_EAGER)
    return function


def _asks_for_eager(module: nn.Module) -> bool:
    """Tell whether an attention module does something else under another function's name."""
    constants = inspect.unwrap(type(module).forward).__code__.co_consts
    names = [name for one in constants for name in (one if isinstance(one, tuple) else [one])]
    # GPT-2's asks, but the answer makes a difference only if it reorders.
    return "eager" in names and getattr(module, "reorder_and_upcast_attn", True)


def _nothing_to_exchange(found: list[nn.Module]) -> str:
    if found:
        given = _config(found[0])._attn_implementation
        what = f"a model with '{given}', which keeps no probabilities"
        return f"{_MUST_FIND} is computed eagerly; got {what}; choose attention = 'eager'"
    need = f"{_MUST_FIND} goes through transformers' interface of attention functions"
    return f"{need}, and the model has none; choose another method"
