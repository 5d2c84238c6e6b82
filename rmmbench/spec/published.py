"""What the paper and others print, as a profile holds it."""

from typing import Literal

from pydantic import model_validator

from rmmbench.spec.choices import Optimizer
from rmmbench.spec.ranges import Count, Finite, Name, NotNegative, Positive, Rho
from rmmbench.spec.strict import Strict

Peak = Literal["allocated", "reserved", "nvidia-smi"]
"""What a published peak is of: tensors with the allocator's rounding, what the allocator took from
the driver, or that with the process's CUDA context."""


class Published(Strict):
    """A row that somebody prints, in its own units, to stand beside the measured one."""

    model: Name
    task: Name | None = None
    batch_size: Count | None = None
    optimizer: Optimizer | None = None
    ranks: Count | None = None
    method: Name | None = None
    sketch: Name | None = None
    rho: Rho | None = None
    peak_gib: Positive | None = None
    peak_bytes: Count | None = None
    peak_of: Peak = "allocated"
    context_bytes: Count | None = None
    saved_percent: Finite | None = None
    score: Finite | None = None
    score_spread: NotNegative | None = None
    minutes: Positive | None = None
    source: Name

    @model_validator(mode="after")
    def _context_is_known(self) -> "Published":
        """Refuse a peak of nvidia-smi without the context that is in it, and one without that."""
        has_context = self.context_bytes is not None
        if has_context != (self.peak_of == "nvidia-smi"):
            given = "given" if has_context else "missing"
            need = "context_bytes must be given for peak_of = 'nvidia-smi', and for nothing else"
            raise ValueError(f"{need}; it is {given} for '{self.peak_of}'")
        return self
