"""What sketches would save in a model, per layer and in all, predicted on fake tensors."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from rmmbench.errors import RmmbenchError, UsageError
from rmmbench.models import MODELS
from rmmbench.running.isolation import process
from rmmbench.running.pieces import Kind, Piece, piece_of
from rmmbench.running.progress import progress
from rmmbench.running.sweep_plan import check_models, check_names
from rmmbench.spec.case import Case

_LIMIT_SECONDS = 600.0

_DOING: Final = {
    "layers": "looking at the layers",
    "exact": "following a step of the unchanged model",
    "sketched": "following a step with sketches",
    "least": "following a step that keeps one row of each input",
}
"""What advice takes, in words, in the order in which it is done."""


class _Found(NamedTuple):
    """A part of the advice is found; `left` are the parts to come."""

    part: str
    left: tuple[str, ...]


def advise(case: Case, *, quiet: bool = False) -> dict[str, Any]:
    """Return advice for a case of method rmm, computed in a process of its own.

    Args:
        case: The advice is about its sketch, ρ and `share`; its `where` is "beneficial".
        quiet: Show no progress.

    Returns:
        "layers": the fields of `nn.advice.LayerAdvice` for every linear layer. "left_out": how many
        weights cannot have a sketch, by reason. "parameter_dtypes": as in a record. "exact",
        "sketched" and "least": the memory of the unchanged model, of the converted one, and of one
        that keeps a single row of each input, which is the least for any ρ; the last two are None
        if no layer gains.

    Raises:
        UsageError: If the model cannot be made as the case asks, fake tensors cannot follow it, or
            the sketch cannot take one of the inputs.
    """
    check_names([case])
    process.preload([MODELS.module(case.model.partition(":")[0])])
    check_models([case], _LIMIT_SECONDS)
    try:
        with _showing(case, quiet=quiet) as heard:
            answer: dict[str, Any] = process.follow(
                _advise, case, heard=heard, limit_seconds=_LIMIT_SECONDS
            )
    except RmmbenchError:
        raise
    except Exception as error:
        # A user's own model may raise anything.
        raise UsageError(f"{case.model}: {' '.join(str(error).split())[:500]}") from None
    return answer


@contextmanager
def _showing(case: Case, *, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Give what is called with what is found, and shows how far that is unless `quiet`."""
    pieces = {"layers": Piece((Kind("layers"),))}
    pieces |= {part: piece_of(each) for part, each in _cases(case).items()}
    with progress("step", quiet=quiet) as shown:
        last = time.monotonic()

        def go_on(*parts: str) -> None:
            shown.expect((pieces[part] for part in parts), is_known="layers" not in parts)
            for part in parts[:1]:
                shown.begin(part, pieces[part])
                shown.working(_DOING[part])

        def hear(found: _Found) -> None:
            nonlocal last
            now = time.monotonic()
            shown.finish(found.part, pieces[found.part], now - last, _DOING[found.part])
            last = now
            go_on(*found.left)

        go_on(*pieces)
        yield hear


def _cases(case: Case) -> dict[str, Case]:
    """Return the cases whose memory is a part of the advice."""
    least = case.with_settings(rho=None, proj_dim=1, min_proj_dim=1)
    return {"exact": case.as_exact(), "sketched": case, "least": least}


def _advise(tell: Callable[[_Found], None], case: Case) -> dict[str, Any]:
    layers, found = _layers(case)
    gains = any(layer["is_beneficial"] for layer in layers)
    from rmmbench.running.predicting import predicted_memory

    cases = _cases(case)
    followed = tuple(cases) if gains else ("exact",)
    tell(_Found("layers", followed))
    memory: dict[str, Any] = dict.fromkeys(cases)
    for place, part in enumerate(followed, 1):
        memory[part] = predicted_memory(cases[part])
        tell(_Found(part, followed[place:]))
    return {"layers": layers, **found, **memory}


def _layers(case: Case) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    from rmmbench.measures.memory.predict import followed
    from rmmbench.measures.step import autocast
    from rmmbench.nn.analysis.layer_advice import advise_layers
    from rmmbench.nn.candidates import left_out_layers, linear_layers
    from rmmbench.nn.size import SketchSettings
    from rmmbench.running.draft import parameter_dtypes
    from rmmbench.running.one_rank import gather, step_alone
    from rmmbench.running.predicting import gpu_of

    (method,) = case.steps
    asked = dict(method.settings)
    sizes = {name: asked[name] for name in ("rho", "proj_dim", "min_proj_dim", "max_proj_dim")}
    sketch = asked["sketch"]
    settings = SketchSettings.of({"sketch": sketch.name, **sizes, **dict(sketch.settings)})
    with followed(gpu_of(case)) as fake:
        device = fake.device_type if fake else "cpu"
        step = step_alone(case, device, "advice on layers")
        model, names = step.model, list(linear_layers(step.model))
        found = {
            "left_out": dict(Counter(left_out_layers(model).values())),
            "parameter_dtypes": parameter_dtypes(model),
        }
        gather(step, case, device)
        with autocast(model, step.autocast):
            advice = advise_layers(model, names, settings, step.batch, share=asked["share"])
    return [layer._asdict() for layer in advice], found
