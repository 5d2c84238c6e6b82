"""A record that is being filled in, and the training step that it describes."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch._dynamo  # the first optimizer would import it, in every case anew
from torch import nn

from rmmbench import methods, models
from rmmbench.fakes.mode import is_faking
from rmmbench.kernels.launch import Path, complaint, path_taken
from rmmbench.measures.optimizers import LossScaler, make_optimizer
from rmmbench.measures.step import AUTOCAST, PARAMETERS, TrainingStep, autocast, placed
from rmmbench.measures.whole_step import WholeStep
from rmmbench.models.model import Built
from rmmbench.nn import left_out_layers, manual_seed
from rmmbench.nn.candidates import linear_layers
from rmmbench.nn.spreading import mesh_over, seed_rank, spread
from rmmbench.results.counts import Counts
from rmmbench.results.gradient_error import GradientError
from rmmbench.results.out_of_memory import is_out_of_memory
from rmmbench.results.record import (
    SYNTHETIC,
    Conditions,
    Environment,
    Memory,
    Outcome,
    Record,
)
from rmmbench.results.timeline import Timeline
from rmmbench.results.timing import Timing
from rmmbench.results.trained import Training
from rmmbench.spec.case import STEP, Case
from rmmbench.spec.printable import printable

Announce = Callable[[str], None]
Keep = Callable[["Draft"], None]
Build = Callable[[Case], Built]


class Draft:
    """A record that is being filled in: what has been measured stays, whatever happens next."""

    def __init__(self, case: Case, announce: Announce, keep: Keep = lambda draft: None) -> None:
        """Start the clock.

        Args:
            case: What is measured.
            announce: Called with what is being done.
            keep: Called with the draft before something that may end the process.
        """
        self.case = case
        self.announce = announce
        self._keep = keep
        self.synthetic = SYNTHETIC
        self.converted: int | None = None
        self.left_out: dict[str, int] | None = None
        self.parameter_dtypes: dict[str, int] | None = None
        self.memory: Memory | None = None
        self.timing: Timing | None = None
        self.conditions: Conditions | None = None
        self.gradient: GradientError | None = None
        self.training: Training | None = None
        self.timeline: Timeline | None = None
        self.counts: Counts | None = None
        self.missing: dict[str, str] = {}
        self.warnings: list[str] = []
        self._start = time.monotonic()
        self._stage = "starting"

    @property
    def sketch_path(self) -> Path | None:
        """How the sketches of this process were computed; None if there were none but fake ones."""
        return path_taken()

    def stage(self, name: str) -> None:
        """Note and announce what comes next."""
        self._stage = name
        self.announce(name)

    def keep(self) -> None:
        """Let what has been measured outlive this process, whatever follows."""
        self._keep(self)

    def lost(self, name: str, error: BaseException, of: str = "") -> None:
        """Note why a secondary figure could not be measured; the main ones stand.

        Args:
            name: Its dotted path in the record.
            error: What measuring it raised; not kept, as it holds tensors.
            of: What raised it, if not the case's own method.
        """
        reason = f"{of}: {error_line(error)}" if of else error_line(error)
        self.missing[name] = reason
        # Running out of memory is a result; a fault must be seen.
        if not is_out_of_memory(error):
            self.warnings.append(
                f"{name} could not be measured ({reason}); the other figures stand; correct the "
                "cause and measure again"
            )

    def explain_missing(self, reason: str | None = None) -> None:
        """Note why figures are missing: `reason`, or else what the case does not ask for."""
        case = self.case
        timed = "a prediction has no time" if case.device == "predict" else "memory only"
        if case.training is not None:
            timed = "steps are trained, not timed one by one"
        reasons = {"memory": "the case asks for time only", "timing": timed, "conditions": timed}
        reasons["counts"] = "work is counted where memory is predicted"
        # Not every case asks for these; one that asks has them, unless something went wrong.
        reasons |= {name: "" for name in ("training", "timeline") if getattr(case, name)}
        reasons |= {"gradient": timed} if case.gradient_draws else {}
        if case.method == "rmm":
            reasons["sketch_path"] = "no sketch was computed"
        for name, usual in reasons.items():
            if getattr(self, name) is None:
                self.missing.setdefault(name, reason or usual)

    def record(self, environment: Environment, outcome: Outcome, reason: str | None) -> Record:
        """Return the record as it is now."""
        return Record(
            key=self.case.key,
            case=self.case,
            outcome=outcome,
            stage=None if outcome == "ok" else self._stage,
            reason=reason,
            environment=environment,
            memory=self.memory,
            timing=self.timing,
            conditions=self.conditions,
            gradient=self.gradient,
            training=self.training,
            timeline=self.timeline,
            counts=self.counts,
            converted=self.converted,
            left_out=self.left_out,
            parameter_dtypes=self.parameter_dtypes,
            exact_gradient=methods.stack(self.case.steps).is_exact,
            sketch_path=self.sketch_path,
            synthetic=self.synthetic,
            missing=self._missing(),
            warnings=(*self.warnings, *filter(None, [complaint()])),
            wall_seconds=time.monotonic() - self._start,
        )

    def _missing(self) -> dict[str, str]:
        unknown = self.timing.missing if self.timing else {}
        return {f"timing.{name}": reason for name, reason in unknown.items()} | self.missing


def error_line(error: BaseException) -> str:
    """Return an error in one line, even if its class cannot be printed."""
    named = type(error).__name__
    try:
        text = printable(str(error))
    except Exception:
        text = ""
    return printable(f"{named}: {text}" if text else named)


def prepare(
    draft: Draft,
    device: str,
    *,
    foreach: bool,
    build: Build = models.build,
    spreads: bool = True,
) -> TrainingStep:
    """Build the model, make a batch and apply the method, all from the case's seed.

    Args:
        draft: Takes what is found out on the way.
        device: What the step runs on.
        foreach: Whether all parameters are updated together.
        build: Makes the model and its batches.
        spreads: Whether a model of several ranks is spread over them, which must have met.
    """
    case = draft.case
    torch.manual_seed(case.seed)
    manual_seed(case.seed)
    # Spread, a model may fit on devices that are too small for all of it.
    is_large = case.parallel in ("fsdp2", "tensor") and not is_faking()
    home = "cpu" if is_large else device
    with torch.device(home):
        model, make_batch, draft.synthetic, warnings, own_step = build(case)
        if case.ranks > 1 and spreads:
            seed_rank(case.seed, case.parallel)
        batch = make_batch()
    draft.warnings += [warning for warning in warnings if warning not in draft.warnings]
    if own_step is not None:
        return _whole(draft, device, own_step, model)
    # A user's factory may have named another device, or make a batch of NumPy arrays.
    if any(parameter.device.type != home for parameter in model.parameters()):
        model.to(home)
    batch = placed(batch, home, _as_asked(model, case))
    model.train()
    dtype = AUTOCAST[case.dtype]
    # A layer keeps autocast's copy of its input.
    with torch.device(home), autocast(model, dtype):
        apply_method(draft, model, batch)
    if case.ranks > 1 and spreads:
        model = spread(model, case, mesh_over(case.ranks, device))
    if home != device:
        model.to(device)
        batch = placed(batch, device)
    return TrainingStep(
        model,
        batch,
        make_optimizer(case.optimizer, model.parameters(), foreach=foreach, update=case.update),
        None if case.parallel == "fsdp2" else dtype,
        scaler=LossScaler(device) if case.dtype == "float16" else None,
        # A prediction has its own choice of kernels, which it makes as the case says.
        attention_kernel=None if is_faking() and device == "cpu" else case.attention_kernel,
        accumulate=case.accumulate,
        drop=case.drop_gradients,
        zeroed=case.zeroed_gradients,
        clip_norm=case.clip_norm,
        foreach=foreach,
    )


def _whole(draft: Draft, device: str, run: Callable[[], object], model: nn.Module) -> TrainingStep:
    """Return a step of somebody's own, its model changed as the case asks.

    Raises:
        ValueError: If the case asks for what the step decides itself, or for methods that its model
            is not there for.
    """
    case = draft.case
    for name in ("dtype", "optimizer", *STEP, "training"):
        value = getattr(case, name)
        if name != "attention_kernel" and value != Case.model_fields[name].default:
            what = f"a step of one's own decides about {name} itself"
            raise ValueError(f"{what}, got {value!r:.60}; leave {name} out for {case.model}")
    is_known = any(True for _ in model.parameters())
    if case.steps and not is_known:
        need = f"method {case.method} changes a model, and {case.model} returns a step alone"
        raise ValueError(f"{need}; return (step, model)")
    if case.settings["where"] == "beneficial":
        need = "where 'beneficial' needs a batch to look at"
        raise ValueError(f"{need}; return (model, make_batch), or name layers in include")
    if is_known:
        with torch.device(device):
            apply_method(draft, model, {})
    kernel = None if is_faking() else case.attention_kernel
    return WholeStep(run, case.model, device, model if is_known else None, kernel)


def _as_asked(model: nn.Module, case: Case) -> torch.dtype | None:
    """Make the model's parameters what the case asks for, and return the dtype of its batches.

    A user's own model stays as it was made, and so do its batches.

    Raises:
        ValueError: If it has no parameters of that dtype.
    """
    dtype = PARAMETERS.get(case.dtype)
    if dtype is None:
        return None
    if not case.model.startswith("import:"):
        model.to(dtype)
        return dtype
    found = parameter_dtypes(model)
    wanted = case.dtype.removesuffix("-true")
    if wanted not in found:
        need = f"dtype '{case.dtype}' needs a factory that makes {wanted} parameters"
        raise ValueError(f"{need}, got {' and '.join(found)}; convert the model in {case.model}")
    return None


def apply_method(draft: Draft, model: nn.Module, batch: Mapping[str, Any]) -> None:
    """Change the model as the case asks, and note what was changed and what was left."""
    case, left_out = draft.case, Counter(left_out_layers(model).values())
    draft.parameter_dtypes = parameter_dtypes(model)
    stack = methods.stack(case.steps)
    draft.converted = stack.apply(model, batch)
    if stack.takes_over(_INPUTS):
        left_out["not chosen by include, exclude or where"] = len(linear_layers(model))
        draft.left_out = {reason: count for reason, count in left_out.items() if count}


def parameter_dtypes(model: nn.Module) -> dict[str, int]:
    """Return how many numbers of each dtype a model's parameters have."""
    found: Counter[str] = Counter()
    for parameter in model.parameters():
        found[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    return dict(found)


_INPUTS = "the inputs of linear layers"
