"""GLUE's nine tasks [Wang et al. 2018, arXiv 1804.07461], from the hub or from a directory.

Without a directory the data comes from the Hugging Face hub, dataset `nyu-mll/glue`, and stays in
its cache. With one (`--data DIR`, `data` in a profile's [training]) nothing is downloaded. DIR has
a folder for each task, or is the folder of one task:

    DIR/CoLA/  SST-2/  MRPC/  STS-B/  QQP/  MNLI/  QNLI/  RTE/  WNLI/    in any case
        train.tsv  dev.tsv                       as GLUE gives them, or
        train-*.parquet  validation-*.parquet    as the hub has them;
                                                 for MNLI dev_matched and validation_matched

TSV files have GLUE's own columns (CoLA's has no header) or the hub's. A row without label or text,
such as a truncated one, is left out; the note says how many were. Scores are of the development
sets, as the test sets have no labels; for MNLI of the matched one.

The main score is Matthews' correlation for CoLA, Pearson's for STS-B and accuracy for the others.
GLUE's second scores, F1 for MRPC and QQP and Spearman's for STS-B, are recorded too. The paper does
not name its scores. It follows Fairseq's recipe, which chooses by accuracy and reports 90.2 for
MRPC and 91.9 for QQP, close to the paper's 89.30 and 91.69.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import datasets
import pandas as pd

from rmmbench.data import _glue_files as files
from rmmbench.data import _hub, _scoring, _tokens
from rmmbench.data.data import TrainingData
from rmmbench.errors import DataError
from rmmbench.spec.case import Case
from rmmbench.spec.tasks import TASKS

REPOSITORY = "nyu-mll/glue"

_ENTAILMENT = ("entailment", "not_entailment")
_PAIR = ("sentence1", "sentence2")
_MRPC_NAMES = {"Quality": "label", "#1 String": "sentence1", "#2 String": "sentence2"}
_MNLI_NAMES = {"gold_label": "label", "sentence1": "premise", "sentence2": "hypothesis"}

_FOLDERS = {"sst2": "SST-2"}
"""GLUE's name of a task's folder, where the paper spells it otherwise."""

LAYOUTS = {
    "cola": files.Layout(("sentence",), header=("source", "label", "star", "sentence")),
    "mnli": files.Layout(
        texts=("premise", "hypothesis"),
        classes=("entailment", "neutral", "contradiction"),
        evaluation="validation_matched",
        tsv_names=_MNLI_NAMES,
    ),
    "mrpc": files.Layout(_PAIR, tsv_names=_MRPC_NAMES),
    "qnli": files.Layout(("question", "sentence"), _ENTAILMENT),
    "qqp": files.Layout(("question1", "question2"), tsv_names={"is_duplicate": "label"}),
    "rte": files.Layout(_PAIR, _ENTAILMENT),
    "sst2": files.Layout(("sentence",)),
    "stsb": files.Layout(_PAIR, classes=(), tsv_names={"score": "label"}),
    "wnli": files.Layout(_PAIR),
}

_ACCURACY = _scoring.of_classes(accuracy=_scoring.accuracy)
_ACCURACY_AND_F1 = _scoring.of_classes(accuracy=_scoring.accuracy, f1=_scoring.f1)
SCORINGS = {
    "cola": _scoring.of_classes(matthews=_scoring.matthews),
    "mrpc": _ACCURACY_AND_F1,
    "qqp": _ACCURACY_AND_F1,
    "stsb": _scoring.of_values(pearson=_scoring.pearson, spearman=_scoring.spearman),
}


def load(case: Case) -> TrainingData:
    """Return the case's GLUE task, its texts as tokens of the checkpoint's tokenizer or as bytes.

    Texts are cut to seq_len tokens and padded to the longest of their batch.

    Raises:
        DataError: If the data or the tokenizer is missing or not valid.
    """
    task = case.task or ""
    if case.seq_len is None:
        raise DataError(f"task '{task}' is text: give seq_len, or a model that reads tokens")
    data = case.training.data if case.training else None
    train, evaluation = _from_directory(task, data) if data else _from_hub(task)
    tokenizer, note = _tokens.of_case(case)
    left_out = train.left_out + evaluation.left_out
    notes = [note, f"{left_out} rows without label or text left out" if left_out else ""]
    return TrainingData(
        train=_tokens.tokenised(train.texts, train.labels, tokenizer, case.seq_len),
        evaluation=_tokens.tokenised(evaluation.texts, evaluation.labels, tokenizer, case.seq_len),
        collate=partial(_tokens.padded, tokenizer=tokenizer),
        scoring=SCORINGS.get(task, _ACCURACY),
        note="; ".join(filter(None, notes)),
    )


def _from_directory(task: str, data: str) -> tuple[files.Table, files.Table]:
    folder, layout = files.folder_of(task, data), LAYOUTS[task]
    return files.read(folder, "train", layout), files.read(folder, layout.evaluation, layout)


def _from_hub(task: str) -> tuple[files.Table, files.Table]:
    layout = LAYOUTS[task]
    splits = ("train", layout.evaluation)
    train, evaluation = (
        files.checked(frame, layout, f"{REPOSITORY}, {task}, {split}")
        for split, frame in zip(splits, _fetched(task, splits), strict=True)
    )
    return train, evaluation


def _fetched(task: str, splits: Sequence[str]) -> list[pd.DataFrame]:
    datasets.disable_progress_bars()
    online = _hub.answers()
    try:
        with nullcontext() if online else _hub.without():
            loaded = [datasets.load_dataset(REPOSITORY, task, split=split) for split in splits]
    except Exception as error:  # from the request, the cache or the disk
        why = f"gave no data ({type(error).__name__})" if online else "cannot be reached"
        stem = LAYOUTS[task].evaluation
        folder = _FOLDERS.get(task, TASKS[task].label)
        raise DataError(
            f"task '{task}' needs GLUE's data: the hub {why}, and no directory was given; put "
            f"train.tsv and {stem.replace('validation', 'dev')}.tsv (or train-*.parquet and "
            f"{stem}-*.parquet) into DIR/{folder} and give --data DIR"
        ) from None
    return [split.to_pandas() for split in loaded]
