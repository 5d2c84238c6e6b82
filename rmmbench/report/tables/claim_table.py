"""The table of one claim of the paper: what it says, and the result of trying it."""

from collections.abc import Sequence

from rmmbench.claims.claim import Claim, Finding, Verdict
from rmmbench.report.tables.table import Column, Table, Tone, build

_COLUMNS: list[Column[Finding]] = [
    Column("case", "", lambda finding: finding.case, is_number=False),
    Column("paper", "the paper", lambda finding: finding.paper or "–", is_number=False),
    Column("here", "here", lambda finding: finding.here, is_number=False),
    Column("verdict", "", lambda finding: str(finding.verdict), is_number=False),
]


def claim_table(claim: Claim, found: Sequence[Finding]) -> Table:
    """Return a row per finding, with the claim above and the reasons why some fail below."""
    return build(
        found,
        _COLUMNS,
        tone=_tone,
        toned="verdict",
        title=claim.title,
        lead=(f"The paper: {claim.statement}.", f"Here: {claim.method}."),
        warnings=tuple(f"{', '.join(cases)}: {why}" for why, cases in _reasons(found).items()),
    )


def _reasons(found: Sequence[Finding]) -> dict[str, list[str]]:
    """Return the cases in which the claim does not hold, by reason."""
    reasons: dict[str, list[str]] = {}
    for finding in found:
        if finding.verdict is not Verdict.HOLDS:
            reasons.setdefault(finding.why, []).append(finding.case)
    return reasons


def _tone(finding: Finding) -> Tone:
    if finding.is_fault:
        return "failed"
    return "good" if finding.verdict is Verdict.HOLDS else "doubtful"
