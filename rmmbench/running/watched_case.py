"""The case that a training of somebody's own is: what its loop does, as far as it can be read."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from rmmbench import methods
from rmmbench.errors import check_arguments
from rmmbench.nn import converted_layers
from rmmbench.nn.candidates import linear_layers
from rmmbench.spec.case import Case
from rmmbench.spec.choices import DTYPES
from rmmbench.spec.grid import case_from
from rmmbench.spec.known_settings import known
from rmmbench.spec.steps import Step

OF_A_LOOP: Final = ("dtype", "accumulate", "clip_norm", "seq_len", "seed", "task")
"""What of a case a person may tell of a loop, as nothing else does."""

_OPTIMIZERS: Final = {"Adam": "adam", "AdamW": "adamw", "SGD": "sgd", "Adafactor": "adafactor"}


def steps_of(method: str | None, settings: Mapping[str, Any]) -> tuple[Step, ...]:
    """Return the methods that settings ask for, as `sweep` would; none for the unchanged model.

    Args:
        method: A stack of methods; by default "plan" or "rmm", whichever has such settings.
        settings: By flat name; None is as if it were not given.

    Raises:
        TypeError: If there is no setting of a name.
        ValueError: If a plan stands beside other settings.
        UsageError: If a value is not possible.
    """
    check_arguments(settings, ["method", *known(), *OF_A_LOOP])
    given = {name: value for name, value in settings.items() if value is not None}
    beside = next((name for name in given if name != "plan"), None)
    if "plan" in given and method is None:
        if beside is not None:
            raise ValueError(f"{beside} must not be given beside plan, which says it; leave it out")
        method = "plan"
    method = method or ("rmm" if given else "exact")
    return case_from({"model": "any", "batch_size": 1, "method": method, **given}).steps


@dataclass(frozen=True)
class Loop:
    """What a training loop is, beside its model and what is done to it.

    Attributes:
        batch_size: Samples in a micro-batch.
        device: "cuda" or "cpu".
        optimizer: Any; one that a case has no name for is told in `warnings`.
        own: Methods that the loop applies itself: "checkpoint", "compile".
        told: Further fields of the case.
    """

    batch_size: int
    device: str
    optimizer: Any
    own: tuple[str, ...] = ()
    told: Mapping[str, Any] | None = None

    def case(self, model: nn.Module, steps: tuple[Step, ...]) -> Case:
        """Return the case of a model that these steps, and the loop's own methods, change.

        Raises:
            UsageError: If a value is not possible, or methods cannot be combined.
        """
        given = {name for step in steps for name in step.name.split("+")}
        own = tuple(Step(name) for name in self.own if name not in given)
        methods.stack((*steps, *own))
        dtype = dtype_of(model)
        asked: dict[str, Any] = {
            "model": model_name(model),
            "batch_size": self.batch_size,
            "optimizer": _OPTIMIZERS.get(self._kind, "adam"),
            "attention": _attention(model),
            "memory_device": self.device,
            "time_device": self.device,
            "steps": (*steps, *own),
            **({"dtype": dtype} if dtype in DTYPES else {}),
            **{name: value for name, value in (self.told or {}).items() if value is not None},
        }
        return case_from(asked)

    @property
    def warnings(self) -> list[str]:
        """What the case cannot say."""
        if self._kind in _OPTIMIZERS:
            return []
        return [f"the optimizer was {self._kind}, which a case has no name for: it says adam"]

    @property
    def _kind(self) -> str:
        # accelerate wraps it.
        return type(getattr(self.optimizer, "optimizer", self.optimizer)).__name__


def own_methods(model: nn.Module) -> tuple[str, ...]:
    """Return the methods that a model has been changed by without rmmbench."""
    found = []
    if any(getattr(each, "gradient_checkpointing", False) for each in model.modules()):
        found.append("checkpoint")
    if hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None:
        found.append("compile")
    return tuple(found)


def check_unchanged(model: nn.Module) -> None:
    """Check that nothing has been converted in a model that is to be changed.

    Raises:
        ValueError: If layers of it keep a sketch already.
    """
    count = len(converted_layers(model))
    if count:
        need = f"a model that is to be changed must have no sketched layers, and {count} keep one"
        raise ValueError(f"{need}; rmmbench.unconvert(model) first, or leave out the settings here")


def steps_there(model: nn.Module) -> tuple[Step, ...]:
    """Return the step that a model's sketched layers were converted by; none if it has none.

    Raises:
        ValueError: If they have several settings, which only a plan could tell.
    """
    layers = converted_layers(model)
    kinds = Counter(layer.settings for layer in layers.values())
    if len(kinds) > 1:
        need = "layers that were converted before must all have one setting to be recorded"
        raise ValueError(f"{need}, got {len(kinds)}; give plan or settings here and not to convert")
    for settings in kinds:
        given = {name: value for name, value in settings.given().items() if value is not None}
        patterns = {"include": tuple(layers)} if linear_layers(model) else {}
        return steps_of("rmm", given | patterns)
    return ()


def model_name(model: nn.Module) -> str:
    """Return a model's name in its config, without folders, or else its class's."""
    inner = getattr(model, "_orig_mod", model)
    named = getattr(getattr(inner, "config", None), "name_or_path", "")
    path = Path(named) if isinstance(named, str) else Path()
    return (path.name if path.is_dir() else str(named)) or type(inner).__name__


def dtype_of(model: nn.Module) -> str:
    """Return what a case calls the dtype of most parameters, of those that are no integers."""
    sizes: Counter[torch.dtype] = Counter()
    for each in model.parameters():
        if each.is_floating_point():
            sizes[each.dtype] += each.numel()
    dtype = str(max(sizes, key=sizes.__getitem__, default=torch.float32)).removeprefix("torch.")
    return dtype if dtype == "float32" else f"{dtype}-true"


def _attention(model: nn.Module) -> str:
    name = getattr(getattr(model, "config", None), "_attn_implementation", None)
    return name if name in ("eager", "sdpa") else "eager"


def device_of(model: nn.Module) -> str:
    """Return the type of device that a model is on."""
    return next((each.device.type for each in model.parameters()), "cpu")
