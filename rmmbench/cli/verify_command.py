"""`rmmbench verify`: the paper's claims beside what comes of trying them."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmmbench.cli import completing
from rmmbench.cli.options import AsJson, Axes, single, takes_axes
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import is_quiet, note, tell
from rmmbench.errors import Exit, UsageError

if TYPE_CHECKING:
    from rmmbench.claims.claim import Claim, Finding


@takes_axes("seed")
def verify(
    axes: Axes,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLAIM",
            autocompletion=completing.claims,
            help="Names of `rmmbench list claims`; all if none is given.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try the paper's claims by computing them, and show what holds.

    One that does not hold is a finding; one that this package relies on is a fault: exit code 1.

    The seed is 0 if none is given, and only one can be.

    Examples:
      rmmbench verify
      rmmbench verify rmm-variance bound --seed 7
    """
    from rmmbench import claims

    asked = list(dict.fromkeys(claims.CLAIMS.check(name) for name in names or claims.names()))
    seed = _seed(axes)
    note(f"trying {len(asked)} of {len(claims.names())} claims with seed {seed}")
    tried = _try(asked, seed)
    if as_json:
        claimed = [_data(name, *found) for name, found in tried.items()]
        data = {"seed": seed, "claims": claimed}
        write_json(data)
    else:
        _show(tried, seed)
    faults = [
        f"{name} ({f.case})" for name, (_, found) in tried.items() for f in found if f.is_fault
    ]
    if faults:
        said = f"error: what this package relies on does not hold: {', '.join(faults)}"
        tell(f"{said}; try another --seed, and report it if it stays")
        raise typer.Exit(Exit.FAULT)


def _seed(axes: Axes) -> int:
    seed: int = single(axes, seed=0)["seed"]
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed must be from 0 to {2**32 - 1}, got {seed}")
    return seed


def _try(names: list[str], seed: int) -> "dict[str, tuple[Claim, list[Finding]]]":
    """Return each claim with its findings; a bar on stderr, or a line each if it is no terminal."""
    from rmmbench import claims
    from rmmbench.running.progress import bar
    from rmmbench.units import format_seconds

    tried = {}
    with bar(len(names), is_wanted=not is_quiet()) as (update, is_seen), _one_thread():
        for name in names:
            update(description=name)
            start, claim, found = time.monotonic(), claims.get(name), []
            for finding in claim.findings(seed):
                found.append(finding)
                update(description=f"{name}: {finding.case}")
            tried[name] = (claim, found)
            update(advance=1)
            if not is_seen:
                note(f"{name}: {format_seconds(time.monotonic() - start)}")
    return tried


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: with small products, more of them wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _data(name: str, claim: "Claim", found: "list[Finding]") -> dict[str, Any]:
    """Return a claim as JSON has it."""
    findings = [
        {"verdict": finding.verdict, "is_fault": finding.is_fault} | finding.model_dump()
        for finding in found
    ]
    about = {"title": claim.title, "statement": claim.statement, "method": claim.method}
    return {"claim": name} | about | {"findings": findings}


def _show(tried: "dict[str, tuple[Claim, list[Finding]]]", seed: int) -> None:
    from dataclasses import replace

    from rmmbench.claims.claim import Verdict
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.claim_table import claim_table

    tables = [claim_table(claim, found) for claim, found in tried.values()]
    counts = Counter(finding.verdict for _, found in tried.values() for finding in found)
    summary = ", ".join(f"{verdict} {counts[verdict]}" for verdict in Verdict)
    said = (
        f"{counts.total()} statements: {summary}.",
        f"± is one standard error, four are agreement; seed {seed}.",
    )
    print_tables([*tables[:-1], replace(tables[-1], notes=said)])
