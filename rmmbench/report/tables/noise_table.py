"""The table of a layer's gradient noise: SGD's own, and what each sketch adds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rmmbench.report.tables.kept_table import kept_tables
from rmmbench.report.tables.table import Column, Table, build
from rmmbench.results.gradient_noise import DrawnNoise, LayerNoise
from rmmbench.results.store import Run
from rmmbench.results.trained import Training

# Layers that have a table of their own; all of them are in the records.
_LAYERS = 2


@dataclass(frozen=True)
class _Noise:
    """One source of noise; its numbers are fractions of the squared norm of the weight gradient."""

    name: str
    share: float
    inflation: float | None = None
    batch: float | None = None
    drawn: float | None = None
    standard_error: float | None = None


def noise_tables(run: Run) -> list[Table]:
    """Return, per training run, a table of ways to keep X and one of each of a few layers.

    A layer's is of the last watched step.
    """
    tables = []
    for record in run.records():
        if record.training and record.training.noise:
            last = {each.layer: each for each in record.training.noise}.values()
            tables += kept_tables(record)
            tables += [
                _table(
                    f"{record.case.label}, {each.layer}, step {each.step}", each, record.training
                )
                for each in list(last)[:_LAYERS]
            ]
    return tables


def _table(title: str, noise: LayerNoise, training: Training) -> Table:
    drawn = [each for each in training.drawn_noise if each.layer == noise.layer]
    told = "held" if noise.holds else "did not hold"
    notes = (
        f"α = {noise.alpha:.3g}; eq. 12 {told} here. D² as a share of ‖∂W‖². Effective batch: how "
        f"many of {noise.samples} samples have an exact gradient as noisy. "
        "Drawn: mean of the squared errors ± its standard error."
    )
    return build(list(_lines(noise, drawn)), _COLUMNS, title=title, notes=(notes,))


def _short(value: float) -> str:
    return f"{value:.3g}"


_COLUMNS: list[Column[_Noise]] = [
    Column("noise", "noise of", lambda each: each.name, is_number=False),
    Column("share", "D² ÷ ‖∂W‖²", lambda each: each.share, _short),
    Column(
        "drawn_share",
        "drawn",
        lambda each: each.drawn,
        text=lambda each: (
            "" if each.drawn is None else f"{each.drawn:.3g} ± {each.standard_error:.2g}"
        ),
    ),
    Column("noise_inflation", "noise\ninflation", lambda each: each.inflation, _short),
    Column("effective_batch_size", "effective\nbatch", lambda each: each.batch, _short),
]


def _lines(noise: LayerNoise, drawn: Sequence[DrawnNoise]) -> Iterator[_Noise]:
    size = noise.g or 1.0
    yield _Noise("SGD, rows as samples", noise.sgd_by_rows / size)
    yield _Noise("SGD, whole samples", noise.sgd_by_samples / size, 1, noise.samples)
    yield _Noise("gaussian by eq. 11", noise.papers_variance / size)
    for sketch, variance in noise.variances.items():
        here = (sketch, noise.proj_dim, noise.bits)
        same = [d for d in drawn if (d.sketch, d.proj_dim, d.bits) == here and d.exact]
        numbers = [noise.inflation(sketch), noise.effective_batch_size(sketch)]
        for one in same[:1]:
            numbers += [one.measured / one.exact, one.standard_error / one.exact]
        named = [sketch]
        named += [f"{noise.bits} bits"] if noise.bits else []
        named += [f"{noise.principal} principal"] if noise.principal else []
        yield _Noise(", ".join(named), variance / size, *numbers)
