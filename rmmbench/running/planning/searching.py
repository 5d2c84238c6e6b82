"""The largest plan that fits: a ladder of budgets, and a bisection that is always the same.

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

RUNGS: Final = 63
_NEAR: Final = 0.99
"""A plan that takes as much of the limit is as good as the largest."""
_ENOUGH: Final = 0.97
"""And one that takes so much leaves too little room to look for more."""
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
        budget = low + (self.costs.exact_bytes - low) * number / (RUNGS - 1)
        limits = self.goal.limits._replace(peak_bytes=budget * (1 + _SLACK))
        best = solve(self.costs, limits, self.goal.weights)
        if best is None or self.goal.ties is None:
            return best
        # The solver's own tolerance, or it might find nothing.
        limits = limits._replace(noise=best.noise() * (1 + _SLACK))
        return solve(self.costs, limits, self.goal.ties) or best


def modelled_peak(costs: Costs, chosen: Chosen) -> int:
    """Return the highest memory of a plan by the model that the solver has."""
    again, attention = set(chosen.again), set(chosen.attention)
    saved = dict.fromkeys(range(len(costs.blocks)), 0)
    outside = 0
    for number, choice in chosen.layers.items():
        block = costs.units[number].block
        if block is None:
            outside += choice.saved_bytes
        else:
            saved[block] += choice.saved_bytes
    end, moments = costs.exact_bytes - outside, []
    outputs, later = 0, sum(block.gradient_bytes for block in costs.blocks)
    for number, each in enumerate(costs.blocks):
        later -= each.gradient_bytes
        if number in again:
            end += each.output_bytes - each.kept_bytes
            moments.append(costs.again_bytes + outputs + each.kept_bytes - saved[number] + later)
        else:
            end -= saved[number] + (each.attention_bytes if number in attention else 0)
        outputs += each.output_bytes
    return max([end, *moments])


def search(
    rung: Callable[[int], Chosen | None], limit_bytes: int, more: int = 0
) -> Generator[Chosen, int, Chosen | None]:
    """Yield plans to predict, take the peak of each, and return the largest that fits, if any.

    Args:
        rung: Returns the plan of a rung.
        limit_bytes: What a peak may be.
        more: How many plans above the found one are tried if it leaves room. Peaks do not rise with
            every rung, so that one of them may fit; then more memory may lead to a lower rung.
    """
    low, high = -1, RUNGS
    best, taken = None, 0
    while high - low > 1:
        middle = (low + high) // 2
        chosen = rung(middle)
        peak = limit_bytes + 1 if chosen is None else (yield chosen)
        if peak > limit_bytes:
            high = middle
            continue
        low, best, taken = middle, chosen, peak
        if peak >= _NEAR * limit_bytes:
            break
    tried, last = 0, best
    for number in range(low + 1, RUNGS):
        if taken >= _ENOUGH * limit_bytes or tried == more:
            break
        chosen = rung(number)
        if chosen is None or chosen == last:
            continue
        tried, last = tried + 1, chosen
        peak = yield chosen
        if taken < peak <= limit_bytes:
            best, taken = chosen, peak
    return best
