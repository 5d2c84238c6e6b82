"""Why numbers are missing: each reason once, numbered, with what it is about."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rmmbench.results.counts import COUNTS
from rmmbench.results.record import Conditions, Memory, Record
from rmmbench.results.timing import TIMING_COLUMNS
from rmmbench.spec.case_titles import case_titles

_SECTIONS: Final = {
    **{name: f"conditions.{name}" for name in Conditions.model_fields},
    **{name: f"memory.{name}" for name in Memory.model_fields},
    **{name: f"timing.{name}" for name in TIMING_COLUMNS},
    **{name: "counts" for count in COUNTS for name in (count, f"relative_{count}")},
    "saving": "memory.peak_allocated_bytes",
    "relative_throughput_interval": "timing.relative_throughput_low",
    "gradient_error": "gradient",
    "noise_inflation": "gradient",
    "effective_samples_per_second": "timing.samples_per_second",
}
"""Where in a record the number of a column is from."""


@dataclass(frozen=True)
class Reason:
    """Why some numbers are missing.

    Attributes:
        what: The numbers, by their dotted paths in a record.
        cases: How many cases lack one of them.
        names: Those cases, if they are few.
    """

    number: int
    text: str
    what: tuple[str, ...]
    cases: int
    names: tuple[str, ...]


MOST_NAMES = 3


class Reasons:
    """The reasons of the records of a run, and the one that stands for an empty cell."""

    def __init__(self, records: Iterable[Record]) -> None:
        """Take the last record of each case."""
        self._records = {record.key: record for record in records}
        paths: dict[str, dict[str, None]] = {}
        names: dict[str, dict[str, str]] = {}
        titles = case_titles(record.case for record in self._records.values())
        for record in self._records.values():
            for path, text in record.missing.items():
                paths.setdefault(text, {})[path] = None
                names.setdefault(text, {})[record.key] = titles[record.key]
        self.all = tuple(
            _reason(number, text, paths[text], list(names[text].values()))
            for number, text in enumerate(paths, 1)
        )
        self._numbers = {reason.text: reason.number for reason in self.all}

    def of(self, key: str, column: str) -> Reason | None:
        """Return why the case called `key` has no number in a column; None if nothing says so."""
        record, path = self._records.get(key), _SECTIONS.get(column)
        text = record.why_missing(path) if record and path else None
        return self.all[self._numbers[text] - 1] if text in self._numbers else None


def _reason(number: int, text: str, paths: Iterable[str], names: Sequence[str]) -> Reason:
    few = names if len(names) <= MOST_NAMES else ()
    what = tuple(map(_words, _sections(list(paths))))
    return Reason(number, text, what, len(names), tuple(few))


def _sections(paths: Sequence[str]) -> Sequence[str]:
    """Return the paths without those in a section that is missing as a whole."""
    whole = {path for path in paths if "." not in path}
    return [path for path in paths if path in whole or path.partition(".")[0] not in whole]


def _words(path: str) -> str:
    """Return a path in words: "timing: relative throughput low"."""
    return path.replace(".", ": ").replace("_", " ")
