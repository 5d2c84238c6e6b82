"""A case's record has what was measured, and a reason for everything that was not."""

import pytest
import torch

from rmmbench.kernels import launch
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.time.processors import ProcessorWatch
from rmmbench.methods import rmm
from rmmbench.running import predicting, worker
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.case import Case
from rmmbench.units import MIB

RMM = {"method": "rmm", "sketch": "oporp", "rho": 0.5}


def numbers(model, prefix=""):
    """Return the dotted paths of a record's numbers that are null."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if value is None:
            yield prefix + name


def test_a_whole_case(measured):
    """Memory, time and what was converted; every null has its reason."""
    record, stages = measured(
        memory_device="predict", time_device="cpu", method="rmm", sketch="dct", rho=0.5
    )
    assert (record.outcome, record.stage, record.reason) == ("ok", None, None)
    assert stages == ["predicting memory", "building the model", "timing steps"]
    assert record.converted == 2
    assert record.memory.device == "predict"
    assert len(record.timing.step_seconds) == len(record.timing.reference_step_seconds) == 2
    parts = {"memory": record.memory, "timing": record.timing, "conditions": record.conditions}
    null = {name for part, of in parts.items() for name in numbers(of, f"{part}.")}
    null |= {"counts"} if record.counts is None else set()
    assert set(record.missing) == null
    assert record.exact_gradient is False
    assert record.missing["conditions.power_watts"] == "timed on the CPU"
    assert record.wall_seconds > 0
    assert record.warnings == ()


def test_one_step_is_told_without_an_interval(measured):
    """Of a single pair of steps the ends of intervals are null, and the record says why."""
    once = {"warmup_steps": 1, "min_steps": 1, "max_steps": 1}
    settings = {"model": "roberta-tiny", "batch_size": 2, "seq_len": 8, "method": "checkpoint"}
    record, _ = measured(time_device="cpu", timing=once, **settings)
    assert (record.outcome, record.exact_gradient) == ("ok", True)
    assert record.timing.relative_throughput_low is None
    why = "an interval takes two or more pairs of steps, and there is one"
    assert record.missing["timing.relative_throughput_low"] == why


@pytest.mark.parametrize(
    ("settings", "converted"),
    [({}, 3), ({"where": "beneficial"}, 2), ({"where": "beneficial", "dtype": "bfloat16"}, 3)],
)
def test_layers_that_gain_are_chosen_by_the_cases_batch(measured, settings, converted):
    """The first layer reads the batch, which is kept anyway; under autocast it keeps a copy."""
    record, _ = measured(
        model="mlp:256-256-256-4",
        batch_size=1024,
        memory_device="predict",
        method="rmm",
        sketch="oporp",
        rho=0.5,
        **settings,
    )
    assert (record.outcome, record.converted) == ("ok", converted)


def test_sharing_keeps_less(measured):
    """Q, K and V that share keep one sketch where three would keep three."""
    settings = {"model": "roberta-tiny", "seq_len": 8, "method": "rmm", "sketch": "oporp"}
    settings |= {"rho": 0.5, "memory_device": "predict"}
    shared, apart = (measured(share=share, **settings)[0].memory for share in (True, False))
    # Two more x_proj of 64 of 128 rows, 128 features, 4 bytes, and a seed, in each of two blocks.
    assert apart.saved_bytes - shared.saved_bytes == 2 * 2 * (64 * 128 * 4 + 8)


def test_the_batch_is_the_same_by_any_method(environment):
    """Data and parameters come from the case's seed, whatever is done to the model."""
    data = {"model": "mlp:8-256-256-4", "batch_size": 1024, "seed": 5}
    cases = [Case.model_validate(data | more) for more in ({}, RMM, RMM | {"where": "beneficial"})]
    steps = [prepare(Draft(case, lambda stage: None), "cpu", foreach=False) for case in cases]
    for step in steps[1:]:
        torch.testing.assert_close(step.batch, steps[0].batch, rtol=0, atol=0)
        expected = steps[0].model.state_dict()
        torch.testing.assert_close(step.model.state_dict(), expected, rtol=0, atol=0)


def test_a_projection_is_timed_against_the_product(measured):
    """A sketch alone has its times and the product's in turn, and says what a step is."""
    record, _ = measured(model="linear:8x16", projection_device="cpu", **RMM)
    assert len(record.timing.reference_step_seconds) == len(record.timing.step_seconds) == 2
    assert "one projection, or one product" in record.synthetic
    assert record.row()["product_ratio"] == record.timing.relative_throughput
    assert record.row()["relative_throughput"] is None


