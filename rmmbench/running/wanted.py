"""What a person wants done to a training of their own, checked before anything is changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rmmbench.running.watched_case import OF_A_LOOP, steps_of
from rmmbench.spec.steps import Step, values


@dataclass(frozen=True)
class Wanted:
    """What is to be done to a training.

    Attributes:
        out: The run directory for its record; None for no record.
        noise: Patterns of the layers whose gradient noise is watched.
        every: One step in so many is watched.
        noise_rho: The ρ for the noise of layers without a sketch.
        noise_bits: Of a number of x_proj, for the noise of these layers; None for no rounding.
        example: A batch, for what needs one.
        steps: The methods that change the model.
        told: Fields of the case that nothing but a person knows.
    """

    out: Path | None
    noise: tuple[str, ...]
    every: int
    noise_rho: float
    noise_bits: int | None
    example: Any
    steps: tuple[Step, ...]
    told: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        out: str | Path | None,
        noise: str | Iterable[str],
        every: int,
        settings: Mapping[str, Any],
        *,
        noise_rho: float = 0.5,
        noise_bits: int | None = None,
        example: Any = None,
    ) -> "Wanted":
        """Check what is wanted before anything is changed.

        Raises:
            TypeError: If there is no setting of a name.
            ValueError: If every is below 1, or a plan stands beside other settings.
            UsageError: If a value is not possible.
        """
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        rest = {name: value for name, value in settings.items() if name not in OF_A_LOOP}
        return cls(
            out=None if out is None else Path(out),
            noise=(noise,) if isinstance(noise, str) else tuple(noise),
            every=every,
            noise_rho=noise_rho,
            noise_bits=noise_bits,
            example=example,
            steps=steps_of(rest.pop("method", None), rest),
            told={name: value for name, value in settings.items() if name in OF_A_LOOP},
        )

    @property
    def needs_example(self) -> bool:
        """Whether a batch is needed, and there is none."""
        return values(self.steps).get("where") == "beneficial" and self.example is None

    def seeing(self, example: Any) -> "Wanted":
        """Return the same with a batch to look at."""
        return replace(self, example=example)

    def telling(self, told: Mapping[str, Any]) -> "Wanted":
        """Return the same with further fields of the case, where they are not told already."""
        return replace(self, told={**told, **self.told})
