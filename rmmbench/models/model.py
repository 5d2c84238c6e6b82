"""What a model family gives: a model and a maker of batches that it can be called with."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from rmmbench.record import Case

if TYPE_CHECKING:
    from torch import Tensor, nn


class Built(NamedTuple):
    """A model ready to train.

    Attributes:
        model: Called as model(**batch), it returns a scalar loss, or something whose `loss` is one.
        make_batch: Makes the keyword arguments of one step.
    """

    model: "nn.Module"
    make_batch: "Callable[[], dict[str, Tensor]]"


Builder = Callable[[str, Case], Built]
"""Makes a model from the argument behind its name ("" where there is none) and the case."""
