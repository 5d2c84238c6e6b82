"""The best choice for every layer and block under limits, as a mixed-integer linear program.

Units that have the same choices are one group, of which it counts how many choose what; so equal
layers cost the solver nothing. Blocks are computed again from the first on: the backward pass comes
to them last, when all others have let go of what they left, so that the room they then need again
is there.

Memory is limited at two kinds of moments: at the end of the forward pass, and while a block is
computed again.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from rmmbench.running.planning.costs import EXACT, Choice, Chosen, Costs

_MIB: Final = 2**20
_GAP: Final = 1e-7
_NODES: Final = 20_000

Key = tuple[str | int, ...]
Terms = dict[Key, float]


class Limits(NamedTuple):
    """What a plan must stay within; None for no limit.

    Attributes:
        peak_bytes: Of memory.
        noise: As a share of ‖G‖².
        seconds: Of a step, more than the unchanged one takes.
    """

    peak_bytes: float | None = None
    noise: float | None = None
    seconds: float | None = None


class Weights(NamedTuple):
    """What is made small: a sum of these.

    Attributes:
        peak: A weight of the highest memory, in MiB.
        noise: A weight of noise.
        seconds: A weight of a step's seconds.
    """

    peak: float = 0.0
    noise: float = 0.0
    seconds: float = 0.0


def solve(costs: Costs, limits: Limits, weights: Weights) -> Chosen | None:
    """Return the best choice within limits, or None if there is none."""
    return _Program(costs, limits, weights).solved()


class _Program:
    """The variables, the rows, and what is made small.

    Variables by key: ("kept", group, choice) and ("again", group, choice) count units of a group in
    blocks that are kept, and that are computed again; ("is", group, choice) is 1 for the choice of
    the latter; ("block", b) and ("attention", b) are 1 for what is computed again; ("peak",).
    """

    def __init__(self, costs: Costs, limits: Limits, weights: Weights) -> None:
        self._costs, self._limits, self._weights = costs, limits, weights
        self._groups = _groups(costs)
        self._keys: dict[Key, int] = {}
        self._upper: list[float] = []
        self._rows: list[tuple[Terms, float, float]] = []
        for b, block in enumerate(costs.blocks):
            self._add(("block", b), 1)
            self._add(("attention", b), 1 if block.attention_bytes > 0 else 0)
            self._rows.append(({("block", b): 1, ("attention", b): 1}, 0, 1))
            if b:
                self._rows.append(({("block", b - 1): 1, ("block", b): -1}, 0, 1))
        self._add(("peak",), np.inf)
        for g in range(len(self._groups)):
            self._add_group(g)
        self._limit_memory()

    def solved(self) -> Chosen | None:
        rows = [*self._rows, *self._limited()]
        entries = [
            (value, r, self._keys[key])
            for r, (terms, *_) in enumerate(rows)
            for key, value in terms.items()
        ]
        values, at, of = zip(*entries, strict=True)
        low, high = [row[1] for row in rows], [row[2] for row in rows]
        matrix = csr_array((values, (at, of)), shape=(len(rows), len(self._keys)))
        whole = np.ones(len(self._keys), dtype=np.int64)
        whole[self._keys["peak",]] = 0
        result = milp(
            self._small(),
            integrality=whole,
            bounds=Bounds(np.zeros(len(whole)), np.array(self._upper)),
            constraints=LinearConstraint(matrix, low, high),
            options={"mip_rel_gap": _GAP, "node_limit": _NODES},
        )
        return None if result.x is None else self._chosen(np.rint(result.x))

    def _add(self, key: Key, upper: float) -> None:
        self._keys[key] = len(self._keys)
        self._upper.append(upper)

    def _add_group(self, g: int) -> None:
        units, choices = self._groups[g]
        blocks = [self._costs.units[u].block for u in units]
        count = len(units)
        kept, again, chosen = Terms(), Terms(), Terms()
        for c in range(len(choices)):
            for name, upper in (("kept", count), ("again", count), ("is", 1)):
                self._add((name, g, c), upper)
            kept["kept", g, c] = again["again", g, c] = chosen["is", g, c] = 1
            self._rows.append(({("again", g, c): 1, ("is", g, c): -count}, -np.inf, 0))
        for b in blocks:
            if b is not None:
                kept["block", b] = kept.get(("block", b), 0) + 1
                again["block", b] = again.get(("block", b), 0) - 1
        self._rows += [(kept, count, count), (again, 0, 0), (chosen, 1, 1)]

    def _limit_memory(self) -> None:
        """Hold the peak above what is there at each moment."""
        costs = self._costs
        end, base = Terms({("peak",): -1}), costs.exact_bytes
        for b, block in enumerate(costs.blocks):
            end["block", b] = (block.output_bytes - block.kept_bytes) / _MIB
            end["attention", b] = -block.attention_bytes / _MIB
        for g, (_, choices) in enumerate(self._groups):
            for c, choice in enumerate(choices):
                end["kept", g, c] = -choice.saved_bytes / _MIB
        self._rows.append((end, -np.inf, -base / _MIB))
        outputs, later = 0, sum(block.gradient_bytes for block in costs.blocks)
        for b, block in enumerate(costs.blocks):
            later -= block.gradient_bytes
            there = costs.again_bytes + outputs + block.kept_bytes + later
            outputs += block.output_bytes
            terms = Terms({("peak",): -1, ("block", b): there / _MIB})
            for g, (units, choices) in enumerate(self._groups):
                inside = sum(costs.units[u].block == b for u in units)
                for c, choice in enumerate(choices):
                    if inside and choice.saved_bytes:
                        terms["is", g, c] = -inside * choice.saved_bytes / _MIB
            self._rows.append((terms, -np.inf, 0))

    def _limited(self) -> list[tuple[Terms, float, float]]:
        rows: list[tuple[Terms, float, float]] = []
        limits = self._limits
        if limits.peak_bytes is not None:
            rows.append(({("peak",): 1}, -np.inf, limits.peak_bytes / _MIB))
        if limits.noise is not None:
            rows.append((self._noise(), -np.inf, limits.noise))
        if limits.seconds is not None:
            rows.append((self._seconds(), -np.inf, limits.seconds))
        return [row for row in rows if row[0]]

    def _small(self) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        small = np.zeros(len(self._keys))
        weighted = ((self._noise(), self._weights.noise), (self._seconds(), self._weights.seconds))
        for terms, weight in weighted:
            for key, value in terms.items():
                small[self._keys[key]] += weight * value
        small[self._keys["peak",]] += self._weights.peak
        return small

    def _noise(self) -> Terms:
        return {
            (name, g, c): choice.noise
            for g, (_, choices) in enumerate(self._groups)
            for c, choice in enumerate(choices)
            for name in ("kept", "again")
        }

    def _seconds(self) -> Terms:
        terms = Terms()
        for b, block in enumerate(self._costs.blocks):
            terms["block", b] = block.seconds
            terms["attention", b] = block.attention_seconds
        for g, (_, choices) in enumerate(self._groups):
            for c, choice in enumerate(choices):
                terms["kept", g, c] = choice.seconds
                terms["again", g, c] = choice.again_seconds
        return terms

    def _chosen(self, x: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Chosen:
        def value(*key: str | int) -> int:
            return int(x[self._keys[key]])

        blocks = range(len(self._costs.blocks))
        again = tuple(b for b in blocks if value("block", b))
        layers: dict[int, Choice] = {}
        for g, (units, choices) in enumerate(self._groups):
            inside = [self._costs.units[u].block in again for u in units]
            for name, is_again in (("kept", False), ("again", True)):
                rest = [u for u, is_in in zip(units, inside, strict=True) if is_in == is_again]
                for c, choice in enumerate(choices):
                    for _ in range(value(name, g, c)):
                        layers[rest.pop(0)] = choice
        layers = {u: choice for u, choice in sorted(layers.items()) if choice != EXACT}
        return Chosen(layers, again, tuple(b for b in blocks if value("attention", b)))


def _groups(costs: Costs) -> list[tuple[list[int], tuple[Choice, ...]]]:
    """Return the numbers of units that have the same choices, with these."""
    groups: Mapping[object, list[int]] = defaultdict(list)
    for u, unit in enumerate(costs.units):
        groups[unit.block is None, unit.choices].append(u)
    return [(units, costs.units[units[0]].choices) for units in groups.values()]
