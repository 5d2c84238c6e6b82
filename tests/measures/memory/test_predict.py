"""Predicted bytes are the allocator's: the two ways to them share nothing but the step."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from rmmbench import methods, models, sketches
from rmmbench.errors import CannotPredictError
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.nn import manual_seed
from rmmbench.nn.analysis.live import LiveBytes
from rmmbench.spec.case import Case

pytestmark = pytest.mark.usefixtures("one_thread")

HF = ["gpt2", "llama", "bert", "t5"]
# Sketches that hold a piece of S, or of the transformed X; the others take little beside X.
PIECEWISE = ["gaussian", "rademacher", "dft", "dct", "hadamard"]
SHAPES = {"mlp:64-256-256-8": (64, None), "linear:96x64": (64, None)}


def case(model, sketch=None, rho=0.3, **settings):
    """Return a case of the model under a sketch, or exact without one."""
    batch_size, seq_len = SHAPES.get(model, (4, 32))
    data = {"model": model, "batch_size": batch_size, "seq_len": seq_len}
    if sketch is not None:
        data |= {"method": "rmm", "sketch": sketch, "rho": rho}
        if sketches.get(sketch).has_factors:
            data["block_rows"] = 2
    return Case.model_validate(data | settings)


def preparing(wanted, change=lambda model: None):
    """Return what builds the case's step on the current device, its model changed."""

    def prepare():
        torch.manual_seed(wanted.seed)
        manual_seed(wanted.seed)
        built = models.build(wanted)
        change(built.model)
        batch = built.make_batch()
        methods.stack(wanted.steps).apply(built.model, batch)
        return TrainingStep(
            built.model.train(),
            batch,
            make_optimizer(wanted.optimizer, built.model.parameters(), foreach=False),
            torch.bfloat16 if wanted.dtype == "bfloat16" else None,
        )

    return prepare


def check_prediction(prepare):
    """Assert that predicted bytes are the measured ones, and return them."""
    predicted = predict_memory(prepare)
    measured, warnings = measure_cpu_memory(prepare)
    assert warnings == []
    # Kernels leave a few scalars of their own, such as the count of labels that matter.
    assert 0 <= measured.saved_bytes - predicted.saved_bytes <= 64
    assert predicted.resting_bytes == measured.resting_bytes
    for name in ("peak_allocated_bytes", "cold_peak_allocated_bytes"):
        assert getattr(predicted, name) == pytest.approx(getattr(measured, name), rel=0.01)
    return predicted


