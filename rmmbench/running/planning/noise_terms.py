"""The noise of keeping less of a layer's input, from a noise file or from a rule of thumb."""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from rmmbench.nn.analysis.layer_variance import layer_variance
from rmmbench.results.noise_file import NoiseFile

ROUNDING: Final[Mapping[int, float]] = {8: 1e-4, 4: 0.022, 2: 0.44}
"""Relative variance of the weight gradient where X is rounded: the median of 18 layers of MiniLM,
fine-tuned on film reviews."""


class Noise(Protocol):
    """Tells noise as a share of ‖G‖² over all linear layers."""

    @property
    def by(self) -> str:
        """What it is computed from, in words."""

    @property
    def sgd(self) -> float | None:
        """SGD's own, by samples; None if it is not known."""

    def of(self, layer: str, rho: float, bits: int | None) -> float:
        """Return what one layer adds."""


class RuleOfThumb(NamedTuple):
    """Every layer alike: (1 − ρ)/ρ, and for rounding a constant ÷ ρ.

    With equal rows and no structure oporp's relative variance is (1 − ρ)/ρ; on real weights it was
    1.0 to 1.1 times that.
    """

    layers: int
    by: str = "(1 − ρ)/ρ and bits alone, each layer alike; no noise file was given"
    sgd: float | None = None

    def of(self, layer: str, rho: float, bits: int | None) -> float:
        """Return what one layer adds."""
        rounding = ROUNDING[bits] / rho if bits else 0.0
        return ((1 - rho) / rho + rounding) / self.layers


class FromFile:
    """The closed form of each layer's own sums."""

    def __init__(self, file: NoiseFile, path: str, sketch: str) -> None:
        """Take the sums of a file; `path` names it in words."""
        self._file, self._sketch = file, sketch
        self._signal = sum(layer.g for layer in file.layers.values()) or 1.0
        about = [f"batch {file.batch_size}"] if file.batch_size else []
        self.by = f"the closed form, with the sums of {path} ({', '.join([file.model, *about])})"
        own = sum(layer.sgd_by_samples for layer in file.layers.values()) / self._signal
        self.sgd: float | None = own if own > 0 else None

    def of(self, layer: str, rho: float, bits: int | None) -> float:
        """Return what one layer adds."""
        sums = self._file.layers[layer]
        proj_dim = math.ceil(rho * sums.rows)
        return layer_variance(sums, self._sketch, proj_dim, bits) / self._signal
