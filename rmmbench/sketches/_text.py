"""The text of a sketch and its settings: "gaussian:block_rows=128"."""

import ast
from collections.abc import Mapping
from numbers import Integral, Real


def written(name: str, settings: Mapping[str, object]) -> str:
    """Return a sketch's name, followed by its settings that are not None."""
    given = [f"{key}={_plain(value)!r}" for key, value in settings.items() if value is not None]
    return f"{name}:{','.join(given)}" if given else name


def read(text: str) -> tuple[str, dict[str, object]]:
    """Return the name and the settings from a text that `written` made.

    Raises:
        TypeError: If a setting is not a number, text or truth value.
    """
    name, _, given = text.partition(":")
    try:
        call = ast.parse(f"set({given})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        return name, {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError):
        raise TypeError(f"settings of sketch '{name}' must be plain, got {given[:80]}") from None


def _plain(value: object) -> object:
    """Return a number of any library as Python's own."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    # As a key of a dict, a symbol of torch.compile becomes the number that it stands for.
    (value,) = {value: None}
    return int(value) if isinstance(value, Integral) else float(value)
