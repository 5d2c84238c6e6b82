"""When the noise of a way of keeping X is harmless: measured by the gradient noise scale.

A batch of B samples has the gradient G + noise, with E‖noise‖² = tr Σ / B; Σ is the covariance of
the gradients of single samples. The noise scale B_simple = tr Σ / ‖G‖² is the batch at which noise
and gradient are as large. At its best learning rate a step of SGD gets 1 / (1 + B_simple / B) as
far as one without noise, if the loss curves alike in all directions [McCandlish, Kaplan, Amodei,
OpenAI Dota Team (2018): An Empirical Model of Large-Batch Training. arXiv 1812.06162, section 2].

A sketch makes the noise `inflation` times as large at any batch: its own falls as 1 / B too, up to
terms of 1 / B². So it takes (1 + inflation · B_simple / B) / (1 + B_simple / B) times the steps,
that is 1 + (inflation − 1) / (1 + B / B_simple). We call it free where that is at most 1.1: at
B ≥ B_simple ((inflation − 1) / 0.1 − 1), and at any batch if inflation is at most 1.1.
"""

import math
from typing import Final

from rmmbench.spec.ranges import Count, Name, Positive, Rho, Square
from rmmbench.spec.strict import Strict

FREE_STEPS: Final = 1.1
"""How many times exact's steps a way may take that is called free."""


class KeptNoise(Strict):
    """The noise of one way of keeping X, over all watched layers and steps.

    The squares are sums over the layers of means over the steps.

    Attributes:
        sketch: A registered name; None where all rows are kept.
        rho: Compression rate; 1 where all rows are kept.
        bits: Of a number; None where they are not rounded.
        principal: Features whose part of the gradient is exact; None for none.
        bytes_ratio: Bytes that are kept ÷ those of X.
        layers: How many layers.
        samples: Of a batch.
        variance: E‖Ĝ − G‖² of sketch and rounding together.
        sgd: D²_SGD by whole samples.
        gradient: ‖G‖² of a batch's gradients; its mean is that of the true gradient and `sgd`.
    """

    sketch: Name | None
    rho: Rho
    bits: Count | None
    bytes_ratio: Positive
    layers: Count
    samples: Count
    variance: Square
    sgd: Square
    gradient: Square
    principal: Count | None = None

    @property
    def words(self) -> str:
        """The way in words: "oporp ρ=0.4, 8 bits"."""
        said = [f"{self.sketch} ρ={self.rho:g}" if self.sketch else "every row"]
        said += [f"{self.bits} bits"] if self.bits else []
        said += [f"{self.principal} principal"] if self.principal else []
        return ", ".join(said)

    @property
    def relative(self) -> float | None:
        """E‖Ĝ − G‖² ÷ ‖G‖²; None without a gradient."""
        return self.variance / self.gradient if self.gradient else None

    @property
    def inflation(self) -> float | None:
        """1 + variance ÷ D²_SGD; None if D²_SGD is 0."""
        return 1 + self.variance / self.sgd if self.sgd else None

    @property
    def noise_scale(self) -> float | None:
        """B_simple in samples; None if what was watched cannot tell the gradient from noise."""
        true = self.gradient - self.sgd
        return self.samples * self.sgd / true if true > 0 else None

    def steps_ratio(self, batch_size: float) -> float | None:
        """Return how many times exact's steps this way takes at a batch size; None if unknown."""
        if self.inflation is None or self.noise_scale is None:
            return None
        # A noise scale of 0 has no inflation.
        return 1 + (self.inflation - 1) / (1 + batch_size / self.noise_scale)

    @property
    def free_batch_size(self) -> int | None:
        """The least batch size at which this way is free, 1 if it is at any; None if unknown."""
        if self.inflation is not None and self.inflation <= FREE_STEPS:
            return 1
        if self.inflation is None or self.noise_scale is None:
            return None
        least = self.noise_scale * ((self.inflation - 1) / (FREE_STEPS - 1) - 1)
        # A whole number that arithmetic put a little above itself stays.
        return math.ceil(round(least, 6))