def test_memory_alone(measured):
    """What a case does not ask for is null, and the record says that it was not asked for."""
    record, _ = measured(memory_device="cpu")
    assert record.memory.device == "cpu"
    assert record.missing["timing"] == record.missing["conditions"] == "memory only"
    assert record.converted == 0
    record, _ = measured(memory_device="predict")
    assert record.missing["timing"] == "a prediction has no time"


def test_the_path_of_sketches(measured, monkeypatch):
    """A record says what its sketches were computed with, and why kernels that should did not."""
    monkeypatch.setattr(launch, "_taken", set())
    record, _ = measured(memory_device="predict", **RMM)
    assert record.sketch_path is None
    assert record.missing["sketch_path"] == "no sketch was computed"
    monkeypatch.setattr(launch, "_failed", {"_triton_bins:bin_sums": "ImportError: no triton"})
    record, _ = measured(memory_device="cpu", **RMM)
    assert record.sketch_path == "torch"
    assert "a Triton kernel cannot run here (ImportError: no triton); " in record.warnings[-1]


def test_time_alone(measured):
    """A case that asks for time has no memory; exact has no one to take turns with."""
    record, stages = measured(time_device="cpu")
    assert record.memory is None
    assert record.missing["memory"] == "the case asks for time only"
    assert record.timing.reference_step_seconds == ()
    assert stages == ["building the model", "timing steps"]


def test_the_same_case_has_the_same_bytes(measured):
    """Everything is made from the case's seed: a prediction repeats to the byte."""
    settings = {"memory_device": "predict", "method": "rmm", "sketch": "gaussian", "rho": 0.5}
    first, again = (measured(**settings)[0] for _ in range(2))
    assert first.memory == again.memory


def test_a_factory_that_names_no_device_is_moved_with_its_batch(tmp_path, monkeypatch):
    """What NumPy's arrays become is on the CPU, whichever device torch was told of."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_arrays.py").write_text(
        "import numpy, torch\n"
        "def model(batch_size, seq_len):\n"
        "    layer = torch.nn.Linear(4, 1, device='cpu')\n"
        "    return layer, lambda: {'input': torch.from_numpy(numpy.ones((batch_size, 4), 'f4'))}\n"
    )
    case = Case.model_validate({"model": "import:of_arrays:model", "batch_size": 3})
    step = prepare(Draft(case, lambda stage: None), "meta", foreach=False)
    assert step.batch["input"].device.type == "meta"
    assert {each.device.type for each in step.model.parameters()} == {"meta"}


def test_where_there_can_be_no_fake_gpu_the_record_says_so(measured, monkeypatch):
    """A torch without the private names: memory is the CPU's, and a warning says how far off."""
    monkeypatch.setattr(predicting, "why_no_fake_gpu", lambda: "torch 9.9 has no torch._C.x")
    record, _ = measured(memory_device="predict", gpu="a100")
    (warning,) = record.warnings
    assert "torch 9.9 has no torch._C.x" in warning
    assert "11 % less" in warning
    assert (record.memory.reserved_bytes, record.counts) == (None, None)
    assert record.memory.peak_live_bytes == record.memory.peak_allocated_bytes


def test_a_model_that_cannot_be_predicted_is_an_error(measured, tmp_path, monkeypatch):
    """A forward pass that asks for data: the record says which operator, and what to do."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "choosy.py").write_text(
        "import torch\n"
        "class Choosy(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x[x[:, 0].nonzero()[:, 0]]).mean()\n"
        "def model(batch_size, seq_len):\n"
        "    return Choosy(4, 1), lambda: {'x': torch.ones(batch_size, 4)}\n"
    )
    record, _ = measured(model="import:choosy:model", memory_device="predict", time_device="cpu")
    assert (record.outcome, record.stage) == ("error", "predicting memory")
    assert record.reason.startswith("CannotPredictError: fake tensors cannot follow this model: ")
    assert record.reason.endswith(" needs real data; measure it on --device cpu or cuda")
    assert set(record.missing) == {"memory", "timing", "conditions", "counts"}


def test_what_a_factory_makes_up_is_not_called_random(measured, tmp_path, monkeypatch):
    """Batches of ours are random; of a user's own the record says only that they are theirs."""
    assert "random" in measured(memory_device="predict")[0].synthetic
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs.py").write_text(
        "import torch\n"
        "def model(batch_size, seq_len):\n"
        "    return torch.nn.CrossEntropyLoss(torch.nn.Parameter(torch.ones(4))), lambda: {\n"
        "        'input': torch.ones(batch_size, 4), 'target': torch.ones(batch_size).long()}\n"
    )
    record, _ = measured(model="import:theirs:model", time_device="cpu")
    assert "factory" in record.synthetic


