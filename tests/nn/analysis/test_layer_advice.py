"""Which layers gain: who keeps what a linear layer reads, and what is made of it."""

import copy
import gc
import weakref

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- the name that torch's own code uses
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

import rmmbench
from rmmbench.nn import converted_layers
from rmmbench.nn.analysis.layer_advice import Floor, advise_layers
from rmmbench.nn.analysis.readers import readings
from rmmbench.nn.candidates import linear_layers
from rmmbench.nn.size import SketchSettings

HALF = SketchSettings("oporp", 0.5)
ROWS, WIDTH = 64, 16
NONE = Floor(0, 0.0)
KEPT, SKETCHED = ROWS * WIDTH * 4, ROWS * WIDTH * 2 + 8


class Attention(nn.Module):
    """Q, K and V read one tensor; what they give is read by one more layer."""

    def __init__(self):
        """Make four layers of one size."""
        super().__init__()
        for name in ("query", "key", "value", "out"):
            setattr(self, name, nn.Linear(WIDTH, WIDTH))

    def forward(self, x):
        """Return a number."""
        x = x * 2
        mixed = self.query(x) * self.key(input=x) + self.value(x)
        del x
        return crest(self.out(mixed + 1)).sum()


def crest(x):
    """Add zeros to x, and for that take more memory than anything before it."""
    return x + torch.zeros(64 * ROWS, WIDTH).sum()


def sequence(*modules):
    """Return modules in a row, between operations that keep nothing of what they hand on."""
    return nn.Sequential(Shift(), *modules, Shift())


class Shift(nn.Module):
    """Keeps nothing for its own backward pass, and asks for a gradient."""

    def __init__(self):
        """Make the one parameter."""
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        """Return a tensor of its own."""
        return crest(x) + self.shift


def advice_for(model, settings=HALF, *, share=True, example=None, floor=NONE):
    """Return the advice for all linear layers of a model of rows of WIDTH."""
    example = torch.randn(ROWS, WIDTH) if example is None else example
    found = advise_layers(
        model, list(linear_layers(model)), settings, example, share=share, floor=floor
    )
    return {advice.layer: advice for advice in found}


@pytest.mark.parametrize(
    ("before", "keeper"),
    [
        (nn.ReLU(), "relu in 1"),
        (nn.Tanh(), "tanh in 1"),
        (nn.Sigmoid(), "sigmoid in 1"),
        (nn.Softmax(-1), "softmax in 1"),
        (nn.GELU(), None),
        (nn.SiLU(), None),
        (nn.Dropout(), None),
        (nn.LayerNorm(WIDTH), None),
    ],
)
def test_what_comes_before_decides(before, keeper):
    """After what keeps its output a sketch saves nothing; after what keeps its input it does."""
    advice = advice_for(sequence(before, nn.Linear(WIDTH, 4)))["2"]
    assert (advice.kept_bytes, advice.sketched_bytes) == (KEPT, SKETCHED)
    assert advice.others == ((keeper,) if keeper else ())
    assert advice.is_beneficial == (keeper is None)


def test_who_comes_after_decides_too():
    """An operation beside the layer that keeps its input is found, and named with its module."""

    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            return self.linear(x) * x

    advice = advice_for(sequence(Gate()))["1.linear"]
    assert advice.others == ("mul in 1",)
    assert not advice.is_beneficial
    assert advice.reason == "kept anyway"


def test_the_batch_and_parameters_are_kept_anyway():
    """A layer that reads the batch, or a parameter, has nothing to save."""

    class Prompt(nn.Module):
        def __init__(self):
            super().__init__()
            self.prompt = nn.Parameter(torch.randn(ROWS, WIDTH))
            self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            return self.first(x) + self.second(self.prompt)

    advice = advice_for(Prompt())
    assert advice["first"].others == ("the batch",)
    assert not advice["first"].is_beneficial
    assert not advice["second"].is_beneficial


