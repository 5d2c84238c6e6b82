"""A run directory that gathers the records of trainings one after another, each from its own loop.

Its profile grows with its cases, so that `table`, `check` and `report` read it as that of a sweep.
"""

from pathlib import Path
from typing import Any, Final

from rmmbench.errors import RunError
from rmmbench.results.record import Record
from rmmbench.results.store import RUN_FILE, Run, RunInfo, hashes
from rmmbench.results.whole_file import write_whole
from rmmbench.spec.case import STEP, Case
from rmmbench.spec.known_settings import known
from rmmbench.spec.profile import PROFILE_VERSION, Profile

GATHERED: Final = "watched"
"""The profile's name in run.json."""

_HINT = "give another directory as out"
_PATIENCE_SECONDS = 60.0
_OF_GRID = ("optimizer", "attention", *STEP)


def gathering(path: Path, info: RunInfo) -> Run:
    """Make a run directory for trainings, or open one that has some.

    Raises:
        RunError: If it is in use, holds something else, is of another machine or other versions, or
            cannot be written.
    """
    with Run(path, info).locked(hint=_HINT):
        if not (path / RUN_FILE).exists():
            return Run.create(path, info)
        run = Run.open(path)
    if run.info.profile_name != GATHERED:
        what = f"{path} holds a sweep (profile '{run.info.profile_name}')"
        raise RunError(f"{what}, and trainings are recorded in directories of their own; {_HINT}")
    run.check_machine(info.environment, _HINT)
    return run


def gather(run: Run, record: Record) -> None:
    """Add a record to a run; one of the same case takes the place of that before it.

    Raises:
        RunError: If another goes on using the directory, or it cannot be written.
    """
    with run.locked(_PATIENCE_SECONDS, _HINT):
        run.append(record)
        cases = [each.case for each in run.records()]
        changes = {"profile": profile_of(cases), **hashes(cases)}
        run.info = run.info.model_copy(update=changes)
        write_whole(run.path / RUN_FILE, run.info.model_dump_json(indent=2).encode() + b"\n")


def profile_of(cases: list[Case]) -> Profile:
    """Return the profile of some cases that loops of somebody's own were."""
    models = ", ".join(dict.fromkeys(case.model for case in cases))
    return Profile.model_validate(
        {
            "version": PROFILE_VERSION,
            "title": f"Trainings of {models}",
            "grid": [_grid(case) for case in cases],
        }
    )


def _grid(case: Case) -> dict[str, Any]:
    """Return a case as a grid of one."""
    axes = ("model", "batch_size", "seq_len", "dtype", "seed")
    found = {name: (getattr(case, name),) for name in axes if getattr(case, name) is not None}
    found |= {name: getattr(case, name) for name in _OF_GRID}
    for name, value in case.settings.items():
        if value is not None and value != known()[name].absent:
            found[name] = (value,) if known()[name].said.varies else value
    return found | {"method": (case.method,)}
