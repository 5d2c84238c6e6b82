"""Every option that commands share, declared once: one name, one meaning, one help text.

What a method or a sketch can be set to (--bits, --budget …) is no option yet: it belongs in `AXES`,
generated from their Settings.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rmmbench.cli import completing
from rmmbench.errors import UsageError, did_you_mean


class Device(StrEnum):
    """Where a command measures."""

    AUTO = "auto"
    CUDA = "cuda"
    CPU = "cpu"
    PREDICT = "predict"


DTYPES = ("float32", "bfloat16")


class Attention(StrEnum):
    """How transformers computes attention."""

    EAGER = "eager"
    SDPA = "sdpa"


class Optimizer(StrEnum):
    """What takes the steps."""

    ADAM = "adam"
    ADAMW = "adamw"
    SGD = "sgd"


class FigureFormat(StrEnum):
    """What figures are written as."""

    HTML = "html"
    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


_WHAT, _TOLD = "What is measured", "What is printed"


def _argument(metavar: str, names: completing.Names, text: str) -> Any:
    return typer.Argument(metavar=metavar, autocompletion=names, help=text)


def _many(metavar: str, text: str, names: completing.Names | None = None) -> Any:
    """Return the option of an axis: it is repeated, or its values are separated by commas."""
    complete = completing.after_commas(names) if names else None
    option = typer.Option(
        metavar=metavar, autocompletion=complete, rich_help_panel=_WHAT, help=text
    )
    return Annotated[list[str] | None, option]


ProfileName = Annotated[
    str,
    _argument("PROFILE", completing.profiles, "A name of `rmmbench list profiles`, or a file."),
]
ModelName = Annotated[
    str,
    _argument(
        "MODEL",
        completing.models,
        "A name of `rmmbench list models`, or hf:, or import:.",
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
        "NAME", "Names of `rmmbench list models`, or hf:, or import:.", completing.models
    ),
    "task": _many("NAME", "Names of `rmmbench list tasks`; a task sets shapes.", completing.tasks),
    "batch_size": _many("N", "Samples in a step."),
    "seq_len": _many("N", "Tokens in a sample, with its padding."),
    "dtype": _many("|".join(DTYPES), "Data types; bfloat16 is by autocast."),
    "attention": Annotated[
        Attention | None,
        typer.Option(
            rich_help_panel=_WHAT,
            help="How transformers computes attention; eager keeps its probabilities.",
        ),
    ],
    "optimizer": Annotated[
        Optimizer | None, typer.Option(rich_help_panel=_WHAT, help="What takes the steps.")
    ],
    "method": _many(
        "NAME", "Names of `rmmbench list methods`, or stacks such as a+b.", completing.methods
    ),
    "sketch": _many("NAME", "Names of `rmmbench list sketches`.", completing.sketches),
    "rho": _many("RATE", "Compression rates ρ, in (0, 1]; smaller saves more."),
    "seed": _many("N", "Seeds of the random numbers."),
}
"""The axes of a grid. Several values of one are separated by commas: --rho 0.5,0.1."""

Devices = Annotated[
    Device | None,
    typer.Option(
        help="Where to measure. auto is the GPU, or without one a prediction of the memory, and "
        "the time on the CPU."
    ),
]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Optimizer steps of each run.")]
Data = Annotated[str | None, typer.Option(metavar="DIR", help="Where the data of the task is.")]
Checkpoint = Annotated[
    str | None, typer.Option(metavar="NAME|DIR", help="Pretrained weights to start from.")
]
Figures = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        autocompletion=completing.figures,
        help="Names of `rmmbench list figures`; repeatable.",
    ),
]
FigureFormats = Annotated[
    FigureFormat | None,
    typer.Option("--format", help="Format of the figures; html if --out does not tell."),
]
Out = Annotated[Path | None, typer.Option(metavar="PATH", help="Where to write.")]
Retry = Annotated[
    bool, typer.Option("--retry", help="Measure the cases again that failed or took too long.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List the cases, and measure none of them.")
]
AsJson = Annotated[
    bool,
    typer.Option("--json", rich_help_panel=_TOLD, help="Print JSON and nothing else to stdout."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", rich_help_panel=_TOLD, help="Print results and errors only."),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        rich_help_panel=_TOLD,
        help="Log what happens; -vv logs more.",
    ),
]

Axes = dict[str, Any]
"""What options say of a grid's axes, by their names there; nothing of those not given."""


def takes_axes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command have the options of some `AXES`, where it has the parameter `axes`.

    The command is given `Axes`.
    """

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
        at: The parameter whose place they take; they come last if not given.
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
    """Return one value for each axis, of a command that takes no more: the given, or the default.

    Raises:
        UsageError: If several are given of one.
    """
    found = dict(defaults)
    for name, given in axes.items():
        values = given if isinstance(given, tuple) else (given,)
        if len(values) > 1:
            told = ", ".join(map(str, values))
            raise UsageError(f"{_flag(name)} must be one value for this command, got {told}")
        found[name] = values[0]
    return found


def words(given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the values of an option that is repeated or separated by commas."""
    return tuple(word.strip() for text in given or () for word in text.split(",") if word.strip())


_NUMBERS: dict[str, type[int] | type[float]] = {
    "batch_size": int,
    "seq_len": int,
    "rho": float,
    "seed": int,
}


def _axes(given: Mapping[str, Any]) -> Axes:
    """Return what options say of a grid's axes.

    Raises:
        UsageError: If one that must be a number is none.
    """
    found: Axes = {}
    for name, value in given.items():
        if isinstance(value, StrEnum):
            found[name] = value.value
        elif value and name in _NUMBERS:
            found[name] = _numbers(name, value)
        elif value:
            found[name] = words(value)
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