@pytest.mark.parametrize(
    ("name", "sketch"),
    [(name, sketch) for name in ("roberta-tiny", *SHAPES) for sketch in (None, *sketches.names())]
    + [(name, sketch) for name in HF for sketch in (None, "gaussian", "oporp")],
)
def test_predicted_is_measured(small_hf, name, sketch):
    """Saved and resting bytes are equal, and the peak within 1 %, for every model and sketch."""
    model = small_hf(name) if name in HF else name
    check_prediction(preparing(case(model, sketch)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize(("sketch", "rho"), [("gaussian", 1), ("oporp", 0.3), ("dct", 0.3)])
@pytest.mark.parametrize("name", ["roberta-tiny", *SHAPES])
def test_few_bits(name, sketch, rho, bits, dtype):
    """In few bits what is kept counts as it is packed, and what rounding takes for a moment too."""
    check_prediction(preparing(case(name, sketch, rho, bits=bits, dtype=dtype)))


@pytest.mark.parametrize("sketch", [None, "gaussian", "dct"])
@pytest.mark.parametrize("name", ["roberta-tiny", "mlp:64-256-256-8"])
def test_under_autocast(name, sketch):
    """Where what is kept is a bfloat16 copy, copies count, and the cast weights too."""
    check_prediction(preparing(case(name, sketch, dtype="bfloat16")))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_every_optimizer(optimizer):
    """The optimizer's state is at rest between steps: two numbers a parameter, or none."""
    found = check_prediction(preparing(case("mlp:64-256-256-8", optimizer=optimizer)))
    parameters = 64 * 256 + 256 * 256 + 256 * 8 + 2 * 256 + 8
    # AdamW counts the steps of each of the six parameters besides.
    state = {"sgd": 0, "adamw": 2 * 4 * parameters + 6 * 4}[optimizer]
    batch = 64 * 64 * 4 + 64 * 8
    assert found.resting_bytes == 4 * parameters + state + batch


@pytest.mark.parametrize("sketch", [None, "gaussian"])
def test_frozen_parameters(sketch):
    """A frozen layer keeps no input, sketched or not, and has no gradient and no state."""

    def freeze(model):
        model.layers[1].requires_grad_(False)

    whole = predict_memory(preparing(case("mlp:64-256-256-8", sketch)))
    frozen = check_prediction(preparing(case("mlp:64-256-256-8", sketch), freeze))
    rows = math.ceil(0.3 * 64)
    # GELU's output, or its sketch and the sketch's seed.
    kept = 64 * 256 * 4 if sketch is None else rows * 256 * 4 + 8
    assert whole.saved_bytes - frozen.saved_bytes == kept
    assert whole.resting_bytes - frozen.resting_bytes == 2 * 4 * (256 * 256 + 256) + 2 * 4


@pytest.mark.parametrize("sketch", sketches.names())
@pytest.mark.parametrize(("rows", "rho"), [(64, 0.3), (66, 0.5), (1000, 0.01)])
def test_a_sketched_layer_keeps_what_it_says(sketch, rows, rho):
    """In place of its input the layer keeps proj_dim × in_features numbers and one 8-byte seed.

    A sketch that looks at its input keeps 16 bytes a row that it drew instead of the seed.
    """
    wanted = case("linear:96x64", sketch, rho, batch_size=rows)
    exact = predict_memory(preparing(wanted.as_exact())).saved_bytes
    found = predict_memory(preparing(wanted)).saved_bytes
    kind = sketches.get(sketch, block_rows=wanted.settings["block_rows"])
    proj_dim = kind.size_from(rows, math.ceil(rho * rows))
    key = 16 * proj_dim if sketch == "norm-rows" else 8
    assert exact == rows * 96 * 4
    assert found == proj_dim * 96 * 4 + key


@pytest.mark.parametrize("sketch", PIECEWISE)
def test_the_sketchs_own_temporaries_count(sketch, monkeypatch):
    """Where drawing and applying S is the highest moment, the peak is that, as the allocator's."""
    wanted = case("linear:32x32", sketch, 0.5, batch_size=4096, seq_len=None, optimizer="sgd")
    found = check_prediction(preparing(wanted))
    monkeypatch.setattr(LiveBytes, "_count_workspace", lambda *_: None)
    without = predict_memory(preparing(wanted))
    assert found.peak_allocated_bytes > 1.1 * without.peak_allocated_bytes
    assert found.saved_bytes == without.saved_bytes


@pytest.mark.filterwarnings("ignore:Module is None:UserWarning")  # of dropout's, in MemTracker
@pytest.mark.parametrize("model", ["mlp:64-256-256-8", "roberta-tiny"])
def test_the_peak_is_that_of_torchs_own_tracker(model):
    """PyTorch's MemTracker, slower and of other make, finds the same peak of a warmed-up step."""
    prepare = preparing(case(model))
    with FakeTensorMode():
        step = prepare()
        step()
        tracker = MemTracker()
        tracker.track_external(step.model, step.optimizer, *step.batch.values())
        with tracker:
            step()
        (peak,) = tracker.get_tracker_snapshot("peak").values()
    predicted = predict_memory(prepare).peak_allocated_bytes
    assert predicted == pytest.approx(peak["Total"], rel=1e-4)


READS = "it reads the value of a tensor, by .item(), bool() or the like"


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (lambda y: y * y.sum().item(), READS),
        (lambda y: y if y.sum() > 0 else -y, READS),
        (lambda y: y[y > 0], "aten.nonzero.default needs real data"),
        (
            lambda y: y + float(y.detach().numpy().sum()),
            "it hands values to something that is not torch",
        ),
    ],
)
def test_a_model_that_depends_on_data_is_refused(after, why, around):
    """What fake tensors cannot tell is not guessed: the reason and the remedy in one line."""
    with pytest.raises(CannotPredictError) as caught:
        predict_memory(around(after))
    remedy = "measure it on --device cpu or cuda"
    assert str(caught.value) == f"fake tensors cannot follow this model: {why}; {remedy}"
    assert measure_cpu_memory(around(after))[0].saved_bytes > 0


def test_an_error_of_the_models_own_stays_what_it_is(around):
    """A mistake in the model is not taken for a limit of the prediction."""
    with pytest.raises(ZeroDivisionError):
        predict_memory(around(lambda y: y / (1 // 0)))


@pytest.mark.parametrize(
    ("after", "got"),
    [(lambda y: SimpleNamespace(sum=lambda: y), r"shape \(8, 4\)"), (None, "None")],
)
def test_a_model_without_a_loss_is_refused(after, got, around):
    """What a model must return is said beside what it did."""

    def prepare():
        step = around(after)()
        if after is None:
            step.model.forward = lambda x: None
        return step

    with pytest.raises(TypeError, match=f"must return a scalar loss, .* got {got}"):
        predict_memory(prepare)
