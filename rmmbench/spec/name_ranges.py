"""Many qualified names in one: "encoder.layer.0-3,7.output.dense" names five layers."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby, product

_RANGES = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_MOST = 10_000


def expanded(text: str) -> list[str]:
    """Return the names that a text stands for, in order; a text without ranges is one name.

    Args:
        text: Parts joined by dots; a part may be numbers and ranges of them, as in "0-3,7".

    Raises:
        ValueError: If a range runs backwards, or there are more than 10,000 names.
    """
    parts = [_numbers(part) for part in text.split(".")]
    count = 1
    for part in parts:
        count *= len(part)
    if count > _MOST:
        raise ValueError(f"must stand for at most {_MOST} names, got {count}")
    return [".".join(chosen) for chosen in product(*parts)]


def joined(names: Iterable[str]) -> list[str]:
    """Return as few texts as one number that varies allows; `expanded` gives the names back.

    Names that differ in one number only are one text.
    """
    rest = list(dict.fromkeys(names))
    texts: list[str] = []
    while rest:
        best = max((_alike(rest[0], place, rest) for place in _places(rest[0])), key=len)
        place = next(p for p in _places(rest[0]) if _alike(rest[0], p, rest) == best)
        texts.append(_text(best, place))
        rest = [name for name in rest if name not in set(best)]
    return texts


def _numbers(part: str) -> list[str]:
    if not _RANGES.fullmatch(part):
        return [part]
    found: list[str] = []
    for piece in part.split(","):
        first, _, last = piece.partition("-")
        low, high = int(first), int(last or first)
        if high < low:
            raise ValueError(f"must have ranges from low to high, got '{piece}'")
        if high - low > _MOST:
            raise ValueError(f"must stand for at most {_MOST} names, got the range '{piece}'")
        found += [str(number) for number in range(low, high + 1)] if last else [first]
    return found


def _places(name: str) -> list[int | None]:
    """Return where a name has numbers, and None for the name as it is."""
    return [i for i, part in enumerate(name.split(".")) if part.isdecimal()] + [None]


def _alike(name: str, place: int | None, names: Sequence[str]) -> list[str]:
    """Return the names that differ from one in the number at a place only."""
    if place is None:
        return [name]
    parts = name.split(".")
    found = []
    for other in names:
        theirs = other.split(".")
        same = len(theirs) == len(parts) and theirs[place].isdecimal()
        if same and theirs[:place] == parts[:place] and theirs[place + 1 :] == parts[place + 1 :]:
            found.append(other)
    return found


def _text(names: Sequence[str], place: int | None) -> str:
    if place is None or len(names) == 1:
        return names[0]
    parts = names[0].split(".")
    numbers = sorted({int(name.split(".")[place]) for name in names})
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    parts[place] = ",".join(f"{run[0]}-{run[-1]}" if run[1:] else str(run[0]) for run in runs)
    return ".".join(parts)
