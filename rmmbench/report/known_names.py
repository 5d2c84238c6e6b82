"""The names of models, sketches, methods, tasks, GPUs, claims, figures and profiles."""

from rmmbench.errors import UnknownNameError, arguments_checked
from rmmbench.registry import open_set

KINDS = ("models", "sketches", "methods", "tasks", "gpus", "claims", "figures", "profiles")
_FOLDERS = {"tasks": "data", "figures": "report.figures"}


@arguments_checked
def names(kind: str) -> dict[str, str]:
    """Return each name of a kind with its summary; nothing heavy is imported.

    Args:
        kind: "models", "sketches", "methods", "tasks", "gpus", "claims", "figures" or
            "profiles".

    Raises:
        UnknownNameError: If there is no such kind.

    Examples:
        >>> import rmmbench
        >>> rmmbench.names("claims")["bound"]
        'eq. 12: a bound on the one noise by the other'
    """
    if kind == "gpus":
        from rmmbench.spec.gpus import GPUS

        return {gpu.name: gpu.summary for gpu in GPUS.values()}
    if kind == "profiles":
        from rmmbench.spec import profile

        return {name: profile.load(name).title for name in profile.names()}
    if kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    return open_set(_FOLDERS.get(kind, kind)).summaries()
