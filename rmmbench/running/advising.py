"""What sketches would save in a model, per layer and in all, predicted on fake tensors."""

from collections import Counter
from typing import Any

from rmmbench.errors import RmmbenchError, UsageError
from rmmbench.models import MODELS
from rmmbench.running.isolation import process
from rmmbench.running.sweep_plan import check_models, check_names
from rmmbench.spec.case import Case

_LIMIT_SECONDS = 600.0


def advise(case: Case) -> dict[str, Any]:
    """Return advice for a case of method rmm, computed in a process of its own.

    Args:
        case: The advice is about its sketch, ρ and `share`; its `where` is "beneficial".

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
        answer: dict[str, Any] = process.call(_advise, case, limit_seconds=_LIMIT_SECONDS)
    except RmmbenchError:
        raise
    except Exception as error:
        # A user's own model may raise anything.
        raise UsageError(f"{case.model}: {' '.join(str(error).split())[:500]}") from None
    return answer


def _advise(case: Case) -> dict[str, Any]:
    layers, found = _layers(case)
    gains = any(layer["is_beneficial"] for layer in layers)
    from rmmbench.running.predicting import predicted_memory

    least = case.with_settings(rho=None, proj_dim=1, min_proj_dim=1)
    return {
        "layers": layers,
        **found,
        "exact": predicted_memory(case.as_exact()),
        "sketched": predicted_memory(case) if gains else None,
        "least": predicted_memory(least) if gains else None,
    }


def _layers(case: Case) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    import torch

    from rmmbench import models
    from rmmbench.measures.memory.predict import followed
    from rmmbench.measures.step import AUTOCAST, autocast
    from rmmbench.nn.analysis.layer_advice import advise_layers
    from rmmbench.nn.candidates import left_out_layers, linear_layers
    from rmmbench.nn.size import SketchSettings
    from rmmbench.running.draft import parameter_dtypes
    from rmmbench.running.predicting import gpu_of

    (step,) = case.steps
    asked = dict(step.settings)
    sizes = {name: asked[name] for name in ("rho", "proj_dim", "min_proj_dim", "max_proj_dim")}
    sketch = asked["sketch"]
    settings = SketchSettings.of({"sketch": sketch.name, **sizes, **dict(sketch.settings)})
    with followed(gpu_of(case)) as fake, torch.device(fake.device_type if fake else "cpu"):
        model, make_batch, *_, own_step = models.build(case)
        if own_step is not None:
            need = "advice on layers needs a factory that returns (model, make_batch)"
            raise UsageError(f"{need}, got a step from {case.model}")
        names = list(linear_layers(model))
        with autocast(model, AUTOCAST[case.dtype]):
            advice = advise_layers(model, names, settings, make_batch(), share=asked["share"])
    found = {
        "left_out": dict(Counter(left_out_layers(model).values())),
        "parameter_dtypes": parameter_dtypes(model),
    }
    return [layer._asdict() for layer in advice], found
