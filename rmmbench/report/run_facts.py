"""What people read of a run beside its numbers: how it was made, its tables, what went wrong."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rmmbench.report.figures import FigureData
from rmmbench.report.tables import Table, tables_of
from rmmbench.report.tables.batch_table import batch_table
from rmmbench.report.tables.counts_table import counts_tables
from rmmbench.report.tables.frontier_table import frontier_tables
from rmmbench.report.tables.noise_table import noise_tables
from rmmbench.report.tables.parts_table import parts_tables
from rmmbench.results.record import Environment, Record
from rmmbench.results.store import Run
from rmmbench.running.largest_batch import Line, found
from rmmbench.spec.saving_plan import SavingPlan
from rmmbench.units import format_bytes, format_seconds


def facts(run: Run, records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """Yield how a run was made: when, of how many cases, where, with which versions."""
    days = sorted({record.started_at[:10] for record in records})
    took = format_seconds(sum(record.wall_seconds for record in records))
    if days:
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        yield "when", f"{when}; the cases took {took} in all"
    yield "cases", counted(records) or "none"
    yield from _machine(run.info.environment)
    yield from (("plan", text) for text in _plans(records))
    notes = ", ".join(dict.fromkeys(record.synthetic for record in records if record.synthetic))
    yield "synthetic", notes or "nothing"


def _plans(records: Iterable[Record]) -> Iterator[str]:
    """Yield of each saving plan what it does, and what was predicted when it was made."""
    plans = {
        plan.digest: plan
        for plan in (record.case.settings.get("plan") for record in records)
        if isinstance(plan, SavingPlan)
    }
    for plan in plans.values():
        told = plan.predicted
        if told is None:
            yield f"{plan}, written by hand: {plan.words}"
            continue
        peak, exact = format_bytes(told.peak_bytes), format_bytes(told.exact_peak_bytes)
        limit = f" within {format_bytes(told.limit_bytes)}" if told.limit_bytes else ""
        made = (
            f"peak {peak}{limit}, exact's {exact}; noise {told.noise:.3g} by {told.noise_by}; "
            f"{told.relative_throughput:.3f} of exact's throughput by {told.time_by}"
        )
        yield f"{plan}, made by `rmmbench plan`: {plan.words}. Predicted then: {made}"


def counted(records: Iterable[Record]) -> str:
    """Return how many cases came out how: "20 ok, 1 out of memory"; "" for none."""
    outcomes = Counter(record.outcome.replace("_", " ") for record in records)
    return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())


def _machine(of: Environment) -> Iterator[tuple[str, str]]:
    ram = f", {format_bytes(of.memory_bytes)} of memory" if of.memory_bytes else ""
    yield "machine", f"{of.processor}, {of.cpu_count} CPUs{ram}; {of.gpu or 'no GPU'}"
    names = ("rmmbench", "python", "torch", "transformers", "cuda", "driver", "triton")
    told = {name: getattr(of, name) for name in names}
    yield "versions", ", ".join(f"{name} {value}" for name, value in told.items() if value)
    if of.commit:
        yield "code", f"commit {of.commit[:12]}{', with changes' if of.dirty else ''}"


def suitable_tables(run: Run, records: Sequence[Record]) -> list[Table]:
    """Return the tables that suit what the run asked."""
    lines = searches(records)
    if lines:
        return [batch_table(lines, run.info.environment)]
    asked = run.info.profile.figures
    data = FigureData.of_records(records, run.info.profile, run.info.environment)
    compared = frontier_tables(data) if "frontier" in asked else []
    shown = compared + parts_tables(data.step_rows) if compared else list(tables_of(run).tables)
    shown += noise_tables(run) if "noise" in asked and not compared else []
    counts = counts_tables(data.step_rows, run.info.environment) if "counts" in asked else []
    return shown + counts


def searches(records: Sequence[Record]) -> list[Line]:
    """Return the searches for the largest batch that the records are probes of; else none."""
    if all(record.case.memory_limit_bytes is None for record in records):
        return []
    probes = [record.case for record in records if record.case.memory_device is not None]
    # Searches start at different batches; a line is named by its case of one sample.
    ones = {
        case.key: case for case in (each.model_copy(update={"batch_size": 1}) for each in probes)
    }
    devices = [record.case.time_device for record in records if record.case.time_device]
    return list(found(records, ones.values(), devices[0] if devices else None))


def warnings_of(records: Iterable[Record]) -> Counter[str]:
    """Return how many cases have each warning."""
    return Counter(warning for record in records for warning in record.warnings)


def ended(records: Iterable[Record]) -> list[Record]:
    """Return the records that are not ok; a probe of a search that did not fit is a result."""
    return [each for each in records if each.outcome != "ok" and not each.case.memory_limit_bytes]
