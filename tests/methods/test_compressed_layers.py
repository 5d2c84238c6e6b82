"""The contract of every way in which linear layers keep less than their input."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)
from transformers.pytorch_utils import Conv1D

import rmmbench
from rmmbench import methods, models
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.nn.compressed_layers import Compressed
from rmmbench.spec.case import Case


class Way(NamedTuple):
    """A method and its settings, and the bytes that it keeps of some rows and features."""

    settings: dict
    kept_bytes: Callable[[int, int, int], int]


def in_bits(rows, kept, bits, groups=1):
    """Return the bytes of rows in few bits, of their ends, and of a seed."""
    return rows * (-(-kept * bits // 8) + 4 * groups) + 8


def with_exact_part(rows, features, rest):
    """Return the bytes of two principal features, and of the rest."""
    return 2 * 2 * (rows + features) + rest


def third(features):
    """Return ⌈0.3 N⌉."""
    return -(-3 * features // 10)


EXACT_RP, PRAC, VELORA = ({"method": name} for name in ("exact-rp", "prac", "velora"))
PRINCIPAL = {"method": "rmm", "principal": 2}
HALF = {"sketch": "oporp", "rho": 0.5}
WAYS = {
    "exact-rp": Way(EXACT_RP | {"rho": 0.3}, lambda b, n, size: b * third(n) * size + 8),
    "exact-rp-bits": Way(
        EXACT_RP | {"rho": 0.3, "bits": 4}, lambda b, n, _: in_bits(b, third(n), 4)
    ),
    "bits-alone": Way(EXACT_RP | {"rho": 1.0, "bits": 2}, lambda b, n, _: in_bits(b, n, 2)),
    "prac": Way(PRAC | {"rho": 0.3}, lambda b, n, size: (b + n) * third(n) * size),
    "prac-random": Way(
        PRAC | {"rho": 0.3, "principal_share": 0.0}, lambda b, n, size: (b + n) * third(n) * size
    ),
    "prac-principal": Way(
        PRAC | {"rho": 0.3, "principal_share": 1.0}, lambda b, n, size: (b + n) * third(n) * size
    ),
    "velora": Way(VELORA | {"group_size": 8}, lambda b, n, size: b * -(-n // 8) * size),
    "velora-odd": Way(VELORA | {"group_size": 7}, lambda b, n, size: b * -(-n // 7) * size),
    "velora-rows": Way(VELORA | {"group_size": 64}, lambda b, n, size: b * size),
    "principal": Way(
        PRINCIPAL | HALF, lambda b, n, size: with_exact_part(b, n, -(-b // 2) * n * size + 8)
    ),
    "principal-bits": Way(
        PRINCIPAL | {"sketch": "householder", "rho": 0.5, "bits": 4},
        lambda b, n, _: with_exact_part(b, n, in_bits(-(-b // 2), n, 4)),
    ),
    "principal-rows": Way(
        # Of each row that is drawn its number and its weight, in place of a seed.
        PRINCIPAL | {"sketch": "norm-rows", "rho": 0.5, "bits": 8},
        lambda b, n, _: with_exact_part(b, n, in_bits(-(-b // 2), n, 8) - 8 + 16 * -(-b // 2)),
    ),
    "principal-alone": Way(
        PRINCIPAL | {"rho": 1.0, "bits": 2},
        lambda b, n, _: with_exact_part(b, n, in_bits(b, n, 2)),
    ),
}
UNBIASED = [name for name in WAYS if not name.startswith("velora")]
ONE_OF_EACH = ["exact-rp-bits", "prac", "velora", "principal"]

every_way = pytest.mark.parametrize("way", WAYS)
unbiased_way = pytest.mark.parametrize("way", UNBIASED)
one_of_each = pytest.mark.parametrize("way", ONE_OF_EACH)


@pytest.fixture(autouse=True)
def _alike(one_thread):
    """Let every test here compute on one thread, from the same seeds."""
    torch.manual_seed(0)
    rmmbench.manual_seed(0)


def case_of(way, model="mlp", **settings):
    """Return a case of 16 samples."""
    given = {"model": model, "batch_size": 16} | WAYS[way].settings | settings
    return Case.model_validate(given)


def converted(model, way, **settings):
    """Convert a model in place, and return how many layers were."""
    return methods.stack(case_of(way, **settings).steps).apply(model, {})


def layer_of(linear, way, **settings):
    """Return a linear layer, converted."""
    converted(nn.Sequential(linear), way, **settings)
    return linear


def check_mean(found, exact):
    """Assert that the mean lies along the exact gradient at length 1, and that noise would not."""
    shares = (found * exact).sum((1, 2)) / exact.square().sum()
    error = float(shares.std()) / len(found) ** 0.5
    assert error < 0.1
    assert abs(float(shares.mean()) - 1) < 4.5 * error


@unbiased_way
def test_the_weight_gradient_is_unbiased(way, gradients_of):
    """Its share of the exact one has the mean 1, while what a layer remembers moves on."""
    x, y = torch.randn(40, 24), torch.randn(40, 16)
    check_mean(gradients_of(layer_of(nn.Linear(24, 16), way), x, y, 100), y.T @ x)


@every_way
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        (torch.float32, (63,)),
        (torch.float64, (2, 3, 5)),
        (torch.bfloat16, (2, 3, 5)),
        (torch.float16, (63,)),
    ],
)
def test_output_and_other_gradients_are_exact(way, dtype, shape):
    """Output, input gradient and bias gradient equal nn.Linear's for any leading dimensions."""
    linear, results = nn.Linear(24, 16, dtype=dtype), []
    x, y = torch.randn(*shape, 24, dtype=dtype), torch.randn(*shape, 16, dtype=dtype)
    for layer in (linear, layer_of(linear, way)):
        inputs = x.clone().requires_grad_()
        linear.zero_grad()
        output = layer(inputs)
        output.backward(y)
        results.append((output.detach(), inputs.grad, linear.bias.grad))
        assert linear.weight.grad.dtype == dtype
        assert bool(linear.weight.grad.isfinite().all())
    assert isinstance(linear, Compressed)
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected)


