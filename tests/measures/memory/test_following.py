"""Memory over time adds up to the memory that is measured without it."""

import functools
import gc

import pytest
import torch
from torch import nn

from rmmbench import methods, models
from rmmbench.errors import CannotPredictError
from rmmbench.measures.memory.categories import LiveByCategory
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.cuda import measure_cuda_memory
from rmmbench.measures.memory.following import follow_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import TrainingStep
from rmmbench.nn import manual_seed
from rmmbench.results.timeline import CATEGORIES, PHASES
from rmmbench.spec.case import Case
from rmmbench.spec.measuring import TimelineSettings

pytestmark = pytest.mark.usefixtures("one_thread")

ALL = TimelineSettings(epoch_steps=2, max_points=10_000)
SIZE = 1000
VECTOR, NUMBER = SIZE * 4, 4
ROWS, IN, OUT = 64, 96, 32


def by_category(sizes):
    """Return bytes by category, without those that are none."""
    return {name: size for name, size in zip(CATEGORIES, sizes, strict=True) if size}


def ends(timeline):
    """Return the last point of each phase."""
    return {each.phase: by_category(each.live_bytes) for each in timeline.points}


def roberta(sketch=None, **settings):
    """Return a case of a small RoBERTa under a sketch, or exact without one."""
    if sketch is not None:
        settings |= {"method": "rmm", "sketch": sketch, "rho": 0.3}
    return Case(model="roberta-tiny", batch_size=4, seq_len=32, **settings)


def preparing(wanted, device="cpu"):
    """Return what builds the case's step."""

    def prepare():
        torch.manual_seed(wanted.seed)
        manual_seed(wanted.seed)
        with torch.device(device):
            built = models.build(wanted)
            batch = built.make_batch()
        methods.stack(wanted.steps).apply(built.model, batch)
        return TrainingStep(
            built.model.train(),
            batch,
            make_optimizer(wanted.optimizer, built.model.parameters(), foreach=False),
            torch.bfloat16 if wanted.dtype == "bfloat16" else None,
        )

    return prepare


class Dot(nn.Module):
    """The product of a vector of parameters with the input."""

    def __init__(self, after=torch.sum):
        """Make the parameters."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(SIZE))
        self.after = after

    def forward(self, x):
        """Return the loss."""
        return self.after(self.weight * x)


def dot(after=torch.sum, optimizer="sgd", size=SIZE):
    """Build a step of a product of vectors."""
    model = Dot(after)
    made = make_optimizer(optimizer, model.parameters(), foreach=False)
    return TrainingStep(model, {"x": torch.ones(size)}, made)


@pytest.mark.parametrize("sketch", [None, "gaussian", "norm-rows"])
def test_a_predicted_step_is_the_prediction(sketch):
    """Peaks, cold and warm, what rests, and what is kept for backward are equal to the byte."""
    prepare = preparing(roberta(sketch))
    memory = predict_memory(prepare)
    timeline = follow_memory(prepare, ALL, "predict")
    cold, warm = timeline.epoch
    assert cold.peak_bytes == sum(cold.at_peak_bytes) == memory.cold_peak_allocated_bytes
    assert warm.peak_bytes == sum(warm.at_peak_bytes) == memory.peak_allocated_bytes
    assert timeline.highest.total_bytes == memory.peak_allocated_bytes
    assert timeline.points[-1].total_bytes == warm.resting_bytes == memory.resting_bytes
    kept = ends(timeline)["forward"]
    assert kept["activations"] + kept.get("sketches", 0) == memory.saved_bytes
    assert ("sketches" in kept) == (sketch is not None)


def test_what_sketching_takes_counts_where_it_is_highest():
    """The workspace of a sketch is a moment of its own, and may be the highest one."""
    wanted = Case(
        model="linear:32x32",
        batch_size=4096,
        method="rmm",
        sketch="gaussian",
        rho=0.5,
        optimizer="sgd",
    )
    timeline = follow_memory(preparing(wanted), ALL, "predict")
    assert timeline.highest.total_bytes == predict_memory(preparing(wanted)).peak_allocated_bytes
    beside = [p.total_bytes for p in timeline.points if p.time == timeline.highest.time]
    assert len(beside) == 2
    assert beside[0] > 1.1 * beside[1]


@pytest.mark.parametrize("sketch", [None, "oporp"])
def test_a_measured_step_is_the_measurement(sketch):
    """On the CPU peaks are within 0.5 % of those of the allocator's own events."""
    prepare = preparing(roberta(sketch))
    memory, _ = measure_cpu_memory(prepare)
    cold, warm = follow_memory(prepare, ALL, "cpu").epoch
    assert cold.peak_bytes == pytest.approx(memory.cold_peak_allocated_bytes, rel=0.005)
    assert warm.peak_bytes == pytest.approx(memory.peak_allocated_bytes, rel=0.005)
    assert warm.resting_bytes == memory.resting_bytes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sketch", [None, "gaussian"])
