"""The page as a whole: parts of runs put into the templates, with scripts that it vouches for.

The page loads nothing: its policy allows only the scripts that are in it, by their hashes, so
that a text which got past the escaping would still not run.
"""

import re
import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from rmmbench.report.figures._write import plotly_script
from rmmbench.report.page.html_table import HtmlTable, html_table
from rmmbench.report.page.missing_reasons import Reasons
from rmmbench.report.page.over_time import OverTime, over_time
from rmmbench.report.page.run_part import RunPart, run_part
from rmmbench.report.page.side_by_side import (
    Comparison,
    cases_table,
    compared,
    run_names,
    runs_table,
    together_answer,
)
from rmmbench.results.record import Record
from rmmbench.results.store import Run

_FILES: Final = Path(__file__).parent / "files"
_SCRIPTS: Final = ("tables.js", "copying.js", "figures.js")
"""In the order in which they run: plotly.js, which takes a second, comes when tables work."""


@dataclass(frozen=True)
class _Together:
    """What several runs say together.

    Attributes:
        compared: Each other run beside the first, with the table of what changed, if any did.
        cases: A row a case; None if the runs share none.
    """

    answer: tuple[str, str]
    runs: HtmlTable
    compared: tuple[tuple[Comparison, HtmlTable | None], ...]
    cases: HtmlTable | None


def html_page(runs: Sequence[Run], *, is_live: bool = False) -> str:
    """Return one HTML page about some runs that needs no network, no files and no scripts to read.

    Args:
        runs: One, or several to stand side by side.
        is_live: Whether the page loads itself again every few seconds, while records come.

    Raises:
        RunError: If a record cannot be read.
    """
    names = run_names(runs)
    records = [run.records() for run in runs]
    parts = [
        run_part(run, of, name, number)
        for number, (run, of, name) in enumerate(zip(runs, records, names, strict=True), 1)
    ]
    together = _together(runs, names, records) if len(runs) > 1 else None
    trend = over_time(runs, "over-time")
    scripts = [_text(name) for name in _SCRIPTS]
    if trend or any(part.pictures for part in parts):
        scripts.insert(-1, plotly_script())
    return _rendered(parts, together, trend, scripts, is_live=is_live)


def _together(
    runs: Sequence[Run], names: Sequence[str], records: Sequence[list[Record]]
) -> _Together:
    none = Reasons(())
    found = compared(runs, names)
    cases = cases_table(names, records)
    changes = [
        (each, html_table(each.table, none, f"changes-{number}") if each.table else None)
        for number, each in enumerate(found, 1)
    ]
    return _Together(
        together_answer(runs, found),
        html_table(runs_table(runs, names, records), none, "runs-table"),
        tuple(changes),
        html_table(cases, none, "cases-table") if cases else None,
    )


def _rendered(
    parts: Sequence[RunPart],
    together: _Together | None,
    trend: OverTime | None,
    scripts: Sequence[str],
    *,
    is_live: bool,
) -> str:
    first = [_text("theme.js")]
    last = [*scripts, *([_text("live.js")] if is_live else [])]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in [*first, *last])
    environment = Environment(
        loader=FileSystemLoader(_FILES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"packed": _packed, "tied": _tied}
    return environment.get_template("page.html.jinja").render(
        parts=parts,
        together=together,
        trend=trend,
        title=parts[0].title if len(parts) == 1 else " · ".join(part.name for part in parts),
        style=_text("page.css"),
        first_scripts=first,
        last_scripts=last,
        policy=f"default-src 'none'; script-src {hashes}; {_POLICY}",
        is_live=is_live,
    )


_POLICY: Final = (
    "style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'; base-uri 'none'"
)


def _packed(json: str) -> str:
    """Return JSON as a twentieth of its letters, among them none that could end an element.

    The words of a figure's points repeat themselves; all are kept.
    """
    return b64encode(zlib.compress(json.encode(), 9)).decode()


def _tied(sentence: str) -> str:
    """Return a sentence in which no line breaks between a number and its unit."""
    return _UNIT.sub("\N{NO-BREAK SPACE}", sentence)


_UNIT: Final = re.compile(r"(?<=\d) (?=%|[KMGT]i?B\b|×|±|bits\b)|(?<=[×±]) (?=\d)")


def _text(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return b64encode(sha256(script.encode()).digest()).decode()