@every_way
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_saves_its_formula(saved_storages, way, dtype):
    """At the first call and at the next; neither a copy of the weight nor what it remembers."""
    layer = layer_of(nn.Linear(26, 16, dtype=dtype), way)
    for _ in range(2):
        with saved_storages(layer) as saved:
            output = layer(torch.randn(5, 6, 26, requires_grad=True, dtype=dtype))
        assert saved.total_bytes() == WAYS[way].kept_bytes(30, 26, dtype.itemsize)
        del output


@every_way
def test_autocast(saved_storages, way):
    """Dtypes are nn.Linear's, and what is kept is of the cast input."""
    linear, x = nn.Linear(24, 16), torch.randn(20, 24, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = linear(x)
        layer = layer_of(linear, way)
        with saved_storages(layer) as saved:
            output = layer(x)
    torch.testing.assert_close(output, expected)
    assert saved.total_bytes() == WAYS[way].kept_bytes(20, 24, 2)
    output.float().sum().backward()
    assert {linear.weight.grad.dtype, linear.bias.grad.dtype, x.grad.dtype} == {torch.float32}


@every_way
def test_memory_can_be_predicted(saved_storages, way):
    """On fake tensors a step saves what a real one does, to the byte."""
    wanted = case_of(way, "mlp:70-70-4")

    def prepare():
        built = models.build(wanted)
        batch = built.make_batch()
        methods.stack(wanted.steps).apply(built.model, batch)
        optimizer = make_optimizer("adam", built.model.parameters(), foreach=False)
        return TrainingStep(built.model, batch, optimizer)

    real = prepare()
    with saved_storages(real.model) as saved:
        loss = real.forward()
    expected = saved.total_bytes()
    del loss
    assert predict_memory(prepare).saved_bytes == expected


@one_of_each
@pytest.mark.parametrize("change", ["eval", "no_grad", "frozen", "empty"])
def test_nothing_to_save_changes_nothing(way, change):
    """Where nothing would be kept it is nn.Linear: no seed is drawn, and no memory moves on."""
    layer = layer_of(nn.Linear(24, 16), way)
    layer.train(change != "eval")
    layer.weight.requires_grad_(change != "frozen")
    rows = 0 if change == "empty" else 20
    with torch.set_grad_enabled(change != "no_grad"):
        check_is_linear(layer, torch.randn(rows, 24, requires_grad=True))


@pytest.mark.parametrize("way", ["exact-rp", "prac", "principal"])
def test_keeping_all_is_exact(way):
    """At ρ = 1 the layer is nn.Linear."""
    layer = layer_of(nn.Linear(24, 16), way, rho=1.0)
    check_is_linear(layer, torch.randn(20, 24, requires_grad=True))


def check_is_linear(layer, x):
    """Assert that a call keeps nothing of its own."""
    rmmbench.manual_seed(3)
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    assert "Compressed" not in type(layer(x).grad_fn).__name__
    for name, buffer in layer.named_buffers():
        assert torch.equal(buffer, before[name])
    after = rmmbench.nn.seeds.next_seed()
    rmmbench.manual_seed(3)
    assert torch.equal(after, rmmbench.nn.seeds.next_seed())


@one_of_each
def test_noise_repeats_with_its_seed(way, gradients_of):
    """Each call draws anew from the project's stream, and torch's is left alone."""
    x, y, weights = torch.randn(20, 24), torch.randn(20, 16), nn.Linear(24, 16).state_dict()
    state, found = torch.get_rng_state(), []
    for _ in range(2):
        layer = nn.Linear(24, 16)
        layer.load_state_dict(weights)
        torch.set_rng_state(state)
        rmmbench.manual_seed(3)
        found.append(gradients_of(layer_of(layer, way), x, y, 2))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*found)
    assert torch.allclose(found[0][0], found[0][1]) == (way == "velora")