def test_fake_and_real_tensors_are_followed_alike(sketch, dtype):
    """Operator by operator, the prediction has the bytes of the CPU in every category."""
    prepare = preparing(roberta(sketch, dtype=dtype))
    predicted, measured = (follow_memory(prepare, ALL, device) for device in ("predict", "cpu"))
    assert predicted.operators == measured.operators > 100
    assert predicted.points == measured.points
    assert predicted.epoch == measured.epoch


@pytest.mark.parametrize("device", ["predict", "cpu"])
def test_every_byte_of_a_known_step_has_its_category(device):
    """A product of vectors keeps its input; its gradient comes in backward and goes at the end."""
    timeline = follow_memory(functools.partial(dot, optimizer="adam"), ALL, device)
    rest = {"parameters": VECTOR, "optimizer": 2 * VECTOR + NUMBER}
    loss = NUMBER
    assert by_category(timeline.points[0].live_bytes) == rest | {"temporary": VECTOR}
    found = ends(timeline)
    assert found["forward"] == rest | {"activations": VECTOR, "temporary": loss}
    assert found["backward"] == rest | {"gradients": VECTOR, "temporary": VECTOR}
    assert found["optimizer"] == rest | {"temporary": VECTOR}
    assert [each.phase for each in timeline.points] == sorted(
        (each.phase for each in timeline.points), key=PHASES.index
    )
    assert timeline.points[-1].time == timeline.operators


def test_the_optimizers_state_counts_from_its_birth():
    """In the cold step too, in which it appears where the peak is, it is no temporary."""
    cold, warm = follow_memory(functools.partial(dot, optimizer="adam"), ALL, "cpu").epoch
    # Beside it the root of the mean square, that divided, and a few numbers.
    at_peak = by_category(cold.at_peak_bytes)
    assert at_peak["optimizer"] == 2 * VECTOR + NUMBER
    assert at_peak["gradients"] == VECTOR
    assert 2 * VECTOR < at_peak["temporary"] <= 3 * VECTOR + 10 * NUMBER
    assert by_category(warm.at_peak_bytes) == at_peak


def test_a_sketch_is_kept_until_backward_has_read_it():
    """A sketched layer keeps x_proj and a seed; the sketch of the gradient is temporary."""
    wanted = Case(
        model=f"linear:{IN}x{OUT}",
        batch_size=ROWS,
        method="rmm",
        sketch="oporp",
        rho=0.25,
    )
    timeline = follow_memory(preparing(wanted), ALL, "predict")
    kept = ROWS // 4 * IN * 4 + 8
    sketched = {each.live_bytes[CATEGORIES.index("sketches")] for each in timeline.points}
    # The seed is there before x_proj is, but kept together with it.
    assert sketched == {0, kept}
    assert ends(timeline)["forward"]["sketches"] == kept
    assert "sketches" not in ends(timeline)["backward"]


def test_what_autograd_lets_go_is_no_activation_any_more():
    """A tensor that something else holds after backward is temporary from then on."""
    held = []

    def hold(product):
        held[:] = [product.exp()]
        return held[0].sum()

    timeline = follow_memory(functools.partial(dot, hold), ALL, "cpu")
    before, after = ends(timeline)["forward"], ends(timeline)["backward"]
    # The input and what exp returned, which is all that its backward pass reads.
    assert before["activations"] == 2 * VECTOR
    assert "activations" not in after
    assert after["temporary"] == 2 * VECTOR
    assert timeline.epoch[0].resting_bytes == timeline.epoch[1].resting_bytes


def test_a_graph_that_is_dropped_is_not_kept_alive():
    """What has no backward pass dies with its last reference, though it kept its own output."""

    def drop(product):
        product.exp()
        return product.sum()

    # The garbage collector would hide what holds itself.
    gc.disable()
    try:
        timeline = follow_memory(functools.partial(dot, drop), ALL, "cpu")
    finally:
        gc.enable()
    assert ends(timeline)["forward"]["activations"] == VECTOR
    assert by_category(timeline.points[-1].live_bytes) == {
        "parameters": VECTOR,
        "temporary": VECTOR,
    }


