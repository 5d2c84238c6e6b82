"""How much faster one layer is with a sketch, as a run of single linear layers measured it."""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from rmmbench.errors import UsageError
from rmmbench.results.record import Record
from rmmbench.running.planning.ways_to_keep import Way

_LAYER: Final = "linear:"


class _Measured(NamedTuple):
    """A case of one layer: its rows, ρ, and exact's time ÷ its own."""

    rows: int
    rho: float
    ratio: float


class MeasuredRatios:
    """The relative throughput of layers by shape, sketch, ρ and bits.

    Attributes:
        device: On which they were measured.
    """

    def __init__(self, records: Iterable[Record], source: str) -> None:
        """Take those records that are of one linear layer, timed beside the exact one.

        Raises:
            UsageError: If none is.
        """
        self._known: dict[tuple[str, str, int | None], list[_Measured]] = {}
        self.device, self.source = "", source
        for record in records:
            case, timing = record.case, record.timing
            ratio = timing and timing.relative_throughput
            if case.method != "rmm" or not (case.model.startswith(_LAYER) and ratio):
                continue
            told = case.settings
            if told["rho"] is None or case.batch_size is None:
                continue
            key = (case.model.removeprefix(_LAYER), told["sketch"], told["bits"])
            rows = case.batch_size * (case.seq_len or 1)
            self._known.setdefault(key, []).append(_Measured(rows, told["rho"], ratio))
            about = record.environment
            self.device = (about.gpu if case.time_device == "cuda" else None) or about.processor
        if not self._known:
            need = "ratios must be a run that timed models 'linear:INxOUT' with method rmm"
            raise UsageError(f"{need}, got {source}; make one with `rmmbench sweep linear`")

    def knows(self, shape: str, sketch: str) -> bool:
        """Tell whether layers of a shape, out × in, were measured with a sketch."""
        return any(key[:2] == (_named(shape), sketch) for key in self._known)

    def more_time(self, shape: str, rows: int, sketch: str, way: Way) -> float | None:
        """Return the time that a layer takes more, as a share of the exact one's; None if unknown.

        Of the measured numbers of rows the nearest counts. Between rates the time is interpolated;
        without bits it is exact's at ρ = 1, and else it stays beyond the measured rates.

        Args:
            shape: out × in, as in "768x3072".
            rows: Of its input.
            sketch: By name.
            way: How its input is kept.
        """
        known = self._known.get((_named(shape), sketch, way.bits))
        if not known:
            return None
        nearest = min({each.rows for each in known}, key=lambda one: abs(math.log(one / rows)))
        points = {each.rho: 1 / each.ratio for each in known if each.rows == nearest}
        if way.bits is None:
            points[1.0] = 1.0
        rates = sorted(points)
        return float(np.interp(way.rho, rates, [points[rate] for rate in rates])) - 1


def _named(shape: str) -> str:
    """Return a shape, out × in, as models of one layer are named: in × out."""
    out, _, inner = shape.partition("x")
    return f"{inner}x{out}"
