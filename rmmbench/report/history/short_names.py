"""Names of cases without what all of them share."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

from rmmbench.report.check import wording
from rmmbench.report.history.series import Series


def short_names(series: Iterable[Series]) -> tuple[Mapping[str, str], str]:
    """Return a name by case key, and the words that all names began or ended with: "mlp 64"."""
    words = {each.key: wording.name(each.case).split() for each in series}
    several = list(words.values())
    first = _alike(several)
    last = _alike([each[first:][::-1] for each in several])
    if any(first + last >= len(each) for each in several):
        return {key: " ".join(each) for key, each in words.items()}, ""
    shared = several[0][:first] + several[0][len(several[0]) - last :]
    names = {key: " ".join(each[first : len(each) - last]) for key, each in words.items()}
    return names, " ".join(shared)


def _alike(several: Sequence[Sequence[str]]) -> int:
    """Return how many words all begin with."""
    columns = zip(*several, strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
