"""A sketch and its settings as one text: "gaussian:block_rows=128"."""

import ast
from collections.abc import Mapping
from numbers import Integral, Real


def written(name: str, settings: Mapping[str, object]) -> str:
    """Return a sketch's name, followed by those of its settings that are not None."""
    given = [f"{key}={_plain(value)!r}" for key, value in settings.items() if value is not None]
    return f"{name}:{','.join(given)}" if given else name


def read(text: str) -> tuple[str, dict[str, object]]:
    """Return the name and the settings that `written` made a text of.

    Raises:
        TypeError: If a setting is no number, text or truth value.
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
    """Return a number as Python's own, whatever library it is of."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    # As a dict's key a symbol of torch.compile's becomes the number that it stands for.
    (value,) = {value: None}
    return int(value) if isinstance(value, Integral) else float(value)
