"""Tries the paper's claims one after the other."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from rmmbench import claims
from rmmbench.claims.claim import Claim, Finding, Verdict
from rmmbench.errors import UsageError, arguments_checked
from rmmbench.results.listing import Listing
from rmmbench.running.pieces import Kind, Piece
from rmmbench.running.progress import progress
from rmmbench.units import format_seconds

if TYPE_CHECKING:
    from pandas import DataFrame

_WEIGHTS = {"unbiased": 6.0, "sketch-variance": 4.0}
"""About how many seconds the claims take that take longer than one."""


class TriedClaim(NamedTuple):
    """A claim of the paper, and the results of trying it.

    Attributes:
        name: A name of `rmmbench list claims`.
        claim: The claim, with `title`, `statement` and `method`.
        findings: One for each case in which it was tried, with its `verdict`.
    """

    name: str
    claim: Claim
    findings: list[Finding]

    @property
    def holds(self) -> bool:
        """Whether the statement holds as printed in every case."""
        return all(finding.holds for finding in self.findings)


class TriedClaims(Listing[TriedClaim]):
    """The claims that were tried, one per row."""

    @property
    def counts(self) -> dict[Verdict, int]:
        """The number of findings with each verdict."""
        found = Counter(finding.verdict for each in self for finding in each.findings)
        return {verdict: found[verdict] for verdict in Verdict}

    @property
    def faults(self) -> list[str]:
        """The claims that this package relies on and that do not hold, each with its case."""
        return [f"{each.name} ({f.case})" for each in self for f in each.findings if f.is_fault]

    def cells(self, item: TriedClaim) -> Mapping[str, str]:
        """Return the text of each column by its heading."""
        counts = Counter(str(finding.verdict) for finding in item.findings)
        told = {verdict: str(counts[verdict] or "") for verdict in map(str, Verdict)}
        return {"claim": item.name, "of the paper": item.claim.title} | told

    def data(self) -> list[dict[str, Any]]:
        """Return the claims with their findings as data for JSON."""
        return [
            {"claim": each.name}
            | {name: getattr(each.claim, name) for name in ("title", "statement", "method")}
            | {"findings": [_data(finding) for finding in each.findings]}
            for each in self
        ]

    def frame(self) -> "DataFrame":
        """Return a pandas DataFrame with a row per finding."""
        from pandas import DataFrame

        rows = [{"claim": each.name} | _data(f) for each in self for f in each.findings]
        return DataFrame(rows).drop(columns="numbers", errors="ignore")


def _data(finding: Finding) -> dict[str, Any]:
    verdict = {"verdict": finding.verdict, "is_fault": finding.is_fault}
    return verdict | finding.model_dump()


@arguments_checked
def verify(names: str | Collection[str] = (), *, seed: int = 0, quiet: bool = False) -> TriedClaims:
    """Try the paper's claims by computing them, and return what holds.

    All claims together take a few minutes. They are computed on one thread; torch's number of
    threads is set back afterwards. A bar shows the progress in a terminal and in a notebook, and
    lines now and then elsewhere, on stderr.

    Args:
        names: One or several names of `rmmbench list claims`; by default all.
        seed: From 0 to 2³² - 1; all random numbers follow from it.
        quiet: Show no progress.

    Raises:
        UnknownNameError: If there is no claim of a name.
        UsageError: If the seed is out of its range.

    Examples:
        >>> import rmmbench
        >>> tried = rmmbench.verify("work", quiet=True)
        >>> tried[0].holds, tried[0].findings[0].verdict.value
        (False, 'holds as corrected')
    """
    asked = to_try([names] if isinstance(names, str) else names, seed)
    return TriedClaims(trying(asked, seed=seed, quiet=quiet))


def trying(names: Sequence[str], *, seed: int, quiet: bool) -> Iterator[TriedClaim]:
    """Try claims, and yield each once it is done; see `verify`."""
    with progress("claim", quiet=quiet) as told, _one_thread():
        told.expect(map(_piece, names))
        for name in names:
            start, claim, found = time.monotonic(), claims.get(name), []
            told.begin(name, _piece(name))
            told.working(name)
            for finding in claim.findings(seed):
                found.append(finding)
                told.working(f"{name}: {finding.case}")
            took = time.monotonic() - start
            told.finish(name, _piece(name), took, f"{name}: {format_seconds(took)}")
            yield TriedClaim(name, claim, found)


def _piece(name: str) -> Piece:
    return Piece((Kind("claim", _WEIGHTS.get(name, 1.0)),))


def to_try(names: Collection[str], seed: int) -> list[str]:
    """Return the names, each once, or by default those of all claims.

    Raises:
        UnknownNameError: If there is no claim of a name.
        UsageError: If the seed is out of its range.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed must be from 0 to {2**32 - 1}, got {seed}")
    return list(dict.fromkeys(claims.CLAIMS.check(name) for name in names or claims.names()))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: with small products, several threads wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
