"""Watches layers while a model trains, and computes how noisy their weight gradients are.

A step that is not watched costs only the check of a flag. At a watched step the input of each
watched layer is held from the forward pass until the gradient of its output has come, so a sketched
layer saves no memory there. No sketch is drawn: three sums give the noise of every sketch. What
rounding to few bits adds is measured on a sample of sums of rows. Where the part in some principal
features is exact, noise is that of the rest; in a checkpointed layer, of the first forward pass.
"""

import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from rmmbench import sketches
from rmmbench.measures.gradient.drawing import Point
from rmmbench.measures.gradient.exact_part import directions_of, rest_of, sums_of
from rmmbench.measures.gradient.rounding_terms import rounding_noise, rounding_ratios
from rmmbench.nn.analysis.layer_variance import noise_in_bits
from rmmbench.nn.analysis.rehearsal import input_of
from rmmbench.nn.layer import Sketched
from rmmbench.nn.patterns import layers_matching
from rmmbench.nn.size import SketchSettings
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.results.layer_sums import LayerSums
from rmmbench.sketches.sketch import Moments

_Ratios = dict[int, tuple[float, ...]]
_Sums = tuple[Tensor, _Ratios]


class NoiseWatch:
    """Gathers, while it is active, the `LayerNoise` of some layers of a model.

    In a step of several micro-batches the first counts, as each has its own sketch; the inflation
    is the same for the whole step. With several processes each watches its own batch. Layers whose
    weight is frozen have no noise. Checkpointed layers are counted once.

    Attributes:
        active: Whether calls are watched now.
        captured: What `capture` asked for, once a call had it.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Iterable[str],
        *,
        rho: float = 0.5,
        bits: int | None = None,
    ) -> None:
        """Watch the linear layers, sketched or not, whose qualified name matches a pattern.

        Args:
            model: Has a hook on each of the layers, until `remove`.
            layers: Patterns ("*.7.output.dense").
            rho: Compression rate for the noise of layers without a sketch.
            bits: Of a number of x_proj, for the noise of these layers; None for no rounding.

        Raises:
            ValueError: If a pattern matches no linear layer, rho is outside (0, 1], or bits are
                not 8, 4 or 2.
        """
        self._settings = SketchSettings(rho=rho, bits=bits).checked()
        self._layers: Mapping[str, Any] = layers_matching(model, layers)
        self.active = False
        self.captured: Point | None = None
        self._to_capture: tuple[str, int] | None = None
        self._pending: dict[str, weakref.ref[_Call]] = {}
        self._found: dict[str, tuple[_Call, _Sums, _Sums]] = {}
        self._bases: dict[str, Tensor] = {}
        # A compiler cannot follow the hook: its graph breaks before and after the layer.
        read: Callable[..., None] = torch.compiler.disable(self._read)  # type: ignore[no-untyped-call]
        self._handles = [
            layer.register_forward_hook(partial(read, name), with_kwargs=True)
            for name, layer in self._layers.items()
        ]
        keep: Callable[..., None] = torch.compiler.disable(self._keep_basis)  # type: ignore[no-untyped-call]
        self._handles += [
            layer.register_forward_pre_hook(partial(keep, name))
            for name, layer in self._layers.items()
            if isinstance(layer, Sketched)
        ]

    @property
    def layers(self) -> list[str]:
        """The names of the watched layers."""
        return list(self._layers)

    def capture(self, layer: str, step: int) -> None:
        """Keep X and Y of a watched layer at its next watched call, and label them with `step`.

        Raises:
            ValueError: If the layer is not watched.
        """
        if layer not in self._layers:
            watched = ", ".join(self._layers)
            raise ValueError(
                f"the captured layer must be watched, got '{layer}'; choose: {watched}"
            )
        self._to_capture = layer, step

    def collect(self, step: int) -> list[LayerNoise]:
        """Return the noise gathered since the last call, labelled with `step`, and drop it.

        A layer is left out if it did not run, or if its sums are not finite, as in a step that
        diverged.
        """
        found, self._found, self._pending = self._found, {}, {}
        noise = []
        for name in filter(found.__contains__, self._layers):
            call, *both = found[name]
            read = [(Moments(*tensor.tolist()), ratios) for tensor, ratios in both]
            if all(math.isfinite(each) for moments, _ in read for each in moments[:-1]):
                whole, sketched = (_layer_sums(call, *each) for each in read)
                noise.append(_layer_noise(step, name, call, whole, sketched, read[1][0]))
        return noise

    def remove(self) -> None:
        """Remove the hooks from the model."""
        self.active = False
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> "NoiseWatch":
        """Be active within the context."""
        self.active = True
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the hooks from the model."""
        self.remove()

    def _keep_basis(self, name: str, layer: Any, args: Any) -> None:
        """Keep the basis of a call: it moves on in the call."""
        if self.active and layer.settings.principal is not None:
            self._bases[name] = layer.basis.clone()

    def _read(
        self, name: str, layer: Any, args: Any, keywords: Mapping[str, Any], output: Tensor
    ) -> None:
        basis = self._bases.pop(name, None)
        if not self.active or not (output.requires_grad and layer.weight.requires_grad):
            return
        x, task = input_of(args, keywords), torch._C._current_graph_task_id()
        pending = self._pending.get(name, lambda: None)()
        # A checkpointed layer runs a second time in the backward pass.
        is_again = pending is not None and pending.task != task
        if name in self._found or is_again or not x.numel():
            return
        if pending is not None:
            need = "a watched layer must be called once before its backward pass"
            raise ValueError(f"{need}, but '{name}' was called again; watch other layers")
        call = _Call(x, output.shape[-1], layer, self._settings, task)
        if basis is not None:
            call.directions = directions_of(layer, x, basis)
        self._pending[name] = weakref.ref(call)
        # Only the graph holds the call and its input: without a backward pass both go with it.
        output.register_hook(partial(self._gather, name, call))  # type: ignore[no-untyped-call]

    def _gather(self, name: str, call: "_Call", y: Tensor) -> None:
        x = call.give_input(name)
        if x is None:
            return
        sketch = sketches.get(call.text)
        sums = rest_sums = sums_of(sketch, x, y), rounding_ratios(x, y)
        rest = None if call.directions is None else rest_of(x, call.directions)
        if rest is not None:
            rest_sums = sums_of(sketch, x, y, rest), rounding_ratios(rest, y)
        self._found[name] = call, sums, rest_sums
        if self._to_capture is not None and self._to_capture[0] == name:
            self.captured = Point(*self._to_capture, x.clone(), y.detach().clone(), rest)
            self._to_capture = None


