"""Handwritten digits that come with scikit-learn: 1797 images of 8×8 pixels with values 0 to 16.

E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository. Small enough to train on in seconds on a CPU, and real.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import default_collate

from rmmbench.data import _scoring
from rmmbench.data.data import Example, TrainingData
from rmmbench.errors import DataError
from rmmbench.spec.case import Case

PIXELS = 64
BRIGHTEST = 16
FIRST_TOKEN = 5
"""The token of a black pixel. Below it are the ids that models give a special meaning."""
EVALUATED = 450
_SPLIT_SEED = 0


def load(case: Case) -> TrainingData:
    """Return 1347 images to train on and 450 to score on, with all digits in equal shares.

    Models of tokens get the 64 pixel values as tokens, from `FIRST_TOKEN` on; others get floats
    in [0, 1], shape (64,).

    Raises:
        DataError: If seq_len is given and not 64.
    """
    if case.seq_len not in (None, PIXELS):
        raise DataError(
            f"seq_len must be {PIXELS} for task 'digits', a token a pixel, got {case.seq_len}; "
            "leave it out or give that"
        )
    images, labels = load_digits(return_X_y=True)
    train, evaluation, train_labels, evaluation_labels = train_test_split(
        images, labels, test_size=EVALUATED, random_state=_SPLIT_SEED, stratify=labels
    )
    name = "input" if case.seq_len is None else "input_ids"
    read = _floats if case.seq_len is None else _tokens
    return TrainingData(
        train=_examples(name, read(train), train_labels),
        evaluation=_examples(name, read(evaluation), evaluation_labels),
        collate=default_collate,
        scoring=_scoring.of_classes(accuracy=_scoring.accuracy),
        note="pixel values divided by 16" if case.seq_len is None else "pixel values as tokens",
    )


def _floats(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images / BRIGHTEST).float()


def _tokens(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).long() + FIRST_TOKEN


def _examples(name: str, inputs: Tensor, labels: np.ndarray) -> list[Example]:
    targets = torch.from_numpy(labels).long()
    return [{name: input, "labels": label} for input, label in zip(inputs, targets, strict=True)]
