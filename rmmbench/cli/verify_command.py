"""`rmmbench verify`: the paper's claims beside what comes of trying them."""

from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli import completing
from rmmbench.cli.options import AsJson, Axes, single, takes_axes
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import is_quiet, note, tell
from rmmbench.errors import Exit
from rmmbench.running.interrupts import keeping

if TYPE_CHECKING:
    from rmmbench.running.verifying import TriedClaims


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
    from rmmbench.running import verifying

    seed: int = single(axes, seed=0)["seed"]
    asked = verifying.to_try(names or (), seed)
    note(f"trying {len(asked)} of {len(claims.names())} claims with seed {seed}")
    tried = verifying.TriedClaims()

    def kept() -> str:
        if tried and not as_json:
            _show(tried, seed)
        if not tried:
            return "no claim was tried to its end; the same command begins anew"
        rest = " ".join(asked[len(tried) :])
        go_on = f"`rmmbench verify {rest} --seed {seed}` tries the others"
        return f"{len(tried)} of {len(asked)} claims were tried; {go_on}"

    with keeping(kept):
        for each in verifying.trying(asked, seed=seed, quiet=is_quiet()):
            tried.append(each)
    if as_json:
        write_json({"seed": seed, "claims": tried.data()})
    else:
        _show(tried, seed)
    if tried.faults:
        said = f"error: what this package relies on does not hold: {', '.join(tried.faults)}"
        tell(f"{said}; try another --seed, and report it if it stays")
        raise typer.Exit(Exit.FAULT)


def _show(tried: "TriedClaims", seed: int) -> None:
    from dataclasses import replace

    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.claim_table import claim_table

    tables = [claim_table(each.claim, each.findings) for each in tried]
    counts = tried.counts
    summary = ", ".join(f"{verdict} {count}" for verdict, count in counts.items())
    said = (
        f"{sum(counts.values())} statements: {summary}.",
        f"± is one standard error, four are agreement; seed {seed}.",
    )
    print_tables([*tables[:-1], replace(tables[-1], notes=said)])