def test_a_view_of_what_is_kept_is_kept_anyway():
    """What counts is the storage: a slice of a tensor that a ReLU keeps saves nothing."""

    class Slice(nn.Module):
        def forward(self, x):
            return x[:, :8]

    advice = advice_for(sequence(nn.ReLU(), Slice(), nn.Linear(8, 4)))["3"]
    assert advice.kept_bytes == KEPT
    assert advice.others == ("relu in 1",)


@pytest.mark.parametrize("rho", [0.5, 0.2])
@pytest.mark.parametrize("share", [True, False])
def test_layers_that_read_one_tensor(rho, share):
    """Q, K and V keep one input, counted once; apart, three sketches of it may be more than it."""
    advice = advice_for(Attention(), SketchSettings("oporp", rho), share=share)
    trio = [advice[name] for name in ("query", "key", "value")]
    sketch = -(-ROWS * rho // 1) * WIDTH * 4 + 8
    assert [layer.kept_bytes for layer in trio] == [KEPT, 0, 0]
    assert [layer.sketched_bytes for layer in trio] == ([sketch, 0, 0] if share else [sketch] * 3)
    assert trio[0].together_with == ("key", "value")
    assert {layer.is_beneficial for layer in trio} == {share or rho == 0.2}
    assert advice["out"].is_beneficial


def test_autocast_keeps_copies():
    """Under autocast each layer keeps its own cast copy, and they share one sketch of it."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        advice = advice_for(Attention())
    trio = [advice[name] for name in ("query", "key", "value")]
    assert [layer.kept_bytes for layer in trio] == [KEPT // 2] * 3
    assert [layer.sketched_bytes for layer in trio] == [ROWS * WIDTH + 8, 0, 0]


@pytest.mark.parametrize("is_held", [True, False])
def test_an_input_that_is_alive_at_the_peak_is_left(is_held):
    """Where the caller holds an input while memory is highest, a sketch would only add to it."""

    class Holding(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)

        def forward(self, x):
            hidden = F.gelu(self.first(x * 2))
            out = self.second(hidden)
            if not is_held:
                del hidden
            large = [torch.zeros(8 * ROWS, WIDTH) for _ in range(8)]
            return out.sum() + large[0].sum()

    advice = advice_for(Holding())
    assert advice["first"].is_beneficial
    assert advice["second"].is_beneficial != is_held
    if is_held:
        assert advice["second"].reason == "alive at the peak anyway"


def test_a_trial_leaves_no_trace():
    """Advice swaps layers and takes it back: classes, attributes and hooks are as before."""
    model = Attention()
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    advice_for(model)
    assert {type(module) for module in model.children()} == {nn.Linear}
    for name, module in model.named_modules():
        assert vars(module).keys() == before[name].keys()
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_layers_keep_nothing():
    """A frozen layer is left, and one whose partners are frozen still gains."""
    model = Attention()
    for name in ("key", "value", "out"):
        getattr(model, name).weight.requires_grad_(False)
    advice = advice_for(model)
    assert advice["query"].is_beneficial
    assert advice["out"].reason == "keeps nothing: its weight is frozen, or it was not called"


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("sketch", ["oporp", "norm-rows", "kronecker"])
def test_bytes_are_what_autograd_saves(share, sketch):
    """What advice says is kept, now and sketched, is what is kept, to the byte."""
    model, x = Attention(), torch.randn(4, ROWS // 4, WIDTH)
    settings = SketchSettings(sketch, 0.5)
    advice = advice_for(model, settings, share=share, example=x)
    ours = copy.deepcopy(model)
    rmmbench.convert(ours, sketch=sketch, rho=0.5, share=share)
    now, then = kept_by(model, x), kept_by(ours, x)
    told = (
        sum(a.kept_bytes for a in advice.values()),
        sum(a.sketched_bytes for a in advice.values()),
    )
    assert now - then == told[0] - told[1]


def kept_by(model, x):
    """Return the bytes of all storages that autograd keeps, the model's own left out."""
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(x)
    sizes = [t.untyped_storage().nbytes() for key, t in kept.items() if key not in own]
    del loss
    return sum(sizes)


def test_looking_changes_nothing():
    """Buffers, modes, hooks and random generators are as they were, and nothing is computed."""
    layers = [nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Dropout(), nn.Linear(WIDTH, 4)]
    model = sequence(*layers).eval()
    model[2].weight.requires_grad_(False)
    state = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    readings(model, list(linear_layers(model)), torch.full((ROWS, WIDTH), torch.nan))
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert type(model[1].weight) is nn.Parameter
    assert not model[2].weight.requires_grad


def test_looking_holds_nothing():
    """No tensor of the pass outlives it, not even until the next collection of garbage."""
    born = []

    class Noting(nn.Module):
        def forward(self, x):
            x = x.relu()
            born.append(weakref.ref(x.untyped_storage()))
            return x

    gc.disable()
    try:
        readings(sequence(Noting(), nn.ReLU(), nn.Linear(WIDTH, 4)), ["3"], torch.ones(ROWS, WIDTH))
        assert [ref() for ref in born] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("example", [{"x": 0}, (0,), 0], ids=["mapping", "tuple", "tensor"])
def test_any_form_of_batch(example):
    """A batch is a mapping of keyword arguments, a sequence of positional ones, or the only one."""
    x = torch.randn(ROWS, WIDTH)
    filled = {"x": x} if isinstance(example, dict) else (x,) if isinstance(example, tuple) else x
    assert len(readings(Attention(), ["query", "out"], filled)) == 2


def test_within_fake_tensors():
    """Where tensors are fake already, as while memory is predicted, it is the same."""
    with FakeTensorMode():
        advice = advice_for(Attention())
    assert advice["query"].kept_bytes == KEPT


def test_convert_where_beneficial():
    """Only what gains is converted, and gradients of the rest are the exact ones."""
    model = sequence(nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
    x = torch.randn(ROWS, WIDTH)
    settings = {"sketch": "oporp", "rho": 0.5, "where": "beneficial", "example": x}
    rmmbench.convert(model, **settings, min_gain_bytes=0)
    assert list(converted_layers(model)) == ["4"]


def test_patterns_come_first():
    """A layer that patterns leave out keeps its input, so that its partners gain nothing."""
    model, x = Attention(), torch.randn(ROWS, WIDTH)
    settings = {"sketch": "oporp", "rho": 0.5, "where": "beneficial", "example": x}
    rmmbench.convert(model, exclude="key", min_gain_bytes=0, **settings)
    assert list(converted_layers(model)) == ["out"]


def test_where_needs_an_example():
    """Without a batch there is nothing to decide by, and nothing is changed."""
    model = Attention()
    with pytest.raises(ValueError, match=r"must see one batch to decide, got none; give example="):
        rmmbench.convert(model, rho=0.5, where="beneficial")
    with pytest.raises(ValueError, match="where must be 'all' or 'beneficial', got 'some'"):
        rmmbench.convert(model, rho=0.5, where="some")
    assert not converted_layers(model)


def test_nothing_gains():
    """A model in which no layer gains is told, with the reason."""
    model = sequence(nn.ReLU(), nn.Linear(WIDTH, 4))
    with pytest.raises(ValueError, match=r"none of the 1 linear layers gains.*kept anyway"):
        rmmbench.convert(model, rho=0.5, where="beneficial", example=torch.randn(ROWS, WIDTH))


def test_a_model_that_asks_for_values():
    """A forward pass that needs real data is refused, with what to do instead."""

    class Choosy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            return self.linear(F.relu(x)) if x.sum() > 0 else x

    with pytest.raises(
        ValueError, match=r"fake tensors cannot follow.*name the layers with include"
    ):
        rmmbench.convert(Choosy(), rho=0.5, where="beneficial", example=torch.randn(ROWS, WIDTH))


class Classifier(nn.Module):
    """A layer of many rows, and a head that reads one row of each 32."""

    def __init__(self, width=WIDTH):
        """Make both."""
        super().__init__()
        self.body, self.head = nn.Linear(width, width), nn.Linear(width, 4)

    def forward(self, x):
        """Return a number."""
        hidden = F.gelu(self.body(x * 2))[::32]
        return crest(self.head(hidden + 1).sum())


@pytest.mark.parametrize(
    ("floor", "rows", "body", "head"),
    [
        (NONE, 512, "only linear layers keep the input", "only linear layers keep the input"),
        (Floor(), 512, "less than 64.0 KiB", "less than 64.0 KiB"),
        (Floor(512, 0.0), 512, "only linear layers keep the input", "less than 512 B"),
        (
            Floor(0, 0.05),
            512,
            "only linear layers keep the input",
            "less than 5 % of what the best",
        ),
        (Floor(), 16384, "only linear layers keep the input", "less than 64.0 KiB"),
        (Floor(0), 16384, "only linear layers keep the input", "only linear layers keep the input"),
    ],
)
def test_what_saves_next_to_nothing_is_left(floor, rows, body, head):
    """A classifier's few rows are left as they are: a sketch must save so much, and so much of it.

    The head saves 1/32 of what the body does, of 512 rows 504 bytes.
    """
    advice = advice_for(Classifier(), example=torch.randn(rows, WIDTH), floor=floor)
    assert body in advice["body"].reason
    assert head in advice["head"].reason
    assert advice["head"].is_beneficial == ("only" in head)


def test_the_floor_of_convert_can_be_set():
    """`convert` leaves such layers by default, says so, and takes another floor."""
    settings = {"sketch": "oporp", "rho": 0.5, "where": "beneficial"}
    settings |= {"example": torch.randn(16384, WIDTH)}
    assert list(converted_layers(rmmbench.convert(Classifier(), **settings))) == ["body"]
    model = rmmbench.convert(Classifier(), min_gain_bytes=0, **settings)
    assert list(converted_layers(model)) == ["body", "head"]
    model = rmmbench.convert(Classifier(), min_gain_bytes=0, min_gain_ratio=0.1, **settings)
    assert list(converted_layers(model)) == ["body"]


@pytest.mark.parametrize(
    ("floor", "told"),
    [
        ({"min_gain_bytes": -1}, "min_gain_bytes must be at least 0, got -1"),
        ({"min_gain_ratio": 1.5}, r"min_gain_ratio must be in \[0, 1\], got 1.5"),
        ({"min_gain_ratio": float("nan")}, r"min_gain_ratio must be in \[0, 1\], got nan"),
    ],
)
def test_a_floor_that_makes_no_sense(floor, told):
    """It is refused before anything is changed."""
    model = Classifier()
    with pytest.raises(ValueError, match=told):
        rmmbench.convert(model, rho=0.5, **floor)
    assert not converted_layers(model)


def test_a_step_that_would_grow():
    """Where each sketch is smaller than its input and the whole step is not, nothing is advised."""

    class Highest(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            return self.linear(x * 2).sum()

    advice = advice_for(Highest())["linear"]
    assert advice.sketched_bytes < advice.kept_bytes
    assert (advice.is_beneficial, advice.reason) == (False, "the step as a whole would grow")
    settings = {"where": "beneficial", "min_gain_bytes": 0, "sketch": "oporp"}
    with pytest.raises(ValueError, match="gains by a sketch: the step as a whole would grow"):
        rmmbench.convert(Highest(), rho=0.5, example=torch.randn(ROWS, WIDTH), **settings)


@pytest.mark.parametrize("share", [True, False])
def test_who_shares_is_told(share, caplog):
    """Advice names the layers that would keep one sketch, and `convert` logs them."""
    advice = advice_for(Attention(), share=share)
    assert advice["query"].together_with == ("key", "value")
    assert advice["query"].shares_with == (("key", "value") if share else ())
    assert advice["out"].shares_with == ()
    settings = {"where": "beneficial", "min_gain_bytes": 0, "share": share, "rho": 0.2}
    with caplog.at_level("INFO", "rmmbench"):
        rmmbench.convert(Attention(), example=torch.randn(ROWS, WIDTH), sketch="oporp", **settings)
    assert ("layers that share one sketch: key, query, value" in caplog.messages) == share
