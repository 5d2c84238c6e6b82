"""Select layers by patterns of their qualified names."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from rmmbench.nn.candidates import linear_layers
from rmmbench.nn.compressed_layers import Compressed
from rmmbench.spec.printable import printable


def select(
    names: Iterable[str],
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
) -> list[str]:
    """Return the names that match `include`, all if that is empty, and do not match `exclude`.

    Raises:
        ValueError: If there are names but none is left.
    """
    names, include, exclude = list(names), _patterns(include), _patterns(exclude)
    selected = [
        name
        for name in names
        if (not include or _matches(name, include)) and not _matches(name, exclude)
    ]
    if names and not selected:
        raise ValueError(_no_match(f"include={list(include)}, exclude={list(exclude)}", names))
    return selected


def layers_matching(model: nn.Module, patterns: str | Iterable[str]) -> dict[str, nn.Module]:
    """Return the linear layers, converted or not, whose qualified names match a pattern.

    Raises:
        ValueError: If a pattern matches none, or there is no pattern.
    """
    layers = converted_or_not(model)
    if not layers:
        raise ValueError("the model has no torch.nn.Linear or transformers Conv1D")
    chosen = _patterns(patterns)
    missing = [one for one in chosen if not any(_matches(name, (one,)) for name in layers)]
    if missing or not chosen:
        raise ValueError(_no_match(f"layers={missing}", list(layers)))
    return {name: layer for name, layer in layers.items() if _matches(name, chosen)}


def converted_or_not(model: nn.Module) -> dict[str, nn.Module]:
    """Return the linear layers by qualified name, those that keep something smaller too."""
    plain = linear_layers(model)
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, Compressed) or name in plain
    }


def _patterns(given: str | Iterable[str] | None) -> tuple[str, ...]:
    if given is None or isinstance(given, str):
        return () if given is None else (given,)
    patterns = tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(pattern, str) for pattern in patterns):
        shown = printable(repr(given), 80)
        raise TypeError(f"patterns of layers must be text, such as '*.attention.*', got {shown}")
    return patterns


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _no_match(given: str, layers: list[str]) -> str:
    names = ", ".join(layers[:5])
    return f"no layer matches {given}; the model's {len(layers)} linear layers are: {names} …"
