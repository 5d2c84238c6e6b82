"""Configs of transformers by name: "llama", "llama:hidden_size=3072,num_hidden_layers=28"."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import transformers

from rmmbench.errors import did_you_mean

Value = int | float | bool | str | None
_WORDS: dict[str, Value] = {"true": True, "false": False, "none": None}
_NEVER = ("model_type", "transformers_version", "auto_map", "quantization_config", "dtype")
"""Keys of a config that change no shape, or ask for what a config alone cannot give."""
_ALWAYS = ("architectures", "num_labels", "problem_type", "pad_token_id", "tie_word_embeddings")
"""Keys that every config takes, though not every one shows them."""


def named(argument: str) -> Any:
    """Return the config of "PLACE" or "PLACE:key=value,key=value", with these values changed.

    A place is a directory with a config.json, or a name that transformers has for a kind of
    config. Values that a kind computes from others (a head's size) follow the changed ones.

    Raises:
        ValueError: If there is no such config, it has no such key, or a value does not suit it.
    """
    place, told = _parts(argument)
    config = _unchanged(place)
    changes = dict(_changes(told, config))
    if not changes:
        return config
    try:
        if place in transformers.CONFIG_MAPPING and not _is_directory(place):
            return transformers.AutoConfig.for_model(place, **changes)
        return _from_directory(place, **changes)
    except Exception as error:  # each kind checks its values in its own way
        raise ValueError(
            f"hf:{argument} is no config that transformers takes: {_why(error)}"
        ) from (error)


def _parts(argument: str) -> tuple[str, str]:
    """Return the place and the changes of "PLACE:key=value,…"; a directory may have a colon."""
    place, _, told = argument.rpartition(":")
    if not place or "=" not in told or _is_directory(argument):
        return argument, ""
    return place, told


def _is_directory(place: str) -> bool:
    return bool(place) and (Path(place) / "config.json").is_file()


def _from_directory(place: str, **changes: Value) -> Any:
    return transformers.AutoConfig.from_pretrained(
        place, local_files_only=True, trust_remote_code=False, **changes
    )


def _unchanged(place: str) -> Any:
    if _is_directory(place):
        try:
            return _from_directory(place)
        except (OSError, ValueError) as error:
            file = Path(place) / "config.json"
            raise ValueError(
                f"{file} must be a config that transformers knows: {_why(error)}"
            ) from error
    if place in transformers.CONFIG_MAPPING:
        return transformers.AutoConfig.for_model(place)
    hint = "a directory with a config.json, or a config name of transformers such as 'gpt2'"
    if not place or "/" in place or Path(place).is_dir():
        raise ValueError(f"hf: must be followed by {hint}, got '{place}'")
    nearest = did_you_mean(place, transformers.CONFIG_MAPPING)
    raise ValueError(f"no transformers config named '{place}'{nearest}; give {hint}")


def _changes(told: str, config: Any) -> Iterator[tuple[str, Any]]:
    """Yield key and value of each change, the value of the type that the config has there."""
    for word in map(str.strip, told.split(",") if told else ()):
        key, equals, text = word.partition("=")
        if not equals or not key or not text:
            raise ValueError(f"a change of a config must be given as key=value, got '{word}'")
        yield key, _value(key, text, _current(key, config))


def _current(key: str, config: Any) -> Any:
    """Return what a config has at a key.

    Raises:
        ValueError: If it has no such key, or one that a name cannot change.
    """
    kind = config.model_type
    shown = set(config.to_dict()) | set(config.attribute_map) | set(_ALWAYS)
    known = sorted(key for key in shown - set(_NEVER) if not key.startswith("_"))
    if key not in known:
        hint = did_you_mean(key, known) or f"; it has, among others: {', '.join(known[:12])}"
        raise ValueError(f"the config of '{kind}' has no key '{key}' that a name can change{hint}")
    current = getattr(config, key, None)
    if isinstance(current, (dict, list, tuple)) or hasattr(current, "to_dict"):
        holds = type(current).__name__
        remedy = "write a config.json and give its directory"
        raise ValueError(f"'{key}' of the config of '{kind}' holds a {holds}; {remedy}")
    return current


def _value(key: str, text: str, current: Any) -> Any:
    if key == "architectures":
        return [text]
    value = _read(text)
    if isinstance(current, float) and type(value) is int:
        return float(value)
    expected = type(current)
    if current is not None and value is not None and type(value) is not expected:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
        raise ValueError(f"'{key}' must be {words[expected]}, got '{text}'")
    return value


def _read(text: str) -> Value:
    """Return a number, true, false or none, or else the text as it is."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _why(error: Exception) -> str:
    """Return the reason that transformers gives; its checks of values have it in line two."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    told = lines[1:] if lines and lines[0].endswith(":") else lines
    return (told or [type(error).__name__])[0]
