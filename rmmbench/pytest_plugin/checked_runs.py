"""Checks as run directories: the stored baseline, and what `--rmmbench-save` writes."""

import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

import rmmbench
from rmmbench.errors import RunError
from rmmbench.pytest_plugin.checked import read
from rmmbench.results.record import Record
from rmmbench.results.store import RUN_FILE, Run, RunInfo, hashes
from rmmbench.spec.case import Case
from rmmbench.spec.profile import PROFILE_VERSION, validated

_NAME: Final = "pytest"
"""What runs of checks have for the name of a profile."""


def stored(config: pytest.Config) -> list[Record]:
    """Return the records of the stored baseline; none if there is none.

    Raises:
        RunError: If its folder holds something else, or cannot be read.
    """
    path = baseline_path(config)
    return Run.open(path).records() if (path / RUN_FILE).exists() else []


def baseline_path(config: pytest.Config) -> Path:
    """Return the folder of the stored baseline."""
    return config.rootpath / str(config.getini("rmmbench_baseline"))


def check_folder(folder: str) -> None:
    """Refuse a folder for records that holds anything but an older run of checks.

    Raises:
        UsageError: Pytest's, before anything runs.
    """
    path = Path(folder)
    try:
        if (path / RUN_FILE).exists():
            if Run.open(path).info.profile_name == _NAME:
                return
        elif not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
    except (RunError, OSError) as error:
        raise pytest.UsageError(f"--rmmbench-save {folder}: {error}") from None
    what = "holds something else than checks of pytest; give another directory"
    raise pytest.UsageError(f"--rmmbench-save {folder} {what}")


def write_asked(config: pytest.Config, told: Iterable[str]) -> list[str]:
    """Write what the options ask for, and return a line on each."""
    checks = [each for each in read(told) if each.record.memory is not None]
    lines = []
    folder = config.getoption("rmmbench_save")
    if folder is not None and checks:
        _write(Path(folder), [each.record for each in checks], config)
        lines.append(f"records in {folder}; see `rmmbench table {shlex.quote(folder)}`")
    new = [each.record for each in checks if each.verdict == "stored"]
    if new:
        path = baseline_path(config)
        old = stored(config)
        kept = [each for each in old if not any(alike(each.case, one.case) for one in new)]
        records = sorted([*kept, *(_unless_same(each, old) for each in new)], key=_order)
        if records != old:
            _write(path, records, config)
        lines.append(f"{len(new)} stored in {path}, of {len(records)} in all; commit it")
    return lines


def alike(one: Case, other: Case) -> bool:
    """Return whether two cases are of one check, on one kind of device."""
    names = ("model", "memory_device", "gpu")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _unless_same(new: Record, old: Sequence[Record]) -> Record:
    """Return the old record of a case if nothing has moved, so that files change only then."""
    for each in old:
        same = (each.key, each.memory, each.timeline) == (new.key, new.memory, new.timeline)
        if same and not each.environment.changes(new.environment):
            return each
    return new


def _order(record: Record) -> tuple[str, str]:
    return record.case.model, record.key


def _write(path: Path, records: Sequence[Record], config: pytest.Config) -> None:
    """Write records as a run directory; what is there stays until the new one is whole.

    Raises:
        UsageError: Pytest's, if it cannot be written.
    """
    grids = [
        {
            "model": [each.case.model],
            "batch_size": [each.case.batch_size],
            "seq_len": [each.case.seq_len] if each.case.seq_len else [],
            "method": ["exact"],
            "measure": ["memory"],
        }
        for each in records
    ]
    asked = {"version": PROFILE_VERSION, "title": "Memory checks of pytest", "grid": grids}
    info = RunInfo(
        rmmbench=rmmbench.__version__,
        profile_name=_NAME,
        profile=validated(asked, "the checks"),
        environment=records[0].environment,
        command=shlex.join(["pytest", *map(str, config.invocation_params.args)]),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **hashes(each.case for each in records),
    )
    with TemporaryDirectory(prefix="rmmbench-") as folder:
        made = Run.create(Path(folder) / "run", info)
        for record in records:
            made.append(record)
        try:
            made.copy_to(path)
        except OSError as error:
            raise pytest.UsageError(f"{path} cannot be written: {error.strerror}") from None
