"""Sketching as operators that neither torch.compile nor a checkpoint can look into.

If S or its seed were drawn by torch operations inside a compiled region, the partitioner would draw
them again in the backward pass, and the gradient would silently be noise; a selective checkpoint
that kept SᵀX and drew S again would do the same. `rmmbench::sketch` draws the seed inside and
returns SᵀX together with the key of S: whoever keeps the one keeps the other, and whoever computes
the one again draws the other. Both are saved, so the backward pass has the S of the forward pass.
The other two operators are functions of their arguments alone.

They are defined on torch's dispatcher itself: the layers that `torch.library.custom_op` puts around
an operator cost more host time than a sketch of a few rows.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from rmmbench import sketches
from rmmbench.kernels import philox
from rmmbench.nn.seeds import next_seed

_LIBRARY = torch.library.Library("rmmbench", "FRAGMENT")  # type: ignore[no-untyped-call]
_OF_WHAT = "Tensor x, SymInt proj_dim, str sketch"


def _operator(
    schema: str, make: Callable[..., Any], fake: Callable[..., Any], *tags: torch.Tag
) -> Any:
    """Return a new operator: what it does on any device, and on fake tensors."""
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag, *tags))  # type: ignore[no-untyped-call]
    _LIBRARY.impl(name, make, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"rmmbench::{name}", fake, lib=_LIBRARY)
    return getattr(torch.ops.rmmbench, name).default


def _sketch(
    x: Tensor,
    proj_dim: int,
    sketch: str,
    seed: Tensor | None,
    x_proj: Tensor | None,
    key: Tensor | None,
) -> tuple[Tensor, Tensor]:
    if x_proj is not None and key is not None:
        return x_proj, key
    chosen = sketches.get(sketch)
    key = chosen.draw(x, proj_dim, _seed(x, seed))
    return chosen.project(x, proj_dim, key), key


def _fake_sketch(
    x: Tensor,
    proj_dim: int,
    sketch: str,
    seed: Tensor | None,
    x_proj: Tensor | None,
    key: Tensor | None,
) -> tuple[Tensor, Tensor]:
    if x_proj is not None and key is not None:
        return x_proj, key
    return x.new_empty(proj_dim, x.shape[1]), sketches.get(sketch).new_key(x, proj_dim)


def _project(y: Tensor, proj_dim: int, sketch: str, key: Tensor) -> Tensor:
    return sketches.get(sketch).project(y, proj_dim, key)


def _project_and_sum(y: Tensor, proj_dim: int, sketch: str, key: Tensor) -> tuple[Tensor, Tensor]:
    return sketches.get(sketch).project_and_sum(y, proj_dim, key)


def _seed(x: Tensor, seed: Tensor | None) -> Tensor:
    """Return a seed on x's device: the next, or a copy of one that is given."""
    return next_seed(x.device) if seed is None else seed.to(x.device, copy=True)


def _rounding_words(seed: Tensor, count: int, piece: int) -> Tensor:
    use = philox.Use.ROUNDING + (piece << 8)
    if seed.device.type != "cpu":
        return philox.philox_stream(seed, -(-count // 2), use).int().view(torch.int16)[:count]
    # Four words in one draw.
    drawn = torch.empty(-(-count // 4), dtype=torch.int64, device=seed.device)
    generator = philox.host_generator(seed, use)
    return drawn.random_(-(2**63), None, generator=generator).view(torch.int16)[:count]


sketch = _operator(
    f"sketch({_OF_WHAT}, Tensor? seed, Tensor? x_proj, Tensor? key) -> (Tensor, Tensor)",
    _sketch,
    _fake_sketch,
    torch.Tag.nondeterministic_seeded,
)
"""Returns SᵀX, shape (proj_dim, features), and the key of S, for x of shape (rows, features).

The seed is drawn, unless it is given. x_proj and key are what another layer has of the same x, and
are returned as they are: a layer that shares calls the operator as one that does not, so that a
checkpoint, which counts calls, need not know who shares. Only eager code gives them, as to a
compiler no operator returns its argument.
"""

project = _operator(
    f"project({_OF_WHAT}, Tensor key) -> Tensor",
    _project,
    lambda y, proj_dim, *_: y.new_empty(proj_dim, y.shape[1]),
)
"""Returns SᵀX, shape (proj_dim, features), for the S that `key` names."""

project_and_sum = _operator(
    f"project_and_sum({_OF_WHAT}, Tensor key) -> (Tensor, Tensor)",
    _project_and_sum,
    lambda y, proj_dim, *_: (y.new_empty(proj_dim, y.shape[1]), y.new_empty(y.shape[1])),
)
"""Returns SᵀX, and the sum of x's rows."""

draw_seed = _operator(
    "draw_seed(Tensor x, Tensor? seed) -> Tensor",
    _seed,
    lambda x, seed: x.new_empty((), dtype=torch.int64),
    torch.Tag.nondeterministic_seeded,
)
"""Returns a seed on x's device, for what is random and no sketch; it must be kept where drawn."""

rounding_words = _operator(
    "rounding_words(Tensor seed, SymInt count, int piece) -> Tensor",
    _rounding_words,
    lambda seed, count, piece: seed.new_empty(count, dtype=torch.int16),
)
"""Returns `count` random words of 16 bits, int16, of a seed; others for each piece."""


def call(operator: Any, x: Tensor, *rest: Any) -> Any:
    """Return what an operator returns; without torch's dispatcher where nothing could tell.

    For a layer of few rows the way through the dispatcher and back takes as long as the sketch.
    """
    make = _MAKES.get(operator)
    if make is None or torch.compiler.is_compiling() or _is_watched(x):
        return operator(x, *rest)
    return make(x, *rest)


def _is_watched(x: Tensor) -> bool:
    """Tell whether operators on a tensor are seen by a mode, a subclass, a transform or a trace.

    So they are, too, where a tensor has no numbers.
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
    project: _project,
    project_and_sum: _project_and_sum,
}

OPERATORS = [sketch, project, project_and_sum]
"""What torch dispatches on to sketch; each takes x, proj_dim and the sketch's text first."""


@register_flop_formula([operator.overloadpacket for operator in OPERATORS])
def _flops(
    x_shape: tuple[int, int],
    proj_dim: int,
    sketch: str,
    *given: Any,
    **_: Any,
) -> int:
    is_another_layers = len(given) == 3 and given[1] is not None
    return 0 if is_another_layers else sketches.get(sketch).flops(*x_shape, proj_dim)
