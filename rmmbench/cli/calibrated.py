"""`rmmbench doctor --calibrate`: whether predictions hold on the GPU that is here."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from rmmbench.cli.drawn import print_tables
from rmmbench.cli.run_cases import follow
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import note
from rmmbench.errors import Exit, RunError

if TYPE_CHECKING:
    from rmmbench.results.held import Calibration
    from rmmbench.spec.profile import Profile


def calibrate_here(
    out: Path | None,
    *,
    retry: bool,
    as_json: bool,
    device: Literal["cuda", "cpu"] = "cuda",
    profile: "Profile | None" = None,
) -> None:
    """Carry out a calibration, print it, keep it as calibration.md and .json, and exit by it.

    Args:
        out: Where it goes; below runs/ if not given.
        retry: Do failed steps again.
        as_json: Print JSON in the place of tables.
        device: What measures.
        profile: The steps; those of the shipped profile if not given.
    """
    note("looking at the GPU that is here")
    from rmmbench.report.tables.calibration_tables import calibration_tables
    from rmmbench.report.tables.writers import data, markdown
    from rmmbench.results.whole_file import write_whole
    from rmmbench.running.calibrating import calibrate, folder_of

    found = calibrate(out, device=device, profile=profile, retry=retry, follow=follow)
    folder = out or folder_of(found.environment, device)
    tables = calibration_tables(found)
    told = {
        "device": device,
        "gpu": found.gpu,
        "environment": found.environment.model_dump(mode="json"),
        "tables": data(tables),
        "verdict": found.verdict,
    }
    try:
        page = f"# {found.title}: predicted and measured\n\n{markdown(tables)}\n{found.verdict}\n"
        write_whole(folder / "calibration.md", page.encode())
        write_whole(folder / "calibration.json", f"{json.dumps(told, indent=1)}\n".encode())
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}; give --out") from error
    if as_json:
        write_json(told)
    else:
        print_tables(tables)
        print(f"\n{found.verdict}")  # noqa: T201
    note(f"kept in {folder}: calibration.md, and all records in measured and predicted")
    _end(found)


def _end(found: "Calibration") -> None:
    """Exit with code 3 if something is off, with 7 if something failed."""
    verdicts = {pair.verdict for pair in found.pairs} | {twin.verdict for twin in found.twins}
    if "off" in verdicts:
        raise typer.Exit(Exit.REGRESSION)
    if "failed" in verdicts:
        raise typer.Exit(Exit.SOME_FAILED)
