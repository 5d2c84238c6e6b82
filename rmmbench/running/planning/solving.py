"""The best choice for every layer and block under limits, as a mixed-integer linear program.

Units that have the same choices are one group, and equal blocks one kind, of which it counts how
many choose what; so equal layers and blocks cost the solver nothing. Blocks are computed again from
the first on: the backward pass comes to them last, when all others have let go of what they left,
so that the room they then need again is there. Those follow of which most is.

Memory is limited at two kinds of moments: at the end of the forward pass, and while a block is
computed again.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from rmmbench.running.planning.alike import groups_of, kinds_of
from rmmbench.running.planning.costs import EXACT, Choice, Chosen, Costs, Part

_MIB: Final = 2**20
_GAP: Final = 1e-7
_NODES: Final = 20_000

Key = tuple[str | int, ...]
Terms = dict[Key, float]

_STATES: Final = ("kept", "again", "beside")
"""Of the block that a unit is in."""


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

    Variables by key: ("kept", group, choice), ("again", group, choice) and ("beside", group,
    choice) count units of a group in blocks that are kept, that are computed again, and of which
    operators are; ("is", group, choice) is 1 for the choice of the second; ("block", b) is 1 for a
    block that is computed again; ("part", kind, p) counts blocks of a kind of which a part is;
    ("last", p) is 1 for the part of the last block, ("last", -1) if it is kept; ("peak",).
    """

    def __init__(self, costs: Costs, limits: Limits, weights: Weights) -> None:
        self._costs, self._limits, self._weights = costs, limits, weights
        self._groups = groups_of(costs)
        self._kinds = kinds_of(costs, self._groups)
        self._keys: dict[Key, int] = {}
        self._upper: list[float] = []
        self._rows: list[tuple[Terms, float, float]] = []
        for b in range(len(costs.blocks)):
            self._add(("block", b), 1)
            if b:
                self._rows.append(({("block", b - 1): 1, ("block", b): -1}, 0, 1))
        self._add(("peak",), np.inf)
        for k in range(len(self._kinds)):
            self._add_kind(k)
        self._add_last()
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

    def _add_kind(self, k: int) -> None:
        blocks = self._kinds[k]
        terms = Terms({("block", b): 1 for b in blocks})
        for p in range(len(self._costs.blocks[blocks[0]].parts)):
            self._add(("part", k, p), len(blocks))
            terms["part", k, p] = 1
        self._rows.append((terms, 0, len(blocks)))

    def _add_last(self) -> None:
        """Let one of the ways in which blocks of its kind are kept be that of the last block."""
        if not self._costs.blocks:
            return
        k, last = self._last
        blocks, count = self._kinds[k], len(self._costs.blocks[last].parts)
        kept = Terms({("block", b): 1 for b in blocks})
        one = Terms({("block", last): 1})
        for p in range(-1, count):
            self._add(("last", p), 1)
            one["last", p] = kept["last", -1] = 1
            if p >= 0:
                kept["part", k, p] = 1
                self._rows.append(({("last", p): 1, ("part", k, p): -1}, -np.inf, 0))
        self._rows += [(one, 1, 1), (kept, 0, len(blocks))]

    @property
    def _last(self) -> tuple[int, int]:
        """The kind of the last block, and its number."""
        last = len(self._costs.blocks) - 1
        return next(k for k, blocks in enumerate(self._kinds) if last in blocks), last

    def _add_group(self, g: int) -> None:
        units, choices = self._groups[g]
        count = len(units)
        sums = {name: Terms() for name in ("kept", "again", "beside", "is")}
        for c in range(len(choices)):
            for name, terms in sums.items():
                self._add((name, g, c), 1 if name == "is" else count)
                terms[name, g, c] = 1
            self._rows.append(({("again", g, c): 1, ("is", g, c): -count}, -np.inf, 0))
        for b in (self._costs.units[u].block for u in units):
            if b is not None:
                sums["kept"]["block", b] = sums["kept"].get(("block", b), 0) + 1
                sums["again"]["block", b] = sums["again"].get(("block", b), 0) - 1
        for k, blocks in enumerate(self._kinds):
            inside = sum(self._costs.units[u].block == blocks[0] for u in units)
            for p, part in enumerate(self._costs.blocks[blocks[0]].parts):
                if inside and part.operators:
                    sums["kept"]["part", k, p] = inside
                    sums["beside"]["part", k, p] = -inside
        for name, terms in sums.items():
            total = {"kept": count, "is": 1}.get(name, 0)
            self._rows.append((terms, total, total))

    def _limit_memory(self) -> None:
        """Hold the peak above what is there at each moment."""
        costs = self._costs
        end, base = Terms({("peak",): -1}), costs.exact_bytes
        for b, block in enumerate(costs.blocks):
            end["block", b] = (block.output_bytes - block.kept_bytes) / _MIB
        for key, part in self._parts():
            end[key] = -part.saved_bytes / _MIB
        for p, part in enumerate(costs.blocks[-1].parts if costs.blocks else ()):
            end["last", p] = part.beside_bytes / _MIB
        for g, (units, choices) in enumerate(self._groups):
            unit = costs.units[units[0]]
            for c, choice in enumerate(choices):
                end["kept", g, c] = -choice.saved_bytes / _MIB
                beside = unit.saved_bytes(choice, beside_operators=True)
                end["beside", g, c] = -beside / _MIB
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
            for name in _STATES
        }

    def _seconds(self) -> Terms:
        terms = Terms()
        for b, block in enumerate(self._costs.blocks):
            terms["block", b] = block.seconds
        for key, part in self._parts():
            terms[key] = part.seconds
        for g, (_, choices) in enumerate(self._groups):
            for c, choice in enumerate(choices):
                terms["kept", g, c] = terms["beside", g, c] = choice.seconds
                terms["again", g, c] = choice.again_seconds
        return terms

    def _chosen(self, x: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Chosen:
        def value(*key: str | int) -> int:
            return int(x[self._keys[key]])

        blocks = range(len(self._costs.blocks))
        again = tuple(b for b in blocks if value("block", b))
        chosen = Chosen({}, again, self._chosen_parts(again, value))
        layers: dict[int, Choice] = {}
        for g, (units, choices) in enumerate(self._groups):
            rest = {name: list[int]() for name in _STATES}
            for u in units:
                rest[self._state(chosen, u)].append(u)
            for name, some in rest.items():
                for c, choice in enumerate(choices):
                    for _ in range(value(name, g, c)):
                        layers[some.pop(0)] = choice
        layers = {u: choice for u, choice in sorted(layers.items()) if choice != EXACT}
        return chosen._replace(layers=layers)

    def _chosen_parts(self, again: tuple[int, ...], value: Callable[..., int]) -> dict[int, Part]:
        """Return the parts of blocks; of the first ones of a kind most is computed again."""
        found: dict[int, Part] = {}
        for k, blocks in enumerate(self._kinds):
            rest = [b for b in blocks if b not in again]
            parts = self._costs.blocks[blocks[0]].parts
            some = [part for p, part in enumerate(parts) for _ in range(value("part", k, p))]
            some.sort(key=lambda part: -part.saved_bytes)
            if some:
                # The last block is the first in the backward pass, when all else is still there.
                last = min(reversed(some), key=lambda part: part.beside_bytes)
                some.remove(last)
                some.append(last)
            found |= dict(zip(rest, some, strict=False))
        return dict(sorted(found.items()))

    def _state(self, chosen: Chosen, unit: int) -> str:
        block = self._costs.units[unit].block
        if block in chosen.again:
            return "again"
        return "beside" if chosen.beside_operators(block) else "kept"

    def _parts(self) -> Iterator[tuple[Key, Part]]:
        for k, blocks in enumerate(self._kinds):
            for p, part in enumerate(self._costs.blocks[blocks[0]].parts):
                yield ("part", k, p), part
