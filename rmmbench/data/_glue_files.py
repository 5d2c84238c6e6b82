"""Reads GLUE's tables from TSV files, named as GLUE names them, or from the hub's Parquet files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rmmbench.errors import DataError


@dataclass(frozen=True)
class Layout:
    """The columns and splits of one task's tables.

    Attributes:
        texts: Columns of the texts, as the hub names them.
        classes: Names of the classes, in the hub's order; none if the label is a number.
        evaluation: The split to score on, as the hub names it.
        tsv_names: From the TSV file's name of a column to the hub's, where they differ.
        header: The columns of a TSV file that has no header.
    """

    texts: tuple[str, ...]
    classes: tuple[str, ...] = ("0", "1")
    evaluation: str = "validation"
    tsv_names: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (*self.texts, "label")

    @property
    def tsv_stems(self) -> dict[str, str]:
        """The stem of a split's TSV file."""
        return {"train": "train", self.evaluation: self.evaluation.replace("validation", "dev")}


@dataclass(frozen=True)
class Table:
    """One split.

    Attributes:
        texts: Its columns of texts.
        labels: int64 classes, or float32 numbers.
        left_out: How many rows had no label or no text, and were left out.
    """

    texts: tuple[list[str], ...]
    labels: np.ndarray
    left_out: int


def folder_of(task: str, data: str) -> Path:
    """Return the folder in `data` that is named after a task, such as "SST-2", or `data` itself.

    Raises:
        DataError: If `data` is no directory.
    """
    base = Path(data)
    if not base.is_dir():
        raise DataError(
            f"'{data}' must be a directory with GLUE's data, there is none; give another with "
            "--data"
        )
    named = [path for path in base.iterdir() if path.is_dir() and _plain(path.name) == task]
    return min(named, default=base)


def read(folder: Path, split: str, layout: Layout) -> Table:
    """Read one split from a TSV file or from Parquet files in a folder.

    Raises:
        DataError: If it is missing, or not as the layout says.
    """
    tsv = folder / f"{layout.tsv_stems[split]}.tsv"
    if tsv.is_file():
        return checked(_from_tsv(tsv, layout), layout, str(tsv))
    parts = sorted([*folder.glob(f"{split}-*.parquet"), *folder.glob(f"{split}.parquet")])
    if not parts:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise DataError(
            f"{folder} must have {tsv.name} or {split}-*.parquet, found {there}; put it there"
        )
    _all_there(parts)
    frames = [_from_parquet(part) for part in parts]
    for part, frame in zip(parts, frames, strict=True):
        _has_columns(frame, layout, str(part))
    return checked(pd.concat(frames, ignore_index=True), layout, str(parts[0]))


def checked(frame: pd.DataFrame, layout: Layout, where: str) -> Table:
    """Return a frame as a table, without rows that have no label or no text at all.

    Raises:
        DataError: If a column is missing, there are no rows, or a label is none of the task's.
    """
    _has_columns(frame, layout, where)
    frame = frame[[*layout.columns]]
    # A truncated row has "" for its missing fields. One of two texts may be empty: the hub has
    # such pairs.
    given = frame.notna() & (frame != "")
    whole = frame.notna().all(axis=1) & given["label"] & given[[*layout.texts]].any(axis=1)
    if not whole.any():
        raise DataError(f"{where} must have examples, found none; give the whole file")
    kept = frame[whole]
    texts = tuple(kept[name].astype(str).tolist() for name in layout.texts)
    labels = _classes(kept["label"], layout, where) if layout.classes else _scores(kept, where)
    return Table(texts, labels, left_out=int((~whole).sum()))


def _from_tsv(file: Path, layout: Layout) -> pd.DataFrame:
    try:
        frame = pd.read_csv(
            file,
            sep="\t",
            quoting=3,
            dtype=str,
            keep_default_na=False,
            header=None if layout.header else "infer",
        )
    except pd.errors.EmptyDataError:
        raise DataError(f"{file} must have examples, found none; give the whole file") from None
    except (OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        raise DataError(f"{file} must be a TSV file in UTF-8: {why}; give GLUE's own") from None
    # If every row has more fields than the header, pandas takes the first as the row's name.
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(f"{file} must be a TSV file whose rows have as many fields as its header")
    if not layout.header:
        return frame.rename(columns=layout.tsv_names)
    if len(frame.columns) != len(layout.header):
        raise DataError(
            f"{file} must have the {len(layout.header)} columns {', '.join(layout.header)} and no "
            f"header, found {len(frame.columns)} columns; give GLUE's own"
        )
    return frame.set_axis(list(layout.header), axis=1)


def _from_parquet(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0].rstrip(".")
        raise DataError(f"{file} must be a Parquet file: {why}; give the hub's own") from None


def _has_columns(frame: pd.DataFrame, layout: Layout, where: str) -> None:
    if set(layout.columns) <= set(frame.columns):
        return
    there = ", ".join(map(str, frame.columns))
    raise DataError(
        f"{where} must have the columns {', '.join(layout.columns)}, found {there:.120}"
    )


def _all_there(parts: list[Path]) -> None:
    counts = [re.search(r"-of-(\d+)$", part.stem) for part in parts]
    for part, count in zip(parts, counts, strict=True):
        if count and int(count[1]) != len(parts):
            raise DataError(
                f"{part.parent} must have all {int(count[1])} parts that {part.name} names, found "
                f"{len(parts)}; put the others there"
            )


def _classes(labels: "pd.Series[str]", layout: Layout, where: str) -> np.ndarray:
    numbers = {str(number): number for number in range(len(layout.classes))}
    numbers |= {name: number for number, name in enumerate(layout.classes)}
    classes = labels.astype(str).map(numbers)
    _no_gap(classes, labels, "one of " + ", ".join(dict.fromkeys(layout.classes)), where)
    return classes.to_numpy(dtype=np.int64)


def _scores(frame: pd.DataFrame, where: str) -> np.ndarray:
    scores = pd.to_numeric(frame["label"], errors="coerce")
    _no_gap(scores.where(scores.between(0, 5)), frame["label"], "from 0 to 5", where)
    return scores.to_numpy(dtype=np.float32)


def _no_gap(values: "pd.Series[Any]", labels: "pd.Series[str]", need: str, where: str) -> None:
    gaps = values.index[values.isna()]
    if len(gaps):
        raise DataError(
            f"{where}, row {gaps[0] + 1}: label must be {need}, got '{labels[gaps[0]]}'; correct "
            "the row or give GLUE's own file"
        )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
