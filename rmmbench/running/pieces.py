"""Work in pieces, and what is known of how long each takes before it is done."""

from typing import Final, NamedTuple

from rmmbench.spec.case import Case

# The weights say about what the committed baselines say, whose times spread around them.

_PREDICTED: Final = {"rmm": 2.0, "fewbit-activation": 2.5, "exact-rp": 8.0, "quantize": 14.0}
"""How much longer than the unchanged model's step that of a method takes to predict: each of its
operators is followed. Other methods take hardly longer."""

_TRAINED_IN_BITS: Final = 3.0
"""How much longer a training with few bits takes: up to seven times with small models."""

_IN_TURN: Final = 1.4
"""How much longer a method takes to time than the unchanged model, with which it takes turns."""

_BY_ROWS: Final = 0.8
"""The power of the rows that timing takes. Steps of few rows take more time to prepare than to
run, and there are more of them."""


class Kind(NamedTuple):
    """What a piece of work is like.

    Attributes:
        name: Pieces with the same name take about the same time for each unit of their weight.
        weight: How long this one takes beside those, as far as that is known before.
    """

    name: str
    weight: float = 1.0


class Piece(NamedTuple):
    """A piece of work.

    Attributes:
        kinds: What it is like, from what tells most of its time to what tells least.
        lane: Pieces of one lane may be done side by side.
    """

    kinds: tuple[Kind, ...]
    lane: str = ""


def piece_of(case: Case) -> Piece:
    """Return a case as a piece of work."""
    if case.device == "predict":
        return _prediction(case)
    what, weight, lane = f"{case.device} {case.dtype}", 1.0, "alone"
    if case.training is None:
        beside = _IN_TURN if case.steps else 1.0
    else:
        what, lane = f"train {case.task} {what}", f"train on {case.training.threads}"
        weight = float(case.training.max_steps or case.training.epochs)
        beside = _TRAINED_IN_BITS if case.settings["bits"] else 1.0
    rows = case.samples * (case.seq_len or 1)
    shape, model = f"{what} {case.shape}", f"{what} {case.model}"
    kinds = (
        Kind(f"{shape} {case.model} {case.label}", weight),
        Kind(f"{shape} {case.model} {case.method}", weight * beside),
        Kind(f"{shape} {case.model}", weight * beside),
        Kind(shape, weight * beside),
        Kind(model, weight * beside * rows**_BY_ROWS),
        Kind(what, weight * beside),
    )
    return Piece(kinds, lane)


def _prediction(case: Case) -> Piece:
    """Return a prediction, which takes no longer for a larger batch."""
    weight, model = 1.0, f"predict {case.model}"
    for name in case.methods:
        weight *= _PREDICTED.get(name, 1.0)
    kinds = (
        Kind(f"{model} {case.label}"),
        Kind(f"{model} {case.method}"),
        Kind(model, weight),
        Kind("predict", weight),
    )
    return Piece(kinds, "predict")
