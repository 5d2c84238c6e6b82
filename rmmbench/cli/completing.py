"""What a shell completes: the names that commands take, found without torch."""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

Names = Callable[[str], list[tuple[str, str]]]
"""Returns, for what was typed so far, the names that begin with it, each with half a line."""


def _of_registry(place: str, *others: tuple[str, str]) -> Names:
    module, registry = place.split(":")

    def names(incomplete: str) -> list[tuple[str, str]]:
        found: dict[str, str] = getattr(import_module(module), registry).summaries()
        return _beginning(incomplete, [*found.items(), *others])

    return names


def _beginning(incomplete: str, names: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in names if name.startswith(incomplete)]


models = _of_registry(
    "rmmbench.models:MODELS",
    ("hf:", "a config of transformers"),
    ("import:", "your own: MODULE:FACTORY"),
)
sketches = _of_registry("rmmbench.sketches:SKETCHES")
tasks = _of_registry("rmmbench.data:DATA")
claims = _of_registry("rmmbench.claims:CLAIMS")
figures = _of_registry("rmmbench.report.figures:FIGURES")
_methods = _of_registry("rmmbench.methods:METHODS")


def methods(incomplete: str) -> list[tuple[str, str]]:
    """Return methods, and of a stack such as "rmm+che" what its last one may be."""
    return _last(_methods, incomplete, "+")


def profiles(incomplete: str) -> list[tuple[str, str]]:
    """Return the names of profiles, and files that may be one."""
    from rmmbench.spec import profile

    files = [str(path) for path in _below(incomplete) if path.suffix == ".toml" or path.is_dir()]
    return _beginning(incomplete, [*((name, "") for name in profile.names()), *_plain(files)])


def runs(incomplete: str) -> list[tuple[str, str]]:
    """Return run directories: those in runs/, and those where the typed path leads."""
    places = [*Path("runs").glob("*/"), *_below(incomplete)]
    found = (path for path in places if path.is_dir())
    return _beginning(incomplete, _plain(dict.fromkeys(map(str, found))))


def baselines(incomplete: str) -> list[tuple[str, str]]:
    """Return the names of baselines, and run directories."""
    from rmmbench.report.check import baseline

    return [*_beginning(incomplete, _plain(baseline.names())), *runs(incomplete)]


def after_commas(names: Names) -> Names:
    """Return what completes the last of names that are separated by commas."""
    return lambda incomplete: _last(names, incomplete, ",")


def _last(names: Names, incomplete: str, separator: str) -> list[tuple[str, str]]:
    before, found, last = incomplete.rpartition(separator)
    return [(f"{before}{found}{name}", text) for name, text in names(last)]


def _plain(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, "") for name in names]


def _below(incomplete: str) -> Iterable[Path]:
    """Return what is in the folder that a path which is being typed leads to."""
    folder = Path(incomplete if incomplete.endswith("/") else Path(incomplete).parent)
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
