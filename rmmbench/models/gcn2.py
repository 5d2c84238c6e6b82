"""GCN2: graph convolutions that mix in the first features and stay near the identity.

Chen, Wei, Huang, Ding, Li (2020): Simple and Deep Graph Convolutional Networks. ICML 2020. Norms,
activations and dropout between the layers follow Fey, Lenssen, Weichert, Leskovec (2021),
GNNAutoScale, for the citations of arXiv. PyTorch Geometric, in the extra `graph`, passes messages.
"""

import re

import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import Tensor, nn

from rmmbench.errors import UsageError
from rmmbench.models.model import Built, Output
from rmmbench.spec.case import Case

try:
    from torch_geometric.nn import GCN2Conv
    from torch_geometric.nn.conv.gcn_conv import gcn_norm
except ModuleNotFoundError as error:
    remedy = "pip install 'rmmbench[graph]'"
    raise UsageError(f"gcn2 needs PyTorch Geometric, got: {error}; {remedy}") from error

ALPHA, THETA, DROPOUT = 0.2, 0.5, 0.3
"""The share of the first features, the strength of the product, and the share that is dropped."""

SYNTHETIC = "graph, features and labels are random"

# The average number of edges at a node in the undirected graph of arXiv's citations.
_DEGREE = 14


class LinearGCN2Conv(GCN2Conv):  # type: ignore[misc]  # ships no types
    """PyTorch Geometric's GCN2Conv, its weight in a `torch.nn.Linear` that methods can convert."""

    linear: nn.Linear

    def __init__(self, channels: int, layer: int) -> None:
        """Make the `layer`-th convolution of a network, counted from 1."""
        super().__init__(channels, ALPHA, THETA, layer, normalize=False)
        self.linear = nn.Linear(channels, channels, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(self.weight1.T)
        del self.weight1

    def forward(self, x: Tensor, first: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        """Return new features of all nodes, shape (nodes, channels).

        Args:
            x: Shape (nodes, channels).
            first: Output of the network's first layer, of the same shape.
            edge_index: Source and target nodes, shape (2, edges).
            edge_weight: Shape (edges,).
        """
        spread = self.propagate(edge_index, x=x, edge_weight=edge_weight)
        mixed = torch.lerp(spread, first.to(spread.dtype), self.alpha)
        product = self.linear(mixed)
        return torch.lerp(mixed, product.to(mixed.dtype), self.beta)


class GCN2(nn.Module):
    """A linear layer, convolutions with batch normalisation, and a linear layer for the classes."""

    def __init__(self, features: int, width: int, layers: int, classes: int) -> None:
        """Make the layers."""
        super().__init__()
        self.input = nn.Linear(features, width)
        self.convolutions = nn.ModuleList(LinearGCN2Conv(width, i + 1) for i in range(layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(layers))
        self.output = nn.Linear(width, classes)

    def forward(
        self, input: Tensor, edge_index: Tensor, edge_weight: Tensor, labels: Tensor
    ) -> Output:
        """Return the loss and the logits.

        Args:
            input: Features, shape (nodes, features).
            edge_index: Source and target nodes, self-loops included, shape (2, edges).
            edge_weight: Normalised weights, shape (edges,).
            labels: Classes of the nodes, shape (nodes,); −100 for nodes that do not count.
        """
        x = first = F.relu(self.input(input))
        x = self._drop(x)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self._drop(F.relu(norm(convolution(x, first, edge_index, edge_weight))))
        logits = self.output(x)
        return Output(F.cross_entropy(logits, labels), logits)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, DROPOUT, self.training)


def gcn2(argument: str, case: Case) -> Built:
    """Build "gcn2:IN-WIDTHxLAYERS-OUT", by default 32-64x4-8; batch_size is the number of nodes.

    Raises:
        ValueError: If the argument is not four sizes, or the case has a seq_len.
    """
    match = re.fullmatch(r"(\d+)-(\d+)x(\d+)-(\d+)", argument or "32-64x4-8")
    if match is None or any(int(size) == 0 for size in match.groups()):
        raise ValueError(f"gcn2 must be given as gcn2:IN-WIDTHxLAYERS-OUT, got 'gcn2:{argument}'")
    if case.seq_len is not None:
        raise ValueError(f"gcn2 reads a graph and takes no seq_len, got {case.seq_len}")
    features, width, layers, classes = (int(size) for size in match.groups())
    nodes = case.batch_size

    def make_batch() -> dict[str, Tensor]:
        ends = torch.randint(0, nodes, (2, nodes * _DEGREE // 2))
        to_itself = torch.arange(nodes).expand(2, nodes)
        edge_index = torch.cat([ends, ends.flip(0), to_itself], dim=1)
        edge_index, edge_weight = gcn_norm(
            edge_index, num_nodes=nodes, add_self_loops=False, dtype=torch.float32
        )
        return {
            "input": torch.randn(nodes, features),
            "edge_index": edge_index,
            "edge_weight": edge_weight,
            "labels": torch.randint(0, classes, (nodes,)),
        }

    return Built(GCN2(features, width, layers, classes), make_batch, SYNTHETIC)
