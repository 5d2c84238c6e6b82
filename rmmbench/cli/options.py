"""Every option that commands share, declared once: one name, one meaning, one help text.

Settings of methods and sketches (--bits, --budget …) are no options yet; they would be generated
into `AXES` from their Settings.
"""

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rmmbench.cli import completing
from rmmbench.errors import UsageError, did_you_mean
from rmmbench.spec.choices import DTYPES, Attention, Kernel, Optimizer, Parallel

Device = Literal["auto", "cuda", "cpu", "predict"]
FigureFormat = Literal["html", "png", "svg", "pdf"]

_WHAT, _PRINTED = "What is measured", "What is printed"


def _argument(metavar: str, names: completing.Names, text: str) -> Any:
    return typer.Argument(metavar=metavar, autocompletion=names, help=text)


def _many(metavar: str, text: str, names: completing.Names | None = None) -> Any:
    """Return the option of an axis, which may be repeated or have values separated by commas."""
    complete = completing.after_commas(names) if names else None
    option = typer.Option(
        metavar=metavar, autocompletion=complete, rich_help_panel=_WHAT, help=text
    )
    return Annotated[list[str] | None, option]


ProfileName = Annotated[
    str,
    _argument("PROFILE", completing.profiles, "A name from `rmmbench list profiles`, or a file."),
]
ModelName = Annotated[
    str,
    _argument(
        "MODEL",
        completing.models,
        "A name from `rmmbench list models`, or hf:, or import:.",
    ),
]
RunPath = Annotated[
    Path, _argument("RUN", completing.runs, "A run directory, as `rmmbench sweep` writes it.")
]
RunPaths = Annotated[
    list[Path],
    _argument("RUN", completing.runs, "Run directories, as `rmmbench sweep` writes them."),
]

AXES: dict[str, Any] = {
    "model": _many(
        "NAME", "Names from `rmmbench list models`, or hf:, or import:.", completing.models
    ),
    "task": _many("NAME", "Names from `rmmbench list tasks`; they set shapes.", completing.tasks),
    "batch_size": _many("N", "Samples in a step."),
    "seq_len": _many("N", "Tokens in a sample, padding included."),
    "dtype": _many("DTYPE", f"Of {', '.join(DTYPES)}; without -true they are autocast."),
    "attention": Annotated[
        Attention | None,
        typer.Option(
            rich_help_panel=_WHAT,
            help="How transformers computes attention; eager keeps the probabilities.",
        ),
    ],
    "optimizer": Annotated[
        Optimizer | None,
        typer.Option(rich_help_panel=_WHAT, help="The optimizer."),
    ],
    "gpu": _many(
        "NAME", "Names from `rmmbench list gpus`; memory is predicted for them.", completing.gpus
    ),
    "attention_kernel": Annotated[
        Kernel | None,
        typer.Option(rich_help_panel=_WHAT, help="The kernel that sdpa takes."),
    ],
    "accumulate": Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=_WHAT, help="Micro-batches of each update."),
    ],
    "ranks": _many("N", "Processes that one step is spread over, a device each."),
    "parallel": Annotated[
        Parallel | None,
        typer.Option(rich_help_panel=_WHAT, help="How it is spread over ranks."),
    ],
    "method": _many(
        "NAME", "Names from `rmmbench list methods`, or stacks such as a+b.", completing.methods
    ),
    "plan": Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_WHAT,
            help="A plan that `rmmbench plan` wrote; in place of the methods, or of method plan.",
        ),
    ],
    "sketch": _many("NAME", "Names from `rmmbench list sketches`.", completing.sketches),
    "rho": _many("RATE", "Compression rates ρ, in (0, 1]; smaller saves more."),
    "seed": _many("N", "Seeds of the random numbers."),
}
"""The axes of a grid. Commas separate several values: --rho 0.5,0.1."""

