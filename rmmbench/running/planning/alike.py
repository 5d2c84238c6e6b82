"""Which units and which blocks of a model are equal, so that a solver counts them."""

from collections import defaultdict
from collections.abc import Mapping

from rmmbench.running.planning.costs import Choice, Costs

Groups = list[tuple[list[int], tuple[Choice, ...]]]
"""The numbers of units that have the same choices, with these."""


def kinds_of(costs: Costs, groups: Groups) -> list[list[int]]:
    """Return the numbers of blocks that are equal, with the same units in them."""
    inside: Mapping[int | None, list[int]] = defaultdict(list)
    for g, (units, _) in enumerate(groups):
        for u in units:
            inside[costs.units[u].block].append(g)
    kinds: Mapping[object, list[int]] = defaultdict(list)
    for b, block in enumerate(costs.blocks):
        kinds[block._replace(name=""), tuple(sorted(inside[b]))].append(b)
    return list(kinds.values())


def groups_of(costs: Costs) -> Groups:
    """Return the numbers of units that have the same choices, with these."""
    groups: Mapping[object, list[int]] = defaultdict(list)
    for u, unit in enumerate(costs.units):
        groups[unit.block is None, unit.made_again_bytes, unit.choices].append(u)
    return [(units, costs.units[units[0]].choices) for units in groups.values()]
