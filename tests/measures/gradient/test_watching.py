"""The watch: right sums of real steps, nothing kept, and clear words where it cannot be right."""

import gc
import weakref

import pytest
import torch
import torch._dynamo
from torch import nn
from torch.utils.checkpoint import checkpoint

import rmmbench
from rmmbench import sketches
from rmmbench.measures.gradient.watching import NoiseWatch
from rmmbench.nn import exact_layers


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


class Block(nn.Module):
    """Two linear layers, checkpointed or not."""

    def __init__(self, use_reentrant=None):
        """Make the layers."""
        super().__init__()
        self.first, self.second = nn.Linear(6, 10), nn.Linear(10, 5)
        self.use_reentrant = use_reentrant

    def body(self, x):
        """Return what both layers make of x."""
        return self.second(torch.tanh(self.first(x)))

    def forward(self, x):
        """Return it, forgetting what lies between if that is asked for."""
        if self.use_reentrant is None:
            return self.body(x)
        return checkpoint(self.body, x, use_reentrant=self.use_reentrant)


def block(**settings):
    """Return a block, the same each time."""
    torch.manual_seed(0)
    return Block(**settings)


def batch(*shape):
    """Return an input, the same each time."""
    torch.manual_seed(1)
    return torch.randn(*shape, 6, requires_grad=True)


def step(model, x):
    """Do a forward and a backward pass."""
    model(x).square().mean().backward()


def noise_of(model, x, layers="*", **settings):
    """Return what the watch gathers in one step."""
    with NoiseWatch(model, layers, **settings) as watch:
        step(model, x)
        return {noise.layer: noise for noise in watch.collect(3)}


SHAPE = (4, 7)


def test_sums_are_those_of_the_step():
    """The sum g is the weight gradient's squared norm, and samples have their own gradients'."""
    model, x = block(), batch(*SHAPE)
    found = noise_of(model, x)
    assert list(found) == ["first", "second"]
    for name, noise in found.items():
        weight = model.get_submodule(name).weight
        assert noise.g == pytest.approx(weight.grad.double().square().sum().item(), rel=1e-4)
        assert (noise.step, noise.rows, noise.samples, noise.proj_dim) == (3, 28, 4, 14)
        assert noise.trained_with is None
        each = 0.0
        for sample in range(4):
            share = model(x)[sample].square().sum() / (28 * 5)
            gradient = torch.autograd.grad(share, weight)[0]
            each += gradient.double().square().sum().item()
        assert noise.g_samples == pytest.approx(each, rel=1e-4)


def test_every_closed_form():
    """The variance of every sketch is what it says itself of X and Y, without drawing it."""
    model, x = block(), batch(*SHAPE)
    with NoiseWatch(model, "first") as watch:
        watch.capture("first", 1)
        step(model, x)
        (noise,) = watch.collect(1)
    point = watch.captured
    assert (point.layer, point.step) == ("first", 1)
    x, y = point.x.flatten(0, 1), point.y.flatten(0, 1)
    assert set(noise.variances) == set(sketches.names()) - {"kronecker"}
    for name, variance in noise.variances.items():
        sketch = sketches.get(name)
        expected = sketch.variance(sketch.moments(x, y), 28, noise.proj_dim)
        assert variance == pytest.approx(expected, rel=1e-4), name


def test_noise_in_few_bits():
    """A layer that rounds has the noise of rounding too, in its own bits or the given ones."""
    wide, x = nn.Sequential(nn.Linear(6, 64), nn.Linear(64, 5)), batch(*SHAPE)
    plain = noise_of(wide, x, "1")["1"]
    assert (plain.bits, noise_of(wide, x, "1", bits=2)["1"].bits) == (None, 2)
    rmmbench.convert(wide, sketch="oporp", rho=0.5, bits=4, include="1")
    rounded = noise_of(wide, x, "1")["1"]
    assert (rounded.bits, rounded.trained_with) == (4, "oporp")
    assert all(rounded.variances[name] > plain.variances[name] for name in plain.variances)
    rmmbench.update(wide, rho=1)
    alone = noise_of(wide, x, "1")["1"]
    assert set(alone.variances.values()) == {alone.rounding["4"][0]}
    assert alone.trained_with is None


