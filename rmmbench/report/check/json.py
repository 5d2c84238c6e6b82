"""The report as JSON, in SI units."""

import json

from rmmbench.report.check.report import Finding, Report

SCHEMA_VERSION = 1


def write(report: Report) -> str:
    """Return everything in the report; a missing number is null."""
    data = {
        "schema_version": SCHEMA_VERSION,
        "run": report.run,
        "baseline": report.baseline,
        "passed": not report.exit_code,
        "exit_code": int(report.exit_code),
        "strict": report.strict,
        "counts": {verdict.value: count for verdict, count in report.counts.items()},
        "warnings": report.warnings,
        "cases": [
            {
                "key": result.key,
                "case": result.case.flat(),
                "verdict": result.verdict.value,
                "findings": [_finding(finding) for finding in result.findings],
            }
            for result in report.cases
        ],
    }
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finding(finding: Finding) -> dict[str, object]:
    names = ["what", "baseline", "now", "change", "limit", "tolerance", "reason", "excluded_fall"]
    values = {name: getattr(finding, name) for name in names}
    return {"verdict": finding.verdict.value} | values
