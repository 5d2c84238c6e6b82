"""Sketching as torch operators that neither torch.compile nor a checkpoint can take apart.

If torch operations drew S or its seed inside a compiled region, the partitioner could draw them
again in the backward pass, and the gradient would silently be noise. A selective checkpoint that
kept SᵀX and drew S again would do the same. So `rmmbench::sketch` draws the seed and returns SᵀX
together with the key of S: either both are kept or both are computed again, and the backward pass
always has the S of the forward pass. `rmmbench::sketch_in_bits` does the same with SᵀX in few bits.
The other operators depend on their arguments only.

They are defined with torch's dispatcher directly, because `torch.library.custom_op` adds more host
time than a sketch of a few rows takes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from rmmbench import sketches
from rmmbench.kernels import rounding
from rmmbench.kernels.levels import new_rounded
from rmmbench.nn.principal import new_split, split_flops, split_off
from rmmbench.nn.seeds import next_seed

_LIBRARY = torch.library.Library("rmmbench", "FRAGMENT")  # type: ignore[no-untyped-call]
_OF_WHAT = "Tensor x, SymInt proj_dim, str sketch"


def operator(
    schema: str, make: Callable[..., Any], fake: Callable[..., Any], *tags: torch.Tag
) -> Any:
    """Define an operator by its function for real tensors and that for fake ones; return it."""
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag, *tags))  # type: ignore[no-untyped-call]
    _LIBRARY.impl(name, make, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"rmmbench::{name}", fake, lib=_LIBRARY)
    return getattr(torch.ops.rmmbench, name).default


def _sketch(
    x: Tensor, proj_dim: int, sketch: str, seed: Tensor | None, *found: Any
) -> tuple[Tensor, ...]:
    if found[0] is not None:
        return found
    chosen = sketches.get(sketch)
    key = chosen.draw(x, proj_dim, _seed(x, seed))
    return chosen.project(x, proj_dim, key), key


def _fake_sketch(
    x: Tensor, proj_dim: int, sketch: str, seed: Any, *found: Any
) -> tuple[Tensor, ...]:
    if found[0] is not None:
        return found
    return x.new_empty(proj_dim, x.shape[1]), sketches.get(sketch).new_key(x, proj_dim)


def _project(y: Tensor, proj_dim: int, sketch: str, key: Tensor) -> Tensor:
    return sketches.get(sketch).project(y, proj_dim, key)


def _project_and_sum(y: Tensor, proj_dim: int, sketch: str, key: Tensor) -> tuple[Tensor, Tensor]:
    return sketches.get(sketch).project_and_sum(y, proj_dim, key)


def _seed(x: Tensor, seed: Tensor | None) -> Tensor:
    """Return a seed on x's device: a copy of the one given, or else the next."""
    return next_seed(x.device) if seed is None else seed.to(x.device, copy=True)


def _sketch_in_bits(
    x: Tensor, proj_dim: int, sketch: str, bits: int, seed: Tensor | None, *found: Any
) -> tuple[Tensor, ...]:
    if found[0] is not None:
        return found
    seed = _seed(x, seed)
    if not sketch:
        return *rounding.round_to_bits(x, bits, seed), seed
    chosen = sketches.get(sketch)
    key = chosen.draw(x, proj_dim, seed)
    return *chosen.project_in_bits(x, proj_dim, key, bits, seed), key


def _fake_sketch_in_bits(
    x: Tensor, proj_dim: int, sketch: str, bits: int, seed: Any, *found: Any
) -> tuple[Tensor, ...]:
    if found[0] is not None:
        return found
    key = x.new_empty((), dtype=torch.int64)
    if sketch:
        key = sketches.get(sketch).new_key(x, proj_dim)
    return *new_rounded(x, bits, rows=proj_dim), key


def _principal_sketch(
    x: Tensor, proj_dim: int, sketch: str, bits: int, seed: Tensor | None, *found: Any
) -> tuple[Tensor, ...]:
    if found[0] is not None:
        return found
    return split_off(x, proj_dim, sketch, bits, _seed(x, seed), found[-1])


def _fake_principal_sketch(
    x: Tensor, proj_dim: int, sketch: str, bits: int, seed: Any, *found: Any
) -> tuple[Tensor, ...]:
    return found if found[0] is not None else new_split(x, proj_dim, sketch, bits, found[-1])


def _product_in_bits(y: Tensor, width: int, bits: int, levels: Tensor, ends: Tensor) -> Tensor:
    return rounding.product(y, levels, ends, width, bits)


sketch = operator(
    f"sketch({_OF_WHAT}, Tensor? seed, Tensor? x_proj, Tensor? key) -> (Tensor, Tensor)",
    _sketch,
    _fake_sketch,
    torch.Tag.nondeterministic_seeded,
)
"""Returns SᵀX, shape (proj_dim, features), and the key of S, for x of shape (rows, features).

The seed is drawn unless it is given. If another layer has x_proj and key of the same x, they are
given and returned: a layer that shares must call the operator too, because a checkpoint counts
calls. Only eager code gives them, since a compiler lets no operator return its argument.
"""

