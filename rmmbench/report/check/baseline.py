"""Finds, opens and saves baselines."""

from pathlib import Path

from rmmbench.errors import NoBaselineError, RunError, UsageError, did_you_mean
from rmmbench.report.check import calibration
from rmmbench.results.store import RUN_FILE, Run

_PACKAGE = Path(__file__).parents[2]
_FOLDERS = (_PACKAGE / "profiles" / "baselines", _PACKAGE.parent / "profiles" / "baselines")


def names() -> list[str]:
    """Return the names of the baselines that come with rmmbench."""
    files = [file for folder in _FOLDERS for file in folder.glob(f"*/{RUN_FILE}")]
    return sorted({file.parent.name for file in files})


def find(name_or_path: str) -> Path:
    """Return the directory of a baseline: a path, or the name of one that comes with rmmbench.

    A run directory at that path takes precedence over a name. Any other text is a path.
    """
    path = Path(name_or_path)
    if (path / RUN_FILE).exists() or name_or_path not in names():
        return path
    return next(folder / path for folder in _FOLDERS if (folder / path / RUN_FILE).exists())


def open_baseline(path: Path) -> Run:
    """Open the baseline at `path`.

    Raises:
        NoBaselineError: If nothing is there.
        RunError: If it is not a run directory, or has another schema version.
    """
    if not path.exists() or _is_bare(path):
        hint = f"{did_you_mean(str(path), names())}; make this run the baseline with --save"
        raise NoBaselineError(f"no baseline at {path}{hint}")
    return Run.open(path)


def save(run: Run, path: Path) -> None:
    """Make `run` the baseline at `path`; replace a baseline that is there.

    Raises:
        UsageError: If `path` is the run itself, or the run has no records.
        RunError: If `path` has other files, or cannot be written.
    """
    if not run.records():
        raise UsageError(f"{run.path} has no records; measure some with `rmmbench sweep`")
    hint = "give another directory with --against"
    if path.exists():
        if path.samefile(run.path):
            raise UsageError(f"{path} is the run itself; {hint}")
        if not (path / RUN_FILE).exists() and not _is_bare(path):
            raise RunError(f"{path} is not empty and not a baseline; {hint}")
    try:
        calibration.drop(path)
        run.copy_to(path)
        calibration.copy(run.path, path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; {hint}") from error


def _is_bare(path: Path) -> bool:
    """Return whether `path` is a directory that is empty but for files of an interrupted copy."""
    return path.is_dir() and all(file.suffix == ".partial" for file in path.iterdir())
