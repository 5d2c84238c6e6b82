"""The columns of training runs as text: scores over seeds, what is beyond chance, time, memory."""

from collections.abc import Callable, Mapping, Sequence

from rmmbench.cli.columns import Column
from rmmbench.report import published
from rmmbench.report.labels import EXACT, kind
from rmmbench.report.scores import Line, Spread, by_place
from rmmbench.results.tidy import kind_columns, setting_columns, Row, differing
from rmmbench.spec.profile import Profile
from rmmbench.units import GIB, MIB, format_seconds


def columns(lines: Sequence[Line], profile: Profile) -> list[Column]:
    """Return the columns in which some cell says something, a cell a line."""
    peaks = [line.peak_bytes.mean for line in lines if line.peak_bytes]
    unit, size, digits = ("MiB", MIB, 1) if max(peaks, default=0) < GIB else ("GiB", GIB, 2)

    def column(heading: str, text: Callable[[Line], str]) -> Column:
        return Column(heading, tuple(text(line) for line in lines))

    all_columns = [
        *_names(lines),
        column("runs", _runs),
        column("score", lambda line: score(line, line.score)),
        column("paper's\nscore", lambda line: paper(profile, line)),
        column("difference\n± 95 %", _difference),
        column("more\nthan\nchance", _verdict),
        column("time", lambda line: _mean(line.train_seconds, format_seconds)),
        column("relative\nthroughput", _relative),
        column("paper's\nrelative", lambda line: _papers_relative(profile, line)),
        column(
            f"peak\n{unit}", lambda line: _mean(line.peak_bytes, lambda n: f"{n / size:.{digits}f}")
        ),
    ]
    return [each for each in all_columns if any(each.cells)]


def overview(lines: Sequence[Line], names: Mapping[str, str], profile: Profile) -> list[Column]:
    """Return the paper's Table 2: a row a setting, with the paper's own below it; a column a place.

    A star is on what differs from exact by more than chance. The average is there where every
    place has a score in percent.
    """
    settings = _by_setting(lines)
    rows = [(alike, is_paper) for alike in settings for is_paper in (False, True)]
    rows = [row for row in rows if not row[1] or any(paper(profile, line) for line in row[0])]
    firsts = [alike[0] for alike, _ in rows]
    found = [
        *_names(firsts),
        Column("", tuple("paper" if is_paper else "" for _, is_paper in rows)),
    ]
    found[:2] = [_said_once(each, [is_paper for _, is_paper in rows]) for each in found[:2]]
    for name, members in by_place(lines).items():
        cells = (_cell(alike, name, profile, is_paper=is_paper) for alike, is_paper in rows)
        unit = "%" if members[0].higher_is_better else members[0].metric_name.partition(",")[0]
        found.append(Column(f"{names[name]}\n{unit}", tuple(cells)))
    places = list(by_place(lines))
    found.append(
        Column("mean\n%", tuple(_average(a, places, profile, is_paper=p) for a, p in rows))
    )
    return [each for each in found if any(each.cells)]


def score(line: Line, spread: Spread | None) -> str:
    """Return a score over seeds as it is printed: "60.51 ± 1.31"; "" where there is none."""
    if spread is None:
        return ""
    mean = f"{line.scale * spread.mean:.{line.digits}f}"
    if spread.deviation is None:
        return mean
    return f"{mean} ± {line.scale * spread.deviation:.{line.digits}f}"


def paper(profile: Profile, line: Line) -> str:
    """Return the score that is published for a line, as the paper prints it."""
    value = published.find(profile, line.row, "score")
    return "" if value is None else f"{value:.{line.digits}f}"


def name(line: Line, rows: Sequence[Row]) -> str:
    """Return the sketch, or the method that has none, and in what else the rows differ."""
    told = differing([row for row in rows if row["method"] != "exact"], kind_columns())
    return EXACT if line.is_exact else kind(line.row, told)


def _names(lines: Sequence[Line]) -> list[Column]:
    rows = [line.row for line in lines]
    return [
        Column("sketch", tuple(name(line, rows) for line in lines), False),
        Column("ρ", tuple(f"{row['rho']:g}" if row["rho"] else "" for row in rows)),
        Column("proj_dim", tuple(str(row["proj_dim"] or "") for row in rows)),
    ]


def _said_once(column: Column, is_paper: Sequence[bool]) -> Column:
    cells = ("" if below else cell for cell, below in zip(column.cells, is_paper, strict=True))
    return Column(column.heading, tuple(cells), column.is_number)


def _by_setting(lines: Sequence[Line]) -> list[list[Line]]:
    settings: dict[tuple[object, ...], list[Line]] = {}
    for line in lines:
        settings.setdefault(tuple(line.row[column] for column in setting_columns()), []).append(line)
    return list(settings.values())


def _cell(alike: Sequence[Line], place: str, profile: Profile, *, is_paper: bool) -> str:
    line = next((line for line in alike if line.place == place), None)
    if line is None:
        return ""
    if is_paper:
        return paper(profile, line)
    if line.score is None:
        return "–"
    star = "*" if line.against and line.against.is_more_than_chance else ""
    return f"{line.scale * line.score.mean:.{line.digits}f}{star}"


def _average(
    alike: Sequence[Line], places: Sequence[str], profile: Profile, *, is_paper: bool
) -> str:
    cells = [_cell(alike, place, profile, is_paper=is_paper).rstrip("*") for place in places]
    if not all(line.higher_is_better for line in alike) or not all(cells) or "–" in cells:
        return ""
    return f"{sum(map(float, cells)) / len(cells):.2f}"


def _runs(line: Line) -> str:
    with_score = line.score.count if line.score else 0
    total = len(line.records)
    return str(total) if with_score == total else f"{with_score} of {total}"


def _difference(line: Line) -> str:
    """Return the mean difference and half its confidence interval, which lies evenly about it."""
    found = line.against
    if found is None:
        return ""
    mean = f"{line.scale * found.mean:+.{line.digits}f}"
    if found.low is None or found.high is None:
        return mean
    return f"{mean} ± {line.scale * (found.high - found.low) / 2:.{line.digits}f}"


def _verdict(line: Line) -> str:
    verdict = line.against.is_more_than_chance if line.against else None
    return {True: "yes", False: "no", None: ""}[verdict]


def _relative(line: Line) -> str:
    ratio = line.relative_throughput
    return "" if ratio is None else f"{ratio:.3f}"


def _papers_relative(profile: Profile, line: Line) -> str:
    ratio = published.relative_throughput(profile, line.row)
    return "" if ratio is None else f"{ratio:.3f}"


def _mean(spread: Spread | None, text: Callable[[float], str]) -> str:
    return "" if spread is None else text(spread.mean)
