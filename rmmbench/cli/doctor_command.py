"""`rmmbench doctor`: what is installed here, what that allows, and how to get the rest."""

from typing import TYPE_CHECKING

from rmmbench.cli.options import AsJson
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import note

if TYPE_CHECKING:
    from rmmbench.running.diagnosis import Finding


def doctor(as_json: AsJson = False) -> None:
    """Show what is here (torch, CUDA, GPU, driver, Chrome …) and what that allows.

    Examples:
      rmmbench doctor
      rmmbench doctor --json
    """
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
