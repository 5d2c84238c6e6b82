"""What a data set consists of: examples to train and to evaluate on, and a scoring of models."""

from collections.abc import Callable, Mapping
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
        metric: The name of the main score among those that `score` returns.
        score: Returns scores by name, from the mean loss, from what the model returned beside it
            (logits, shape (samples, ...)), and from the labels. Unless `needs_predictions`, the
            last two are None.
        higher_is_better: Whether a higher main score is better.
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
        collate: Makes a batch, the keyword arguments of one call, from some examples.
        scoring: How a model is scored.
        note: What is made up or changed in the data, in half a sentence; "" for nothing.
    """

    train: Examples
    evaluation: Examples
    collate: "Callable[[list[Example]], dict[str, Tensor]]"
    scoring: Scoring
    note: str = ""


Loader = Callable[[Case], TrainingData]
"""Returns the data that a case trains on.

Models of tokens (`case.seq_len` is given) get `input_ids`, at most seq_len tokens; others get
`input`, floats. Raises DataError if the data is missing or not valid.
"""
