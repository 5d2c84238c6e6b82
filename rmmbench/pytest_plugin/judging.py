"""Holds a step's memory to limits or to the stored baseline, and says what is wrong with it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from rmmbench.errors import RmmbenchError, UsageError
from rmmbench.pytest_plugin.checked import LIMITS, Checked, Held
from rmmbench.pytest_plugin.checked_runs import alike, stored
from rmmbench.report.check.compare import Tolerances, compare
from rmmbench.report.check.report import Verdict
from rmmbench.results.record import Memory, Record
from rmmbench.results.timeline import CATEGORIES, TimePoint
from rmmbench.units import format_bytes, format_percent

REMEDIES: Final[Mapping[str, Mapping[str, Any]]] = {
    'method="checkpoint"': {"method": "checkpoint"},
    'method="rmm", bits=4, rho=1.0': {"method": "rmm", "bits": 4, "rho": 1.0},
}
"""What is tried for a step that takes too much: no noise, and hardly any."""

_LONG_SECONDS = 60.0
"""A step that takes so long to measure is not measured again to find what would help."""

Measure = Callable[..., list[Record]]
"""Measures the memory of the same step in other ways."""


def held_to_limits(
    name: str, record: Record, limits: Mapping[str, int], measure: Measure
) -> Checked:
    """Return what came of a check with limits in bytes, by their names in LIMITS."""
    if record.memory is None:
        return _not_measured(name, record, "limit")
    held = tuple(
        Held(what=what, now=_number(record, what), most=most)  # type: ignore[arg-type]
        for what, most in limits.items()
    )
    made: dict[str, Any] = {"name": name, "record": record, "held": held, "against": "limit"}
    over = [each for each in held if each.now > each.most]
    if not over:
        return Checked(**made, verdict="ok")
    said = [_over(each) for each in over] + [at_peak(record)]
    if not record.case.steps and record.wall_seconds < _LONG_SECONDS:
        said.append(would_fit(limits, record, measure))
    return Checked(**made, verdict="over", fault=tuple(filter(None, said)))


def held_to_baseline(
    name: str, record: Record, tolerances: Tolerances, config: pytest.Config
) -> Checked:
    """Return what came of a check without a limit: memory may not rise above what is stored."""
    if record.memory is None:
        return _not_measured(name, record, "baseline")
    made: dict[str, Any] = {"name": name, "record": record, "against": "baseline"}
    if config.getoption("rmmbench_update"):
        return Checked(**made, held=(), verdict="stored")
    records = stored(config)
    old = next((each for each in records if each.key == record.key), None)
    if old is None:
        fault = _no_baseline(record, records)
        return Checked(**made, held=(), verdict="failed", fault=(fault,))
    found = [each for each in compare([old], [record], tolerances).findings if each.what in _WORDS]
    held = tuple(
        Held(what=_WORDS[each.what], now=each.now, most=each.baseline)  # type: ignore[arg-type]
        for each in found
        if each.difference is not None
    )
    worse = [_WORDS[each.what] for each in found if each.verdict is Verdict.REGRESSED]
    if not worse:
        is_less = any(each.verdict is Verdict.IMPROVED for each in found)
        return Checked(**made, held=held, verdict="less" if is_less else "same")
    rises = [_risen(each) for each in held if each.what in worse]
    said = [*rises, grown(old, record), _what_changed(old, record)]
    return Checked(**made, held=held, verdict="more", fault=tuple(filter(None, said)))


def at_peak(record: Record) -> str:
    """Return in words what is held at the peak of live bytes, the most first."""
    if record.timeline is None:
        return f"what is held at the peak is not known: {record.why_missing('timeline')}"
    point = record.timeline.highest
    sizes = sorted(_sizes(point).items(), key=lambda each: -each[1])
    parts = ", ".join(f"{what} {format_bytes(size)}" for what, size in sizes if size)
    return f"at the peak, in the {_PHASES[point.phase]}: {parts}"


def grown(old: Record, new: Record) -> str:
    """Return in words what more is held at the peak than before; "" if that is not known."""
    if old.timeline is None or new.timeline is None:
        return at_peak(new)
    before, now = _sizes(old.timeline.highest), _sizes(new.timeline.highest)
    changes = {what: now[what] - before[what] for what in CATEGORIES if now[what] != before[what]}
    ordered = sorted(changes.items(), key=lambda each: -abs(each[1]))
    parts = [f"{what} {'+' * (size > 0)}{format_bytes(size)}" for what, size in ordered]
    return f"held at the peak: {', '.join(parts)}" if parts else ""


def would_fit(limits: Mapping[str, int], record: Record, measure: Measure) -> str:
    """Measure the step with methods that save memory, and return in words which of them fits."""
    try:
        tried = dict(zip(REMEDIES, measure(*REMEDIES.values()), strict=True))
    except RmmbenchError as error:
        return f"what would help could not be measured: {error}"
    what = "peak" if "peak" in limits else next(iter(limits))
    fits: list[str] = []
    misses: list[str] = []
    for words, other in tried.items():
        if other.memory is None:
            continue
        told = f"{words} takes {format_bytes(_number(other, what))}"
        is_in = all(_number(other, name) <= most for name, most in limits.items())
        (fits if is_in else misses).append(told)
    if fits:
        return f"measured too, and within: {'; '.join(fits)}"
    return f"measured too, and not within: {'; '.join(misses)}" if misses else ""


_WORDS: Final = {number: what for what, number in LIMITS.items()}
_PHASES: Final = {"forward": "forward pass", "backward": "backward pass", "optimizer": "update"}


def _number(record: Record, what: str) -> int:
    """Return a number of a step's memory, by its name in LIMITS.

    Raises:
        UsageError: If it is not known where the step was measured.
    """
    memory: Memory | None = record.memory
    value: int | None = getattr(memory, LIMITS[what])
    if value is None:
        why = record.why_missing(f"memory.{LIMITS[what]}")
        raise UsageError(f"{what} is not known on device '{record.case.device}': {why}; limit peak")
    return value


def _sizes(point: TimePoint) -> dict[str, int]:
    return dict(zip(CATEGORIES, point.live_bytes, strict=True))


def _over(held: Held) -> str:
    what = f"{held.what} {format_bytes(held.now)} is {format_bytes(held.now - held.most)}"
    return f"{what} ({format_percent(held.change)}) over the limit of {format_bytes(held.most)}"


def _risen(held: Held) -> str:
    what = f"{held.what} {format_bytes(held.now)} is {format_bytes(held.now - held.most)}"
    return f"{what} ({format_percent(held.change)}) above the stored {format_bytes(held.most)}"


def _what_changed(old: Record, new: Record) -> str:
    """Return in words what else differs, and what to do."""
    changes = old.environment.changes(new.environment)
    said = "".join(f"; {name} was {before}" for name, before, _ in changes)
    commit = f" at commit {old.environment.commit[:9]}" if old.environment.commit else ""
    return f"stored{commit}{said}; if the rise is meant, run pytest --rmmbench-update"


def _no_baseline(record: Record, records: list[Record]) -> str:
    """Return in words that there is nothing to compare with, and why."""
    others = [each for each in records if each.case.model == record.case.model]
    update = "run pytest --rmmbench-update and commit the folder"
    if not others:
        return f"there is no limit, and nothing is stored for this check; {update}, or give peak=…"
    same = next((each for each in others if alike(each.case, record.case)), None)
    if same is None:
        devices = ", ".join(sorted({each.case.device for each in others}))
        here = f"what is stored was measured on {devices}, this on {record.case.device}"
        return f"{here}; give device=…, or {update}"
    other = f"what is stored is of another case: {same.case.title}"
    return f"{other}; here it is {record.case.title}; {update}"


def _not_measured(name: str, record: Record, against: Any) -> Checked:
    """Return a check whose step has no memory, because it failed or cannot run there."""
    what = record.outcome.replace("_", " ")
    fault = f"{what} while {record.stage}: {record.reason}"
    return Checked(
        name=name, record=record, held=(), against=against, verdict="failed", fault=(fault,)
    )
