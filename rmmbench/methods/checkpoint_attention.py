"""Attention that keeps queries, keys and values, and no probabilities.

Scores, softmax, dropout and the product with the values are computed again in the backward pass, of
one layer at a time, with the random numbers of the first time. What attention keeps then grows with
the length of a sequence, not with its square, as in a fused kernel, which is faster.

Only what goes through transformers' interface of attention functions can be exchanged so.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from rmmbench.methods.method import Method
from rmmbench.spec.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "rmmbench_checkpoint"
"""What the function is called in a config."""

_EAGER = "eager_attention_forward"
_MUST_FIND = "checkpoint-attention must find attention that"


class CheckpointAttention(Method[Settings]):
    """Computes the attention of each attention module again, as far as it is computed eagerly."""

    takes_over = frozenset({"recomputation"})
    is_exact = True

    def apply(self, model: "nn.Module", settings: Settings, batch: "Mapping[str, Tensor]") -> int:
        """Exchange the attention function and return how many attention modules have it.

        Raises:
            ValueError: If no module computes attention eagerly through the interface.
        """
        found = [module for module in model.modules() if _eager_function(module) is not None]
        eager = [module for module in found if _config(module)._attn_implementation == "eager"]
        if not eager:
            raise ValueError(_nothing_to_exchange(found))
        named = next((type(module).__name__ for module in eager if _asks_for_eager(module)), None)
        if named is not None:
            need = f"{_MUST_FIND} does not ask what its function is called"
            raise ValueError(f"{need}, and {named} does; choose checkpoint")
        _register()
        for module in eager:
            module.eager_attention = _eager_function(module)  # type: ignore[assignment]
        _name_attention(NAME, map(_config, eager))
        return len(eager)

    def reference(self, model: "nn.Module") -> AbstractContextManager[None]:
        """Return a context in which probabilities are kept."""
        return _kept(model)


def attention(
    module: Any,
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    attention_mask: "Tensor | None",
    **settings: Any,
) -> "tuple[Tensor, Tensor | None]":
    """Return what the module's own eager function does, without keeping more than is given."""
    from torch.utils.checkpoint import checkpoint

    compute = partial(module.eager_attention, module, **settings)
    output: tuple[Tensor, Tensor | None] = checkpoint(
        compute, query, key, value, attention_mask, use_reentrant=False
    )
    return output


def _register() -> None:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["eager"])


@contextmanager
def _kept(model: "nn.Module") -> Iterator[None]:
    configs = map(_config, model.modules())
    changed = {id(c): c for c in configs if getattr(c, "_attn_implementation", None) == NAME}
    _name_attention("eager", changed.values())
    try:
        yield
    finally:
        _name_attention(NAME, changed.values())


def _name_attention(name: str, configs: Iterable[Any]) -> None:
    for config in configs:
        # In this form it is not handed on to the configs within, whose models may not be asked.
        config._attn_implementation = {"": name}


def _config(module: "nn.Module") -> Any:
    return vars(module).get("config")


def _eager_function(module: "nn.Module") -> Callable[..., Any] | None:
    """Return what a module hands to the interface as its eager function; None if it does not."""
    forward = inspect.unwrap(type(module).forward)
    code = getattr(forward, "__code__", None)
    if code is None or _EAGER not in code.co_names or _config(module) is None:
        return None
    function: Callable[..., Any] | None = forward.__globals__.get(_EAGER)
    return function


def _asks_for_eager(module: "nn.Module") -> bool:
    """Tell whether an attention module does something else under another function's name."""
    constants = inspect.unwrap(type(module).forward).__code__.co_consts
    names = [name for one in constants for name in (one if isinstance(one, tuple) else [one])]
    # GPT-2's asks, but the answer makes a difference only if it reorders.
    return "eager" in names and getattr(module, "reorder_and_upcast_attn", True)


def _nothing_to_exchange(found: "list[nn.Module]") -> str:
    if found:
        given = _config(found[0])._attn_implementation
        what = f"a model with '{given}', which keeps no probabilities"
        return f"{_MUST_FIND} is computed eagerly; got {what}; choose attention = 'eager'"
    need = f"{_MUST_FIND} goes through transformers' interface of attention functions"
    return f"{need}, and the model has none; choose another method"
