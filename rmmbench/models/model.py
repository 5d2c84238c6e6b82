"""What a model family returns: a model, and a function that makes its batches."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rmmbench.results.record import SYNTHETIC
from rmmbench.spec.case import Case

if TYPE_CHECKING:
    from torch import Tensor, nn


class Built(NamedTuple):
    """A model ready to train.

    Attributes:
        model: Called as model(**batch), it returns a scalar loss, or something whose `loss` is one.
        make_batch: Makes the keyword arguments of one step: tensors, and whatever else it takes.
        synthetic: Which part of the batches is made up.
        warnings: How the model differs from what was asked for.
        step: Does a whole training step of its own, in place of the one that is measured otherwise;
            the model may then have no parameters, where it is not known, and batches are empty.
    """

    model: "nn.Module"
    make_batch: "Callable[[], Mapping[str, Any]]"
    synthetic: str = SYNTHETIC
    warnings: tuple[str, ...] = ()
    step: "Callable[[], object] | None" = None


class Output(NamedTuple):
    """What rmmbench's own models return.

    Attributes:
        loss: A scalar.
        logits: Shape (*, classes).
    """

    loss: "Tensor"
    logits: "Tensor"


Builder = Callable[[str, Case], Built]
"""Makes a model from the argument behind its name ("" if there is none) and the case."""
