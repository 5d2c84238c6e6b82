"""The paper's Table 2: a row per setting, a column per place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rmmbench.report import papers_rows
from rmmbench.report.scores import Line, by_place
from rmmbench.report.tables import columns
from rmmbench.report.tables.table import Column, Table, build, unseen
from rmmbench.results.tidy import Row, setting_columns
from rmmbench.spec.profile import Profile


def papers_score(profile: Profile) -> Column[Line]:
    """Return the column of the published score."""

    def value(line: Line) -> float | None:
        found = papers_rows.find(profile, line.row, "score")
        return None if found is None else found / line.scale

    def text(line: Line) -> str:
        found = value(line)
        return "" if found is None else line.write(found)

    return Column("papers_score", "", value, text=text)


@dataclass(frozen=True)
class _Scores:
    """The lines of one setting by place; a row shows their scores, or the paper's."""

    lines: Mapping[str, Line]
    is_paper: bool

    @property
    def row(self) -> Row:
        return next(iter(self.lines.values())).row


def overview(lines: Sequence[Line], names: Mapping[str, str], profile: Profile) -> Table:
    """Return a row per setting, with the paper's row below it, and the mean over all places.

    A star marks scores that differ from exact by more than chance. Rows have a mean if every place
    has a score in percent.
    """
    papers, settings = papers_score(profile), dict[tuple[object, ...], dict[str, Line]]()
    for line in lines:
        key = tuple(line.row[column] for column in setting_columns())
        settings.setdefault(key, {})[line.place] = line
    items = [_Scores(alike, is_paper) for alike in settings.values() for is_paper in (False, True)]
    items = [x for x in items if not x.is_paper or any(map(papers.cell, x.lines.values()))]

    def name(column: Column[Row]) -> Column[_Scores]:
        def text(scores: _Scores) -> str:
            return "" if scores.is_paper else column.cell(scores.row)

        return replace(column.of(lambda scores: scores.row), text=text)

    places = [
        _place(place, names[place], members[0], papers)
        for place, members in by_place(lines).items()
    ]

    def mean(scores: _Scores) -> float | None:
        cells = [place.cell(scores).rstrip("*") for place in places]
        is_percent = all(line.higher_is_better for line in scores.lines.values())
        if not is_percent or not all(cells) or "–" in cells:
            return None
        return sum(map(float, cells)) / len(cells)

    return build(
        items,
        [
            *map(name, columns.names([line.row for line in lines])),
            Column("", "", text=lambda scores: "paper" if scores.is_paper else ""),
            *places,
            Column("mean_percent", "mean\n%", mean, lambda percent: f"{percent:.2f}"),
            unseen("is_published", lambda scores: scores.is_paper),
        ],
        tone=lambda scores: "faint" if scores.is_paper else "",
        title="all tasks · mean score",
    )


def _place(place: str, name: str, first: Line, papers: Column[Line]) -> Column[_Scores]:
    def value(scores: _Scores) -> float | None:
        line = scores.lines.get(place)
        if line is None:
            return None
        ours = line.score.mean if line.score else None
        known: float | None = papers.known(line) if scores.is_paper else ours
        return known

    def text(scores: _Scores) -> str:
        line = scores.lines.get(place)
        if line is None or scores.is_paper:
            return papers.cell(line) if line else ""
        if line.score is None:
            return "–"
        is_more = line.against and line.against.is_more_than_chance
        return f"{line.write(line.score.mean)}{'*' if is_more else ''}"

    unit = "%" if first.higher_is_better else first.metric_name.partition(",")[0]
    return Column(name, f"{name}\n{unit}", value, text=text)
