"""The flags that take the place of a profile's axes: one name and one meaning in every command."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rmmbench.cli.flags import Attention, Device, Dtype, Optimizer, numbers, words

_MANY = "repeat or separate by commas"

Profiles = Annotated[str, typer.Argument(help="A name of `rmmbench list profiles`, or a path.")]
Devices = Annotated[Device | None, typer.Option(help="Where; the profile's if not given.")]
Models = Annotated[list[str] | None, typer.Option(help=f"Models, hf: and import: too; {_MANY}.")]
Tasks = Annotated[list[str] | None, typer.Option(help=f"Names of `rmmbench list tasks`; {_MANY}.")]
BatchSizes = Annotated[list[str] | None, typer.Option(help=f"Samples a step; {_MANY}.")]
SeqLens = Annotated[list[str] | None, typer.Option(help=f"Padded lengths in tokens; {_MANY}.")]
Dtypes = Annotated[list[Dtype] | None, typer.Option(help="bfloat16 is autocast; repeatable.")]
Optimizers = Annotated[Optimizer | None, typer.Option(help="What takes the steps.")]
Attentions = Annotated[
    Attention | None, typer.Option(help="How transformers computes it; eager keeps probabilities.")
]
Rhos = Annotated[list[str] | None, typer.Option(help=f"Compression rates, in (0, 1]; {_MANY}.")]
Sketches = Annotated[
    list[str] | None, typer.Option(help=f"Names of `rmmbench list sketches`; {_MANY}.")
]
Methods = Annotated[
    list[str] | None,
    typer.Option(help=f"Names of `rmmbench list methods`, or stacks such as a+b; {_MANY}."),
]
Seeds = Annotated[list[str] | None, typer.Option(help=f"Of all random numbers; {_MANY}.")]
Out = Annotated[Path | None, typer.Option(help="Run directory; below runs/ if not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Retry = Annotated[
    bool, typer.Option("--retry", help="Measure cases again that failed or took too long.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List the cases; run none, import no model of yours.")
]

_NUMBERS: dict[str, type[int] | type[float]] = {
    "batch_size": int,
    "seq_len": int,
    "rho": float,
    "seed": int,
}


def axes(**given: Any) -> dict[str, Any]:
    """Return what flags say of a grid's axes, by their names there; nothing of those not given.

    Raises:
        UsageError: If one that must be a number is none.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in _NUMBERS:
            found[name] = numbers(f"--{name.replace('_', '-')}", value, _NUMBERS[name])
        elif name == "dtype":
            found[name] = tuple(one.value for one in value)
        else:
            found[name] = words(value) if isinstance(value, list) else value.value
    return found
