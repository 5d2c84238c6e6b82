"""What a shell completes: the names that commands take, found without torch."""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

Names = Callable[[str], list[tuple[str, str]]]
"""Returns the names that begin with what was typed so far, each with a summary."""

REGISTRIES = {
    "models": "rmmbench.models:MODELS",
    "sketches": "rmmbench.sketches:SKETCHES",
    "methods": "rmmbench.methods:METHODS",
    "tasks": "rmmbench.data:DATA",
    "claims": "rmmbench.claims:CLAIMS",
    "figures": "rmmbench.report.figures:FIGURES",
}
"""Where the names of each kind are registered."""


def summaries(kind: str) -> dict[str, str]:
    """Return the names of a kind with their summaries, without importing what is named."""
    module, registry = REGISTRIES[kind].split(":")
    found: dict[str, str] = getattr(import_module(module), registry).summaries()
    return found


def _of_registry(kind: str, *others: tuple[str, str]) -> Names:
    return lambda incomplete: _beginning(incomplete, [*summaries(kind).items(), *others])


def _beginning(incomplete: str, names: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in names if name.startswith(incomplete)]


models = _of_registry(
    "models",
    ("hf:", "a config of transformers"),
    ("import:", "your own: MODULE:FACTORY"),
)
sketches = _of_registry("sketches")
tasks = _of_registry("tasks")
claims = _of_registry("claims")
figures = _of_registry("figures")


def methods(incomplete: str) -> list[tuple[str, str]]:
    """Return methods; for a stack such as "rmm+che", those that complete its last one."""
    return _last(_of_registry("methods"), incomplete, "+")


def profiles(incomplete: str) -> list[tuple[str, str]]:
    """Return the names of profiles, and files that may be profiles."""
    from rmmbench.spec import profile

    files = [str(path) for path in _below(incomplete) if path.suffix == ".toml" or path.is_dir()]
    return _beginning(incomplete, [*((name, "") for name in profile.names()), *_plain(files)])


def runs(incomplete: str) -> list[tuple[str, str]]:
    """Return run directories: those in runs/, and those in the folder of the typed path."""
    places = [*Path("runs").glob("*/"), *_below(incomplete)]
    found = (path for path in places if path.is_dir())
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
