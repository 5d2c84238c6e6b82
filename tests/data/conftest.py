"""Made files of GLUE's tasks, laid out as GLUE and as the hub lay out theirs."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

FOLDERS = {
    "cola": "CoLA",
    "mnli": "MNLI",
    "mrpc": "MRPC",
    "qnli": "QNLI",
    "qqp": "QQP",
    "rte": "RTE",
    "sst2": "SST-2",
    "stsb": "STS-B",
    "wnli": "WNLI",
}
ENTAILMENT = ("entailment", "not_entailment")
CLASSES = {"mnli": ("entailment", "neutral", "contradiction"), "qnli": ENTAILMENT}
CLASSES["rte"] = ENTAILMENT
HUB_TEXTS = {
    "cola": ("sentence",),
    "mnli": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
    "qqp": ("question1", "question2"),
    "sst2": ("sentence",),
}

# The columns of GLUE's own files; {} is the first text, the second, the label, or something else.
TSV = {
    "cola": (None, "gj04 {label} * {0}"),
    "mnli": (
        "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse "
        "sentence1_parse sentence2_parse sentence1 sentence2 label1 gold_label",
        "7 31193 31193n fiction ( ( ) ( {0} {1} {label} {label}",
    ),
    "mrpc": ("\ufeffQuality #1_ID #2_ID #1_String #2_String", "{label} 17 18 {0} {1}"),
    "qnli": ("index question sentence label", "0 {0} {1} {label}"),
    "qqp": ("id qid1 qid2 question1 question2 is_duplicate", "9 1 2 {0} {1} {label}"),
    "rte": ("index sentence1 sentence2 label", "0 {0} {1} {label}"),
    "sst2": ("sentence label", "{0} {label}"),
    "stsb": (
        "index genre filename year old_index source1 source2 sentence1 sentence2 score",
        "0 news file 2012 1 none none {0} {1} {label}",
    ),
    "wnli": ("index sentence1 sentence2 label", "0 {0} {1} {label}"),
}

Row = tuple[str, str, int | float]
TRAIN: list[Row] = [
    ('"a quoted word', "NA", 1),
    ("null", "ünïcode", 0),
    ("a third one, longer than the others", "with its pair", 1),
]
EVALUATION: list[Row] = [("none of the above", "and", 0), ("the last", "of them", 1)]


def rows_of(task: str, rows: list[Row]) -> list[Row]:
    """Return rows whose labels suit a task: MNLI has a third class, STS-B numbers."""
    if task == "stsb":
        return [(first, second, 2.5 * label + 0.2) for first, second, label in rows]
    if task == "mnli":
        return [(first, second, 2 * label) for first, second, label in rows]
    return rows


def write_tsv(file: Path, task: str, rows: list[Row]) -> None:
    """Write rows as GLUE's own file of a task has them."""
    header, form = TSV[task]
    names = CLASSES.get(task)
    lines = [] if header is None else [header.replace(" ", "\t").replace("_ID", " ID")]
    lines = [line.replace("_String", " String") for line in lines]
    for first, second, label in rows:
        shown = names[int(label)] if names else label
        lines.append(form.replace(" ", "\t").format(first, second, label=shown))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_parquet(file: Path, task: str, rows: list[Row]) -> None:
    """Write rows as the hub's file of a task has them."""
    texts = HUB_TEXTS.get(task, ("sentence1", "sentence2"))
    frame = pd.DataFrame({name: [row[at] for row in rows] for at, name in enumerate(texts)})
    frame["label"] = [row[2] for row in rows]
    frame["idx"] = range(len(rows))
    frame.to_parquet(file)


@pytest.fixture
def glue_data(tmp_path: Path) -> Callable[..., Path]:
    """Write a task's made files as "tsv" or "parquet", and return the directory with its folder."""

    def written(task: str, kind: str = "tsv", folder: str | None = None) -> Path:
        base = tmp_path / kind
        place = base / (FOLDERS[task] if folder is None else folder)
        place.mkdir(parents=True, exist_ok=True)
        suffix = "_matched" if task == "mnli" else ""
        train, evaluation = rows_of(task, TRAIN), rows_of(task, EVALUATION)
        if kind == "tsv":
            write_tsv(place / "train.tsv", task, train)
            write_tsv(place / f"dev{suffix}.tsv", task, evaluation)
        else:
            write_parquet(place / "train-00000-of-00001.parquet", task, train)
            name = f"validation{suffix}-00000-of-00001.parquet"
            write_parquet(place / name, task, evaluation)
        return base

    return written
