"""`rmmbench doctor`: what is installed here, what that allows, and how to get the rest."""

from typing import TYPE_CHECKING, Annotated

import typer

from rmmbench.cli.options import AsJson, Out, Retry
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import note
from rmmbench.errors import UsageError

if TYPE_CHECKING:
    from rmmbench.running.diagnosis import Finding


def doctor(
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="Measure small steps on the GPU here, beside their predictions."
        ),
    ] = False,
    out: Out = None,
    retry: Retry = False,
    as_json: AsJson = False,
) -> None:
    """Show what is here (torch, CUDA, GPU, driver, Chrome …) and what that allows.

    With --calibrate: do predictions hold on this GPU? Steps with every sketch, method, attention
    kernel and dtype are measured and predicted, and Triton's kernels are held to their PyTorch
    twins. The table is printed and kept; the same command, run again, goes on where it stopped.
    Exit code 3 means that a prediction or a kernel is off, 7 that some steps failed.

    Examples:
      rmmbench doctor
      rmmbench doctor --json
      rmmbench doctor --calibrate
    """
    if calibrate:
        from rmmbench.cli.calibrated import calibrate_here

        calibrate_here(out, retry=retry, as_json=as_json)
        return
    if out is not None or retry:
        raise UsageError("--out and --retry must be with --calibrate; add it, or leave them out")
    note("looking at torch, the GPU and what else can be used")
    from rmmbench.running import diagnosis

    findings = diagnosis.doctor()
    if as_json:
        found = {finding.name: finding.found for finding in findings}
        devices = found.pop("devices") or ""
        notes = {finding.name: finding.note for finding in findings if finding.note}
        data = {"devices": devices.split(", ") if devices else [], "found": found, "notes": notes}
        write_json(data)
    else:
        _print(findings)


def _print(findings: "list[Finding]") -> None:
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.table import Column, build

    columns: list[Column[Finding]] = [
        Column("name", "", lambda finding: finding.name, is_number=False),
        Column("found", "", lambda finding: finding.found or "–", is_number=False),
        Column("note", "", lambda finding: finding.note, is_number=False),
    ]
    table = build(
        findings, columns, tone=lambda each: "" if each.found else "doubtful", toned="found"
    )
    print_tables([table])
