"""English that comes with every Python: the reference pages behind `help()`, as bytes.

The pages quote one another at length: if whole pages were held out, three quarters of their text
would also be trained on. So each paragraph is taken once, whatever its line breaks, and the last
ones, none of which is trained on, are for evaluation.
"""

import math
import platform
from collections.abc import Iterable
from pydoc_data.topics import topics

import numpy as np
import torch
from torch.utils.data import default_collate

from rmmbench.data.data import Example, Scoring, TrainingData
from rmmbench.errors import DataError
from rmmbench.spec.case import Case

EVALUATION_BYTES = 8192
"""The least that is held out, whatever seq_len is: 64 windows of 128, quick to evaluate."""


def load(case: Case) -> TrainingData:
    """Return windows of seq_len bytes; the labels of a window are its bytes.

    Causal models of transformers shift the labels themselves, so a window's first byte is not
    predicted. Bytes at the end of each part that fill no window are dropped.

    Raises:
        DataError: If seq_len is missing, 1, or more than what is held out.
    """
    if case.seq_len is None:
        raise DataError("task 'text' is made of tokens: give seq_len, or a model that reads tokens")
    if not 2 <= case.seq_len <= EVALUATION_BYTES:
        raise DataError(
            f"seq_len must be from 2 to {EVALUATION_BYTES} for task 'text', got {case.seq_len}"
        )
    train, evaluation = split(topics[name] for name in sorted(topics))
    size, version = len(train) + len(evaluation), platform.python_version()
    return TrainingData(
        train=_windows(train, case.seq_len),
        evaluation=_windows(evaluation, case.seq_len),
        collate=default_collate,
        scoring=Scoring("bits_per_byte", _score, higher_is_better=False, needs_predictions=False),
        note=f"{size} bytes of the help texts of Python {version}, bytes as tokens",
    )


def split(pages: Iterable[str]) -> tuple[bytes, bytes]:
    """Return the text to train on, and the paragraphs after it to evaluate on.

    A repeated paragraph is left out, even if its line breaks differ.
    """
    unique: dict[str, str] = {}
    for page in pages:
        for paragraph in page.split("\n\n"):
            unique.setdefault(" ".join(paragraph.split()), paragraph.strip("\n"))
    unique.pop("", None)
    paragraphs = [f"{paragraph}\n\n".encode() for paragraph in unique.values()]
    held_out = 0
    first = len(paragraphs)
    while first and held_out < EVALUATION_BYTES:
        first -= 1
        held_out += len(paragraphs[first])
    return b"".join(paragraphs[:first]), b"".join(paragraphs[first:])


def _windows(text: bytes, seq_len: int) -> list[Example]:
    count = len(text) // seq_len
    tokens = np.frombuffer(text, dtype=np.uint8, count=count * seq_len).astype(np.int64)
    return [
        {"input_ids": window, "labels": window}
        for window in torch.from_numpy(tokens).view(count, seq_len)
    ]


def _score(
    loss: float, predictions: np.ndarray | None, labels: np.ndarray | None
) -> dict[str, float]:
    return {"bits_per_byte": loss / math.log(2)} if math.isfinite(loss) else {}
