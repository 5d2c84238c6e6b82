"""Watch layers while a model trains, and tell how noisy their weight gradients are.

A step that is not watched costs nothing but a look at a flag. At one that is, the input of each
watched layer is held from the forward pass until the gradient of the output has come: at this step
a sketched layer saves no memory. No sketch is drawn for it: three sums tell the noise of all.
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
from rmmbench.nn.analysis.rehearsal import input_of
from rmmbench.nn.layer import Sketched
from rmmbench.nn.patterns import layers_matching
from rmmbench.nn.size import SketchSettings
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.sketches.sketch import Moments


class NoiseWatch:
    """Gathers, while it is active, what `LayerNoise` says of some layers of a model.

    Of a step that is several micro-batches the first is taken, as a sketch is drawn for each by
    itself; noise inflation is that of the whole step. Of a process among several it is its own
    batch. Layers whose weight is frozen have no noise. Checkpointed layers are counted once.

    Attributes:
        active: Whether calls are watched now.
        captured: What `capture` asked for, once it has been there.
    """

    def __init__(self, model: nn.Module, layers: str | Iterable[str], *, rho: float = 0.5) -> None:
        """Watch the linear layers, sketched or not, whose qualified name matches a pattern.

        Args:
            model: Gets a hook on each of the layers, until `remove`.
            layers: Patterns ("*.7.output.dense").
            rho: Compression rate that layers without a sketch are told the noise at.

        Raises:
            ValueError: If a pattern matches no linear layer, or rho is outside (0, 1].
        """
        self._settings = SketchSettings(rho=rho).checked()
        self._layers: Mapping[str, Any] = layers_matching(model, layers)
        self.active = False
        self.captured: Point | None = None
        self._to_capture: tuple[str, int] | None = None
        self._pending: dict[str, weakref.ref[_Call]] = {}
        self._found: dict[str, tuple[_Call, Tensor]] = {}
        # A compiler cannot follow it, and stops before and after the layer.
        read: Callable[..., None] = torch.compiler.disable(self._read)  # type: ignore[no-untyped-call]
        self._handles = [
            layer.register_forward_hook(partial(read, name), with_kwargs=True)
            for name, layer in self._layers.items()
        ]

    @property
    def layers(self) -> list[str]:
        """The names of the watched layers."""
        return list(self._layers)

    def capture(self, layer: str, step: int) -> None:
        """Keep X and Y of one watched layer the next time they are there, as those of `step`.

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
        """Return what was gathered since the last call, as that of `step`, and forget it.

        A layer that did not run, or whose sums are not finite, as in a step that diverged, is left
        out.
        """
        found, self._found, self._pending = self._found, {}, {}
        noise = []
        for name in filter(found.__contains__, self._layers):
            call, tensor = found[name]
            moments = Moments(*tensor.tolist())
            if all(map(math.isfinite, moments[:-1])):
                noise.append(_layer_noise(step, name, call, moments))
        return noise

    def remove(self) -> None:
        """Take the hooks off the model."""
        self.active = False
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> "NoiseWatch":
        """Be active while within, and gone afterwards."""
        self.active = True
        return self

    def __exit__(self, *_: object) -> None:
        """Take the hooks off the model."""
        self.remove()

    def _read(
        self, name: str, layer: Any, args: Any, keywords: Mapping[str, Any], output: Tensor
    ) -> None:
        if not self.active or not (output.requires_grad and layer.weight.requires_grad):
            return
        x, task = input_of(args, keywords), torch._C._current_graph_task_id()
        pending = self._pending.get(name, lambda: None)()
        # A checkpointed layer runs again in the backward pass of its first run.
        is_again = pending is not None and pending.task != task
        if name in self._found or is_again or not x.numel():
            return
        if pending is not None:
            need = "a watched layer must be called once before its backward pass"
            raise ValueError(f"{need}, but '{name}' was called again; watch other layers")
        call = _Call(x, layer, self._settings, task)
        self._pending[name] = weakref.ref(call)
        # The graph alone holds the call, and so the input: without a backward pass both go with it.
        output.register_hook(partial(self._gather, name, call))  # type: ignore[no-untyped-call]

    def _gather(self, name: str, call: "_Call", y: Tensor) -> None:
        x = call.give_input(name)
        if x is None:
            return
        self._found[name] = call, sketches.get(call.text).sums(x, y)
        if self._to_capture is not None and self._to_capture[0] == name:
            self.captured = Point(*self._to_capture, x.clone(), y.detach().clone())
            self._to_capture = None


class _Call:
    """A watched layer's call: its input, and the settings that it had."""

    def __init__(self, x: Tensor, layer: nn.Module, default: SketchSettings, task: int) -> None:
        self._x: Tensor | None = x.detach()
        self._version = x._version
        self.task = task
        self.shape = x.shape
        self.rows = math.prod(x.shape[:-1])
        self.sketch: str | None = None
        sketched = layer if isinstance(layer, Sketched) else None
        settings = sketched.settings if sketched else default
        self.proj_dim, self.text = _size(settings, x.shape)
        if sketched and not sketched.exact and self.proj_dim < self.rows:
            self.sketch = settings.sketch

    def give_input(self, name: str) -> Tensor | None:
        """Return the input and let go of it; None if that was done before."""
        x, self._x = self._x, None
        if x is not None and x._version != self._version:
            raise ValueError(
                f"the input of a watched layer must stay as it is until the backward pass, but that"
                f" of '{name}' was changed in place; watch other layers"
            )
        return x


@cache
def _size(settings: SketchSettings, shape: torch.Size) -> tuple[int, str]:
    return settings.at(shape)


def _layer_noise(step: int, name: str, call: _Call, moments: Moments) -> LayerNoise:
    return LayerNoise(
        step=step,
        layer=name,
        rows=call.rows,
        samples=call.shape[0] if len(call.shape) > 1 else 1,
        proj_dim=call.proj_dim,
        a=moments.a,
        g=moments.g,
        d=moments.d,
        g_samples=moments.g_samples,
        variances=_variances(call, moments),
        trained_with=call.sketch,
    )


def _variances(call: _Call, moments: Moments) -> dict[str, float]:
    """Return D²_RMM by sketch; the layer's own in the blocks that it has, the others in one."""
    variances = {}
    for name in sketches.names():
        is_own = name == call.sketch
        # Factors along batch and sequence need sums of B² work.
        if sketches.SKETCHES.get(name).has_factors:
            continue
        sketch, its = (call.text, moments) if is_own else (name, moments.in_one())
        is_exact = call.proj_dim >= call.rows
        size = call.rows, call.proj_dim
        variances[name] = 0.0 if is_exact else sketches.get(sketch).variance(its, *size)
    return variances
