"""The table of ways to keep X: their bytes, their noise, and the batch that makes it harmless."""

import math
from collections.abc import Iterator, Sequence

from rmmbench.report.tables.table import Column, Table, build
from rmmbench.results.kept_noise import FREE_STEPS, KeptNoise
from rmmbench.results.record import Record
from rmmbench.units import format_count


def kept_tables(record: Record) -> list[Table]:
    """Return the table of a training whose layers were watched; none if its noise was not kept.

    It has the plain sketches, what was trained with principal features, and the ways that no other
    beats in both bytes and noise.
    """
    training = record.training
    if training is None or not training.kept_noise:
        return []
    ways = sorted(training.kept_noise, key=lambda way: (way.bytes_ratio, way.variance))
    shown = [way for way in ways if not way.bits or way.principal or not _is_beaten(way, ways)]
    steps = len({each.step for each in training.noise})
    layers = format_count(ways[0].layers, "watched layer")
    title = f"{record.case.label}: ways to keep X, {layers}, {format_count(steps, 'step')}"
    asked = record.case.training
    rho = record.case.settings["rho"] or (asked.watch_rho if asked else None)
    return [build(shown, _COLUMNS, title=title, notes=tuple(_notes(ways, rho)))]


def _is_beaten(way: KeptNoise, ways: Sequence[KeptNoise]) -> bool:
    return any(
        other.bytes_ratio <= way.bytes_ratio and other.variance < way.variance for other in ways
    )


def _notes(ways: Sequence[KeptNoise], rho: float | None) -> Iterator[str]:
    """Yield the noise scale with the rule for what is free, what is, and what the sums are."""
    first = ways[0]
    yield (
        "Gradient noise scale B_simple = tr Σ ÷ ‖G‖² (McCandlish et al. 2018, arXiv 1812.06162): "
        f"{_batch(first.noise_scale)}. Free: at most {FREE_STEPS:g} × exact's steps; by their "
        "model a way takes 1 + (inflation − 1) ÷ (1 + batch ÷ B_simple) times those."
    )
    if first.noise_scale is None:
        yield "The watched steps cannot tell ‖G‖² from noise: watch more, or with larger batches."
    told = [_from_which_batch(way) for way in ways if (way.rho, way.bits) == (rho, 8)]
    free = [way for way in ways if (way.free_batch_size or math.inf) <= way.samples]
    if free:
        here = f"at this batch of {first.samples}"
        told.append(f"The smallest that is free {here}: {free[0].words}.")
    if any(told):
        yield " ".join(filter(None, told))
    yield "D² and ‖∂W‖² are sums over layers of means over the watched steps."


def _from_which_batch(way: KeptNoise) -> str:
    if way.free_batch_size is None:
        return ""
    which = "any batch" if way.free_batch_size == 1 else f"batch ≥ {_free(way)}"
    return f"{way.words} is free at {which}."


def _batch(scale: float | None) -> str:
    return "unknown" if scale is None else f"{scale:,.0f} samples"


def _free(way: KeptNoise) -> str:
    if way.free_batch_size is None:
        return "unknown"
    return "any" if way.free_batch_size == 1 else f"{way.free_batch_size:,}"


def _short(value: float) -> str:
    return f"{value:.3g}"


_COLUMNS: list[Column[KeptNoise]] = [
    Column("kept", "kept", lambda way: way.words, is_number=False),
    Column("bytes_ratio", "bytes\n÷ X's", lambda way: way.bytes_ratio, _short),
    Column("relative_variance", "D² ÷ ‖∂W‖²", lambda way: way.relative, _short),
    Column("noise_inflation", "noise\ninflation", lambda way: way.inflation, _short),
    Column("steps_ratio", "steps\n÷ exact's", lambda way: way.steps_ratio(way.samples), _short),
    Column("free_batch_size", "free at\nbatch ≥", lambda way: way.free_batch_size, text=_free),
]
