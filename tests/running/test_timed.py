"""A method is timed whatever becomes of exact, and what is measured beside it costs it nothing."""

import sys
from contextlib import contextmanager

import pytest
import torch

from rmmbench.measures import host_memory
from rmmbench.methods import rmm
from rmmbench.nn import converted_layers, exact_layers
from rmmbench.results.timing import Timing
from rmmbench.running import timed
from rmmbench.running.draft import Draft
from rmmbench.spec.case import Case

RMM = {"method": "rmm", "sketch": "oporp", "rho": 0.5, "time_device": "cpu"}
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Failing:
    """Exact, which fails in the backward pass of one of its turns and of every later one.

    The last layers have their gradients by then, and all that the forward pass kept is there.

    Attributes:
        turns: How many there were.
        models: What was exact in each.
    """

    def __init__(self, monkeypatch, from_turn, error):
        """Put it in the place of the method's own reference."""
        self.turns, self.models = 0, []
        self._from_turn, self._error = from_turn, error
        monkeypatch.setattr(rmm.RMM, "reference", lambda _, model: self._exact(model))

    @contextmanager
    def _exact(self, model):
        self.turns += 1
        self.models.append(model)
        first = next(model.parameters())
        with exact_layers(model):
            if self.turns < self._from_turn:
                yield
                return
            handle = first.register_hook(self._fail)
            try:
                yield
            finally:
                handle.remove()

    def _fail(self, _):
        raise self._error


@pytest.mark.parametrize("from_turn", [1, 2, 3])
def test_a_method_is_timed_alone_where_exact_does_not_fit(measured, monkeypatch, from_turn):
    """Be it in the warm-up or after half the steps: the method has its times, and no ratio."""
    exact = Failing(monkeypatch, from_turn, FULL)
    left = []
    monkeypatch.setattr(timed, "give_back", lambda: left.append(gradients(exact.models[-1])))
    record, _ = measured(memory_device="predict", **RMM)
    assert (record.outcome, record.stage, record.reason) == ("ok", None, None)
    assert record.memory is not None
    assert len(record.timing.step_seconds) == 2
    assert (record.timing.reference_step_seconds, record.timing.relative_throughput) == ((), None)
    why = record.missing["timing.relative_throughput"]
    assert why == f"exact took no turns: OutOfMemoryError: {FULL}"
    assert record.row()["relative_throughput"] is None
    # Once it has failed it is asked no more, and nothing of it is left when the method goes on.
    assert exact.turns == from_turn
    assert left == [0]
    assert not any(layer.exact for layer in converted_layers(exact.models[-1]).values())
    assert not any("could not be measured" in text for text in record.warnings)


def gradients(model):
    """Return how many parameters hold a gradient."""
    return sum(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what a process has taken")
def test_exact_that_the_host_cannot_hold_does_not_end_the_process(measured, monkeypatch):
    """Linux would grant it what there is not, and kill the case: it is refused."""

    @contextmanager
    def exact(model):
        torch.ones(2**28)
        yield

    monkeypatch.setattr(host_memory, "available_bytes", lambda root: 64 * 2**20)
    monkeypatch.setattr(rmm.RMM, "reference", lambda _, model: exact(model))
    record, _ = measured(**RMM)
    assert (record.outcome, record.timing.relative_throughput) == ("ok", None)
    why = record.missing["timing.relative_throughput"]
    assert why.startswith("exact took no turns: RuntimeError: ")
    assert "DefaultCPUAllocator: can't allocate memory" in why


def test_exact_that_fails_otherwise_is_warned_of(measured, monkeypatch):
    """A fault of exact's costs the ratio only, and is not passed over."""
    Failing(monkeypatch, 2, ZeroDivisionError("by zero"))
    record, _ = measured(**RMM)
    assert (record.outcome, record.timing.relative_throughput) == ("ok", None)
    why = "exact took no turns: ZeroDivisionError: by zero"
    assert record.missing["timing.relative_throughput"] == why
    warning = f"timing.relative_throughput could not be measured ({why}); the other figures stand"
    assert any(text.startswith(warning) for text in record.warnings)


@pytest.mark.parametrize("error", [FULL, ZeroDivisionError("by zero")], ids=["full", "fault"])
def test_gradients_that_cannot_be_compared_cost_no_times(measured, monkeypatch, error):
    """Exact took its turns, and then its gradients do not fit: times and ratio stand."""
    Failing(monkeypatch, 4, error)  # one turn to warm up, two that count
    record, stages = measured(gradient_draws=2, **RMM)
    assert stages[-1] == "comparing gradients"
    assert (record.outcome, record.gradient) == ("ok", None)
    assert record.missing["gradient"] == f"{type(error).__name__}: {error}"
    assert len(record.timing.reference_step_seconds) == 2
    assert any("gradient could not" in text for text in record.warnings) == (error is not FULL)


class FakeWatch:
    """A watch over a GPU that is not there; each one reads its own number."""

    made = 0

    def __enter__(self):
        """Begin."""
        FakeWatch.made += 1
        self._number = FakeWatch.made
        return self

    def __exit__(self, *_):
        """End."""

    def readings(self):
        """Return which watch this is."""
        return {"power_watts": (float(self._number), None)}

    def energy(self, samples):
        """Return which watch this is, and of how many samples."""
        return self._number + samples / 1e6, None

    def warnings(self):
        """Return which watch this is."""
        return (f"watch {self._number}",)


class Step:
    """A training step that does nothing, or fails."""

    model = None

    def __init__(self, error=None):
        """Fail with `error`, if there is one."""
        self._error = error

    def warnings(self):
        """Return nothing."""
        return []

    def __call__(self):
        """Do nothing, or fail."""
        if self._error is not None:
            raise self._error


@pytest.fixture
def on_a_gpu(monkeypatch):
    """Time a case as on a GPU, of which nothing is there; steps do what they are told to."""

    def run(step):
        draft = Draft(Case.model_validate({"model": "mlp:8-4", "batch_size": 4}), lambda _: None)

        def time_steps(step, batch_size, device, settings, reference, watch):
            with watch:
                return Timing(
                    device="cuda",
                    step_seconds=(1.0,),
                    samples_per_second=4.0,
                    relative_throughput=1.0,
                )

        FakeWatch.made = 0
        monkeypatch.setattr(timed, "GpuWatch", FakeWatch)
        monkeypatch.setattr(timed, "prepare", lambda *_, **__: step)
        monkeypatch.setattr(timed, "time_steps", time_steps)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
        timed.measure_time(draft, "cuda")
        return draft

    return run


def test_conditions_are_those_of_the_timed_steps(on_a_gpu):
    """The watch over the timed steps tells of the GPU; the later one of the method's energy."""
    draft = on_a_gpu(Step())
    assert draft.conditions.power_watts == 1
    assert draft.conditions.energy_joules_per_sample == 2 + 3 * 4 / 1e6
    assert "watch 1" in draft.warnings
    assert "watch 2" not in draft.warnings


def test_energy_that_cannot_be_measured_costs_no_times(on_a_gpu):
    """Times and conditions stand, and the reason is told."""
    draft = on_a_gpu(Step(FULL))
    assert draft.timing.step_seconds == (1.0,)
    assert draft.conditions.power_watts == 1
    assert draft.conditions.energy_joules_per_sample is None
    why = draft.missing["conditions.energy_joules_per_sample"]
    assert why == f"OutOfMemoryError: {FULL}"
