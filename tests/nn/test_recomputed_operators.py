"""Single operators computed again: the same gradients to the last bit, and less that is kept."""

import copy
import gc

import pytest
import torch
from torch import nn

import rmmbench
from rmmbench.errors import PlanError
from rmmbench.nn import manual_seed
from rmmbench.nn.blocks import named_blocks
from rmmbench.nn.recipes import _RECIPES
from rmmbench.nn.recomputed_operators import OperatorsAgain
from rmmbench.spec.saving_plan import LayerChoice, SavingPlan


class Block(nn.Module):
    """Normalisation, two linear layers, activation and dropout, and a sum."""

    def __init__(self, dropout=0.1):
        """Make them."""
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(8), nn.Dropout(dropout)
        self.up, self.act, self.down = nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)

    def forward(self, x):
        """Return x and what is made of it."""
        return self.norm(x + self.drop(self.down(self.drop(self.act(self.up(x))))))


def blocks(count=3, **settings):
    """Return a model of some blocks."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(*(Block(**settings) for _ in range(count))))


def plan(**told):
    """Return a plan that computes operators of all blocks again."""
    return SavingPlan.model_validate({"model": "x", "checkpoint_operators": ("0.0-2",)} | told)


def gradients(model, x, **autocast):
    """Return the gradients of a step with dropout."""
    torch.manual_seed(1)
    manual_seed(1)
    x = x.clone().requires_grad_()
    model.zero_grad()
    with torch.autocast("cpu", enabled=bool(autocast), **autocast):
        loss = model(x).square().sum()
    loss.backward()
    return [x.grad, *(parameter.grad.clone() for parameter in model.parameters())]


PRODUCTS = {"checkpoint_products": ("0.0-2.up",)}


@pytest.mark.parametrize("told", [{}, PRODUCTS], ids=["operators", "products"])
@pytest.mark.parametrize("autocast", [{}, {"dtype": torch.bfloat16}], ids=["", "bf16"])
def test_gradients_are_the_same_to_the_last_bit(told, autocast):
    """Dropout drops what it dropped; with products made again too, and under autocast."""
    x = torch.randn(16, 8)
    exact = gradients(blocks(), x, **autocast)
    again = gradients(rmmbench.convert(blocks(), plan=plan(**told)), x, **autocast)
    assert all(map(torch.equal, again, exact))


def test_sketched_layers_keep_their_noise():
    """With the same seeds a converted layer within such a block has the gradient it had."""
    x = torch.randn(64, 8)
    layers = (LayerChoice(names=("0.0-2.down",), rho=0.5, bits=8),)
    one = gradients(rmmbench.convert(blocks(), plan=plan(layers=layers, **PRODUCTS)), x)
    other = gradients(
        rmmbench.convert(blocks(), plan=plan(layers=layers, checkpoint_operators=())), x
    )
    assert all(map(torch.equal, one, other))


def test_less_is_kept():
    """Of a block its input, what activation and dropout need, and no result of theirs."""
    x = torch.randn(1024, 8)

    def kept(model):
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            y = model(x.clone().requires_grad_())
        return sum(sizes.values()), y

    # Without dropout: 8 numbers a row into each layer, 32 of the activation, none of its result.
    exact, _ = kept(blocks(dropout=0.0))
    again, _ = kept(rmmbench.convert(blocks(dropout=0.0), plan=plan()))
    products, _ = kept(rmmbench.convert(blocks(dropout=0.0), plan=plan(**PRODUCTS)))
    row = 1024 * 4
    assert exact - again >= 3 * 32 * row
    assert again - products >= 3 * 30 * row


def test_nothing_is_left_over():
    """When the graph is gone so are all recipes; without gradients there are none."""
    model = rmmbench.convert(blocks(), plan=plan())
    gc.collect()
    before = len(_RECIPES)
    gradients(model, torch.randn(16, 8))
    with torch.no_grad():
        model(torch.randn(16, 8))
    gc.collect()
    assert len(_RECIPES) == before


def test_a_graph_can_be_used_twice():
    """What is made again is made again each time."""
    model = rmmbench.convert(blocks(dropout=0.0), plan=plan(**PRODUCTS))
    loss = model(torch.randn(16, 8)).square().sum()
    loss.backward(retain_graph=True)
    first = [parameter.grad.clone() for parameter in model.parameters()]
    loss.backward()
    for once, parameter in zip(first, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, 2 * once)


def test_changed_arguments_are_refused():
    """A weight that was updated between forward and backward pass is no silent error."""
    model = rmmbench.convert(blocks(dropout=0.0), plan=plan())
    loss = model(torch.randn(16, 8)).square().sum()
    with torch.no_grad():
        model[0][0].norm.weight.mul_(2)
    with pytest.raises(RuntimeError, match="needs its arguments as they were"):
        loss.backward()


class InPlace(Block):
    """A block that writes over a result that could be made again."""

    def forward(self, x):
        """Return x and what is made of it."""
        y = self.act(self.up(self.norm(x)))
        y *= 2
        return x + self.down(y)


def test_what_is_written_over_is_kept():
    """A result that changed is not made again as it was before."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(InPlace(), InPlace(), InPlace()))
    x = torch.randn(16, 8)
    exact = gradients(copy.deepcopy(model), x)
    assert all(map(torch.equal, gradients(rmmbench.convert(model, plan=plan()), x), exact))


def test_attention_is_made_again_beside_operators():
    """In a model of transformers with both, gradients stay, dropout and all."""
    from rmmbench import models
    from rmmbench.running.one_case import case_of

    built = models.build(case_of("roberta-tiny", None, 4, 16, {}))
    batch = built.make_batch()
    name = next(name for name in named_blocks(built.model))

    def step(model):
        torch.manual_seed(1)
        model.train()(**batch).loss.backward()
        return [one.grad.clone() for one in model.parameters() if one.grad is not None]

    exact = step(copy.deepcopy(built.model))
    inside = ("attention.self.query", "attention.self.value", "intermediate.dense")
    told = {
        "checkpoint_operators": (name,),
        "checkpoint_attention": (name,),
        "checkpoint_products": tuple(f"{name}.{part}" for part in inside),
    }
    again = step(rmmbench.convert(built.model, plan=plan(**told)))
    assert all(map(torch.equal, again, exact))


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({"checkpoint": ("0.1",)}, "'0.1' is in both"),
        ({"checkpoint_operators": ("0.0",), "checkpoint_products": ("0.1.up",)}, "got '0.1.up'"),
    ],
)
def test_contradictions_are_refused(told, match):
    """A block has one way, and products are of such blocks; the model stays as it was."""
    model = blocks()
    with pytest.raises(PlanError, match=match):
        rmmbench.convert(model, plan=plan(**told))
    assert not any(hasattr(module, "gradient_checkpointing") for module in model.modules())


def test_unconvert_undoes_it():
    """Nothing is computed again, and a copy of a changed model has layers of its own."""
    model = rmmbench.convert(blocks(), plan=plan(**PRODUCTS))
    compute = copy.deepcopy(model)[0][0]._gradient_checkpointing_func
    assert isinstance(compute, OperatorsAgain)
    assert compute.products[0] is not model[0][0].up
    rmmbench.unconvert(model)
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
