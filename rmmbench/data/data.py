"""What a data set gives: examples to train and to evaluate on, and how its models are scored."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rmmbench.spec.case import Case

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Example = Mapping[str, Any]
"""The keyword arguments that a model takes for one sample."""


class Examples(Protocol):
    """A set of examples, by position."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int) -> Example:
        """Return one."""


class Scoring(NamedTuple):
    """How a model is scored on the evaluation set.

    Attributes:
        metric: The name of the score that counts, of those that `score` returns.
        score: Returns scores by name, from the mean loss, and from what the model returned beside
            the loss (logits, shape (samples, ...)) and the labels where `needs_predictions`; both
            None elsewhere.
        higher_is_better: Of the score that counts.
        needs_predictions: Whether `score` reads predictions and labels.
    """

    metric: str
    score: "Callable[[float, np.ndarray | None, np.ndarray | None], dict[str, float]]"
    higher_is_better: bool = True
    needs_predictions: bool = True


class TrainingData(NamedTuple):
    """A data set as one model reads it.

    Attributes:
        train: Examples to train on.
        evaluation: Examples to score on.
        collate: Makes a batch, the keyword arguments of one call, of some examples.
        scoring: How a model is scored.
        note: What of the data is made up, or changed, in half a sentence; "" for nothing.
    """

    train: Examples
    evaluation: Examples
    collate: "Callable[[Sequence[Example]], dict[str, Tensor]]"
    scoring: Scoring
    note: str = ""


Loader = Callable[[Case], TrainingData]
"""Makes what a case trains on.

Models of tokens (`case.seq_len` is given) get `input_ids`, of at most seq_len tokens; others get
`input`, floats. Raises DataError where the data is not there or is not what it must be.
"""
