"""Activation functions in few bits: output, gradient, and what is kept."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint
from transformers import activations

from rmmbench import methods, models
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.methods import _fewbit
from rmmbench.methods._fewbit import FewBit
from rmmbench.methods._piecewise import CELLS, best_steps
from rmmbench.nn import converted_layers
from rmmbench.spec.case import Case

BITS = [1, 2, 3, 4]

MODULES = {
    "gelu": [nn.GELU, activations.GELUActivation, lambda: activations.GELUActivation(True)],
    "gelu-tanh": [
        lambda: nn.GELU("tanh"),
        activations.GELUTanh,
        lambda: activations.GELUTanh(True),
        activations.NewGELUActivation,
        activations.FastGELUActivation,
        activations.AccurateGELUActivation,
    ],
    "silu": [nn.SiLU, lambda: nn.SiLU(inplace=True), activations.SiLUActivation],
    "quick-gelu": [activations.QuickGELUActivation],
}

each_bits = pytest.mark.parametrize("bits", BITS)
each_module = pytest.mark.parametrize(
    ("function", "make"), [(name, make) for name, made in MODULES.items() for make in made]
)


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


def case(model="mlp", **settings):
    """Return a case of this method of 16 rows."""
    data = {"model": model, "method": "fewbit-activation", "batch_size": 16}
    return Case.model_validate(data | settings)


def converted(model, bits=None, count=1):
    """Return a model, converted, in training mode."""
    changed = methods.stack(case(activation_bits=bits).steps).apply(model, {})
    assert changed == count
    return model.train()


def gradient(module, x, y):
    """Return the gradient of the input."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(module(x), x, y)[0]


def expected_gradient(function, bits, x, y):
    """Return y times the best steps, evaluated one by one."""
    steps = best_steps(function, bits)
    edges = torch.tensor(steps.edges, dtype=torch.float64) / CELLS
    # Not in y's dtype: a level rounded to bfloat16 would be 0.4 % off for its whole piece.
    levels = torch.tensor(steps.levels).to(torch.promote_types(y.dtype, torch.float32))
    return (y * levels[(x.double().unsqueeze(-1) >= edges).sum(-1)]).to(y.dtype)


@each_module
def test_output_is_exact_and_the_gradient_is_that_of_the_steps(function, make):
    """The output is the original's to the bit, and the gradient y times the best steps."""
    x, y = torch.randn(7, 63) * 3, torch.randn(7, 63)
    expected = make()(x.clone())
    module = converted(make(), 3)
    output = module(x.requires_grad_())
    assert torch.equal(output, expected)
    output.backward(y)
    assert torch.equal(x.grad, expected_gradient(function, 3, x.detach(), y))


@each_bits
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(), (1,), (5, 13), (2, 4, 8), (1000,)])
def test_any_shape_and_dtype(bits, dtype, shape, monkeypatch):
    """Also in pieces every element has its own step, at the edges themselves and far out too."""
    monkeypatch.setattr(_fewbit, "_PIECE_ELEMENTS", 16)
    generator = torch.Generator().manual_seed(1)
    x = (torch.randn(shape, generator=generator) * 4).to(dtype)
    places = torch.tensor([-1e4, *(e / CELLS for e in best_steps("gelu", bits).edges), 1e4])
    x.view(-1)[: len(places)] = places[: x.numel()].to(dtype)
    y = torch.randn(shape, generator=generator).to(dtype)
    found = gradient(converted(nn.GELU(), bits), x, y)
    assert found.dtype == dtype
    assert torch.equal(found, expected_gradient("gelu", bits, x, y))


def test_tensors_that_are_not_contiguous():
    """Input and gradient may be transposed, or one number for all."""
    x, y = torch.randn(9, 17).T, torch.randn(9, 17).T
    module = converted(nn.GELU(), 3)
    assert torch.equal(gradient(module, x, y), expected_gradient("gelu", 3, x, y))
    ones = torch.ones(()).expand(17, 9)
    assert torch.equal(gradient(module, x, ones), expected_gradient("gelu", 3, x, ones))


def test_what_is_not_finite_is_seen():
    """Missing and infinite numbers go through to the output, and the backward pass goes on."""
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.5], requires_grad=True)
    output = converted(nn.GELU(), 3)(x)
    torch.testing.assert_close(output, nn.functional.gelu(x), equal_nan=True)
    output.sum().backward()
    assert torch.equal(x.grad[1:], expected_gradient("gelu", 3, x.detach()[1:], torch.ones(3)))


def test_errors_fall_with_bits():
    """The more bits, the nearer the input gradient is to the exact one; it never is that."""
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(5000, generator=generator), torch.randn(5000, generator=generator)
    exact = gradient(nn.GELU(), x, y)
    errors = [float((gradient(converted(nn.GELU(), b), x, y) - exact).norm()) for b in BITS]
    assert errors == sorted(errors, reverse=True)
    assert 0 < errors[-1] < errors[0] / 4