def test_other_programs_are_in_the_record_of_times(measured, monkeypatch):
    """On a CPU too a record has its conditions, and a load is warned of."""
    seen = {"other_cpus": (1.5, None), "cpu_governor": ("powersave", None)}
    monkeypatch.setattr(ProcessorWatch, "readings", lambda _: seen)
    monkeypatch.setattr(ProcessorWatch, "warnings", lambda _: ("other programs",))
    record, _ = measured(time_device="cpu")
    assert (record.conditions.other_cpus, record.conditions.cpu_governor) == (1.5, "powersave")
    assert record.warnings == ("other programs",)
    assert (record.row()["other_cpus"], record.row()["cpu_governor"]) == (1.5, "powersave")


@pytest.mark.parametrize(("error", "warned"), [(MemoryError("full"), 0), (OSError("gone"), 1)])
def test_a_timeline_that_fails_costs_only_itself(measured, monkeypatch, error, warned):
    """Memory and times stand, and what failed is missing with its reason; a fault is warned of."""
    monkeypatch.setattr(worker, "follow_predicted", failing(error))
    settings = {"memory_device": "predict", "time_device": "cpu", "timeline": {"epoch_steps": 2}}
    record, _ = measured(**settings)
    assert (record.outcome, record.timeline) == ("ok", None)
    assert record.missing["timeline"] == f"{type(error).__name__}: {error}"
    assert len([text for text in record.warnings if "timeline could not" in text]) == warned
    assert record.memory is not None
    assert record.timing is not None


def test_a_limit_is_held_against_what_is_reserved(measured, monkeypatch):
    """A step whose tensors fit, but not what the allocator reserves for them, is out of memory."""

    def reserving(build, *_):
        return predict_memory(build).model_copy(update={"reserved_bytes": 30 * MIB})

    monkeypatch.setattr(predicting, "predict_memory", reserving)
    asked = {"memory_device": "predict", "time_device": None}
    record, _ = measured(**asked, memory_limit_bytes=29 * MIB)
    why = "a step takes 30.0 MiB reserved, more than the limit of 29.0 MiB"
    assert (record.outcome, record.reason) == ("out_of_memory", why)
    assert record.memory.peak_allocated_bytes < 29 * MIB
    assert measured(**asked, memory_limit_bytes=30 * MIB)[0].outcome == "ok"


def test_times_that_do_not_fit_cost_no_memory(measured, monkeypatch):
    """The method's own steps ran out of memory: what they take had been found, and is kept."""
    monkeypatch.setattr(worker, "measure_time", failing(MemoryError("full")))
    record, _ = measured(memory_device="predict", time_device="cpu", **RMM)
    assert (record.outcome, record.reason) == ("out_of_memory", "MemoryError: full")
    assert record.memory.peak_allocated_bytes > 0
    assert record.missing["timing"] == "the case did not get so far"


def failing(error):
    """Return a function that raises an error, whatever it is given."""

    def fail(*_, **__):
        raise error

    return fail


def test_gradients_are_compared_with_exacts(measured):
    """As often as the case asks, on the device that steps are timed on."""
    record, stages = measured(time_device="cpu", gradient_draws=3, **RMM)
    assert stages[-1] == "comparing gradients"
    assert (record.gradient.device, len(record.gradient.errors)) == ("cpu", 3)
    assert min(record.gradient.errors) > 0.01
    row = record.row()
    assert row["gradient_error"] == pytest.approx(sum(record.gradient.errors) / 3)
    assert row["gradient_error_spread"] > 0


def test_an_exact_model_has_the_error_of_rounding(measured):
    """The reference is compared like all others, and its error is that of sums in another order."""
    record, _ = measured(time_device="cpu", gradient_draws=2)
    assert record.gradient.error < 1e-6


@pytest.mark.parametrize(("limit", "outcome"), [(2**30, "ok"), (1000, "out_of_memory")])
@pytest.mark.parametrize("device", ["predict", "cpu"])
def test_a_step_over_the_limit_is_out_of_memory(measured, device, limit, outcome):
    """What it takes is told and kept, and nothing is timed that would not fit."""
    settings = {"memory_device": device, "time_device": "cpu", "memory_limit_bytes": limit}
    record, _ = measured(**settings)
    assert record.outcome == outcome
    assert record.memory.peak_allocated_bytes > 1000
    assert (record.timing is None) == (outcome == "out_of_memory")
    if outcome == "out_of_memory":
        assert record.reason.endswith("more than the limit of 1000 B")
        assert record.missing["timing"] == "the case did not get so far"


