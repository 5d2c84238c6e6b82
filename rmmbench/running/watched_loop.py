"""Watches a training in somebody's own loop: changes its model, and records what its steps cost.

`rmmbench.watch` gives it to loops of any kind; `rmmbench.TrainerCallback` has one within.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from torch import Tensor, nn

import rmmbench
from rmmbench.measures.environment import environment
from rmmbench.measures.gradient.drawing import Point
from rmmbench.measures.gradient.watching import NoiseWatch
from rmmbench.measures.real_steps import MEASURED_STEPS, RealSteps
from rmmbench.measures.step import AUTOCAST, autocast, placed
from rmmbench.nn import converted_layers
from rmmbench.nn.ranks import check_same_settings
from rmmbench.results.gathered import GATHERED, gather, gathering, profile_of
from rmmbench.results.gradient_noise import LayerNoise
from rmmbench.results.out_of_memory import is_out_of_memory
from rmmbench.results.record import Outcome, Record
from rmmbench.results.store import Run, RunInfo, hashes
from rmmbench.results.trained import LossPoint, Training
from rmmbench.running.draft import Draft, apply_method, error_line
from rmmbench.running.one_run import as_call
from rmmbench.running.wanted import Wanted
from rmmbench.running.watched_case import (
    Loop,
    check_unchanged,
    device_of,
    own_methods,
    steps_there,
)
from rmmbench.spec.case import Case
from rmmbench.spec.steps import values
from rmmbench.spec.strict import Strict


class Watch:
    """A training that is watched; `rmmbench.watch` returns one.

    Attributes:
        own: The methods that changed the model before.
        noise: What was found of the noise of watched layers, in order of steps.
        losses: The training loss, as far as it was told.
        captured: X and Y of the first watched layer, once `begin` was told to capture them.
        record: What was recorded, once the training is over.
        is_over: Whether it is.
    """

    def __init__(self, model: nn.Module, wanted: Wanted) -> None:
        """Look at the model, which `change` or `start` changes.

        Raises:
            ValueError: If it was changed before, and is to be changed again.
        """
        self.model, self.wanted = model, wanted
        self.own = own_methods(model)
        self._steps = wanted.steps or (() if wanted.out is None else steps_there(model))
        if wanted.steps:
            check_unchanged(model)
        self._change: Draft | None = None
        self._draft = Draft(_any_case(wanted), lambda stage: None)
        self._run: Run | None = None
        self._real: RealSteps | None = None
        self._loop: Loop | None = None
        self._layers: NoiseWatch | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.noise: list[LayerNoise] = []
        self.losses: list[LossPoint] = []
        self.record: Record | None = None
        self.captured: Point | None = None
        self.step_number, self.is_over = 0, False

    @property
    def layers(self) -> list[str]:
        """The names of the watched layers."""
        return self._layers.layers if self._layers is not None else []

    def change(self) -> None:
        """Change the model in place as is wanted; its parameters stay the same objects.

        Raises:
            ValueError: If it cannot be changed so.
        """
        self._change = draft = Draft(_any_case(self.wanted), lambda stage: None)
        if not self.wanted.steps and self.wanted.out is None:
            return
        example = self.wanted.example if self.wanted.example is not None else {}
        if isinstance(example, Mapping):
            example = placed(example, device_of(self.model))
        before = len(converted_layers(self.model))
        # A layer keeps autocast's copy of its input.
        with autocast(self.model, AUTOCAST.get(self.wanted.told.get("dtype") or "float32")):
            apply_method(draft, self.model, example)
        draft.converted = before + (draft.converted or 0)

    def start(self, loop: Loop | None = None, *, records: bool = True) -> None:
        """Begin to watch a training, and change the model if that has not been done.

        Args:
            loop: What the loop is, for a record.
            records: Whether this process writes it.

        Raises:
            ValueError: If a pattern of layers matches none, or ranks sketch differently.
            UsageError: If the loop is no possible case.
            RunError: If the run directory cannot be used.
        """
        self._begin_anew()
        case = _any_case(self.wanted)
        if self.wanted.out is not None and loop is not None:
            case = loop.case(self.model, self._steps)
            self._loop, self._real = loop, RealSteps(case.time_device or "cpu", self._state)
            self._run = gathering(self.wanted.out, _info(case)) if records else None
        if self._change is None:
            self.change()
        assert self._change is not None
        self._draft = Draft(case, lambda stage: None)
        for name in ("converted", "left_out", "parameter_dtypes"):
            setattr(self._draft, name, getattr(self._change, name))
        self._draft.warnings += self._loop.warnings if self._loop else []
        check_same_settings(self.model)
        if self.wanted.noise:
            sizes: dict[str, Any] = {"rho": self.wanted.noise_rho, "bits": self.wanted.noise_bits}
            self._layers = NoiseWatch(self.model, self.wanted.noise, **sizes)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Enclose one training step: forward and backward passes, and the update."""
        self.begin()
        try:
            yield
        except BaseException:
            if self._real is not None:
                self._real.abandon()
            raise
        self.end()

    def begin(self, step: int | None = None, *, captures: bool = False) -> None:
        """Tell that a step begins.

        Args:
            step: Its number, from 1; by default one more than the last one's.
            captures: Whether to watch layers, and to keep X and Y of the first.
        """
        self.step_number = self.step_number + 1 if step is None else step
        active = False
        if self._layers is not None:
            active = self._layers.active = captures or self._is_watched(self.step_number)
            if captures:
                self._layers.capture(self._layers.layers[0], self.step_number)
        if self._real is not None:
            self._real.begin(is_watched=active)

    def log_loss(self, loss: Any) -> None:
        """Tell the loss of this step, a number or a tensor, for the record."""
        value = float(loss.detach() if isinstance(loss, Tensor) else loss)
        if math.isfinite(value):
            self.losses.append(LossPoint(step=self.step_number, loss=value))

    def end(self) -> list[LayerNoise]:
        """Tell that the step is over, and return the noise of the layers that were watched in it.

        A layer is left out if it did not run, or its sums are not finite.
        """
        if self._real is not None:
            self._real.end()
        if self._layers is None or not self._layers.active:
            return []
        self._layers.active = False
        found = self._layers.collect(self.step_number)
        self.captured = self._layers.captured
        self.noise += found
        return found

    def finish(self, error: BaseException | None = None, **about: Any) -> Record | None:
        """Take the hooks from the model, and write the record, if there is to be one.

        Args:
            error: What ended the training early.
            about: Fields of the record's `training`: losses, evaluations, epochs …

        Returns:
            The record; None if no directory was given, or another process writes it.

        Raises:
            RunError: If it cannot be written.
        """
        self.is_over = True
        if self._layers is not None:
            self._layers.remove()
        if self._real is None or self._run is None:
            return None
        run, self._run = self._run, None
        real, draft = self._real, self._draft
        real.abandon()
        draft.memory, draft.timing = real.memory(), real.timing(draft.case.samples)
        draft.missing |= real.missing | {
            "conditions": "they are not watched in a loop of one's own"
        }
        draft.training = self._training(real, about)
        draft.synthetic = ""
        draft.stage("training")
        draft.explain_missing()
        self.record = draft.record(environment(), *_outcome(error))
        gather(run, self.record)
        return self.record

    def __enter__(self) -> "Watch":
        """Return this; `finish` is called at the end, with the error that ended it, if any."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Write the record, if there is to be one."""
        self.finish(error)

    def _is_watched(self, step: int) -> bool:
        """Tell whether layers are watched, which waits until memory has been measured."""
        if self._real is None:
            return step == 1 or step % self.wanted.every == 0
        if self._real.count < MEASURED_STEPS:
            return False
        return self._real.count == MEASURED_STEPS or step % self.wanted.every == 0

    def _state(self) -> Sequence[Any]:
        """Return what is there between steps: parameters, gradients, buffers, optimizer state."""
        parameters = list(self.model.parameters())
        gradients = [each.grad for each in parameters]
        optimizer = self._loop.optimizer if self._loop else None
        states = list(getattr(optimizer, "state", {}).values())
        return [*parameters, *self.model.buffers(), gradients, states]

    def _training(self, real: RealSteps, about: Mapping[str, Any]) -> Training:
        timing, samples = self._draft.timing, self._draft.case.samples * real.count
        rate = samples / real.seconds if real.seconds else 0.0
        told: dict[str, Any] = {"noise": tuple(self.noise), "losses": tuple(self.losses)}
        told["evaluations"] = ()
        told |= dict.fromkeys(("epochs", "train_samples", "eval_samples")) | dict(about)
        ran = {each.layer for each in told["noise"]}
        return Training(
            device=real.device,
            metric="loss",
            higher_is_better=False,
            steps=self.step_number,
            train_seconds=real.seconds,
            samples_per_second=timing.samples_per_second if timing else rate,
            never_ran=tuple(name for name in self.layers if name not in ran),
            **told,
        )


def _any_case(wanted: Wanted) -> Case:
    """Return a case for what is told of the model before the loop is known."""
    return Case(model="any", batch_size=1, steps=wanted.steps)


def _info(case: Case) -> RunInfo:
    said = {name: each for name, each in values(case.steps).items() if each not in (None, ())}
    told = {name: str(each) if isinstance(each, Strict) else each for name, each in said.items()}
    return RunInfo(
        rmmbench=rmmbench.__version__,
        profile_name=GATHERED,
        profile=profile_of([case]),
        environment=environment(),
        command=as_call("watch", case.model, **told),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        **hashes([case]),
    )


def _outcome(error: BaseException | None) -> tuple[Outcome, str | None]:
    if error is None:
        return "ok", None
    return "out_of_memory" if is_out_of_memory(error) else "error", error_line(error)
