"""What is saved in few bits: what comes back, the gradient's mean and error, and what is kept."""

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

import rmmbench
from rmmbench import methods
from rmmbench.errors import UsageError
from rmmbench.measures.gradient.error import measure_gradient_error
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.methods._few_bits import FewBits
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.case import Case
from rmmbench.spec.steps import Step

pytestmark = pytest.mark.usefixtures("one_thread")

BITS = [2, 4, 8]

each_bits = pytest.mark.parametrize("bits", BITS)


def case(model="roberta-tiny", method="quantize", **settings):
    """Return a case whose activations are large enough to be rounded."""
    data = {"model": model, "method": method, "batch_size": 8, "seq_len": 64}
    return Case.model_validate(data | settings)


def step_of(wanted):
    """Return the training step of a case."""
    return prepare(Draft(wanted, lambda _: None), "cpu", foreach=False)


def generator(seed=0):
    """Return a generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def gradients(step):
    """Return the gradient of every weight, with dropout drawn alike."""
    torch.manual_seed(5)
    step.forward().backward()
    found = [weight.grad for weight in step.model.parameters() if weight.dim() > 1]
    step.drop_gradients()
    return found


def shares(step, draws):
    """Return what share of the exact gradient each draw has in its direction, weight by weight."""
    with methods.get("quantize").reference(step.model):
        exact = gradients(step)
    drawn = [gradients(step) for _ in range(draws)]
    return torch.tensor(
        [
            [
                (one * true).sum() / true.square().sum()
                for one, true in zip(each, exact, strict=True)
            ]
            for each in drawn
        ]
    )


@each_bits
@pytest.mark.parametrize("group_size", [1, 63, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_what_its_docstring_says(bits, group_size, dtype):
    """⌈group_size · bits / 8⌉ + 8 bytes a group, and as they are the few numbers that make none."""
    keeping, run = FewBits(bits, group_size), torch.randn(1000, generator=generator(8)).to(dtype)
    levels, rest = keeping.keep(run)
    groups = 1000 // group_size
    storages = {part.untyped_storage()._cdata: part.untyped_storage() for part in (*levels, rest)}
    total = sum(storage.nbytes() for storage in storages.values())
    over = 1000 - groups * group_size
    assert total == groups * (-(-group_size * bits // 8) + 8) + over * dtype.itemsize
    found = keeping.restore((levels, rest))
    assert (found.dtype, found.shape) == (dtype, run.shape)
    assert torch.equal(found[1000 - over :], run[1000 - over :])


class Squares(nn.Module):
    """Linear layers with squares and dropout between them: linear in each tensor that is saved."""

    def __init__(self):
        """Make four layers."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))

    def forward(self, input):
        """Return a sum that is linear in what the last layer gives."""
        for layer in self.layers[:-1]:
            input = layer(input)
            input = nn.functional.dropout(input * input, 0.2)
        return (self.layers[-1](input) * torch.linspace(-1, 2, 64)).sum()


@each_bits
def test_a_gradient_linear_in_what_is_saved_is_unbiased(bits):
    """Its share of the exact one has the mean 1 for every weight, and each number has its own.

    The shares to 4 standard errors of 4 weights, the numbers to 6 of 16,384.
    """
    torch.manual_seed(1)
    rmmbench.manual_seed(1)
    model, batch = Squares().train(), torch.randn(256, 64)
    methods.stack(case(bits=bits).steps).apply(model, {})
    draws = 150

    def weight_gradients():
        torch.manual_seed(5)
        model.zero_grad(set_to_none=True)
        model(batch).backward()
        return torch.stack([layer.weight.grad for layer in model.layers])

    with methods.get("quantize").reference(model):
        exact = weight_gradients()
    found = torch.stack([weight_gradients() for _ in range(draws)])
    parts = (found * exact).sum((2, 3)) / exact.square().sum((1, 2))
    assert ((parts.mean(0) - 1).abs() < 4 * parts.std(0) / draws**0.5 + 1e-6).all()
    errors = found.std(0) / draws**0.5 + 1e-5 * exact.abs().amax((1, 2), keepdim=True)
    assert ((found.mean(0) - exact).abs() < 6 * errors).all()
    assert (found.std(0) > 0).float().mean() > 0.9


def test_a_transformers_gradient_is_unbiased_to_first_order():
    """At 8 bits the share of RoBERTa's gradient has the mean 1, within four standard errors."""
    draws = 25
    found = shares(step_of(case()), draws)
    assert ((found.mean(0) - 1).abs() < 4 * found.std(0) / draws**0.5 + 1e-5).all()