def test_what_a_method_cannot_do_on_a_device_is_skipped(measured, monkeypatch):
    """Where one device has nothing to tell the other still does; where none has, that is said."""
    lacking = {"cpu": "has nowhere to go"}
    monkeypatch.setattr(rmm.RMM, "lacks", lambda self, device: lacking.get(device))
    record, _ = measured(memory_device="predict", time_device="cpu", **RMM)
    assert (record.outcome, record.timing) == ("ok", None)
    assert record.missing["timing"] == "has nowhere to go"
    assert record.memory.device == "predict"
    record, stages = measured(memory_device="cpu", time_device="cpu", **RMM)
    assert (record.outcome, record.reason) == ("skipped", "has nowhere to go")
    assert stages == []
    assert record.missing["memory"] == record.missing["timing"] == "has nowhere to go"


def test_memory_that_cannot_be_predicted_is_measured_where_time_is(measured, monkeypatch):
    """Beside a clock there is an allocator; the record and its row say whose number it is."""
    lacking = {"predict": "is not to be predicted"}
    monkeypatch.setattr(rmm.RMM, "lacks", lambda self, device: lacking.get(device))
    record, _ = measured(memory_device="predict", time_device="cpu", **RMM)
    assert (record.outcome, record.memory.device) == ("ok", "cpu")
    assert record.row()["memory_device"] == "cpu"
    assert record.warnings == ("memory is measured on the CPU: is not to be predicted",)
    record, _ = measured(memory_device="predict", **RMM)
    assert (record.outcome, record.reason) == ("skipped", "is not to be predicted")


def test_a_kernel_that_a_cpu_lacks_is_predicted_and_not_timed(measured):
    """Where memory is predicted the kernel counts; its times are missing, and say why."""
    settings = {"memory_device": "predict", "time_device": "cpu", "attention": "sdpa"}
    settings |= {"model": "decoder:1x64", "seq_len": 16, "batch_size": 2}
    record, _ = measured(**settings, attention_kernel="cudnn")
    assert record.outcome == "ok", record.reason
    assert record.memory is not None
    assert record.timing is None
    assert record.missing["timing"] == "a CPU has no attention kernel 'cudnn'; take flash or math"


def test_within_a_limit_exact_takes_no_turns(measured):
    """What fits only by its method is timed alone, and says why it has no ratio."""
    record, _ = measured(time_device="cpu", memory_limit_bytes=2**30, **RMM)
    assert record.timing.samples_per_second > 0
    assert (record.timing.reference_step_seconds, record.timing.relative_throughput) == ((), None)
    assert record.missing["timing.relative_throughput"] == "exact need not fit within the limit"
    record, _ = measured(time_device="cpu", memory_limit_bytes=2**30)
    assert record.timing.relative_throughput == 1


OWN = """
import torch
from torch import nn

class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(8, 8), Doubling(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.third(self.second(self.first(x))).float().sum()

def half(batch_size, seq_len):
    return Net().to(torch.bfloat16), lambda: {"x": torch.randn(batch_size, 8).bfloat16()}
"""


@pytest.mark.parametrize("method", ["rmm", "exact-rp", "prac", "velora", "exact"])
def test_the_record_says_what_the_model_was(measured, method, tmp_path, monkeypatch):
    """The parameters' dtypes are those found, and what a method had to leave has its reason."""
    (tmp_path / "own_model.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    size = {"rmm": {"rho": 0.5, "sketch": "oporp"}, "exact-rp": {"rho": 0.5}}
    size |= {"prac": {"rho": 0.5}, "velora": {"group_size": 4}}
    settings = {"exclude": ["third"]} | size[method] if method != "exact" else {}
    settings |= {"memory_device": "cpu"}
    record, _ = measured(model="import:own_model:half", method=method, **settings)
    assert record.outcome == "ok", record.reason
    assert record.parameter_dtypes == {"bfloat16": 8 * 8 + 8 + 8 * 8 + 8 + 8 * 4 + 4}
    assert record.row()["dtype"] == "bfloat16 parameters"
    left = {
        "Doubling has a forward pass of its own": 1,
        "not chosen by include, exclude or where": 1,
    }
    assert record.left_out == (None if method == "exact" else left)