class _Call:
    """A call of a watched layer: its input, and the layer's settings at that time.

    Attributes:
        directions: Those in which the gradient is exact, shape (in_features, r); None for none.
    """

    def __init__(
        self, x: Tensor, outputs: int, layer: nn.Module, default: SketchSettings, task: int
    ) -> None:
        self._x: Tensor | None = x.detach()
        self._version = x._version
        self.task = task
        self.shape = x.shape
        self.outputs = outputs
        self.rows = math.prod(x.shape[:-1])
        self.sketch: str | None = None
        self.directions: Tensor | None = None
        sketched = layer if isinstance(layer, Sketched) else None
        settings = sketched.settings if sketched else default
        self.proj_dim, self.text, self.bits = _size(settings, x.shape)
        if sketched and not sketched.exact and self.proj_dim < self.rows:
            self.sketch = settings.sketch

    def give_input(self, name: str) -> Tensor | None:
        """Return the input and drop it; None if it was given before."""
        x, self._x = self._x, None
        if x is not None and x._version != self._version:
            raise ValueError(
                f"the input of a watched layer must stay as it is until the backward pass, but that"
                f" of '{name}' was changed in place; watch other layers"
            )
        return x


@cache
def _size(settings: SketchSettings, shape: torch.Size) -> tuple[int, str, int | None]:
    """Return proj_dim, the sketch's text, and the bits of a number, if it is rounded."""
    keeping = settings.keeping(shape)
    return *settings.at(shape), keeping.bits if keeping else None


def _layer_sums(call: _Call, moments: Moments, ratios: _Ratios) -> LayerSums:
    return LayerSums(
        rows=call.rows,
        samples=call.shape[0] if len(call.shape) > 1 else 1,
        a=moments.a,
        g=moments.g,
        d=moments.d,
        g_samples=moments.g_samples,
        sampled=moments.sampled,
        in_features=call.shape[-1],
        out_features=call.outputs,
        rounding=rounding_noise(ratios, call.rows, moments),
    )


def _layer_noise(
    step: int, name: str, call: _Call, sums: LayerSums, sketched: LayerSums, moments: Moments
) -> LayerNoise:
    """Return the noise of a layer from its sums, and those and the moments of what is sketched."""
    return LayerNoise(
        **dict(sums),
        step=step,
        layer=name,
        proj_dim=call.proj_dim,
        bits=call.bits,
        principal=None if call.directions is None else call.directions.shape[1],
        variances=_variances(call, sketched, moments),
        trained_with=call.sketch,
    )


def _variances(call: _Call, sums: LayerSums, moments: Moments) -> dict[str, float]:
    """Return D²_RMM by sketch: the layer's own with its blocks, the others as one block."""
    variances = {}
    for name in sketches.names():
        is_own = name == call.sketch
        # Factors over batch and sequence would need work of B² for their sums.
        if sketches.SKETCHES.get(name).has_factors:
            continue
        text, its = (call.text, moments) if is_own else (name, moments.in_one())
        if call.proj_dim >= call.rows:
            variances[name] = sums.rounding_noise(call.bits, 1) if call.bits else 0.0
        else:
            sketch = sketches.get(text)
            variances[name] = noise_in_bits(sketch, sums, its, call.proj_dim, call.bits)
    return variances