@pytest.mark.parametrize("shape", [(4, 7), (28,), (2, 2, 7)])
@pytest.mark.parametrize("sketch", ["rademacher", "oporp", "kronecker"])
def test_a_sketched_layer_has_the_same_sums(shape, sketch):
    """The sums are the exact gradient's whatever the layer itself keeps, at the layer's own ρ."""
    if sketch == "kronecker" and len(shape) == 1:
        pytest.skip("a matrix has no sequence")
    x = batch(*shape)
    exact = noise_of(block(), x, "second")["second"]
    model = rmmbench.convert(block(), sketch=sketch, proj_dim=8)
    sketched = noise_of(model, x, "second")["second"]
    assert (sketched.trained_with, sketched.proj_dim) == (sketch, 8)
    assert sketched.g == pytest.approx(exact.g, rel=1e-4)
    assert sketched.g_samples == pytest.approx(exact.g_samples, rel=1e-4)
    with exact_layers(model):
        assert noise_of(model, x, "second")["second"].trained_with is None


def test_own_blocks():
    """A layer whose sketch has blocks is told the noise of those blocks."""
    model, x = block(), batch(*SHAPE)
    rmmbench.convert(model, sketch="gaussian", proj_dim=8, block_rows=7)
    with NoiseWatch(model, "second") as watch:
        watch.capture("second", 1)
        step(model, x)
        (noise,) = watch.collect(1)
    sketch = sketches.get("gaussian", block_rows=7)
    moments = sketch.moments(watch.captured.x.flatten(0, 1), watch.captured.y.flatten(0, 1))
    assert noise.variances["gaussian"] == pytest.approx(sketch.variance(moments, 28, 8), rel=1e-4)


def test_a_matrix_has_one_row_a_sample():
    """Without a sequence the two estimates of SGD's noise are one."""
    noise = noise_of(block(), batch(28), "first")["first"]
    assert noise.samples == 28
    assert noise.sgd_by_samples == pytest.approx(noise.sgd_by_rows, rel=1e-5)


def test_all_rows_kept_is_no_noise():
    """Where a layer keeps as many rows as there are it is exact, and adds nothing."""
    model = rmmbench.convert(block(), rho=1.0)
    noise = noise_of(model, batch(*SHAPE), "first")["first"]
    assert noise.trained_with is None
    assert set(noise.variances.values()) == {0.0}


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_checkpointed_layer_counts_once(use_reentrant):
    """A layer that runs again in the backward pass has the sums of one run."""
    plain = noise_of(block(), batch(*SHAPE))
    again = noise_of(block(use_reentrant=use_reentrant), batch(*SHAPE))
    assert {name: noise.g for name, noise in again.items()} == pytest.approx(
        {name: noise.g for name, noise in plain.items()}, rel=1e-6
    )


def test_the_first_of_several_micro_batches():
    """A step of several backward passes is told by the first."""
    model = block()
    first = noise_of(model, batch(*SHAPE), "first")["first"]
    with NoiseWatch(model, "first") as watch:
        step(model, batch(*SHAPE))
        step(model, 2 * batch(*SHAPE))
        assert watch.collect(3) == [first]
        assert watch.collect(4) == []


def test_a_layer_that_is_called_twice_is_refused():
    """One gradient of two calls is not the noise of either, and is not given as such."""
    layer = nn.Linear(6, 6)
    with NoiseWatch(nn.Sequential(layer, nn.Tanh(), layer), "0") as watch:
        with pytest.raises(ValueError, match="called once before its backward pass, but '0'"):
            layer(layer(batch(*SHAPE)))
        watch.collect(1)


