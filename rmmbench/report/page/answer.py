"""What a run's records say, in two sentences."""

from collections.abc import Iterable, Sequence

from rmmbench.report.figures import FigureData
from rmmbench.report.labels import gradient_error, has_exact_gradient, place, ratio_interval
from rmmbench.report.page.trained_answer import noise_answer, trained_answer
from rmmbench.report.run_facts import counted, searches
from rmmbench.report.scores import read_lines
from rmmbench.report.tables.batch_table import times_exact
from rmmbench.report.ways import EXACT, Cell, read_cells, way_names
from rmmbench.results.record import Record
from rmmbench.results.tidy import CELL, Row, interval, telling_places
from rmmbench.running.largest_batch import Line
from rmmbench.units import format_bytes, format_count, format_percent

NOT_TIMED = "Nothing was timed here, so what that costs in time is not known."

NOISE = {"noise", "figure3", "figure5"}
"""The figures of runs that ask for the noise of gradients."""

Answer = tuple[str, str]


def answer(records: Sequence[Record], data: FigureData) -> Answer:
    """Return two sentences on what the records say; `data` is made of them."""
    if not records:
        return (
            "There are no records yet.",
            "The command below measures the cases; draw this page again when some have ended.",
        )
    lines = searches(records)
    if lines:
        return _largest(lines)
    if all(record.outcome != "ok" for record in records):
        return (
            f"No case gave a number: of {format_count(len(records), 'case')}, {counted(records)}.",
            "The reason of each stands below, under what went wrong.",
        )
    watched = [each for each in records if each.training and each.training.noise]
    if watched and NOISE.intersection(data.profile.figures):
        return noise_answer(watched)
    trained = read_lines(records)
    if trained:
        return trained_answer(trained)
    cells = [cell for cell in read_cells(data.step_rows) if cell.compares]
    if cells and "frontier" in data.profile.figures:
        return _frontier(cells[0], data.step_rows)
    return _steps(data.step_rows)


def _frontier(cell: Cell, rows: Sequence[Row]) -> Answer:
    """Answer what saves most, with exact gradients and with noisy ones."""
    where = _on(cell.rows[0], rows)
    ways = [row for row in (cell.timed or cell.sized) if row["method"] != EXACT]
    exact, noisy = (
        [row for row in ways if bool(has_exact_gradient(row)) is is_exact]
        for is_exact in (True, False)
    )
    worth = [row for row in cell.exact_best if row["method"] != EXACT]
    said = []
    if exact:
        unbeaten = " that no other beats" if worth else ""
        name, numbers = _told(cell, _least(worth or exact))
        head = f"Of the ways with exact gradients{unbeaten}{where}, {name} needs the least memory"
        said.append(f"{head}: {numbers}.")
    if noisy:
        tops = [row for row in cell.best if row in noisy]
        unbeaten = " that no other beats" if tops else ""
        least = _least(tops or noisy)
        fastest = max(tops or noisy, key=lambda row: row["relative_throughput"] or 0)
        is_told = fastest is not least and fastest["relative_throughput"]
        more = f"; the fastest is {': '.join(_told(cell, fastest))}" if is_told else ""
        name, numbers = _told(cell, least)
        head = f"Of those with noisy gradients{unbeaten}, {name} needs the least"
        said.append(f"{head}: {numbers}{more}.")
    if len(said) < 2:
        said.append("Every way here has exact gradients." if exact else "None has exact gradients.")
    if not cell.timed:
        said[1] = f"{said[1][:-1]}; nothing was timed."
    return said[0], said[1]


def _least(rows: Iterable[Row]) -> Row:
    return min(rows, key=lambda row: row["peak_allocated_bytes"])


def _told(cell: Cell, row: Row) -> tuple[str, str]:
    """Return a way's name, and its numbers: "2.36 GiB, 23.9 % less than exact, 0.745 × …"."""
    numbers = [format_bytes(row["peak_allocated_bytes"])]
    if row["saving"] is not None:
        numbers.append(_less(row["saving"]))
    if row["relative_throughput"] is not None:
        numbers.append(f"{row['relative_throughput']:.3f} × exact's speed")
    if not has_exact_gradient(row) and row["gradient_error"] is not None:
        numbers.append(f"gradient error {gradient_error(row)}")
    return _spaced(cell.names[row["key"]]), ", ".join(numbers)


