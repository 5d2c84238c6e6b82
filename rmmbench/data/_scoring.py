"""Scores of classifiers and regressions, as scikit-learn and SciPy give them.

A score without a value is left out: a correlation if one side is constant, and every score if a
prediction is not finite, as NaN would count as the first class.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from rmmbench.data.data import Scoring

Score = Callable[[np.ndarray, np.ndarray], float]
"""Computes a score from labels and predictions, one of each per sample."""


def of_classes(**scores: Score) -> Scoring:
    """Return a scoring of logits, shape (samples, classes), by `scores`; the first counts."""
    return _scoring(scores, lambda logits: logits.argmax(-1))


def of_values(**scores: Score) -> Scoring:
    """Return a scoring of values, shape (samples, 1), by `scores`; the first counts."""
    return _scoring(scores, lambda values: values.reshape(len(values)))


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the fraction of right predictions."""
    return float(accuracy_score(labels, predicted))


def f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return F1 of class 1; NaN if no label and no prediction is class 1."""
    return float(f1_score(labels, predicted, zero_division=np.nan))


def matthews(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return Matthews' correlation; by convention 0 where only one class is predicted."""
    return float(matthews_corrcoef(labels, predicted))


def pearson(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return Pearson's correlation; NaN if one side is constant."""
    return _correlation(stats.pearsonr, labels, predicted)


def spearman(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return Spearman's rank correlation; NaN if one side is constant."""
    return _correlation(stats.spearmanr, labels, predicted)


def _scoring(scores: Mapping[str, Score], decide: Callable[[np.ndarray], np.ndarray]) -> Scoring:
    def score(
        loss: float, predictions: np.ndarray | None, labels: np.ndarray | None
    ) -> dict[str, float]:
        if predictions is None or labels is None:
            raise TypeError("predictions and labels must be given, got None; pass what came out")
        if not np.isfinite(predictions).all():
            return {}
        decided = decide(predictions)
        values = {name: measured(labels, decided) for name, measured in scores.items()}
        return {name: value for name, value in values.items() if math.isfinite(value)}

    return Scoring(next(iter(scores)), score)


def _correlation(
    correlate: Callable[..., Any],
    labels: np.ndarray,
    predicted: np.ndarray,
) -> float:
    if len(labels) < 2:
        return math.nan
    # SciPy warns of constants, which NaN already shows.
    with warnings.catch_warnings(action="ignore"):
        return float(correlate(labels, predicted).statistic)
