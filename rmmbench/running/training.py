"""Trains a case: brings its model, method and data together with transformers' Trainer."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import torch
import transformers

from rmmbench import data, models
from rmmbench.fakes.mode import fake_tensors
from rmmbench.measures.gradient.drawing import draw_noise
from rmmbench.measures.gradient.ways_of_keeping import (
    RATES,
    way_with_exact_part,
    ways_of_keeping,
)
from rmmbench.measures.over_ranks import of_first
from rmmbench.measures.training_loop import train
from rmmbench.nn.patterns import layers_matching
from rmmbench.results.gradient_noise import DrawnNoise, LayerNoise
from rmmbench.results.kept_noise import KeptNoise
from rmmbench.results.noise_file import averaged
from rmmbench.results.stage import Stage
from rmmbench.results.store import CHECKPOINTS
from rmmbench.running.draft import Announce, Draft, prepare
from rmmbench.running.trainer_callback import TrainerCallback
from rmmbench.spec.case import Case
from rmmbench.spec.steps import values

_TRAINED: Final = 0.3
"""About which share of the time training takes, where sketches are drawn afterwards."""


def train_model(draft: Draft, folder: Path) -> str | None:
    """Train the case's model, put the result into the draft, and return why training diverged.

    Args:
        draft: Of a case with `training` and `time_device`.
        folder: The run directory; a training that was interrupted has its checkpoint there.
    """
    case = draft.case
    assert case.training is not None
    assert case.time_device is not None
    if case.time_device == "cpu":
        torch.set_num_threads(case.training.threads)
    draft.stage("reading the data")
    examples = data.load(case)
    draft.stage("building the model")
    together = case.time_device == "cuda"
    # The Trainer spreads it itself.
    model = prepare(draft, case.time_device, foreach=together, spreads=False).model
    made_up = "peak memory is of a batch made up in that shape" if case.memory_device else ""
    draft.synthetic = "; ".join(filter(None, [examples.note, made_up]))
    draft.stage("training")
    watch = _watch(case)
    where = of_first(lambda: _own_checkpoints(folder / CHECKPOINTS, case.key))
    draws = bool(watch and case.training.draw_rho)
    tell = _part(draft.announce, 0.0, _TRAINED if draws else 1.0)
    trained = train(model, examples, case, where, announce=tell, callbacks=watch)
    draft.training = trained.training
    if watch:
        noise = tuple(watch[0].noise)
        ran = {each.layer for each in noise}
        never_ran = tuple(layer for layer in watch[0].layers if layer not in ran)
        _tell(draft, noise=noise, never_ran=never_ran)
        draft.keep()
        draft.stage("drawing sketches")
        more: dict[str, Callable[[], Sequence[KeptNoise | DrawnNoise]]] = {
            "kept_noise": lambda: _kept(case, noise),
            "drawn_noise": lambda: _drawn(watch[0], case, _part(draft.announce, _TRAINED, 1.0)),
        }
        for name, find in more.items():
            try:
                _tell(draft, **{name: tuple(find())})
            except Exception as error:
                draft.lost(f"training.{name}", error)
    return trained.diverged


def _own_checkpoints(folder: Path, key: str) -> Path:
    """Return a folder for this process's checkpoints, with those that an earlier process left.

    Another process that a cluster has given up may still train the same case, and would remove a
    checkpoint while it is read here; of what is moved away it knows nothing.
    """
    own = folder / f"{key}-{secrets.token_hex(4)}"
    for each in sorted(folder.glob(f"{key}*"), key=_last_step, reverse=True):
        with suppress(OSError):  # it may be gone
            return each.rename(own)
    return own


def _last_step(folder: Path) -> int:
    steps = [each.name.rpartition("-")[2] for each in folder.glob("checkpoint-*")]
    return max(map(int, filter(str.isdecimal, steps)), default=0)


def _part(announce: Announce, begin: float, end: float) -> Announce:
    """Return what announces a part of a case: its shares are from `begin` to `end` of the whole."""

    def told(said: str) -> None:
        share = said.share if isinstance(said, Stage) else None
        announce(said if share is None else Stage.of(said, begin + (end - begin) * share))

    return told


def _tell(draft: Draft, **fields: object) -> None:
    assert draft.training is not None
    draft.training = draft.training.model_copy(update=fields)


def _kept(case: Case, noise: Sequence[LayerNoise]) -> list[KeptNoise]:
    """Return the noise of the case's sketch at many sizes; of oporp where there is no such form."""
    layers = averaged(noise).values()
    if not layers:
        return []
    sketch = case.settings["sketch"] or ""
    sketch = sketch if sketch in noise[-1].variances else "oporp"
    rho = case.settings["rho"] or 1.0
    itemsize = 4 if case.dtype == "float32" else 2
    own = way_with_exact_part(noise, sketch, rho, itemsize)
    return [*ways_of_keeping(layers, sketch, itemsize, {*RATES, rho}), *([own] if own else [])]


def check_training(case: Case) -> None:
    """Raise if a case cannot be trained, as far as that can be known before it starts.

    Raises:
        ValueError: If a pattern of watched layers matches no layer, there is no such checkpoint, or
            the Trainer has no such dtype there.
        DataError: If the data is missing or not valid.
    """
    assert case.training is not None
    if case.dtype == "float16" and case.time_device == "cpu":
        raise ValueError("a training must have dtype float32 or bfloat16 on a CPU, got 'float16'")
    data.load(case)
    checkpoint = case.training.checkpoint
    if checkpoint is not None:
        _check_checkpoint(checkpoint)
    if case.training.watch and not case.model.startswith("import:"):
        with fake_tensors():
            layers_matching(models.build(case).model, case.training.watch)


def _check_checkpoint(checkpoint: str) -> None:
    is_local = Path(checkpoint).is_dir() or not data.hub_answers()
    try:
        transformers.AutoConfig.from_pretrained(
            checkpoint, local_files_only=is_local, trust_remote_code=False
        )
    except (OSError, ValueError):
        need = "a directory of transformers, or a name on a hub that can be reached"
        raise ValueError(f"checkpoint must be {need}, got '{checkpoint}'") from None


def _watch(case: Case) -> list[TrainerCallback]:
    settings = case.training
    if settings is None or not settings.watch:
        return []
    return [
        TrainerCallback(
            noise=settings.watch,
            every=settings.watch_every,
            noise_rho=settings.watch_rho,
            capture=bool(settings.draw_rho),
        )
    ]


def _drawn(watch: TrainerCallback, case: Case, announce: Announce) -> list[DrawnNoise]:
    """Return the noise of sketches drawn at the last step, if the case asks for it."""
    settings = case.training
    if settings is None or not settings.draw_rho or watch.captured is None:
        return []
    return draw_noise(
        watch.captured,
        rates=settings.draw_rho,
        bits=_bits(case),
        draws=settings.draws,
        announce=announce,
    )


def _bits(case: Case) -> int | None:
    """Return in how many bits sketched layers keep a number; None where they do not round."""
    rounds = {step.name: step for step in case.steps if step.name == "rmm"}
    bits = values(rounds.values()).get("bits")
    return None if bits is None else int(bits)
