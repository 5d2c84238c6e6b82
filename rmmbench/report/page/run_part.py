"""What the page says of one run."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt

from rmmbench.report.figures import FigureData
from rmmbench.report.page.answer import answer
from rmmbench.report.page.html_table import HtmlTable, html_tables
from rmmbench.report.page.missing_reasons import Reason, Reasons
from rmmbench.report.page.pictures import Picture, pictures
from rmmbench.report.run_facts import ended, facts, suitable_tables, warnings_of
from rmmbench.report.summary import NOTES
from rmmbench.results.reading import content_of
from rmmbench.results.record import Record
from rmmbench.results.store import Run
from rmmbench.spec.case_titles import case_titles


@dataclass(frozen=True)
class RunPart:
    """One run, ready for the template.

    Attributes:
        id: What the ids of its parts begin with.
        more_figures: Figures that the page has no room for: command lines that draw them.
        notes: The person's own remarks, as HTML; the only text that is not escaped again.
        ended: The cases that are not ok: outcome, case, reason.
        again: Command lines that make the run again.
    """

    id: str
    name: str
    title: str
    answer: tuple[str, str]
    facts: tuple[tuple[str, str], ...]
    tables: tuple[HtmlTable, ...]
    pictures: tuple[Picture, ...]
    more_figures: tuple[str, ...]
    notes: str
    warnings: tuple[tuple[int, str], ...]
    ended: tuple[tuple[str, str, str], ...]
    reasons: tuple[Reason, ...]
    again: tuple[str, ...]


def run_part(run: Run, records: Sequence[Record], name: str, number: int) -> RunPart:
    """Return the part of a run; `records` are its last of each case."""
    about = (run.info.profile, run.info.environment)
    data = FigureData.of_records(records, *about)
    reasons = Reasons(records)
    prefix = f"run-{number}"
    tables = suitable_tables(run, records) if records else []
    titles = case_titles(record.case for record in records)
    failed = [
        (each.outcome.replace("_", " "), titles[each.key], each.reason or "no reason given")
        for each in ended(records)
    ]
    counts = warnings_of(records)
    path = shlex.quote(str(run.path))
    drawn, left_out = pictures(data, f"{prefix}-figure") if records else ([], [])
    return RunPart(
        id=prefix,
        name=name,
        title=run.info.profile.title,
        answer=answer(records, data),
        facts=(("asked", run.info.command), *facts(run, records)),
        tables=tuple(html_tables(tables, reasons, f"{prefix}-table")),
        pictures=tuple(drawn),
        more_figures=tuple(f"rmmbench plot {path} --figure {each}" for each in left_out),
        notes=_notes(run),
        warnings=tuple((count, text) for text, count in counts.items()),
        ended=tuple(failed),
        reasons=reasons.all,
        again=tuple(_again(run)),
    )


def _again(run: Run) -> Iterator[str]:
    """Yield the command lines that bring back the code and the versions, and measure again."""
    of = run.info.environment
    if of.commit:
        changed = "  # and it had changes that no commit has" if of.dirty else ""
        yield f"git checkout {of.commit[:12]}{changed}"
    versions = [f"torch=={of.torch.partition('+')[0]}"]
    versions += [f"transformers=={of.transformers}"] if of.transformers else []
    yield f"pip install {' '.join(map(shlex.quote, versions))}"
    yield run.info.command
    yield f"rmmbench report {shlex.quote(str(run.path))}"


def _notes(run: Run) -> str:
    """Return notes.md as HTML, in which no HTML of its own and no link to a file is left."""
    text = (content_of(run.path / NOTES) or b"").decode(errors="replace").strip()
    if not text:
        return ""
    markdown = MarkdownIt("commonmark", {"html": False}).disable(["image", "heading", "lheading"])
    tokens = markdown.parse(text)
    for inline in (token for token in tokens if token.children):
        kept, is_dropped = [], False
        for token in inline.children or []:
            if token.type == "link_open":
                # A page that was sent to somebody has no files beside it.
                is_dropped = not str(token.attrs.get("href")).startswith(("http://", "https://"))
            if not (is_dropped and token.type in ("link_open", "link_close")):
                kept.append(token)
        inline.children = kept
    rendered: str = markdown.renderer.render(tokens, markdown.options, {})
    return rendered
