"""The words for a finding, in a line or in the cells of a table."""

import textwrap

from rmmbench.report.check.report import FAILING, Finding, Report, Verdict
from rmmbench.spec.case import Case
from rmmbench.spec.known_settings import absent, choices
from rmmbench.units import format_bytes, format_flops, format_percent

PROSE = {
    "peak_allocated_bytes": "peak memory",
    "saved_bytes": "saved bytes",
    "reserved_bytes": "reserved memory",
    "flops": "FLOP",
    "moved_bytes": "moved bytes",
    "operator_calls": "operator calls",
    "converted": "converted layers",
    "relative_throughput": "throughput",
    "product_ratio": "product ratio",
    "samples_per_second": "samples/s",
    "train_samples_per_second": "training samples/s",
    "gradient_error": "gradient error",
    "noise_inflation": "noise inflation",
    "eval_loss": "evaluation loss",
    "score": "score",
    "outcome": "outcome",
}
_COUNTED = {"converted", "flops", "operator_calls"}
_IN_BYTES = {"peak_allocated_bytes", "saved_bytes", "reserved_bytes", "moved_bytes"}
_LONG = 10**7  # a count with more digits is told in a unit
_UNSAID = {"timing", "training", "timeline", "memory_device", "time_device"}
_IN_NAME = {"model", "task", "batch_size", "seq_len", "method", "sketch", "rho", "proj_dim"}


def settings(case: Case) -> str:
    """Return the case as settings: "model=mlp batch_size=64 sketch=dct rho=0.1"."""
    said = _given(case)
    if "sketch" in said:
        del said["method"]
    return " ".join(f"{key}={_value(value)}" for key, value in said.items())


def name(case: Case) -> str:
    """Return the case as a table shows it: "roberta-base mrpc 128×98 gaussian ρ=0.5"."""
    in_name = {*_IN_NAME, *choices()}
    others = {key: value for key, value in _given(case).items() if key not in in_name}
    rest = [f"{key}={_value(value)}" for key, value in others.items()]
    return " ".join(filter(None, [case.model, case.task, case.shape, case.label, *rest]))


def line(finding: Finding) -> str:
    """Return the finding in one line: what happened, by how much, the limit, and the case."""
    return f"{_event(finding)}: {settings(finding.case)}"


def failure(report: Report) -> str:
    """Return why a check fails: how many cases, in which way, and the gravest of them."""
    count = sum(report.counts.get(verdict, 0) for verdict in FAILING)
    what = "regressed, failed or are missing"
    if not count:
        count = sum(report.fails(case.verdict) for case in report.cases)
        what = "are not comparable"
        if Verdict.NOT_COMPARABLE not in report.counts:
            what = "have not enough evidence"
    worst = line(report.findings[0])
    return f"{count} of {len(report.cases)} cases {what}; the gravest: {worst}"


def verdict(finding: Finding) -> str:
    """Return the verdict; if noise hides small falls, the size of those that would be seen."""
    return _doubt(finding) or finding.verdict.value


def _doubt(finding: Finding) -> str:
    """Return how large a fall would be seen, if noise hides smaller ones; else ""."""
    if finding.verdict is not Verdict.NOT_ENOUGH_EVIDENCE or finding.excluded_fall is None:
        return ""
    return f"cannot tell below {format_percent(finding.excluded_fall)}"


def _given(case: Case) -> dict[str, object]:
    """Return the method, and the settings of the case that are not the default."""
    said: dict[str, object] = {}
    for name, field in Case.model_fields.items():
        if name == "steps":
            own = {key: value for key, value in case.settings.items() if value != absent()[key]}
            said |= {"method": case.method, **own}
        elif name not in _UNSAID and getattr(case, name) != field.default:
            said[name] = getattr(case, name)
    return said


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()  # as in a profile
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _event(finding: Finding) -> str:
    if finding.difference is not None:
        way = "rose" if finding.difference > 0 else "fell"
        size = signed(finding).lstrip("+-")
        moved = f"{way} {size}" if finding.difference else "did not change"
        most = limit(finding)
        more = filter(None, [most and f"limit {most}", _doubt(finding), finding.reason])
        return f"{finding.what} {moved} ({', '.join(more)})"
    before, now = (shown(finding.what, value) for value in (finding.baseline, finding.now))
    why = f" ({shortened(finding.reason)})" if finding.reason else ""
    if finding.now is None:
        what = "the case" if finding.what == "outcome" else finding.what
        return f"{what} is missing, was {before}{why}"
    if finding.baseline is None:
        return f"{finding.what} is new, {now}{why}"
    if finding.now == finding.baseline:
        return f"{finding.what} is still {now}{why}"
    return f"{finding.what} is now {now}, was {before}{why}"


def signed(finding: Finding) -> str:
    """Return the difference in the unit of its limit: a percentage, bytes, or a count."""
    if finding.difference is None:
        return ""
    if finding.what in _COUNTED:
        return f"{finding.difference:+,d}"
    is_in_bytes = finding.what in _IN_BYTES and finding.tolerance is None
    if not is_in_bytes and finding.change is not None:
        return format_percent(finding.change, signed=True)
    size = format_bytes(finding.difference)
    return f"+{size}" if finding.difference > 0 else size


def limit(finding: Finding) -> str:
    """Return the largest difference allowed; "" if there is no limit."""
    if finding.limit is None:
        return ""
    if finding.tolerance is not None:
        return format_percent(finding.tolerance)
    if finding.what in _COUNTED:
        return str(finding.limit)
    return format_bytes(finding.limit)


def shown(what: str, value: float | str | None) -> str:
    """Format a value of the baseline or the run; "–" for None."""
    if isinstance(value, str) or value is None:
        return (value or "–").replace("_", " ")
    if what in _COUNTED:
        return f"{value:,d}" if value < _LONG else format_flops(value)
    if what in _IN_BYTES:
        return format_bytes(value)
    if what.endswith("samples_per_second"):
        return f"{value:.4g}/s"
    return f"{value:.3f}" if what == "relative_throughput" else f"{value:.4g}"


def shortened(reason: str) -> str:
    """Return a reason, which may quote a program's output, in a line of 200 characters at most."""
    return textwrap.shorten(reason, 200, placeholder=" …")
