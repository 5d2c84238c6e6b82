"""Sketching as torch operators that neither torch.compile nor a checkpoint can take apart.

If torch operations drew S or its seed inside a compiled region, the partitioner could draw them
again in the backward pass, and the gradient would silently be noise. A selective checkpoint that
kept SᵀX and drew S again would do the same. So `rmmbench::sketch` draws the seed and returns SᵀX
together with the key of S: either both are kept or both are computed again, and the backward pass
always has the S of the forward pass. The other operators depend on their arguments only.

They are defined with torch's dispatcher directly, because `torch.library.custom_op` adds more host
time than a sketch of a few rows takes.
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
    """Define an operator by its function for real tensors and that for fake ones; return it."""
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
    """Return a seed on x's device: a copy of the one given, or else the next."""
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

The seed is drawn unless it is given. If another layer has x_proj and key of the same x, they are
given and returned: a layer that shares must call the operator too, because a checkpoint counts
calls. Only eager code gives them, since a compiler lets no operator return its argument.
"""

project = _operator(
    f"project({_OF_WHAT}, Tensor key) -> Tensor",
    _project,
    lambda y, proj_dim, *_: y.new_empty(proj_dim, y.shape[1]),
)
"""Returns SᵀX, shape (proj_dim, features), for the S of `key`."""

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
"""Returns a seed on x's device for other random numbers; a checkpoint must keep it."""

rounding_words = _operator(
    "rounding_words(Tensor seed, SymInt count, int piece) -> Tensor",
    _rounding_words,
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
    project: _project,
    project_and_sum: _project_and_sum,
}

OPERATORS = [sketch, project, project_and_sum]
"""The operators that sketch; each takes x, proj_dim and the sketch's text first."""


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
