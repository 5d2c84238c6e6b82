"""Graphs whose nodes are classified: a random one, and the citations of OGBN-arxiv.

A graph is one example, so an epoch is one step. Nodes that do not count have the label −100: all
but the training nodes in the training example, all but the test nodes in the other. Edges are
weighted D^−½ (A + I) D^−½, once for all layers.

Hu, Fey, Zitnik, Dong, Ren, Liu, Catasta, Leskovec (2020): Open Graph Benchmark. NeurIPS 2020.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rmmbench.data import _scoring
from rmmbench.data.data import Example, TrainingData
from rmmbench.errors import DataError
from rmmbench.spec.case import Case
from rmmbench.spec.tasks import TASKS

try:
    from torch_geometric.nn.conv.gcn_conv import gcn_norm
    from torch_geometric.utils import stochastic_blockmodel_graph, to_undirected
except ModuleNotFoundError as error:
    remedy = "pip install 'rmmbench[graph]'"
    raise DataError(f"graphs need PyTorch Geometric, got: {error}; {remedy}") from error

IGNORED = -100
"""The label of a node that does not count, as in torch's cross-entropy."""

BLOCK_MODEL_FEATURES = 32
ARXIV_FEATURES = 128

# Chosen so that a graph network needs the edges, and is right for most nodes but not for all.
_WITHIN, _BETWEEN = 0.02, 0.005
_NOISE = 3.0
_TRAINED, _TESTED = 1000, 600
_GRAPH_SEED = 0

_REMEDY = (
    "unpack https://snap.stanford.edu/ogb/data/nodeproppred/arxiv.zip, and give the directory that "
    "holds raw and split"
)


class _Graph(NamedTuple):
    """A graph and its split.

    Attributes:
        features: Shape (nodes, features).
        edge_index: In both directions, shape (2, edges).
        labels: Shape (nodes,).
        train, test: Indices of nodes.
    """

    features: Tensor
    edge_index: Tensor
    labels: Tensor
    train: Tensor
    test: Tensor


def block_model(case: Case) -> TrainingData:
    """Return a graph of 2000 nodes in 8 classes, the same for every case.

    Nodes of one class are linked four times as often as others. A node's 32 features are its
    class's plus stronger noise. 1000 nodes are for training, 600 others for scoring.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_GRAPH_SEED)
        graph = _draw_block_model(TASKS["sbm"].batch_size, TASKS["sbm"].num_labels)
    return _as_data(graph, "the graph, its features and its classes are made")


def arxiv(case: Case) -> TrainingData:
    """Return OGBN-arxiv from the directory `case.training.data`, laid out as ogb unpacks it.

    It has 169,343 papers in 40 subjects, with 128 features each. Papers up to 2017 are for
    training, those from 2019 on for scoring. A citation is an edge in both directions.

    Raises:
        DataError: If no directory is given, or its files are missing or not valid.
    """
    given = case.training.data if case.training else None
    if given is None:
        raise DataError(f"task 'arxiv' must have a local directory as training.data; {_REMEDY}")
    files = _Files(Path(given))
    features = torch.from_numpy(files.table("raw/node-feat.csv.gz", ARXIV_FEATURES, np.float32))
    nodes = len(features)
    labels = files.numbers("raw/node-label.csv.gz", TASKS["arxiv"].num_labels)
    if len(labels) != nodes:
        file = files.path("raw/node-label.csv.gz")
        raise DataError(f"{file} must have a row for each of {nodes} nodes, got {len(labels)}")
    edge_index = to_undirected(files.numbers("raw/edge.csv.gz", nodes, columns=2).T.contiguous())
    train, test = (files.numbers(f"split/time/{part}.csv.gz", nodes) for part in ("train", "test"))
    graph = _Graph(features, edge_index, labels[:, 0], train[:, 0], test[:, 0])
    return _as_data(graph, "citations count in both directions")


class _Files(NamedTuple):
    """The tables of a graph in `folder`: compressed CSV files without headers."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def table(self, name: str, columns: int, dtype: type[np.generic]) -> np.ndarray:
        """Return a table of at least one row.

        Raises:
            DataError: If there is none, its columns are others, or a value is no number.
        """
        file = self.path(name)
        if not file.is_file():
            raise DataError(f"{file} must be there, and is not; {_REMEDY}")
        try:
            read = np.array(pd.read_csv(file, header=None, dtype=dtype), order="C")
        except pd.errors.EmptyDataError:
            read = np.empty((0, columns), dtype)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            why = " ".join(str(error).split())
            raise DataError(f"{file} must hold numbers, as ogb has them: {why:.200}") from error
        if not len(read) or read.shape[1] != columns:
            shape = f"{len(read)} rows of {read.shape[1]}"
            raise DataError(f"{file} must have rows of {columns} columns, got {shape}; {_REMEDY}")
        return read

    def numbers(self, name: str, limit: int, columns: int = 1) -> Tensor:
        """Return a table of integers below `limit`.

        Raises:
            DataError: If one is out of range, or as for `table`.
        """
        read = self.table(name, columns, np.int64)
        outside = read[(read < 0) | (read >= limit)]
        if len(outside):
            expected = f"hold numbers from 0 to {limit - 1}"
            raise DataError(f"{self.path(name)} must {expected}, got {outside[0]}; {_REMEDY}")
        return torch.from_numpy(read)


def _draw_block_model(nodes: int, classes: int) -> _Graph:
    """Return a random graph of classes of equal size, from torch's generator."""
    labels = torch.arange(classes).repeat_interleave(nodes // classes)
    chances = torch.full((classes, classes), _BETWEEN).fill_diagonal_(_WITHIN)
    edge_index = stochastic_blockmodel_graph(torch.bincount(labels), chances)
    centres = torch.randn(classes, BLOCK_MODEL_FEATURES)
    features = centres[labels] + _NOISE * torch.randn(nodes, BLOCK_MODEL_FEATURES)
    order = torch.randperm(nodes)
    return _Graph(features, edge_index, labels, order[_TESTED:][:_TRAINED], order[:_TESTED])


def _as_data(graph: _Graph, note: str) -> TrainingData:
    edge_index, edge_weight = gcn_norm(
        graph.edge_index, num_nodes=len(graph.labels), dtype=graph.features.dtype
    )
    edges = {"edge_index": edge_index, "edge_weight": edge_weight}
    train, test = (
        {"input": graph.features} | edges | {"labels": _labels_of(graph, part)}
        for part in (graph.train, graph.test)
    )
    scoring = _scoring.of_classes(accuracy=_accuracy)
    return TrainingData([train], [test], _only, scoring, note)


def _labels_of(graph: _Graph, part: Tensor) -> Tensor:
    labels = torch.full_like(graph.labels, IGNORED)
    labels[part] = graph.labels[part]
    return labels


def _only(examples: Sequence[Example]) -> dict[str, Tensor]:
    """Return the batch of the one graph."""
    (graph,) = examples
    return dict(graph)


def _accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the fraction of right predictions, of the nodes that count."""
    counted = labels != IGNORED
    return _scoring.accuracy(labels[counted], predicted[counted])
