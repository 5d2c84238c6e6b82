"""Names of cases for people: names have what tells cases apart, captions have the rest."""

import math
from collections.abc import Collection, Iterable, Sequence

from rmmbench.results.record import Environment
from rmmbench.results.tidy import CELL, Row, interval, shared
from rmmbench.spec.case import STEP, Case
from rmmbench.spec.known_settings import in_words, stack_name
from rmmbench.spec.tasks import TASKS

EXACT, PAPERS_EXACT = "exact", "No RMM"
"""The name of the unchanged model, and its name in redrawn figures of the paper."""
ROUNDING = 1e-4
"""The gradient error that rounding alone can cause: that of float32 sums in another order."""

_WORDS = {
    "batch_size": "batch {}",
    "seq_len": "{} tokens",
    "attention": "{} attention",
    "attention_kernel": "{} kernel",
    "accumulate": "{} micro-batches",
    "drop_gradients": "gradients dropped {}",
    "zeroed_gradients": "gradients kept as zeros",
    "clip_norm": "clipped to {:g}",
    "update": "{} update",
    "ranks": "{} ranks",
    "reshard": "parameters kept after the forward pass",
    "seed": "seed {}",
}
_USUALLY = {
    "attention_kernel": "usual kernel",
    "accumulate": "1 micro-batch",
    "drop_gradients": "gradients dropped after-step",
    "zeroed_gradients": "gradients not kept",
    "clip_norm": "not clipped",
    "update": "usual update",
    "ranks": "1 rank",
    "parallel": "not spread",
    "reshard": "parameters given back",
}
_USUAL = {name: Case.model_fields[name].default for name in STEP}
_LIMITS = {"min_proj_dim": "≥", "max_proj_dim": "≤"}


def task(name: str) -> str:
    """Return a task's name as the paper prints it: "MRPC" for "mrpc"."""
    return TASKS[name].label if name in TASKS else name


def place(row: Row, columns: Iterable[str]) -> str:
    """Return what is measured, limited to `columns`: "roberta-base · MRPC · 128×98".

    What a step mostly is, is said only where it alone is asked for.
    """
    columns = tuple(columns)
    names = [name for name in columns if row[name] is not None and row[name] != _USUAL.get(name)]
    if row["seq_len"] is None and "attention" in names:
        names.remove("attention")
    parts = {name: _WORDS.get(name, "{}").format(row[name]) for name in names}
    if "task" in parts:
        parts["task"] = task(row["task"])
    if "ranks" in parts and "parallel" in parts:
        parts["ranks"] = f"{row['parallel']} × {row['ranks']}"
        del parts["parallel"]
    if "batch_size" in parts and "seq_len" in parts:
        parts["batch_size"] = f"{row['batch_size']}×{row['seq_len']}"
        del parts["seq_len"]
    elif "batch_size" in parts and row["model"].partition(":")[0] == "linear":
        parts["batch_size"] = f"{row['batch_size']} rows"
    if not parts and len(columns) == 1:
        return _USUALLY.get(columns[0], "")
    return " · ".join(parts.values())


def shared_place(rows: Sequence[Row]) -> str:
    """Return the part of the place that all rows share, but for dtype, which `provenance` has."""
    return place(rows[0], shared(rows, [name for name in CELL if name not in ("dtype", "seed")]))


def rate(row: Row) -> str:
    """Return how much is kept: "ρ=0.5", "proj_dim=64", or "" for a case without a rate."""
    if row["proj_dim"] is not None:
        return f"proj_dim={row['proj_dim']}"
    return f"ρ={row['rho']:g}" if row["rho"] is not None else ""


def rate_name(row: Row) -> str:
    """Return how much is kept, or "no rate"."""
    return rate(row) or "no rate"


def kind(row: Row, columns: Collection[str] = ()) -> str:
    """Return the sketch, or the methods by name, and the settings in `columns`.

    Settings that mostly keep their default are named only if they differ: "oporp, beneficial
    layers".
    """
    parts = [stack_name(row)]
    for name, sign in _LIMITS.items():
        if name in columns and row[name] is not None:
            parts.append(f"proj_dim{sign}{row[name]}")
    patterns = [name for name in ("include", "exclude") if name in columns and row[name]]
    named = " ".join(parts + [f"{name} {row[name]}" for name in patterns])
    return ", ".join([named, *in_words(row, columns)])


