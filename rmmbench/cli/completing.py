"""What a shell completes: the names that commands take, found without torch."""

from collections.abc import Callable, Iterable
from pathlib import Path

Names = Callable[[str], list[tuple[str, str]]]
"""Returns the names that begin with what was typed so far, each with a summary."""


def _of_kind(kind: str, *others: tuple[str, str]) -> Names:
    def names(incomplete: str) -> list[tuple[str, str]]:
        from rmmbench.report import known_names

        return _beginning(incomplete, [*known_names.names(kind).items(), *others])

    return names


def _beginning(incomplete: str, names: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in names if name.startswith(incomplete)]


models = _of_kind(
    "models",
    ("hf:", "a config of transformers"),
    ("import:", "your own: MODULE:FACTORY"),
)
sketches = _of_kind("sketches")
tasks = _of_kind("tasks")
claims = _of_kind("claims")
figures = _of_kind("figures")
gpus = _of_kind("gpus")


def launchers(incomplete: str) -> list[tuple[str, str]]:
    """Return the names of launchers."""
    from rmmbench.running.launchers import LAUNCHERS

    return _beginning(incomplete, LAUNCHERS.summaries().items())


def methods(incomplete: str) -> list[tuple[str, str]]:
    """Return methods; for a stack such as "rmm+che", those that complete its last one."""
    return _last(_of_kind("methods"), incomplete, "+")


def profiles(incomplete: str) -> list[tuple[str, str]]:
    """Return the names of profiles, and files that may be profiles."""
    from rmmbench.spec import profile

    files = [str(path) for path in _below(incomplete) if path.suffix == ".toml" or path.is_dir()]
    return _beginning(incomplete, [*((name, "") for name in profile.names()), *_plain(files)])


def runs(incomplete: str) -> list[tuple[str, str]]:
    """Return run directories: those in runs/, and the folders in that of the typed path."""
    from rmmbench.results.store import RUN_FILE

    there = [path for path in Path("runs").glob("*/") if (path / RUN_FILE).is_file()]
    found = [*there, *(path for path in _below(incomplete) if path.is_dir())]
    return _beginning(incomplete, _plain(dict.fromkeys(map(str, found))))


def baselines(incomplete: str) -> list[tuple[str, str]]:
    """Return the names of baselines, and run directories."""
    from rmmbench.report.check import baseline

    return [*_beginning(incomplete, _plain(baseline.names())), *runs(incomplete)]


def after_commas(names: Names) -> Names:
    """Return a completion of the last of several names that are separated by commas."""
    return lambda incomplete: _last(names, incomplete, ",")


def _last(names: Names, incomplete: str, separator: str) -> list[tuple[str, str]]:
    before, found, last = incomplete.rpartition(separator)
    return [(f"{before}{found}{name}", text) for name, text in names(last)]


def _plain(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, "") for name in names]


def _below(incomplete: str) -> Iterable[Path]:
    """Return what is in the folder of a path that is being typed."""
    folder = Path(incomplete if incomplete.endswith("/") else Path(incomplete).parent)
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
