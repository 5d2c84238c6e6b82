"""The contract of every method; adding one to the registry buys all of this."""

import copy
import functools

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module

from rmmbench import methods, models
from rmmbench.errors import UnknownNameError, UsageError
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.methods._stack import Stack
from rmmbench.methods.method import Method
from rmmbench.nn import converted_layers
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.settings import Settings
from rmmbench.spec.steps import Step

pytestmark = pytest.mark.usefixtures("one_thread")

# A compiler takes long over a transformer; what is compiled has such tests in its own file.
COMPILED = ("compile", "memory-budget")
FAMILIES = ["roberta-tiny", "mlp:6-8-8-4", "linear:6x4"]

every_method = pytest.mark.parametrize("name", methods.names())


@pytest.fixture
def case_of(case):
    """Return a case of a model that the method takes."""

    def of(name, **settings):
        return case("mlp:6-8-8-4" if name in COMPILED else "roberta-tiny", name, **settings)

    return of


def gradients(model, batch):
    """Return the gradient of every parameter, as training gives it, with dropout drawn alike."""
    torch.manual_seed(5)
    model.zero_grad(set_to_none=True)
    output = model(**batch)
    loss = output if isinstance(output, torch.Tensor) else output.loss
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def differ(one, other):
    """Tell whether any gradient is another."""
    return any(not torch.allclose(one[name], other[name], rtol=1e-3) for name in one)


@pytest.fixture
def changed(made):
    """Return an unchanged model, a changed one with the same parameters, and a batch."""

    def of(wanted):
        unchanged, batch = made(wanted)
        model = copy.deepcopy(unchanged)
        methods.stack(wanted.steps).apply(model, batch)
        return unchanged, model, batch

    return of


@every_method
def test_the_reference_is_the_unchanged_model(name, case_of, changed):
    """Within the reference a changed model has the unchanged one's gradients; after it, its own."""
    unchanged, model, batch = changed(case_of(name))
    exact, own = gradients(unchanged, batch), gradients(model, batch)
    method = methods.get(name)
    assert differ(own, exact) != method.is_exact
    with method.reference(model):
        torch.testing.assert_close(gradients(model, batch), exact)
    assert differ(gradients(model, batch), exact) != method.is_exact


@every_method
def test_the_reference_ends_with_an_error(name, case_of, changed):
    """An error in the reference leaves a model that trains by its method again."""
    unchanged, model, batch = changed(case_of(name))
    method = methods.get(name)

    def fail_in_the_reference():
        with method.reference(model):
            raise KeyError(name)

    with pytest.raises(KeyError):
        fail_in_the_reference()
    assert differ(gradients(model, batch), gradients(unchanged, batch)) != method.is_exact


@every_method
@pytest.mark.parametrize("model", FAMILIES)
def test_a_model_is_changed_or_refused(name, model, case, made):
    """What changed is counted, and what has nothing to change is refused in one line."""
    wanted = case(model, name)
    unchanged, batch = made(wanted)
    told, count = None, None
    try:
        count = methods.stack(wanted.steps).apply(unchanged, batch)
    except ValueError as error:
        told = str(error)
    if model == "roberta-tiny" or told is None:
        assert (count == 0) == (name == "exact")
    else:
        assert "\n" not in told
        assert name in told


@every_method
def test_parameters_stay_the_same_objects(name, case_of, made):
    """A method changes what is kept, not what is trained, nor what a checkpoint holds."""
    wanted = case_of(name)
    model, batch = made(wanted)
    before = {key: id(parameter) for key, parameter in model.named_parameters()}
    state = list(model.state_dict())
    methods.stack(wanted.steps).apply(model, batch)
    assert {key: id(parameter) for key, parameter in model.named_parameters()} == before
    assert list(model.state_dict()) == state


@every_method
@pytest.mark.parametrize("where", ["all", "beneficial"])
def test_a_method_draws_no_random_numbers(name, where, case_of, made):
    """Parameters, batches and dropout are the same whatever method a case asks for."""
    wanted = case_of(name, where=where)
    model, batch = made(wanted)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    methods.stack(wanted.steps).apply(model, batch)
    torch.testing.assert_close(torch.rand(4), expected, rtol=0, atol=0)


@every_method
def test_a_step_leaves_the_random_numbers_of_an_exact_one(name, case_of, changed):
    """What a method draws in a step is of its own stream: the next batch is shuffled alike."""
    unchanged, model, batch = changed(case_of(name))
    gradients(unchanged, batch)
    expected = torch.rand(4)
    gradients(model, batch)
    torch.testing.assert_close(torch.rand(4), expected, rtol=0, atol=0)


PREDICTED = [name for name in methods.names() if methods.get(name).lacks("predict") is None]


@pytest.fixture
def memory_of(case):
    """Return the memory of a training step of roberta-tiny under a method."""

    def of(name, measure, **settings):
        usual = {"batch_size": 16, "seq_len": 64, "bits": 4, "group_size": 64, "rho": 0.2}
        wanted = case("roberta-tiny", name, **usual | settings)
        build = functools.partial(prepare, Draft(wanted, lambda stage: None), "cpu", foreach=False)
        return measure(build)

    return of