def kept_products(context, operator, *args, **kwargs):
    """Return what a selective checkpoint does that keeps products of matrices."""
    is_kept = operator in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
    return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE


RUNS = {
    "reentrant": lambda layer: partial(checkpoint, layer, use_reentrant=True),
    "checkpointed": lambda layer: partial(checkpoint, layer, use_reentrant=False),
    "selective": lambda layer: partial(
        checkpoint,
        layer,
        use_reentrant=False,
        context_fn=partial(create_selective_checkpoint_contexts, kept_products),
    ),
    "aot_eager": partial(torch.compile, backend="aot_eager", fullgraph=True),
    "inductor": partial(torch.compile, fullgraph=True),
}


@pytest.mark.parametrize("way", ["exact-rp-bits", "prac", "principal"])
@pytest.mark.parametrize("run", RUNS)
def test_other_ways_to_run_give_no_noise(run, way, gradients_of):
    """Computed again or compiled, the backward pass has the random numbers of the forward pass."""
    torch._dynamo.reset()
    layer = layer_of(nn.Linear(24, 16), way, rho=0.5)
    x, y = torch.randn(40, 24, requires_grad=True), torch.randn(40, 16)
    check_mean(gradients_of(layer, x, y, 60, RUNS[run](layer)), y.T @ x.detach())


@one_of_each
def test_a_second_call_before_the_first_backward_pass(way):
    """What a call keeps is its own, whatever the layer remembers by then."""
    x, y, weights = torch.randn(40, 24), torch.randn(40, 16), nn.Linear(24, 16).state_dict()
    found = []
    for calls_again in (False, True):
        layer = layer_of(nn.Linear(24, 16), way)
        layer.load_state_dict(weights)
        rmmbench.manual_seed(9)
        output = layer(x)
        if calls_again:
            layer(torch.randn(40, 24))
        output.backward(y)
        found.append(layer.weight.grad)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("way", ["exact-rp", "prac", "principal"])
def test_conv1d_is_converted_too(way, gradients_of):
    """GPT-2's layer, whose weight is transposed, has its own outputs and an unbiased gradient."""
    layer, x, y = Conv1D(16, 24), torch.randn(40, 24), torch.randn(40, 16)
    expected = layer(x)
    assert converted(nn.Sequential(layer), way, rho=0.5) == 1
    torch.testing.assert_close(layer(x), expected)
    check_mean(gradients_of(layer, x, y, 100), x.T @ y)


@one_of_each
def test_state_dict_keys_stay(way):
    """What a converted model is saved as, an unchanged one can load."""
    layer = layer_of(nn.Linear(24, 16), way)
    layer(torch.randn(20, 24))
    assert list(layer.state_dict()) == ["weight", "bias"]


@one_of_each
def test_double_backward_is_refused(way):
    """A gradient of a gradient would be an estimate of nothing: it is refused, with a way out."""
    layer, x = layer_of(nn.Linear(24, 16), way), torch.randn(20, 24)
    with pytest.raises(RuntimeError, match=r"no double backward.*use torch.nn.Linear"):
        torch.autograd.grad(layer(x).square().sum(), layer.weight, create_graph=True)


@one_of_each
@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ({}, ["layers.0", "layers.1", "layers.2"]),
        ({"include": ["layers.[12]"], "exclude": ["*.2"]}, ["layers.1"]),
    ],
)
def test_patterns_choose_the_layers(way, patterns, names):
    """Only layers that the patterns let through are converted, and the count is of them."""
    model = models.build(case_of(way, "mlp:6-8-8-4")).model
    assert converted(model, way, **patterns) == len(names)
    assert [n for n, m in model.named_modules() if isinstance(m, Compressed)] == names


@pytest.mark.parametrize("way", ["exact-rp", "prac", "velora"])
def test_what_cannot_be_converted_is_told(way):
    """The error says what must hold and what was given."""
    with pytest.raises(ValueError, match=f"{way} must have a linear layer to convert, and the mod"):
        converted(nn.ReLU(), way)
    told = r"no layer matches include=\['encoder.\*'\], exclude=\[\]; the model's 1 linear layers"
    with pytest.raises(ValueError, match=told):
        converted(nn.Sequential(nn.Linear(3, 3)), way, include=["encoder.*"])