def test_a_forward_pass_alone_is_no_call():
    """Without a backward pass nothing is told, nothing held, and the next pass is the first."""
    model, watched = block(), None
    with NoiseWatch(model, "first") as watch:
        x = batch(*SHAPE).detach() + 1
        watched = weakref.ref(x)
        model(x)
        del x
        gc.collect()
        assert watched() is None
        step(model, batch(*SHAPE))
        assert len(watch.collect(1)) == 1


def test_the_input_is_let_go():
    """Nothing of X is left after the backward pass, not even while its graph is alive."""
    model = rmmbench.convert(block(), rho=0.5)
    read = []
    model.second.register_forward_pre_hook(lambda _, args: read.append(args[0].untyped_storage()))
    with NoiseWatch(model, "first") as watch:
        call_of = lambda: [ref() for ref in watch._pending.values()]  # noqa: E731
        loss = model(batch(*SHAPE)).square().mean()
        (call,) = call_of()
        assert call._x is not None
        loss.backward(retain_graph=True)
        assert call._x is None
        assert watch.captured is None


def test_an_input_changed_in_place_is_refused():
    """What a sketched layer read may be changed after it; its sums would be of something else."""

    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x):
            x = x * 1
            y = self.layer(x)
            with torch.no_grad():
                x.zero_()
            return y

    model = rmmbench.convert(Changing(), rho=0.5)
    with (
        NoiseWatch(model, "layer"),
        pytest.raises(ValueError, match="that of 'layer' was changed in place"),
    ):
        step(model, batch(*SHAPE))


def test_frozen_weights_have_no_noise():
    """A layer without a weight gradient is passed over."""
    model = block()
    model.first.weight.requires_grad_(False)
    assert list(noise_of(model, batch(*SHAPE))) == ["second"]


def test_a_step_that_diverged_is_left_out():
    """Sums that are not finite are no noise."""
    assert noise_of(block(), batch(*SHAPE) * float("inf")) == {}


def test_only_while_active():
    """A step that is not watched leaves nothing, and removing leaves no hook."""
    model = block()
    watch = NoiseWatch(model, "*")
    step(model, batch(*SHAPE))
    assert watch.collect(1) == []
    watch.remove()
    assert not any(module._forward_hooks for module in model.modules())


def test_autocast():
    """Under autocast the sums are those of the same step in bfloat16, taken in float32."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model = block()
        found = noise_of(model, batch(*SHAPE), "second")["second"]
    grad = model.second.weight.grad.double().square().sum().item()
    assert found.g == pytest.approx(grad, rel=0.05)  # of bfloat16's eight bits, squared


# torch 2.13 itself looks at it where compiled code is left, and hides the warning but as an error.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_under_torch_compile():
    """Compiled code is left at a watched layer, and the sums are those of eager code."""
    torch._dynamo.reset()
    model, x = block(), batch(*SHAPE)
    expected = noise_of(model, x)
    with NoiseWatch(model, "*") as watch:
        step(torch.compile(model, backend="aot_eager"), x)
        found = {noise.layer: noise for noise in watch.collect(3)}
    assert found.keys() == expected.keys()
    for name, noise in found.items():
        assert noise.g == pytest.approx(expected[name].g, rel=1e-4)
    torch._dynamo.reset()


def test_words_for_wrong_layers():
    """A pattern that matches nothing is told with the names there are, one among others too."""
    with pytest.raises(
        ValueError, match=r"no layer matches layers=\['x.*'\]; .* are: first, second"
    ):
        NoiseWatch(block(), ["first", "x.*"])
    with pytest.raises(ValueError, match=r"the model has no torch.nn.Linear"):
        NoiseWatch(nn.ReLU(), "*")
    with pytest.raises(ValueError, match="rho must be in"):
        NoiseWatch(block(), "*", rho=2.0)
    with pytest.raises(ValueError, match="must be watched, got 'second'; choose: first"):
        NoiseWatch(block(), "first").capture("second", 1)
