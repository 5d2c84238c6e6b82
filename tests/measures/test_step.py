"""What a step is: each way of it does what it says, and takes the bytes that are predicted."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from rmmbench.measures.gradient.error import measure_gradient_error
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.following import follow_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.optimizers import InBackward, make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.results.timeline import CATEGORIES
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.case import Case
from rmmbench.spec.measuring import TimelineSettings

pytestmark = pytest.mark.usefixtures("one_thread")

MLP = {"model": "mlp:64-256-256-8", "batch_size": 64}
PARAMETERS = 64 * 256 + 256 * 256 + 256 * 8 + 2 * 256 + 8
ALL = TimelineSettings(epoch_steps=2, max_points=10_000)


def preparing(foreach=False, **settings):
    """Return what builds the step of a case as it is measured."""
    case = Case.model_validate(MLP | settings)
    return lambda: prepare(Draft(case, lambda stage: None), "cpu", foreach=foreach)


def gradients(step):
    """Return copies of all gradients."""
    return [each.grad.clone() for each in step.model.parameters()]


def weights(step):
    """Return copies of all parameters."""
    return [each.detach().clone() for each in step.model.parameters()]


STEPS = [
    {"accumulate": 3},
    {"drop_gradients": "before-forward"},
    {"drop_gradients": "before-backward"},
    {"zeroed_gradients": True},
    {"zeroed_gradients": True, "drop_gradients": "before-backward", "accumulate": 2},
    {"clip_norm": 1.0},
    {"update": "foreach"},
    {"update": "fused"},
    {"update": "single"},
    {"update": "in-backward"},
    {"update": "in-backward", "optimizer": "adafactor"},
    {"optimizer": "adafactor"},
    {"optimizer": "adafactor", "update": "foreach"},
    {"optimizer": "sgd", "update": "fused"},
    {"dtype": "float16"},
    {"dtype": "float16", "clip_norm": 1.0, "accumulate": 2},
    {"dtype": "float16", "update": "fused"},
    {"dtype": "bfloat16-true"},
    {"dtype": "float16-true"},
    {"model": "roberta-tiny", "batch_size": 4, "seq_len": 32, "dtype": "bfloat16-true"},
    {"model": "roberta-tiny", "batch_size": 4, "seq_len": 32, "accumulate": 2, "clip_norm": 1.0},
]


@pytest.mark.parametrize("settings", STEPS, ids=str)
def test_predicted_is_measured(settings):
    """Every way of doing a step takes the bytes that the CPU's allocator counts."""
    build = preparing(**settings)
    predicted = predict_memory(build)
    measured, warnings = measure_cpu_memory(build)
    assert warnings == []
    assert predicted.resting_bytes == measured.resting_bytes
    assert 0 <= measured.saved_bytes - predicted.saved_bytes <= 64
    for name in ("peak_allocated_bytes", "cold_peak_allocated_bytes"):
        assert getattr(predicted, name) == pytest.approx(getattr(measured, name), rel=0.01)


