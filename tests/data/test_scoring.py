"""Scores are GLUE's, as fractions; one without a value is left out."""

import math

import numpy as np
import pytest

from rmmbench.data import glue


@pytest.mark.parametrize(
    ("task", "scores"),
    [
        ("cola", {"matthews": 0.5774}),
        ("mrpc", {"accuracy": 0.75, "f1": 0.6667}),
        ("qqp", {"accuracy": 0.75, "f1": 0.6667}),
    ],
)
def test_classes_are_scored_as_glue_scores_them(task, scores):
    """One of two right of class 1, both of class 0: known scores, as fractions."""
    scoring = glue.SCORINGS[task]
    labels = np.array([0, 0, 1, 1])
    logits = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 1.0], [0.0, 0.5]])
    assert scoring.score(math.nan, logits, labels) == pytest.approx(scores, abs=5e-5)
    assert scoring.metric == next(iter(scores))


def test_numbers_are_scored_by_both_correlations():
    """Pearson's counts; Spearman's is 1 where only the order is right."""
    scoring = glue.SCORINGS["stsb"]
    labels = np.array([0.0, 1.0, 2.0], dtype=np.float32)
    scores = scoring.score(math.nan, np.array([[0.0], [1.0], [4.0]], dtype=np.float32), labels)
    assert scores["pearson"] == pytest.approx(4 / math.sqrt(2 * 26 / 3), abs=1e-6)
    assert scores["spearman"] == pytest.approx(1)
    assert scoring.metric == "pearson"


def test_scores_without_a_value_are_left_out():
    """A correlation of constants, F1 of nothing and scores of what is no number do not exist."""
    numbers = glue.SCORINGS["stsb"]
    labels = np.array([1.0, 2.0])
    assert numbers.score(math.nan, np.array([[3.0], [3.0]]), labels) == {}
    assert numbers.score(math.nan, np.array([[3.0]]), labels[:1]) == {}
    classes = glue.SCORINGS["mrpc"]
    logits = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert classes.score(math.nan, logits, np.array([0, 0])) == {"accuracy": 1.0}
    assert classes.score(math.nan, logits * math.nan, np.array([0, 0])) == {}
