"""What becomes of a profile's grids where a command line gives other values than they have."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from rmmbench.registry import open_set
from rmmbench.spec.grid import grid_class
from rmmbench.spec.known_settings import known
from rmmbench.spec.steps import settings_class


def of_tasks(grids: list[dict[str, Any]], given: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the grids that have the given tasks, with only those; all grids if none is given.

    Tasks that no grid has replace those of the first grid, in an additional grid.
    """
    if not given:
        return grids
    own = [tuple(task for task in grid["task"] if task in given) for grid in grids]
    chosen = [grid | {"task": tasks} for grid, tasks in zip(grids, own, strict=True) if tasks]
    new = tuple(task for task in given if not any(task in tasks for tasks in own))
    return [*chosen, grids[0] | {"task": new}] if new else chosen


def without_replaced_methods(grid: dict[str, Any], axes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a grid without the bits, budgets and so on of methods that the given ones replace."""
    own = {name for stack in grid["method"] for name in stack.split("+")}
    stay = own & {name for stack in axes.get("method", grid["method"]) for name in stack.split("+")}
    gone = [
        name
        for name, each in known().items()
        if each.said.varies and name not in (*_KEPT, *_of_sketches())
        if own.intersection(each.owners) and not stay.intersection(each.owners)
    ]
    return grid | {name: grid_class().model_fields[name].default for name in gone}


SIZES = ("rho", "proj_dim")
"""The settings that say how many rows or features are kept."""

_KEPT = ("sketch", *SIZES)


def replaced_sketches(
    grids: list[dict[str, Any]], given: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Yield for each grid what changes in it if the `given` sketches replace its own.

    A grid with settings of its sketches, such as block_rows, takes those of its own sketches that
    are given. If none is, it takes the others without such settings. Sketches that only such grids
    have stay out of all other grids.
    """
    usual = {name: grid_class().model_fields[name].default for name in _of_sketches()}
    says_more = [any(grid[name] != usual[name] for name in usual) for grid in grids]
    pairs = list(zip(grids, says_more, strict=True))
    special = {name for grid, more in pairs if more for name in grid["sketch"]}
    special -= {name for grid, more in pairs if not more for name in grid["sketch"]}
    for grid, more in pairs:
        own = tuple(name for name in given if name in grid["sketch"])
        others = tuple(name for name in given if name not in special)
        yield {"sketch": own} if more and own else {"sketch": others, **usual}


def of_sizes(grids: list[dict[str, Any]], axes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the grids with the ρ or proj_dim that are given.

    A grid with bits or principal features has a ρ that was chosen for them. It takes those of its
    own values that are given. If none is, it is left out, or takes what is given where no grid
    without bits has its models, tasks and methods.
    """
    sizes = {name: axes[name] for name in SIZES if name in axes}
    beside = [name for name in _BESIDE_A_SIZE if name not in axes]
    plain = [grid for grid in grids if not any(grid[name] for name in beside)]
    measured = {each for grid in plain for each in _measured(grid)}
    found = []
    for grid in grids:
        own = {name: tuple(v for v in given if v in grid[name]) for name, given in sizes.items()}
        is_chosen = grid not in plain and any(grid[name] for name in SIZES)
        if is_chosen and any(own.values()):
            found.append(grid | own)
        elif not is_chosen or not sizes or not measured.issuperset(_measured(grid)):
            found.append(grid | sizes)
    return found


_BESIDE_A_SIZE = ("bits", "principal")


def _measured(grid: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield each model, task and method of a grid together."""
    return itertools.product(grid["model"], grid["task"] or (None,), grid["method"])


def _of_sketches() -> list[str]:
    """Return the names of all settings of sketches."""
    kinds = [settings_class("sketches", name) for name in open_set("sketches").names()]
    return list(dict.fromkeys(name for kind in kinds for name in kind.model_fields))