def setting(row: Row, columns: Collection[str] = ("sketch",)) -> str:
    """Return how memory is saved: "gaussian ρ=0.5", "exact".

    The kind is left out if `columns` do not ask for it and there is a rate.
    """
    if row["method"] == "exact":
        return EXACT
    named = set(columns) - {"rho", "proj_dim"} or not rate(row)
    return " ".join(filter(None, [kind(row, columns) if named else "", rate(row)]))


def gradient_error(row: Row) -> str:
    """Format the error of weight gradients: "0.55 ± 0.02"; "0" if it is only rounding."""
    error, spread = row["gradient_error"], row["gradient_error_spread"]
    if error is None:
        return ""
    if error < ROUNDING:
        return "0"
    most = 2 - math.floor(math.log10(error))
    if not spread or round(spread, most) == 0:
        return f"{error:.{max(most, 0)}f}"
    # As many digits as the spread justifies, but no more than three significant ones.
    digits = max(0, min(most, -math.floor(math.log10(spread))))
    return f"{error:.{digits}f} ± {spread:.{digits}f}"


def has_exact_gradient(row: Row) -> bool | None:
    """Return whether a case's gradient is exact but for rounding; None if unknown.

    In float32 the measured error decides, if there is one. In lower precision rounding errors are
    as large as those of some methods, so the method's own claim decides.
    """
    if row["method"] == "exact":
        return True
    if row["gradient_error"] is not None and row["dtype"] == "float32":
        return bool(row["gradient_error"] < ROUNDING)
    known: bool | None = row["exact_gradient"]
    return known


def ratio_interval(row: Row, name: str = "relative_throughput") -> str:
    """Format the confidence interval of a ratio: "0.89–1.23"; "" if there is none."""
    if row[name] is None:
        return ""
    low, high = interval(row, name)
    if low == high:
        return ""
    digits = max(2, -math.floor(math.log10(high - low)))
    return f"{low:.{digits}f}–{high:.{digits}f}"


CONTEXT = (
    "Limits go by what is reserved; nvidia-smi shows more: the process's CUDA context too, about "
    "0.3 to 1.3 GiB."
)
"""What has to be known of reserved bytes, once where people read them."""


def has_reserved(rows: Iterable[Row]) -> bool:
    """Return whether it is known of any of the rows what the caching allocator reserves."""
    return any(row["reserved_bytes"] is not None for row in rows)


def _holder(rows: Iterable[Row]) -> str:
    """Return a sentence on what holds predicted memory, if that is not a GPU."""
    sized = [
        row
        for row in rows
        if row["memory_device"] == "predict" and row["peak_allocated_bytes"] is not None
    ]
    return "Predicted memory is what a CPU would hold" if sized and not has_reserved(sized) else ""


_WHERE = {
    "memory": ("memory_device",),
    "time": ("time_device", "projection_device"),
    "training": ("time_device",),
}


def provenance(
    rows: Iterable[Row],
    environment: Environment,
    synthetic: str,
    subjects: Collection[str] = ("memory", "time"),
) -> str:
    """Return a sentence or two on how the rows' numbers were found and what is synthetic.

    Only `subjects` are mentioned: "memory", "time" and "training".
    """
    rows = list(rows)
    machine = {"cpu": environment.processor or "a CPU", "cuda": str(environment.gpu)}
    how = {"predict": "predicted on fake tensors"}
    how |= {device: f"measured on {name}" for device, name in machine.items()}
    by_source: dict[str, list[str]] = {}
    for subject in subjects:
        devices = {row[where] for row in rows for where in _WHERE[subject]}
        for device in sorted(devices - {None}):
            if subject == "training":
                by_source.setdefault(f"trained on {machine[device]}", [])
            else:
                by_source.setdefault(how[device], []).append(subject)
    sources = "; ".join(
        " ".join(filter(None, [" and ".join(what), source])) for source, what in by_source.items()
    )
    dtypes = ", ".join(sorted({row["dtype"] for row in rows}))
    holder = _holder(rows) if "memory" in subjects else ""
    nodes = sorted({row["node"] for row in rows if row.get("node")})
    where = f"Cases ran on {' and '.join(nodes)}" if len(nodes) > 1 else ""
    said = [f"{sources} with torch {environment.torch}, {dtypes}", holder, where, synthetic]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in said if text)
