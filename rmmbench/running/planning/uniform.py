"""The best plan that has one setting for all layers, to hold another plan against."""

from rmmbench.running.planning.costs import EXACT, Choice, Chosen, Costs, Part
from rmmbench.running.planning.searching import modelled_peak


def best_uniform(costs: Costs, peak_bytes: int, seconds: float | None) -> Chosen | None:
    """Return the choice with the least noise that is one for all layers that gain.

    Blocks are computed again from the first on, as many as it takes, and of the others the same
    part of each, or none.

    Args:
        costs: Of the model.
        peak_bytes: The most that it may take, by the solver's model.
        seconds: The most that it may take longer; None for no limit.
    """
    found: Chosen | None = None
    for layers in _uniform(costs):
        for first in range(len(costs.blocks) + 1):
            for parts in _same_parts(costs, first):
                chosen = Chosen(layers, tuple(range(first)), parts)
                is_quick = seconds is None or _seconds(costs, chosen) <= seconds
                is_better = found is None or chosen.noise() < found.noise()
                if is_better and is_quick and modelled_peak(costs, chosen) <= peak_bytes:
                    found = chosen
    return found


def _uniform(costs: Costs) -> list[dict[int, Choice]]:
    """Return for each way to keep an input all units that have it, where all have."""
    ways = {(c.rho, c.bits) for unit in costs.units for c in unit.choices if c != EXACT}
    found = []
    for way in sorted(ways, key=str):
        same = {
            u: choice
            for u, unit in enumerate(costs.units)
            for choice in unit.choices
            if (choice.rho, choice.bits) == way
        }
        if len(same) == len(costs.units):
            found.append(same)
    return found


def _same_parts(costs: Costs, first: int) -> list[dict[int, Part]]:
    """Return the ways to compute the same part of each block again, from a block on."""
    blocks = {b: costs.blocks[b] for b in range(first, len(costs.blocks))}
    what = {_what(part): None for block in blocks.values() for part in block.parts}
    return [{}] + [
        {b: part for b, block in blocks.items() for part in block.parts if _what(part) == one}
        for one in what
    ]


def _what(part: Part) -> tuple[object, ...]:
    return part.operators, part.attention, part.products


def _seconds(costs: Costs, chosen: Chosen) -> float:
    again = set(chosen.again)
    taken = sum(costs.blocks[b].seconds for b in chosen.again)
    taken += sum(part.seconds for part in chosen.parts.values())
    for unit, choice in chosen.layers.items():
        is_again = costs.units[unit].block in again
        taken += choice.again_seconds if is_again else choice.seconds
    return taken
