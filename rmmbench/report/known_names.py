"""The names of models, sketches, methods, tasks, GPUs, claims, figures and profiles."""

from importlib import import_module

from rmmbench.errors import UnknownNameError, arguments_checked
from rmmbench.registry import Registry

_REGISTRIES = {
    "models": "rmmbench.models:MODELS",
    "sketches": "rmmbench.sketches:SKETCHES",
    "methods": "rmmbench.methods:METHODS",
    "tasks": "rmmbench.data:DATA",
    "claims": "rmmbench.claims:CLAIMS",
    "figures": "rmmbench.report.figures:FIGURES",
}


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
    if kind not in _REGISTRIES:
        raise UnknownNameError("kind", kind, [*_REGISTRIES, "gpus", "profiles"])
    module, attribute = _REGISTRIES[kind].split(":")
    registry: Registry[object] = getattr(import_module(module), attribute)
    return registry.summaries()
