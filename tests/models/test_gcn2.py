"""GCN2 is PyTorch Geometric's, with weights that methods can convert."""

import runpy
import sys

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch_geometric.nn import GCN2Conv
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from rmmbench import data, models
from rmmbench.errors import UsageError
from rmmbench.models import gcn2
from rmmbench.models.gcn2 import ALPHA, THETA, LinearGCN2Conv
from rmmbench.nn import RMMLinear, convert
from rmmbench.spec.case import Case


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


def built(model="gcn2:6-8x3-4", nodes=20, **settings):
    """Return a model of 20 nodes and its batch maker."""
    return models.build(Case.model_validate({"model": model, "batch_size": nodes} | settings))


@pytest.mark.parametrize("layer", [1, 3])
def test_a_convolution_is_pytorch_geometrics(layer):
    """With one weight, output and all gradients are those of PyTorch Geometric's GCN2Conv."""
    ours, theirs = LinearGCN2Conv(8, layer), GCN2Conv(8, ALPHA, THETA, layer)
    with torch.no_grad():
        theirs.weight1.copy_(ours.linear.weight.T)
    edge_index = torch.randint(0, 20, (2, 60))
    y = torch.randn(20, 8)
    x, first = torch.randn(2, 20, 8)
    results = []
    for convolution, edges in (
        (ours, gcn_norm(edge_index, num_nodes=20, dtype=torch.float32)),
        # It normalises by itself.
        (theirs, (edge_index,)),
    ):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, first)]
        output = convolution(*inputs, *edges)
        output.backward(y)
        results.append([output.detach(), *(tensor.grad for tensor in inputs)])
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(ours.linear.weight.grad, theirs.weight1.grad.T)


def test_a_convolution_has_one_weight():
    """The product's weight is the linear layer's alone, as PyTorch Geometric begins it."""
    convolution = LinearGCN2Conv(64, 1)
    assert [name for name, _ in convolution.named_parameters()] == ["linear.weight"]
    # Glorot's uniform distribution, whose bound torch's own for a linear layer is not.
    bound = (6 / 128) ** 0.5
    largest = float(convolution.linear.weight.detach().abs().max())
    assert 0.99 * bound < largest <= bound


def test_every_parameter_is_trained():
    """A batch gives a scalar loss, logits of all nodes, and every parameter a gradient."""
    made = built()
    output = made.model(**made.make_batch())
    loss, logits = output
    assert loss is output.loss
    assert loss.shape == ()
    assert logits.shape == (20, 4)
    loss.backward()
    assert [name for name, p in made.model.named_parameters() if p.grad is None] == []


def test_nodes_without_a_label_do_not_count():
    """The loss is the mean over the nodes whose label is not −100."""
    made = built()
    batch = made.make_batch()
    batch["labels"][5:] = -100
    loss, logits = made.model.eval()(**batch)
    torch.testing.assert_close(loss, F.cross_entropy(logits[:5], batch["labels"][:5]))


@pytest.mark.parametrize("method", [False, True])
def test_weight_products_are_converted(method):
    """Every product with a weight is a linear layer, and trains where it is a sketched one."""
    made = built()
    layers = [name for name, layer in made.model.named_modules() if type(layer) is nn.Linear]
    assert layers == [
        "input",
        *(f"convolutions.{number}.linear" for number in range(3)),
        "output",
    ]
    if method:
        convert(made.model, rho=0.5)
        assert all(type(made.model.get_submodule(name)) is RMMLinear for name in layers)
    made.model(**made.make_batch()).loss.backward()
    assert all(made.model.get_submodule(name).weight.grad is not None for name in layers)


@pytest.mark.parametrize("nodes", [1, 2, 2000])
def test_a_made_graph_is_symmetric_and_normalised(nodes):
    """Each edge has one back of the same weight, and D^½ is what the weights leave alone."""
    batch = built(nodes=nodes).make_batch()
    edge_index, weights = batch["edge_index"], batch["edge_weight"]
    adjacency = torch.zeros(nodes, nodes).index_put_(tuple(edge_index), weights, accumulate=True)
    torch.testing.assert_close(adjacency, adjacency.T)
    roots = edge_index[1].bincount(minlength=nodes).sqrt()
    torch.testing.assert_close(adjacency @ roots, roots)
    assert built().synthetic == "graph, features and labels are random"


def test_dtypes_of_autocast():
    """Under autocast the model trains, its parameters' gradients in their own dtype."""
    made = built()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = made.model(**made.make_batch()).loss
    loss.backward()
    assert {parameter.grad.dtype for parameter in made.model.parameters()} == {torch.float32}


def test_a_large_graph_trains_on_fake_tensors():
    """A step on the graph of arXiv's size needs no memory to be followed."""
    with FakeTensorMode():
        made = built("gcn2:128-256x4-40", nodes=169_343)
        made.model(**made.make_batch()).loss.backward()
    assert made.model.output.weight.grad.shape == (40, 256)
    assert sum(parameter.numel() for parameter in made.model.parameters()) == (
        128 * 256 + 256 + 4 * (256 * 256 + 2 * 256) + 256 * 40 + 40
    )


def test_the_default_model_learns_the_block_model():
    """In 30 steps it is right of 7 in 10 nodes that it has no label of, and not of all."""
    torch.manual_seed(0)
    case = Case(model="gcn2", task="sbm", batch_size=2000)
    model, loaded = models.build(case).model.train(), data.load(case)
    train = loaded.collate([loaded.train[0]])
    evaluation = loaded.collate([loaded.evaluation[0]])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(30):
        model(**train).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        logits = model.eval()(**evaluation).logits
    scores = loaded.scoring.score(0.0, logits.numpy(), evaluation["labels"].numpy())
    assert 0.7 < scores["accuracy"] < 0.95


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        *(
            (name, {}, f"gcn2 must be given as gcn2:IN-WIDTHxLAYERS-OUT, got '{name}'")
            for name in ("gcn2:4x64", "gcn2:6-8x0-4", "gcn2:6-8-4", "gcn2:6-8x3-4-5")
        ),
        ("gcn2", {"seq_len": 4}, "gcn2 reads a graph and takes no seq_len, got 4"),
    ],
)
def test_what_cannot_be_made_is_told(model, settings, message):
    """The error says what must hold and what was given."""
    with pytest.raises(ValueError, match=r".") as caught:
        built(model, **settings)
    assert str(caught.value) == message


def test_without_the_extra_it_is_told(monkeypatch):
    """Where PyTorch Geometric is not installed the error says what to install."""
    monkeypatch.setitem(sys.modules, "torch_geometric.nn.conv.gcn_conv", None)
    with pytest.raises(UsageError, match=r"^gcn2 needs PyTorch Geometric, .*'rmmbench\[graph\]'$"):
        runpy.run_path(gcn2.__file__)
