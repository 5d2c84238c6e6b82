"""What plans are sought: the best in one thing each, within what was asked."""

from typing import Final, NamedTuple

from rmmbench.errors import ArgumentError, UsageError
from rmmbench.running.planning.costs import Costs
from rmmbench.running.planning.searching import Goal
from rmmbench.running.planning.solving import Limits, Weights

FULL_SPEED: Final = 0.95
"""The least relative throughput of the plan with the least noise, if none is asked for."""

_MARGIN: Final = 0.005

USUAL_SGD_NOISE: Final = 1.3
"""SGD's own noise as a share of ‖G‖² where no noise file tells it: that of MiniLM, fine-tuned on
film reviews with a batch of 32."""


class Asked(NamedTuple):
    """What a plan must fit.

    Attributes:
        memory_bytes: The most that a step may need; None if memory is to be as small as possible.
        max_inflation: The most of 1 + noise ÷ SGD's own; None for no limit.
        min_throughput: The least of throughput ÷ the unchanged model's; None for no limit.
    """

    memory_bytes: int | None
    max_inflation: float | None = None
    min_throughput: float | None = None

    @property
    def words(self) -> str:
        """The limits besides memory."""
        told = []
        if self.min_throughput is not None:
            told.append(f"a throughput of {self.min_throughput:g} or more")
        if self.max_inflation is not None:
            told.append(f"a noise inflation of {self.max_inflation:g} or less")
        return " and ".join(told)

    def checked(self, *, saves: bool = False) -> "Asked":
        """Return this if it can be asked for.

        Args:
            saves: Whether memory is limited by what is to be saved.

        Raises:
            UsageError: If nothing is limited, or a limit is out of its range.
        """
        if self == Asked(None) and not saves:
            limits = "memory, save, max_inflation or min_throughput"
            raise UsageError(f"a plan must have a limit: give {limits}")
        if self.max_inflation is not None and self.max_inflation < 1:
            raise ArgumentError("max_inflation", f" must be at least 1, got {self.max_inflation:g}")
        if self.min_throughput is not None and not 0 < self.min_throughput <= 1.5:
            told = f" must be above 0 and at most 1.5, got {self.min_throughput:g}"
            raise ArgumentError("min_throughput", told)
        return self


def goals(costs: Costs, asked: Asked) -> list[Goal]:
    """Return what to seek.

    Raises:
        UsageError: If noise is limited and SGD's own is not known.
    """
    limits = _limits(costs, asked)
    ties = Weights(seconds=1.0)
    if asked.memory_bytes is None:
        return [
            Goal("least memory", "the least memory within the other limits", limits, Weights(1.0))
        ]
    exact = limits._replace(noise=0.0)
    full = limits
    if limits.seconds is None:
        full = limits._replace(seconds=_slower(costs, FULL_SPEED))
    at = asked.min_throughput or FULL_SPEED
    found = [
        Goal("exact gradients", "the fastest whose gradients stay exact", exact, ties),
        Goal(
            "least noise",
            f"the least noise at {at:g} or more of exact's throughput",
            full,
            Weights(noise=1.0),
            ties,
        ),
        _fastest(costs, asked, limits),
    ]
    return found


def _fastest(costs: Costs, asked: Asked, limits: Limits) -> Goal:
    if asked.max_inflation is not None:
        small = Weights(seconds=1.0, noise=1e-6 * costs.exact_seconds)
        why = f"the most samples a second at a noise inflation of {asked.max_inflation:g} or less"
        return Goal("fastest", why, limits, small)
    own = costs.sgd_noise or USUAL_SGD_NOISE
    small = Weights(seconds=1 / costs.exact_seconds, noise=1 / own)
    return Goal("fastest", "the most samples a second ÷ noise inflation", limits, small)


def _limits(costs: Costs, asked: Asked) -> Limits:
    noise = None
    if asked.max_inflation is not None:
        if costs.sgd_noise is None:
            need = "a limit of noise inflation needs a noise file, which tells SGD's own noise"
            raise UsageError(f"{need}; write one with `rmmbench variance MODEL --save FILE`")
        noise = (asked.max_inflation - 1) * costs.sgd_noise
    throughput = asked.min_throughput
    return Limits(None, noise, _slower(costs, throughput) if throughput else None)


def _slower(costs: Costs, throughput: float) -> float:
    """Return the seconds more that a step may take.

    What choices take is added up for each alone, and the whole step may take a little more.
    """
    return costs.exact_seconds * (1 / (throughput + _MARGIN) - 1)