def test_a_sketch_can_be_kept_in_few_bits():
    """With rmm the share of every linear layer's gradient has the mean 1 still."""
    draws = 60
    wanted = case("mlp:64-256-256-256", "rmm+quantize", rho=0.5, batch_size=512, seq_len=None)
    step = step_of(wanted)
    with methods.stack(wanted.steps).reference(step.model):
        exact = gradients(step)
    totals = []
    for _ in range(draws):
        pairs = zip(gradients(step), exact, strict=True)
        totals.append(torch.stack([(one * g).sum() / g.square().sum() for one, g in pairs]))
    found = torch.stack(totals)
    assert ((found.mean(0) - 1).abs() < 4 * found.std(0) / draws**0.5).all()


def test_few_bits_are_not_rounded_again():
    """What a sketched layer keeps in few bits stays as it is: neither levels nor ends are taken."""
    layer = rmmbench.RMMLinear(768, 8, bits=4)
    saved = []
    with saved_tensors_hooks(saved.append, lambda _: None):
        layer(torch.randn(1500, 768))
    kept = [tensor for tensor in saved if tensor is not layer.weight]
    assert max(tensor.nbytes for tensor in kept) >= 2**16
    assert not any(FewBits(8, 256).takes(tensor) for tensor in kept)


def test_eight_bits_cost_less_than_a_hundredth():
    """The error of RoBERTa's weight gradients is below 1 % at 8 bits and grows as bits go."""
    errors = []
    for bits in (8, 4, 2):
        step = step_of(case(bits=bits, batch_size=16))
        reference = lambda: methods.get("quantize").reference(step.model)  # noqa: B023, E731
        errors.append(max(measure_gradient_error(step, reference, 2, seed=0).errors))
    assert errors[0] < 0.01
    assert errors == sorted(errors)


@pytest.mark.parametrize(("bits", "dtype"), [(8, "float32"), (2, "float32"), (4, "bfloat16")])
def test_the_prediction_is_what_a_step_takes(bits, dtype):
    """Predicted peak and saved bytes are the measured ones within 2 %; a third is saved at most."""
    wanted = case(bits=bits, dtype=dtype)
    measured, warnings = measure_cpu_memory(lambda: step_of(wanted))
    predicted = predict_memory(lambda: step_of(wanted))
    exact = predict_memory(lambda: step_of(wanted.as_exact()))
    assert not warnings
    assert predicted.peak_allocated_bytes == pytest.approx(measured.peak_allocated_bytes, rel=0.02)
    assert predicted.saved_bytes == pytest.approx(measured.saved_bytes, rel=0.02)
    assert predicted.saved_bytes < exact.saved_bytes / 3


def test_weights_are_not_rounded():
    """Parameters, autocast's copies of them, the batch and whole numbers are saved as they are."""
    linear, keeping, taken = nn.Linear(128, 128), FewBits(8, 256), []
    embedded = nn.Embedding(128, 128)(torch.arange(128))

    def note(tensor):
        taken.append(keeping.takes(tensor))
        return tensor

    with saved_tensors_hooks(note, lambda kept: kept), torch.autocast("cpu", torch.bfloat16):
        output = linear(embedded)
    assert taken == [True, False]  # the input's copy, and the weight's
    assert not keeping.takes(torch.arange(1024))
    assert not keeping.takes(torch.ones(1024, 1))
    assert not keeping.takes(torch.ones(1024, dtype=torch.float64))
    assert not keeping.takes(torch.ones(100))
    del output


def test_draws_are_the_projects_own():
    """Dropout is drawn as without the method; rmmbench.manual_seed makes a model's draws repeat."""
    found = []
    for method in ("exact", "quantize", "quantize"):
        step = step_of(case(method=method))
        first, second = gradients(step), gradients(step)
        found.append((first, second, torch.get_rng_state()))
    (_, _, expected), (first, second, state), (again, _, _) = found
    assert torch.equal(state, expected)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, second))


def test_a_copy_draws_for_itself():
    """A copy of a model that has trained trains too, and rounds other numbers up."""
    step = step_of(case())
    gradients(step)
    copied = dataclasses.replace(step, model=copy.deepcopy(step.model))
    first, second = gradients(step), gradients(copied)
    assert not all(map(torch.equal, first, second))
    with methods.get("quantize").reference(step.model):
        exact = gradients(step)
    assert all(torch.dist(one, g) < 0.1 * g.norm() for one, g in zip(second, exact, strict=True))


def test_nothing_is_rounded_in_evaluation():
    """In eval mode gradients are the unchanged model's."""
    found = []
    for method in ("exact", "quantize"):
        step = step_of(case(method=method))
        step.model.eval()
        found.append(gradients(step))
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("other", ["offload", "checkpoint"])
def test_what_cannot_be_combined_is_refused(other):
    """What is rounded is neither moved nor computed again from."""
    with pytest.raises(UsageError, match=r"quantize.* cannot be combined.*both take over"):
        methods.stack([Step("quantize"), Step(other)])