@each_bits
@pytest.mark.parametrize("shape", [(1,), (3, 21), (1000,)])
def test_saves_what_its_docstring_says(saved_storages, bits, shape):
    """It is bits · ⌈elements / 8⌉ bytes; the levels are the module's, and not kept again."""
    module = converted(nn.GELU(), bits)
    x = torch.randn(shape, requires_grad=True)
    with saved_storages(module) as saved:
        output = module(x)
    assert saved.total_bytes() == bits * -(-x.numel() // 8)
    del output


@pytest.mark.parametrize("change", ["eval", "no_grad", "frozen", "empty", "exact"])
def test_nothing_to_save_is_the_original(change):
    """Where no approximation is needed, or wanted, the module is the one it was."""
    module = converted(nn.GELU())
    x = torch.randn(0 if change == "empty" else 20, requires_grad=change != "frozen")
    module.train(change != "eval")
    module.exact = change == "exact"
    with torch.set_grad_enabled(change != "no_grad"):
        assert "FewBit" not in type(module(x).grad_fn).__name__


def test_double_backward_is_refused():
    """A gradient of steps would be nought: it is refused, with a way out."""
    module, x = converted(nn.GELU()), torch.randn(20, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"no double backward.*use the method exact"):
        torch.autograd.grad(module(x).sum(), x, create_graph=True)


@each_bits
def test_gradients_are_the_same_whoever_keeps_and_runs_it(bits):
    """Checkpointed, with what is saved moved about, and compiled, they are those of eager."""
    module, x, y = converted(nn.SiLU(), bits), torch.randn(5, 13), torch.randn(5, 13)
    expected = gradient(module, x, y)
    again = gradient(lambda x: checkpoint(module, x, use_reentrant=False), x, y)
    assert torch.equal(again, expected)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy(), torch.from_numpy):
        assert torch.equal(gradient(module, x, y), expected)
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    assert torch.equal(gradient(compiled, x, y), expected)


def test_under_autocast_the_cast_input_is_what_counts():
    """After a linear layer in bfloat16 the output and the gradients have the original's dtypes."""
    model = nn.Sequential(nn.Linear(24, 16), nn.GELU())
    x = torch.randn(20, 24, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model(x)
        output = converted(model)(x)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, expected)
    output.float().sum().backward()
    assert {x.grad.dtype, model[0].weight.grad.dtype} == {torch.float32}


def test_steps_can_be_found_where_tensors_are_fake():
    """What is found among fake tensors is what is found elsewhere, and stays good afterwards."""
    best_steps.cache_clear()
    with FakeTensorMode():
        converted(nn.GELU())
    among_fakes = best_steps("gelu", 3)
    best_steps.cache_clear()
    assert best_steps("gelu", 3) == among_fakes


@pytest.mark.parametrize("model", ["roberta-tiny", "llama"])
def test_memory_can_be_predicted(small_hf, model):
    """A step's peak and what it holds are predicted to a fiftieth, with rmm's sketches too."""
    name = small_hf(model) if model == "llama" else model
    wanted = case(name, method="fewbit-activation+rmm", rho=0.3, seq_len=16)

    def prepare():
        built = models.build(wanted)
        batch = built.make_batch()
        methods.stack(wanted.steps).apply(built.model.train(), batch)
        optimizer = make_optimizer("adam", built.model.parameters(), foreach=False)
        return TrainingStep(built.model, batch, optimizer)

    predicted, (measured, _) = predict_memory(prepare), measure_cpu_memory(prepare)
    assert predicted.peak_allocated_bytes == pytest.approx(measured.peak_allocated_bytes, rel=0.02)
    assert predicted.saved_bytes == pytest.approx(measured.saved_bytes, rel=0.02)


def test_a_stack_with_rmm_applies_both():
    """Linear layers keep sketches and activation functions few bits; a reference is of both."""
    wanted = case("roberta-tiny", method="rmm+fewbit-activation", rho=0.3, seq_len=8)
    model = models.build(wanted).model.train()
    stack = methods.stack(wanted.steps)
    few_bit = 2
    count = stack.apply(model, {})
    layers = [module for module in model.modules() if isinstance(module, FewBit)]
    assert len(layers) == few_bit
    assert count == few_bit + len(converted_layers(model))
    assert {layer.bits for layer in layers} == {3}
    with stack.reference(model):
        assert all(layer.exact for layer in [*layers, *converted_layers(model).values()])
    assert not any(layer.exact for layer in layers)


def test_a_module_that_several_places_share_is_one():
    """An MLP has one GELU between all its layers."""
    assert isinstance(converted(models.build(case("mlp:6-8-8-8-4")).model).activation, FewBit)


def test_a_model_can_be_copied_and_kept():
    """A copy and a pickle have the same gradients; the state_dict is the unchanged model's."""
    model = nn.Sequential(nn.Linear(5, 5), nn.GELU())
    keys = list(model.state_dict())
    converted(model, 2)
    assert list(model.state_dict()) == keys
    x, y = torch.randn(6, 5), torch.randn(6, 5)
    expected = gradient(model, x, y)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(gradient(other, x, y), expected)


@pytest.mark.parametrize("model", [nn.Linear(3, 3), nn.Sequential(nn.ReLU())])
def test_a_model_without_any_is_told(model):
    """The error says what must hold and what was given."""
    message = "must have a module of GELU or SiLU to convert, and the model has none; choose"
    with pytest.raises(ValueError, match=message):
        methods.stack(case("linear:6x4").steps).apply(model, {})


@pytest.mark.cuda
@each_bits
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_on_cuda_the_steps_are_the_same(bits, dtype):
    """What is found by the edges there is what the table says here."""
    x, y = (torch.randn(1001, 300) * 4).to(dtype), torch.randn(1001, 300).to(dtype)
    found = gradient(converted(nn.GELU(), bits).cuda(), x.cuda(), y.cuda())
    assert torch.equal(found.cpu(), expected_gradient("gelu", bits, x, y))
