"""`rmmbench plan`: how a model is to save memory so that it fits a limit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmmbench.cli.options import AsJson, Axes, ModelName, Out, single, takes_axes
from rmmbench.cli.streams import write_json
from rmmbench.cli.telling import is_quiet, note
from rmmbench.errors import ArgumentError, did_you_mean
from rmmbench.running.interrupts import keeping
from rmmbench.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmmbench.running.planning.plans import Plans, Sought
    from rmmbench.running.planning.verification import Verified

_LIMIT = "What a plan must fit"


@takes_axes(
    *("task", "batch_size", "seq_len", "dtype", "attention", "attention_kernel", "optimizer"),
    *("accumulate", "ranks", "parallel", "gpu", "sketch"),
)
def plan(
    model: ModelName,
    axes: Axes,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", rich_help_panel=_LIMIT, help="What there is: 24GiB."),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE", rich_help_panel=_LIMIT, help="Or what is to be saved of it: 30%."
        ),
    ] = None,
    max_inflation: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            rich_help_panel=_LIMIT,
            help="The most noise of the gradient, × SGD's own; needs --noise.",
        ),
    ] = None,
    min_throughput: Annotated[
        float | None,
        typer.Option(metavar="X", rich_help_panel=_LIMIT, help="The least speed, × exact's."),
    ] = None,
    noise: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A noise file, of `rmmbench variance --save`."),
    ] = None,
    ratios: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A run of `linear` on your device: time as it measured."),
    ] = None,
    choose: Annotated[
        str | None,
        typer.Option(metavar="PLAN", help="The plan to write, as the table names it."),
    ] = None,
    out: Out = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Measure the plans too, on the CPU: gradients and speed."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find for each layer and block how to save, so that a training step fits in a memory.

    Up to three plans are shown: the fastest with exact gradients, that with the least noise, and
    the fastest for its noise, which is written to --out, by default plan.toml. Each option takes
    one value.

    Everything is predicted on fake tensors; no GPU is needed.

    Examples:
      rmmbench plan roberta-base --task mrpc --memory 2.7GiB
      rmmbench plan roberta-base --batch-size 128 --save 30% --gpu v100-16gb
      rmmbench plan roberta-base --save 20% --noise noise.json --max-inflation 1.2
      rmmbench plan hf:llama --memory 24GiB --batch-size 4 --choose "least noise"
    """
    from rmmbench.running.planning.planner import plan as make_plans

    out = Path("plan.toml") if out is None else out
    if out.is_dir() or not out.parent.is_dir():
        # Known before the search, which takes a while.
        raise ArgumentError("out", f" must name a file in a folder that is there, got '{out}'")
    asked = single(axes, dtype="float32", attention="eager", sketch="oporp")
    limits: dict[str, Any] = {"memory": memory, "save": save, "max_inflation": max_inflation}
    limits |= {"min_throughput": min_throughput, "noise": noise, "ratios": ratios}
    note(f"planning {model}: its training step is followed; nothing is allocated")
    with keeping(lambda: "no plan is written; the same command begins anew"):
        plans = make_plans(model, quiet=is_quiet(), **limits, **asked)
    chosen = _chosen(plans, choose)
    if chosen is not None:
        chosen.save(out)
    measured = _measured(plans, out) if verify and chosen is not None else None
    if as_json:
        written = str(out) if chosen else None
        told = {} if measured is None else {"measured": [each._asdict() for each in measured]}
        write_json(plans.data() | {"written": written} | told)
        return
    _show(plans, chosen, out, measured or ())


def _measured(plans: "Plans", out: Path) -> "list[Verified]":
    from rmmbench.running.planning.verification import verify_plans

    note("measuring the plans on the CPU, each in turns with the unchanged model")
    with keeping(lambda: f"the plan is in {out}, and was not measured to the end"):
        return verify_plans(plans, quiet=is_quiet())


def _chosen(plans: "Plans", name: str | None) -> "Sought | None":
    """Return the plan to write.

    Raises:
        ArgumentError: If there is none of that name.
    """
    if name is None or not plans.found:
        return plans.best
    found = {each: line for line in plans.found for each in line.names}
    if name not in found:
        choice = f"{did_you_mean(name, found)}; choose from: {', '.join(found)}"
        raise ArgumentError("choose", f" must be a plan that fits, got '{name}'{choice}")
    return found[name]


def _show(
    plans: "Plans", chosen: "Sought | None", out: Path, measured: "Sequence[Verified]"
) -> None:
    from rmmbench.cli.drawn import print_tables
    from rmmbench.report.tables.plan_table import plan_table, verified_table

    tables = [plan_table(plans)]
    print_tables(
        [*tables, *([verified_table(measured, "CPU", plans.case.ranks)] if measured else [])]
    )
    if chosen is None:
        needs = f"{format_bytes(plans.exact.needed_bytes)}{plans.case.on_each}"
        note(f"the unchanged model needs {needs}, which fits: no plan is needed, none is written")
        return
    note(f"{', '.join(chosen.names)} is in {out}, made in {format_seconds(plans.seconds)}")
    note(f'use it:     rmmbench.convert(model, plan="{out}")')
    over = f" --ranks {plans.case.ranks} --parallel {plans.case.parallel}"
    over = over if plans.case.ranks > 1 else ""
    note(f"measure it: rmmbench sweep PROFILE --plan {out}{over}; so do train and max-batch")
