"""Loops of one's own, watched: what is recorded, and what is said of wrong use."""

import pytest
import torch

import rmmbench
from rmmbench.errors import UsageError
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.step import TrainingStep
from rmmbench.nn import converted_layers


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


def model_and_optimizer():
    """Return a small model and its optimizer."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(32, 128), torch.nn.GELU(), torch.nn.Linear(128, 8)]
    model = torch.nn.Sequential(*layers)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def train(watch, model, optimizer, steps=6):
    """Train with the watch, and return the losses."""
    torch.manual_seed(1)
    x, y = torch.randn(256, 32), torch.randn(256, 8)
    losses = []
    for _ in range(steps):
        with watch.step():
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.log_loss(loss)
        losses.append(loss.item())
    return losses


def test_a_plain_loop_is_recorded(tmp_path):
    """Exact and sketched trainings stand in one directory, with memory, times, noise and losses."""
    about = {"batch_size": 256, "noise": "*", "every": 5}
    for settings in ({}, {"sketch": "oporp", "rho": 0.25, "seed": 0}):
        model, optimizer = model_and_optimizer()
        with rmmbench.watch(model, optimizer, tmp_path / "run", **about, **settings) as watch:
            losses = train(watch, model, optimizer)
        assert losses[-1] < losses[0]
    exact, sketched = rmmbench.load(tmp_path / "run").records()
    assert [each.loss for each in sketched.training.losses] == pytest.approx(losses)
    assert {each.step for each in sketched.training.noise} == {3, 5}
    assert len(sketched.timing.step_seconds) == 2
    # A quarter of 256 × 128 numbers and one of x, which is there all the time and saves nothing.
    fewer = exact.memory.saved_bytes - sketched.memory.saved_bytes
    assert fewer == pytest.approx((0.75 * 256 * 128 - 0.25 * 256 * 32) * 4, rel=0.01)
    assert sketched.missing["conditions"]
    assert rmmbench.load(tmp_path / "run").frame().samples_per_second.notna().all()


def test_memory_is_what_a_measured_case_has(tmp_path):
    """On the CPU a real step's peak, rest and saved bytes are those of a measured case."""
    model, optimizer = model_and_optimizer()
    with rmmbench.watch(model, optimizer, tmp_path / "run", batch_size=256) as watch:
        train(watch, model, optimizer, steps=2)

    def prepare():
        own, optimizer = model_and_optimizer()

        class Loss(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.own = own

            def forward(self, x, y):
                return torch.nn.functional.mse_loss(self.own(x), y)

        batch = {"x": torch.randn(256, 32), "y": torch.randn(256, 8)}
        return TrainingStep(Loss(), batch, optimizer)

    known, _ = measure_cpu_memory(prepare)
    found, batch = watch.record.memory, 256 * (32 + 8) * 4
    assert found.device == known.device == "cpu"
    assert found.resting_bytes + batch == pytest.approx(known.resting_bytes, rel=0.01)
    assert found.peak_allocated_bytes + batch == pytest.approx(known.peak_allocated_bytes, rel=0.02)
    assert found.saved_bytes + batch == pytest.approx(known.saved_bytes, rel=0.05)


def test_a_converted_model_is_told_as_it_is(tmp_path):
    """What `convert` did before is in the case; several settings are refused with the remedy."""
    model, optimizer = model_and_optimizer()
    rmmbench.convert(model, sketch="oporp", rho=0.5, include="0")
    with rmmbench.watch(model, optimizer, tmp_path / "run", batch_size=256) as watch:
        train(watch, model, optimizer, steps=3)
    assert watch.record.case.settings["include"] == ("0",)
    assert (watch.record.case.label, watch.record.converted) == ("oporp ρ=0.5", 1)
    rmmbench.convert(model, rho=0.25)
    with pytest.raises(ValueError, match="one setting to be recorded, got 2; give plan or set"):
        rmmbench.watch(model, optimizer, tmp_path / "run", batch_size=256)


def test_an_error_is_recorded_and_raised(tmp_path):
    """A training that ends early leaves a record that says so, and nothing is left switched on."""
    model, optimizer = model_and_optimizer()
    about = {"batch_size": 256, "rho": 0.5}
    with (
        pytest.raises(RuntimeError, match="shapes cannot be multiplied"),
        rmmbench.watch(model, optimizer, tmp_path / "run", **about) as watch,
        watch.step(),
    ):
        model(torch.randn(4, 5))
    assert watch.record.outcome == "error"
    assert "shapes cannot be multiplied" in watch.record.reason
    assert watch.record.missing["memory"] == "memory takes 2 steps, and there were 1"
    assert not torch._C._autograd._profiler_enabled()
    with rmmbench.watch(model, optimizer, tmp_path / "run", batch_size=256) as watch:
        train(watch, model, optimizer, steps=3)
    assert [each.outcome for each in rmmbench.load(tmp_path / "run").records()] == ["ok"]


def test_without_a_directory_noise_alone_is_watched():
    """Noise needs neither an optimizer nor a directory."""
    model, optimizer = model_and_optimizer()
    with rmmbench.watch(model, noise="0", rho=0.5) as watch:
        train(watch, model, optimizer, steps=2)
    assert [(each.step, each.layer) for each in watch.noise] == [(1, "0")]
    assert watch.record is None
    assert len(converted_layers(model)) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "optimizer must be given for a record, got None"),
        ({"optimizer": object()}, "batch_size must be given for a record, got None"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"clip": 1.0}, "no argument named 'clip'"),
    ],
)
def test_wrong_use_is_told_in_a_line(settings, said, tmp_path):
    """What is missing or wrong is said before the model is changed."""
    model, _ = model_and_optimizer()
    with pytest.raises((TypeError, ValueError, UsageError), match=said):
        rmmbench.watch(model, out=tmp_path / "run", **{"rho": 0.5, **settings})
    assert not converted_layers(model)