def test_gradients_are_those_of_all_trained_parameters():
    """When the optimizer begins there is one of each parameter that is trained, and no other."""

    def prepare():
        step = preparing(Case(model="mlp:16-32-32-4", batch_size=8))()
        step.model.layers[1].requires_grad_(False)
        return step

    timeline = follow_memory(prepare, ALL, "predict")
    start = next(each for each in timeline.points if each.phase == "optimizer")
    trained = 16 * 32 + 32 + 32 * 4 + 4
    found = by_category(start.live_bytes)
    assert found["gradients"] == 4 * trained
    assert found["parameters"] == 4 * (trained + 32 * 32 + 32)


@pytest.mark.parametrize("device", ["predict", "cpu"])
def test_an_epoch_has_batches_of_its_own(device):
    """Each later batch makes a step, whose peak is that of the batch, until there are no more."""
    wanted = roberta()
    lengths = [16, 48, 16]
    made = [preparing(wanted.model_copy(update={"seq_len": length}))().batch for length in lengths]
    settings = TimelineSettings(epoch_steps=9)
    epoch = follow_memory(preparing(wanted), settings, device, batches=made).epoch
    assert [step.step for step in epoch] == [1, 2, 3, 4]
    assert [step.rows for step in epoch] == [4 * length for length in (32, *lengths)]
    assert epoch[2].peak_bytes > epoch[1].peak_bytes == epoch[3].peak_bytes
    alone = follow_memory(preparing(wanted.model_copy(update={"seq_len": 48})), ALL, device)
    assert epoch[2].peak_bytes == alone.epoch[1].peak_bytes
    assert epoch[1].resting_bytes == epoch[3].resting_bytes < epoch[2].resting_bytes


def test_an_epoch_is_as_long_as_it_is_told():
    """Without batches of its own the same one comes again; with too many the rest is left."""
    settings = TimelineSettings(epoch_steps=3)
    same = follow_memory(dot, settings, "predict").epoch
    assert [step.step for step in same] == [1, 2, 3]
    assert same[1].peak_bytes == same[2].peak_bytes
    many = [{"x": torch.ones(SIZE)}] * 9
    assert follow_memory(dot, settings, "predict", batches=many).epoch == same


@pytest.mark.parametrize("device", ["predict", "cpu"])
def test_what_makes_the_batches_does_not_count(device):
    """Batches that are made one by one, only when they are asked for, take no more."""
    made = ({"x": torch.ones(SIZE)} for _ in range(9))
    settings = TimelineSettings(epoch_steps=4)
    same = follow_memory(dot, settings, device).epoch
    assert follow_memory(dot, settings, device, batches=made).epoch == same


def test_a_warmed_up_step_is_needed():
    """Batches that are none leave no step to follow."""
    with pytest.raises(ValueError, match="batches must hold at least one batch, got none"):
        follow_memory(dot, ALL, "predict", batches=[])


def test_a_step_that_asks_for_values_is_told():
    """A prediction fails in the words that predicted memory fails in."""
    prepare = functools.partial(dot, lambda product: product.sum() * product[0].item())
    words = r"cannot follow this model: it reads the value of a tensor"
    with pytest.raises(CannotPredictError, match=words):
        predict_memory(prepare)
    with pytest.raises(CannotPredictError, match=words):
        follow_memory(prepare, ALL, "predict")


def test_only_the_devices_own_bytes_count():
    """What lies on another device than the followed one is not counted."""
    with LiveByCategory("cuda") as count:
        here = torch.ones(SIZE)
        count.count([here])
    assert count.live == 0
    assert set(count.sizes.values()) == {0}


@pytest.mark.parametrize("device", ["predict", "cpu"])
def test_only_a_gpus_allocator_writes_its_history(device, tmp_path):
    """Elsewhere there is no file, and none is named."""
    path = tmp_path / "snapshot.pickle"
    settings = ALL.model_copy(update={"snapshot": True})
    timeline = follow_memory(dot, settings, device, snapshot=path)
    assert timeline.snapshot is None
    assert not path.exists()
    assert {each.allocated_bytes for each in timeline.points} == {None}


@pytest.mark.cuda
@pytest.mark.parametrize("sketch", [None, "oporp"])
def test_a_gpus_step_is_followed(sketch, tmp_path):
    """On a GPU the allocator's own bytes stand beside, never fewer, and its history is written."""
    prepare = preparing(roberta(sketch), "cuda")
    path = tmp_path / "snapshot.pickle"
    settings = ALL.model_copy(update={"snapshot": True})
    timeline = follow_memory(prepare, settings, "cuda", snapshot=path)
    told = [each for each in timeline.points if each.allocated_bytes is not None]
    assert told[0].time == 0
    assert all(each.allocated_bytes >= each.total_bytes for each in told)
    assert timeline.highest.total_bytes <= measure_cuda_memory(prepare)[0].peak_allocated_bytes
    assert timeline.snapshot == path.name
    assert path.stat().st_size > 0
