"""The tables of a calibration: steps, predicted and measured, and kernels beside their twins."""

from functools import partial

from rmmbench.report import labels
from rmmbench.report.tables.table import Column, Table, Tone, build, unseen
from rmmbench.results.held import Calibration, KernelTwin, Pair
from rmmbench.spec.case import Case
from rmmbench.units import MIB

_HEADINGS = {
    "peak_live_bytes": "live",
    "peak_allocated_bytes": "allocated",
    "reserved_bytes": "reserved",
}
_TOLD = ("dtype", "attention", "attention_kernel", "accumulate", "clip_norm", "update")
"""What of a step is told beside the way of saving memory."""

_TONES: dict[str, Tone] = {"ok": "good", "off": "failed", "failed": "doubtful", "left out": "faint"}


def calibration_tables(found: Calibration) -> list[Table]:
    """Return a row a step with its errors, and a row a kernel; the verdict is below the last."""
    here = found.environment
    about = [found.title, f"torch {here.torch}", here.driver and f"driver {here.driver}"]
    about += [found.gpu and f"predicted as --gpu {found.gpu}"]
    tables = [
        build(
            found.pairs,
            _pair_columns(),
            tone=lambda pair: _TONES[pair.verdict],
            section=_model,
            toned="verdict",
            title="Steps, predicted and measured",
            lead=(" · ".join(filter(None, about)),),
            warnings=tuple(_reasons(found)),
            notes=(
                "MiB, predicted and measured; errors are predicted ÷ measured − 1.",
                "ok: allocated within 1 %, reserved within 5 %.",
            ),
        )
    ]
    if found.twins:
        tables.append(
            build(
                found.twins,
                _KERNEL_COLUMNS,
                tone=lambda twin: _TONES[twin.verdict],
                toned="verdict",
                title="Triton's kernels and their PyTorch twins",
                warnings=tuple(
                    f"{twin.kernel}: {twin.reason}" for twin in found.twins if twin.reason
                ),
                notes=("The largest difference is relative to the twin's largest number.",),
            )
        )
    return tables


def step_of(pair: Pair) -> str:
    """Return a step in words: "oporp ρ=0.5 · bfloat16 · sdpa attention"."""
    row = pair.measured.row()
    told = [name for name in _TOLD if row[name] != Case.model_fields[name].default]
    return " · ".join(filter(None, [pair.case.label, labels.place(row, told) if told else ""]))


def _model(pair: Pair) -> str:
    return f"{pair.case.model} {pair.case.shape}"


def _pair_columns() -> list[Column[Pair]]:
    columns: list[Column[Pair]] = [
        Column("model", "model", _model, is_number=False, is_said_once=True),
        Column("step", "step", step_of, is_number=False),
    ]
    for name, heading in _HEADINGS.items():
        for side in ("predicted", "measured"):
            value = partial(_bytes, name, side)
            columns.append(Column(f"{side}_{name}", f"{heading}\n{side}", value, _mebibytes))
        columns.append(Column(f"{name}_error", "\nerror", partial(Pair.error, name=name), _percent))
    columns += [
        unseen("predicted_flops", lambda pair: getattr(pair.predicted.counts, "flops", None)),
        unseen("reason", lambda pair: pair.reason),
        Column("verdict", "", lambda pair: pair.verdict, is_number=False),
    ]
    return columns


def _bytes(name: str, side: str, pair: Pair) -> int | None:
    measured, predicted = pair.bytes_of(name)
    return predicted if side == "predicted" else measured


def _mebibytes(n_bytes: int) -> str:
    return f"{n_bytes / MIB:.1f}"


def _percent(error: float) -> str:
    return f"{100 * error:+.2f} %"


def _reasons(found: Calibration) -> list[str]:
    """Return a line for each reason why steps cannot be compared, with how many it is of."""
    reasons: dict[str, list[str]] = {}
    for pair in found.pairs:
        if pair.reason:
            reasons.setdefault(pair.reason, []).append(step_of(pair))
    return [f"{', '.join(steps)}: {reason}" for reason, steps in reasons.items()]


_KERNEL_COLUMNS: list[Column[KernelTwin]] = [
    Column("kernel", "kernel", lambda twin: twin.kernel, is_number=False),
    Column("dtype", "", lambda twin: twin.dtype, is_number=False),
    Column("difference", "largest\ndifference", lambda twin: twin.difference, lambda n: f"{n:.2g}"),
    Column("limit", "rounding\nallows", lambda twin: twin.limit, lambda n: f"{n:.2g}"),
    Column("kernel_bytes", "kernel\nMiB", lambda twin: twin.kernel_bytes, _mebibytes),
    Column("twin_bytes", "twin\nMiB", lambda twin: twin.twin_bytes, _mebibytes),
    unseen("reason", lambda twin: twin.reason),
    Column("verdict", "", lambda twin: twin.verdict, is_number=False),
]