def _less(saving: float) -> str:
    return f"{format_percent(abs(saving))} {'less' if saving >= 0 else 'more'} than exact"


def _steps(rows: Sequence[Row]) -> Answer:
    """Answer what saves most of a step's peak, and what is fastest."""
    names = {key: _spaced(name) for key, name in way_names(rows).items()}
    others = [row for row in rows if row["method"] != EXACT]
    said = []
    saving = [row for row in others if row["saving"] is not None]
    if saving:
        best = max(saving, key=lambda row: row["saving"])
        exact = best["peak_allocated_bytes"] / (1 - best["saving"])
        said.append(
            f"{names[best['key']]}{_on(best, rows)} saves most: its peak is "
            f"{format_bytes(best['peak_allocated_bytes'])} in place of {format_bytes(exact)}, "
            f"{_less(best['saving'])}."
        )
    said += _speeds(others, rows, names, "relative_throughput", "exact")
    said += _speeds(others, rows, names, "product_ratio", "the layer's product")
    if not said:
        peaks = [row for row in rows if row["peak_allocated_bytes"] is not None]
        said += (
            [_peaks(peaks)] if peaks else ["The cases have neither peaks nor speeds to compare."]
        )
    if len(said) < 2:
        is_timed = any(row["samples_per_second"] is not None for row in rows)
        said.append("Only one setting was timed." if is_timed else NOT_TIMED)
    return said[0], said[1]


def _speeds(
    others: Sequence[Row], rows: Sequence[Row], names: dict[str, str], ratio: str, of: str
) -> list[str]:
    """Return a sentence on the fastest, and on how many are faster beyond their interval."""
    timed = [row for row in others if row[ratio] is not None]
    if not timed:
        return []
    best = max(timed, key=lambda row: row[ratio])
    found = ratio_interval(best, ratio)
    ends = f" (95 %: {found})" if found else ""
    faster = sum(interval(row, ratio)[0] > 1 for row in timed)
    return [
        f"The fastest is {names[best['key']]}{_on(best, rows)} at {best[ratio]:.3g} × the speed of "
        f"{of}{ends}; {faster} of {len(timed)} are faster than {of}, their whole interval above 1."
    ]


def _peaks(rows: Sequence[Row]) -> str:
    low = _least(rows)
    high = max(rows, key=lambda row: row["peak_allocated_bytes"])
    ends = [format_bytes(row["peak_allocated_bytes"]) for row in (low, high)]
    if ends[0] == ends[1]:
        return f"A step's peak is {ends[0]}."
    return f"A step's peak is from {ends[0]}{_on(low, rows)} to {ends[1]}{_on(high, rows)}."


def _on(row: Row, rows: Sequence[Row]) -> str:
    """Return where a row was measured, if the rows are of several places: " (MRPC · 128×98)"."""
    told = place(row, telling_places(rows, [name for name in CELL if name != "seed"]))
    return f" ({told})" if told else ""


def _largest(lines: Sequence[Line]) -> Answer:
    """Answer which way fits the largest batch, beside exact."""
    known = [line for line in lines if line.fits and line.trouble is None]
    limit = format_bytes(lines[0].case.memory_limit_bytes)
    if not known:
        return (
            f"No search has found a batch that fits in {limit}.",
            "The table says how far each came.",
        )
    best = max(known, key=lambda line: line.fits)
    times = times_exact(best, lines)
    more = f", {times:.2f} times exact's" if times and best.case.method != EXACT else ""
    ratios = [times_exact(line, lines) for line in known if line.case.method != EXACT]
    larger = sum(ratio > 1 for ratio in ratios if ratio)
    return (
        f"In {limit} the largest batch is that of {best.case.label}: {best.fits:,} samples{more}.",
        f"{larger} of {len(ratios)} ways fit more than the unchanged model.",
    )


def _spaced(name: str) -> str:
    return name.replace("\N{NO-BREAK SPACE}", " ")