project = operator(
    f"project({_OF_WHAT}, Tensor key) -> Tensor",
    _project,
    lambda y, proj_dim, *_: y.new_empty(proj_dim, y.shape[1]),
)
"""Returns SᵀX, shape (proj_dim, features), for the S of `key`."""

project_and_sum = operator(
    f"project_and_sum({_OF_WHAT}, Tensor key) -> (Tensor, Tensor)",
    _project_and_sum,
    lambda y, proj_dim, *_: (y.new_empty(proj_dim, y.shape[1]), y.new_empty(y.shape[1])),
)
"""Returns SᵀX, and the sum of x's rows."""

sketch_in_bits = operator(
    f"sketch_in_bits({_OF_WHAT}, int bits, Tensor? seed, Tensor? levels, Tensor? ends, Tensor? key)"
    " -> (Tensor, Tensor, Tensor)",
    _sketch_in_bits,
    _fake_sketch_in_bits,
    torch.Tag.nondeterministic_seeded,
)
"""Returns SᵀX in few bits, as `rounding.round_to_bits` does, and the key of S.

With the sketch "" it is X itself that is rounded. Otherwise as `sketch`.
"""

principal_sketch = operator(
    f"principal_sketch({_OF_WHAT}, int bits, Tensor? seed, Tensor? coefficients,"
    " Tensor? directions, Tensor? x_proj, Tensor? ends, Tensor? key, Tensor basis)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _principal_sketch,
    _fake_principal_sketch,
    torch.Tag.nondeterministic_seeded,
)
"""Returns what `principal.split_off` does. 0 bits are all of them; otherwise as `sketch`."""

product_in_bits = operator(
    "product_in_bits(Tensor y, SymInt width, int bits, Tensor levels, Tensor ends) -> Tensor",
    _product_in_bits,
    lambda y, width, *_: y.new_empty(y.shape[1], width),
)
"""Returns yᵀ times a matrix in few bits."""

draw_seed = operator(
    "draw_seed(Tensor x, Tensor? seed) -> Tensor",
    _seed,
    lambda x, seed: x.new_empty((), dtype=torch.int64),
    torch.Tag.nondeterministic_seeded,
)
"""Returns a seed on x's device for other random numbers; a checkpoint must keep it."""

rounding_words = operator(
    "rounding_words(Tensor seed, SymInt count, int piece) -> Tensor",
    rounding.rounding_words,
    lambda seed, count, piece: seed.new_empty(count, dtype=torch.int16),
)
"""Returns `count` random words of 16 bits, int16, for a seed and the number of a piece."""


def call(operator: Any, x: Tensor, *rest: Any) -> Any:
    """Return what an operator returns, without torch's dispatcher if nothing would notice.

    For a layer of few rows the dispatcher takes as long as the sketch.
    """
    make = _MAKES.get(operator)
    if make is None or torch.compiler.is_compiling() or _is_watched(x):
        return operator(x, *rest)
    return make(x, *rest)


def _is_watched(x: Tensor) -> bool:
    """Tell whether a mode, a subclass, a transform or a trace sees the operators on a tensor.

    This is also true for tensors without numbers.
    """
    return (
        type(x) is not Tensor
        or not (x.is_cpu or x.is_cuda)
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or torch._C._autograd._profiler_enabled()
    )


_MAKES: dict[Any, Callable[..., Any]] = {
    sketch: _sketch,
    sketch_in_bits: _sketch_in_bits,
    project: _project,
    project_and_sum: _project_and_sum,
    product_in_bits: _product_in_bits,
}

OPERATORS = [*_MAKES, principal_sketch]
"""The operators of a sketched layer; each takes a matrix, then its settings, then other tensors."""

DRAWING = (sketch, sketch_in_bits, principal_sketch)
"""Those that draw S; they take a seed, and then what another layer has kept."""


_OF_ONE_SKETCH = (sketch, sketch_in_bits, project, project_and_sum)


@register_flop_formula([each.overloadpacket for each in _OF_ONE_SKETCH])
def _flops(
    x_shape: tuple[int, int],
    proj_dim: int,
    sketch: str,
    *given: Any,
    **_: Any,
) -> int:
    # After the number of bits, if there is one: a seed, and what another layer has kept.
    is_another_layers = len(given) > 2 and given[-1] is not None
    if is_another_layers or not sketch:
        return 0
    return sketches.get(sketch).flops(*x_shape, proj_dim)


@register_flop_formula([principal_sketch.overloadpacket])
def _principal_flops(
    x_shape: tuple[int, int],
    proj_dim: int,
    sketch: str,
    bits: int,
    seed: Any,
    *given: Any,
    **_: Any,
) -> int:
    is_another_layers = given[0] is not None
    return 0 if is_another_layers else split_flops(*x_shape, given[-1][1], proj_dim, sketch)


@register_flop_formula([product_in_bits.overloadpacket])
def _product_flops(y_shape: tuple[int, int], width: int, *_: Any, **__: Any) -> int:
    rows, outputs = y_shape
    return 2 * rows * outputs * width