def test_micro_batches_are_one_large_batch():
    """Gradients that were accumulated are those of all micro-batches in one batch."""
    step = preparing(accumulate=4, drop_gradients="before-forward")()
    step()
    whole = preparing(drop_gradients="before-forward")()
    whole.batch = {name: torch.cat([each] * 4) for name, each in whole.batch.items()}
    whole()
    for one, other in zip(gradients(step), gradients(whole), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("drop", ["after-step", "before-forward", "before-backward"])
def test_gradients_go_when_they_are_told_to(drop):
    """Gradients rest between steps unless a step ends by dropping them; none adds to the next."""
    step = preparing(drop_gradients=drop)()
    step()
    stays = drop != "after-step"
    assert [each.grad is not None for each in step.model.parameters()] == [stays] * 6
    dropped = predict_memory(preparing())
    rested = predict_memory(preparing(drop_gradients=drop))
    assert rested.resting_bytes - dropped.resting_bytes == (4 * PARAMETERS if stays else 0)
    if stays:
        first = gradients(step)
        step()
        # The same batch again: had they been added, they would be twice as large.
        for one, other in zip(first, gradients(step), strict=True):
            torch.testing.assert_close(one, other, rtol=0.05, atol=1e-4)


def test_before_backward_both_gradients_are_not_there_at_once():
    """Old gradients that are dropped before the backward pass are there in the forward pass."""
    points = follow_memory(preparing(drop_gradients="before-backward"), ALL, "predict").points
    sizes = {each.phase: each.live_bytes[CATEGORIES.index("gradients")] for each in points[::-1]}
    assert sizes["forward"] == 4 * PARAMETERS
    assert sizes["backward"] == 4 * PARAMETERS
    backward = [each for each in points if each.phase == "backward"]
    assert min(each.live_bytes[CATEGORIES.index("gradients")] for each in backward) == 0


@pytest.mark.parametrize("drop", ["after-step", "before-forward", "before-backward"])
def test_zeroed_gradients_are_zeros_and_stay(drop):
    """The same tensors hold the gradients of every step; after the step they may be zeros."""
    step = preparing(zeroed_gradients=True, drop_gradients=drop)()
    step()
    held = [each.grad for each in step.model.parameters()]
    first = gradients(step)
    step()
    assert all(a is b.grad for a, b in zip(held, step.model.parameters(), strict=True))
    if drop == "after-step":
        assert not any(each.any() for each in held)
    else:
        for one, other in zip(first, held, strict=True):
            torch.testing.assert_close(one, other, rtol=0.05, atol=1e-4)


def test_zeroed_gradients_rest():
    """They take a number a parameter between steps."""
    usual, zeroed = (predict_memory(preparing(zeroed_gradients=z)) for z in (False, True))
    assert zeroed.resting_bytes - usual.resting_bytes == 4 * PARAMETERS
    assert zeroed.saved_bytes == usual.saved_bytes


def test_clipped_gradients_have_the_norm():
    """All gradients together are no longer than the norm that a case gives."""
    step = preparing(clip_norm=1e-3, drop_gradients="before-forward")()
    step()
    norm = torch.cat([each.flatten() for each in gradients(step)]).norm()
    torch.testing.assert_close(norm, torch.tensor(1e-3), rtol=1e-3, atol=0)


def test_a_scaled_loss_is_clipped_unscaled():
    """With float16 the norm is that of gradients without the scale."""
    step = preparing(clip_norm=1e-3, dtype="float16", drop_gradients="before-forward")()
    step()
    norm = torch.cat([each.flatten() for each in gradients(step)]).norm()
    torch.testing.assert_close(norm, torch.tensor(1e-3), rtol=1e-2, atol=0)
    assert step.warnings() == []


def test_a_skipped_step_is_told():
    """A float16 gradient that overflows updates nothing, which is a warning."""
    step = preparing(dtype="float16")()
    before = weights(step)
    with torch.no_grad():
        step.batch["input"].mul_(1e8)
    step()
    assert all(map(torch.equal, before, weights(step)))
    assert "1 step that updated nothing" in step.warnings()[0]


@pytest.mark.parametrize(
    ("optimizer", "update"),
    [
        (optimizer, update)
        for optimizer in ("adam", "adamw", "sgd", "adafactor")
        for update in ("foreach", "fused", "in-backward")
        if (optimizer, update) != ("adafactor", "fused")
    ],
)
def test_updates_are_the_same_however_they_are_done(optimizer, update):
    """All ways of updating leave the parameters that updating one by one leaves."""
    ends = []
    for how in ("single", update):
        step = preparing(optimizer=optimizer, update=how)()
        for _ in range(3):
            step()
        ends.append(weights(step))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_in_backward_gradients_are_never_all_there():
    """Each gradient goes before the next comes, and the timeline has no phase of the optimizer."""
    timeline = follow_memory(preparing(update="in-backward"), ALL, "predict")
    most = max(each.live_bytes[CATEGORIES.index("gradients")] for each in timeline.points)
    assert 4 * 256 * 256 <= most < 4 * PARAMETERS
    assert {each.phase for each in timeline.points} == {"forward", "backward"}
    state = timeline.points[-1].live_bytes[CATEGORIES.index("optimizer")]
    assert state == 2 * 4 * PARAMETERS + 6 * 4


def test_micro_batches_are_phases_of_their_own():
    """A step of three micro-batches goes forward and backward three times, and updates once."""
    phases = [each.phase for each in follow_memory(preparing(accumulate=3), ALL, "predict").points]
    order = [one for one, before in zip(phases, [None, *phases[:-1]], strict=True) if one != before]
    assert order == ["forward", "backward"] * 3 + ["optimizer"]


def test_finding_gradients_updates_nothing():
    """Gradients can be compared where a step would update within the backward pass."""
    step = preparing(update="in-backward")()
    before = weights(step)
    step.find_gradients()
    assert all(map(torch.equal, before, weights(step)))
    assert all(each.grad is not None for each in step.model.parameters())
    step()
    assert not any(map(torch.equal, before, weights(step)))


@pytest.mark.parametrize(
    "settings",
    [
        {"zeroed_gradients": True},
        {"drop_gradients": "before-forward"},
        {"update": "in-backward"},
        {"dtype": "float16"},
        {"accumulate": 3},
    ],
    ids=str,
)
def test_gradient_errors_are_of_one_batch(settings):
    """Whatever a step does with gradients, those of the unchanged model have no error."""
    step = preparing(**settings)()
    step()
    found = measure_gradient_error(step, nullcontext, draws=2, seed=1)
    assert max(found.errors) < 1e-6


def test_an_optimizer_in_backward_is_none_of_torchs():
    """It has a state for every parameter, and a step that does nothing."""
    parameters = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2), requires_grad=False)]
    made = make_optimizer("adam", parameters, foreach=False, update="in-backward")
    assert isinstance(made, InBackward)
    parameters[0].sum().backward()
    assert parameters[0].grad is None
    assert set(made.state) == {parameters[0]}
    after = parameters[0].clone()
    made.step()
    assert torch.equal(after, parameters[0])


@pytest.mark.parametrize("kernel", ["math", "flash"])
def test_attention_takes_the_kernel_it_is_told(kernel):
    """On a CPU a decoder's attention goes through the kernel that the case names."""
    settings = {"model": "decoder:1x64", "batch_size": 2, "seq_len": 16, "attention": "sdpa"}
    step = preparing(**settings, attention_kernel=kernel)()
    assert isinstance(step, TrainingStep)
    with torch.profiler.profile(acc_events=True) as profiler:
        step()
    names = {event.name for event in profiler.events()}
    assert ("aten::_scaled_dot_product_flash_attention_for_cpu" in names) == (kernel == "flash")


def test_parameters_are_what_the_case_says():
    """A true dtype is that of parameters, gradients and inputs; the record says it too."""
    step = preparing(dtype="bfloat16-true", drop_gradients="before-forward")()
    step()
    kinds = {each.dtype for each in (*step.model.parameters(), *gradients(step))}
    assert kinds == {torch.bfloat16}
    assert step.autocast is None
