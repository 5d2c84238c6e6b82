"""The largest plan that fits, found by predicting few: two ways to search.

The solver has a model of memory, and a prediction tells by how much that is off. `aimed` takes the
next plan to be off by as much, which takes few predictions. `search` is for what it may not do, to
make noisier what has more memory: a ladder of budgets, and a bisection that is always the same.
Each rung of a ladder is the best plan at a budget of the modelled peak. Which rungs there are does
not depend on the limit, and neither does which of them is tried next after one fits or does not.
So with more memory no other rung is found than the same or a higher one, whatever predictions say;
and a higher one is never noisier.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, NamedTuple

from rmmbench.running.planning.costs import Chosen, Costs
from rmmbench.running.planning.solving import Limits, Weights, solve

RUNGS: Final = 127
_NEAR: Final = 0.99
"""A plan that takes as much of the limit is as good as the largest."""
_TRIES: Final = 6
"""Plans that are predicted; the solver alone is quick, and may be asked more often."""
_SOLVED: Final = 16
_SLACK: Final = 1e-6


class Goal(NamedTuple):
    """What a plan is to be best in.

    Attributes:
        name: In a word or two.
        why: What it is the best of.
        limits: What it must stay within, besides memory.
        weights: What is made small.
        ties: What is made small then, among plans with the same noise; None for nothing more.
    """

    name: str
    why: str
    limits: Limits
    weights: Weights
    ties: Weights | None = None


@dataclass
class Ladder:
    """The plans of a goal, by budget; each is found when it is asked for."""

    costs: Costs
    goal: Goal

    def __post_init__(self) -> None:
        """Find the lowest rung."""
        self._known: dict[int, Chosen | None] = {}
        self.least = solve(self.costs, self.goal.limits, Weights(peak=1.0))

    def rung(self, number: int) -> Chosen | None:
        """Return the plan at a budget; None if there is none."""
        if number not in self._known:
            self._known[number] = self._solved(number) if number else self.least
        return self._known[number]

    def _solved(self, number: int) -> Chosen | None:
        assert self.least is not None
        low = modelled_peak(self.costs, self.least)
        return self.within(low * (self.costs.exact_bytes / low) ** (number / (RUNGS - 1)))

    def within(self, budget: float) -> Chosen | None:
        """Return the goal's plan within some bytes by the solver's model; None if there is none."""
        limits = self.goal.limits._replace(peak_bytes=budget * (1 + _SLACK))
        best = solve(self.costs, limits, self.goal.weights)
        if best is None or self.goal.ties is None:
            return best
        # The solver's own tolerance, or it might find nothing.
        limits = limits._replace(noise=best.noise() * (1 + _SLACK))
        return solve(self.costs, limits, self.goal.ties) or best


def modelled_peak(costs: Costs, chosen: Chosen) -> int:
    """Return the highest memory of a plan by the model that the solver has."""
    again = set(chosen.again)
    saved = dict.fromkeys(range(len(costs.blocks)), 0)
    outside = 0
    for number, choice in chosen.layers.items():
        unit = costs.units[number]
        beside = chosen.beside_operators(unit.block)
        size = unit.saved_bytes(choice, beside_operators=beside)
        if unit.block is None:
            outside += size
        else:
            saved[unit.block] += size
    end, moments = costs.exact_bytes - outside, []
    outputs, later = 0, sum(block.gradient_bytes for block in costs.blocks)
    for number, each in enumerate(costs.blocks):
        later -= each.gradient_bytes
        if number in again:
            end += each.output_bytes - each.kept_bytes
            moments.append(costs.again_bytes + outputs + each.kept_bytes - saved[number] + later)
        else:
            end -= saved[number]
            end -= chosen.parts[number].saved_bytes if number in chosen.parts else 0
        outputs += each.output_bytes
    last = chosen.parts.get(len(costs.blocks) - 1)
    return max([end + (last.beside_bytes if last else 0), *moments])


def search(
    rung: Callable[[int], Chosen | None], limit_bytes: int
) -> Generator[Chosen, int, Chosen | None]:
    """Yield plans to predict, take the peak of each, and return the highest rung that fits, if any.

    Args:
        rung: Returns the plan of a rung.
        limit_bytes: What a peak may be.
    """
    low, high = -1, RUNGS
    best = None
    while high - low > 1:
        middle = (low + high) // 2
        chosen = rung(middle)
        peak = limit_bytes + 1 if chosen is None else (yield chosen)
        if peak > limit_bytes:
            high = middle
            continue
        low, best = middle, chosen
        if peak >= _NEAR * limit_bytes:
            break
    return best


def aimed(
    within: Callable[[float], Chosen | None],
    modelled: Callable[[Chosen], int],
    least: Chosen,
    limit_bytes: int,
) -> Generator[Chosen, int, Chosen | None]:
    """Yield plans to predict, take the peak of each, and return the largest that fits, if any.

    Args:
        within: Returns the best plan within a budget of the modelled peak.
        modelled: Returns a plan's modelled peak.
        least: The plan with the least memory.
        limit_bytes: What a peak may be.
    """
    budget, low, high = float(limit_bytes), float(modelled(least)), float("inf")
    best: Chosen | None = None
    peaks: list[tuple[Chosen, int]] = []
    for _ in range(_SOLVED):
        chosen = within(budget)
        known = [peak for one, peak in peaks if one == chosen]
        if chosen is None or (not known and len(peaks) == _TRIES):
            break
        peak = known[0] if known else (yield chosen)
        if not known:
            peaks.append((chosen, peak))
        if peak > limit_bytes:
            high = min(high, budget)
        elif budget >= low:
            low, best = budget, chosen
        if _NEAR * limit_bytes <= peak <= limit_bytes:
            break
        budget = limit_bytes - (peak - modelled(chosen))
        if known or not low < budget < high:
            # What is known already says nothing new, so that half of what is left goes.
            budget = (low + min(high, float(limit_bytes) * 1.2)) / 2
    if best is None and all(one != least for one, _ in peaks) and (yield least) <= limit_bytes:
        best = least
    return best