@pytest.mark.parametrize("name", PREDICTED)
def test_a_method_keeps_less(name, memory_of):
    """Whoever saves memory leaves less for the backward pass than the unchanged model does."""
    exact = memory_of("exact", predict_memory)
    saved = memory_of(name, predict_memory).saved_bytes
    assert (saved < 0.99 * exact.saved_bytes) == (name != "exact")


STACKS = ["rmm+fewbit-activation+checkpoint-attention", "quantize+fewbit-activation"]


@pytest.mark.parametrize(
    "name", [*(name for name in PREDICTED if methods.get(name).lacks("cpu") is None), *STACKS]
)
def test_predicted_memory_is_measured_memory(name, memory_of):
    """Every method that can be predicted, and stacks of them, has its real peak within 2 %."""
    predicted = memory_of(name, predict_memory)
    measured, warnings = memory_of(name, measure_cpu_memory)
    assert warnings == []
    for field in ("peak_allocated_bytes", "saved_bytes"):
        assert getattr(predicted, field) == pytest.approx(getattr(measured, field), rel=0.02)


@pytest.mark.parametrize("settings", [{"rho": 0.8, "bits": 4}, {"rho": 0.2, "bits": None}])
def test_predicted_memory_with_an_exact_part(settings, memory_of):
    """What an exact part and its basis take is predicted too."""
    settings |= {"principal": 4, "sketch": "householder"}
    predicted = memory_of("rmm", predict_memory, **settings)
    measured, _ = memory_of("rmm", measure_cpu_memory, **settings)
    for field in ("peak_allocated_bytes", "saved_bytes"):
        assert getattr(predicted, field) == pytest.approx(getattr(measured, field), rel=0.02)


def test_an_unknown_method_is_named_with_the_nearest():
    """A slip gives the right name and all others, in a stack too."""
    for stack in ("rrm", "checkpoint+rrm"):
        with pytest.raises(UnknownNameError, match="no method named 'rrm'; did you mean 'rmm'"):
            methods.check(stack)


def test_a_stack_is_applied_in_one_order():
    """However it is written, what changes layers comes before what follows the whole pass."""
    for stack in ("rmm+fewbit-activation+quantize", "quantize+rmm+fewbit-activation"):
        assert methods.check(stack) == ["fewbit-activation", "rmm", "quantize"]


@pytest.mark.parametrize(
    ("stack", "told"),
    [
        ("rmm+exact-rp", "rmm and exact-rp cannot be combined: both take over the inputs of"),
        ("checkpoint+selective-checkpoint", "cannot be combined: both take over recomputation"),
        ("quantize+offload", "cannot be combined: both take over what autograd saves"),
        ("compile+quantize", "quantize and compile cannot be combined"),
        ("quantize+checkpoint", "checkpoint and quantize cannot be combined"),
        ("rmm+rmm", "a method can be in a stack once, got 'rmm\\+rmm'"),
        ("exact+rmm", "exact cannot be combined with another method, got 'exact\\+rmm'"),
    ],
)
def test_methods_that_cannot_combine_are_told(stack, told):
    """Which two, and over what they differ, is said in a line."""
    with pytest.raises(UsageError, match=told) as caught:
        methods.stack([Step(name) for name in stack.split("+")])
    assert "\n" not in str(caught.value)


def test_a_stack_applies_all_and_switches_all_off(case, changed):
    """Every method of a stack changes the model, and none of them acts in the reference."""
    unchanged, model, batch = changed(case("roberta-tiny", "rmm+fewbit-activation"))
    assert converted_layers(model)
    exact = gradients(unchanged, batch)
    alone = [changed(case("roberta-tiny", name))[1] for name in ("rmm", "fewbit-activation")]
    together = gradients(model, batch)
    assert all(differ(together, gradients(each, batch)) for each in alone)
    with methods.stack(case("mlp", "rmm+fewbit-activation").steps).reference(model):
        torch.testing.assert_close(gradients(model, batch), exact)


def test_a_stack_lacks_what_one_of_it_lacks():
    """The first method that a device has nothing to tell of is what the stack answers."""

    class Homesick(Method):
        def apply(self, model, settings, batch):
            return 1

        def reference(self, model):
            raise NotImplementedError

        def lacks(self, device):
            return "is not at home" if device == "cpu" else None

    stack = Stack({"rmm": (methods.get("rmm"), Settings()), "homesick": (Homesick(), Settings())})
    assert stack.lacks("cpu") == "is not at home"
    assert stack.lacks("cuda") is None


@pytest.mark.parametrize("name", ["rmm", "exact-rp", "prac", "velora", "fewbit-activation"])
def test_layers_that_were_hooked_before(name, case):
    """Layers whose forward accelerate has replaced are changed too; by another, refused."""
    asked = case("mlp:6-8-8-4", name)
    method = methods.stack(asked.steps)
    model, make_batch, *_ = models.build(asked)
    for layer in model.modules():
        if not list(layer.children()):
            add_hook_to_module(layer, ModelHook())
    batch = make_batch()
    exact = gradients(model, batch)
    method.apply(copy.deepcopy(model), batch)
    method.apply(model, batch)
    assert differ(gradients(model, batch), exact)
    patched = models.build(asked).model
    for layer in patched.modules():
        layer.forward = functools.partial(layer.forward)
    with pytest.raises(ValueError, match=r"layer '.*' must have the forward of its class"):
        method.apply(patched, batch)
