"""Graphs are read whole, their nodes kept apart, and files that are not what they must be told."""

import gzip
import runpy
import sys

import numpy as np
import pytest
import torch

from rmmbench import data
from rmmbench.data import graph
from rmmbench.errors import DataError
from rmmbench.spec.case import Case
from rmmbench.spec.tasks import TASKS

FEATURES = [",".join([str(node / 2)] * 128) for node in range(6)]
FILES = {
    "raw/node-feat": FEATURES,
    "raw/edge": ["0,1", "2,1", "3,4"],
    "raw/node-label": ["0", "39", "2", "3", "1", "0"],
    "split/time/train": ["0", "1", "2"],
    "split/time/valid": ["3"],
    "split/time/test": ["5", "4"],
}


def load(task, directory=None):
    """Return a task's graph."""
    training = {"data": None if directory is None else str(directory)}
    settings = {"model": "gcn2", "task": task, "batch_size": 6, "training": training}
    return data.load(Case.model_validate(settings))


@pytest.fixture
def write(tmp_path):
    """Write a graph of six nodes, with some files changed or, where None, left out."""

    def written(changes=None):
        for name, lines in (FILES | (changes or {})).items():
            if lines is not None:
                file = tmp_path / f"{name}.csv.gz"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
        return tmp_path

    return written


def test_the_block_model_is_what_its_docstring_says():
    """2000 nodes of 32 features in 8 classes of one size; 1000 trained on, 600 scored on."""
    loaded = load("sbm")
    (train,), (evaluation,) = loaded.train, loaded.evaluation
    assert train["input"].shape == (TASKS["sbm"].batch_size, 32) == (2000, 32)
    assert train["input"] is evaluation["input"]
    trained = train["labels"][train["labels"] != -100]
    tested = evaluation["labels"][evaluation["labels"] != -100]
    assert len(trained) == 1000
    assert len(tested) == 600
    # Of 250 nodes a class, hypergeometric: a standard deviation of 10.5.
    assert (trained.bincount(minlength=8) - 125).abs().max() < 5 * 10.5
    assert loaded.note == "the graph, its features and its classes are made"


def test_the_block_model_links_nodes_of_a_class_more_often():
    """Of the pairs within a class 2 % are linked, of the others 0.5 %, within five errors."""
    loaded = load("sbm")
    (train,) = loaded.train
    edges = train["edge_index"]
    edges = edges[:, edges[0] != edges[1]]
    # Classes are of 250 nodes each, one after the other.
    within = int((edges[0] // 250 == edges[1] // 250).sum())
    pairs = 8 * 250 * 249
    for linked, possible, chance in (
        (within, pairs, 0.02),
        (edges.shape[1] - within, 2000 * 1999 - pairs, 0.005),
    ):
        # Each pair is drawn once and counted twice.
        error = 2 * (possible / 2 * chance * (1 - chance)) ** 0.5
        assert abs(linked - possible * chance) < 5 * error


def test_making_a_graph_leaves_the_generator_alone():
    """The graph has a seed of its own, and what torch draws afterwards is what it would have."""
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    load("sbm")
    assert torch.equal(torch.rand(3), expected)


def test_arxiv_is_read_as_it_is_laid_out(write):
    """Features, labels and both parts of the split are the files'; valid is not read."""
    loaded = load("arxiv", write({"split/time/valid": None}))
    (train,), (evaluation,) = loaded.train, loaded.evaluation
    assert torch.equal(train["input"][:, 127], torch.arange(6) / 2)
    assert train["labels"].tolist() == [0, 39, 2, -100, -100, -100]
    assert evaluation["labels"].tolist() == [-100, -100, -100, -100, 1, 0]
    assert loaded.note == "citations count in both directions"


def test_edges_are_normalised_in_both_directions(write):
    """Edge weights are D^−½ (A + I) D^−½ of the graph without directions."""
    (train,) = load("arxiv", write()).train
    found = torch.zeros(6, 6).index_put_(
        tuple(train["edge_index"]), train["edge_weight"], accumulate=True
    )
    linked = torch.eye(6)
    for one, other in ((0, 1), (2, 1), (3, 4)):
        linked[one, other] = linked[other, one] = 1
    roots = linked.sum(1).rsqrt()
    torch.testing.assert_close(found, roots[:, None] * linked * roots)


def test_only_nodes_that_count_are_scored(write):
    """The accuracy is over the test nodes, whatever is said of others."""
    loaded = load("arxiv", write())
    labels = loaded.collate([loaded.evaluation[0]])["labels"].numpy()
    logits = np.zeros((6, 40))
    logits[4, 1] = logits[5, 2] = 1
    assert loaded.scoring.score(0.0, logits, labels) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("changes", "file", "told"),
    [
        ({"raw/edge": None}, "raw/edge", "must be there, and is not; unpack https://snap."),
        ({"raw/node-feat": []}, "raw/node-feat", "must have rows of 128 columns, got 0 rows"),
        ({"raw/node-feat": ["1,2"] * 6}, "raw/node-feat", "must have rows of 128 columns, got 6"),
        ({"raw/edge": ["0,1,2"]}, "raw/edge", "must have rows of 2 columns, got 1 rows of 3"),
        ({"raw/edge": ["0,6"]}, "raw/edge", "must hold numbers from 0 to 5, got 6"),
        ({"raw/edge": ["0,x"]}, "raw/edge", "must hold numbers, as ogb has them: "),
        (
            {"raw/node-label": ["40"] + ["0"] * 5},
            "raw/node-label",
            "must hold numbers from 0 to 39, got 40",
        ),
        ({"raw/node-label": ["0"]}, "raw/node-label", "must have a row for each of 6 nodes, got 1"),
        ({"split/time/test": ["-1"]}, "split/time/test", "must hold numbers from 0 to 5, got -1"),
    ],
)
def test_files_that_are_not_what_they_must_be_are_told(write, changes, file, told):
    """The file is named, and what it must be or where it is from, in one line."""
    folder = write(changes)
    with pytest.raises(DataError) as caught:
        load("arxiv", folder)
    assert str(caught.value).startswith(f"{folder / file}.csv.gz {told}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"0,1\n", gzip.compress(b"0,1\n")[:-9]], ids=["plain", "cut short"]
)
def test_a_damaged_file_is_told(write, content):
    """A file that is not compressed, or not whole, is named."""
    folder = write()
    (folder / "raw/edge.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"raw/edge\.csv\.gz must hold numbers, as ogb has them: "):
        load("arxiv", folder)


def test_arxiv_without_a_directory_is_told():
    """Nothing is fetched: the error says what to unpack and what to give."""
    with pytest.raises(DataError, match=r"task 'arxiv' must have a local directory as training\."):
        load("arxiv")


def test_without_the_extra_it_is_told(monkeypatch):
    """Where PyTorch Geometric is not installed the error says what to install."""
    monkeypatch.setitem(sys.modules, "torch_geometric.nn.conv.gcn_conv", None)
    with pytest.raises(DataError, match=r"^graphs need PyTorch Geometric, .*'rmmbench\[graph\]'$"):
        runpy.run_path(graph.__file__)