Devices = Annotated[
    Device | None,
    typer.Option(
        help="Where to measure. auto is the GPU; without one, memory is predicted and time is "
        "measured on the CPU."
    ),
]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Optimizer steps of each run.")]
Data = Annotated[str | None, typer.Option(metavar="DIR", help="Directory with the task's data.")]
Checkpoint = Annotated[
    str | None, typer.Option(metavar="NAME|DIR", help="Pretrained weights to start from.")
]
Figures = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        autocompletion=completing.figures,
        help="Names from `rmmbench list figures`; repeatable.",
    ),
]
FigureFormats = Annotated[
    FigureFormat | None,
    typer.Option("--format", help="Format of the figures; by default that of --out, or html."),
]
Out = Annotated[Path | None, typer.Option(metavar="PATH", help="Where to write.")]
Retry = Annotated[
    bool, typer.Option("--retry", help="Measure cases again that failed or took too long.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List the cases, and measure none of them.")
]
AsJson = Annotated[
    bool,
    typer.Option("--json", rich_help_panel=_PRINTED, help="Print JSON and nothing else to stdout."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", rich_help_panel=_PRINTED, help="Print results and errors only."),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        rich_help_panel=_PRINTED,
        help="Log what happens; -vv logs more.",
    ),
]

Axes = dict[str, Any]
"""Values of a grid's axes by name; axes that were not given are absent."""


def takes_axes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of some `AXES` in place of its parameter `axes: Axes`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            axes = _axes({name: given.pop(name) for name in names})
            command(axes=axes, **given)

        return with_parameters(run, {name: (AXES[name], None) for name in names}, at="axes")

    return decorate


def with_parameters(
    run: Callable[..., None], added: Mapping[str, tuple[Any, Any]], *, at: str | None = None
) -> Callable[..., None]:
    """Return `run` with parameters that Typer makes options of.

    Args:
        run: A wrapper of a command.
        added: Annotation and default by name.
        at: The parameter that they replace; by default they come last.
    """
    new = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=of)
        for name, (of, default) in added.items()
    ]
    parameters: list[inspect.Parameter] = []
    for each in inspect.signature(run).parameters.values():
        own = each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        parameters += new if each.name == at else [own]
    if at is None:
        parameters += new
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def single(axes: Axes, **defaults: Any) -> dict[str, Any]:
    """Return one value for each axis: the given one, or the default.

    Raises:
        UsageError: If several values are given for an axis.
    """
    found = dict(defaults)
    for name, given in axes.items():
        values = given if isinstance(given, tuple) else (given,)
        if len(values) > 1:
            got = ", ".join(map(str, values))
            raise UsageError(f"{_flag(name)} must be one value for this command, got {got}")
        found[name] = values[0]
    return found


def words(given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the values of an option that is repeated or separated by commas.

    A comma before key=value goes on with a name: "hf:llama:hidden_size=64,vocab_size=8,mlp" is two.
    """
    pattern = r",(?!\s*\w+=)"
    texts = (word.strip() for text in given or () for word in re.split(pattern, text))
    return tuple(text for text in texts if text)


_NUMBERS: dict[str, type[int] | type[float]] = {
    "batch_size": int,
    "seq_len": int,
    "ranks": int,
    "rho": float,
    "seed": int,
}


def _axes(given: Mapping[str, Any]) -> Axes:
    """Return the values that options give to a grid's axes.

    Raises:
        UsageError: If a value that must be a number is none, or there is no such dtype.
    """
    found: Axes = {}
    for name, value in given.items():
        if isinstance(value, str | int):
            found[name] = value
        elif value and name in _NUMBERS:
            found[name] = _numbers(name, value)
        elif value:
            found[name] = words(value)
    if "plan" in found:
        from rmmbench.spec.saving_plan import read_plan

        found["plan"] = (read_plan(found["plan"]),)
        found.setdefault("method", ("plan",))
    for dtype in found.get("dtype", ()):
        if dtype not in DTYPES:
            must = f"--dtype must be one of {', '.join(DTYPES)}"
            raise UsageError(f"{must}, got '{dtype}'{did_you_mean(dtype, DTYPES)}")
    return found


def _numbers(name: str, given: Sequence[str]) -> tuple[float, ...]:
    kind = _NUMBERS[name]
    try:
        return tuple(kind(word) for word in words(given))
    except ValueError:
        noun = "whole numbers" if kind is int else "numbers"
        raise UsageError(f"{_flag(name)} must be {noun}, got '{','.join(given)}'") from None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
