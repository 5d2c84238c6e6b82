"""A whole training step of somebody's own: predicted, followed, measured and changed by methods."""

import warnings

import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional

import rmmbench
from rmmbench.errors import CannotPredictError, UsageError
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.following import follow_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.models.imported import made_by
from rmmbench.results.timeline import CATEGORIES
from rmmbench.running.draft import Draft, prepare
from rmmbench.running.timed import measure_time
from rmmbench.spec.case import Case
from rmmbench.spec.measuring import TimelineSettings

pytestmark = pytest.mark.usefixtures("one_thread")

ALL = TimelineSettings(epoch_steps=2, max_points=10_000)


class Classifier(nn.Module):
    """Two layers and their loss."""

    def __init__(self, wide=256):
        """Make the layers."""
        super().__init__()
        self.up, self.down = nn.Linear(64, wide), nn.Linear(wide, 8)

    def forward(self, x, labels):
        """Return the loss."""
        return functional.cross_entropy(self.down(functional.gelu(self.up(x))), labels)


def as_pair(batch_size, seq_len):
    """Return a model and its batches."""
    return Classifier(), lambda: {
        "x": torch.randn(batch_size, 64),
        "labels": torch.randint(8, (batch_size,)),
    }


def as_step(batch_size, seq_len):
    """Return the same step by itself, with its model."""
    model, make_batch = as_pair(batch_size, seq_len)
    batch, optimizer = make_batch(), torch.optim.Adam(model.parameters(), lr=1e-5, foreach=False)

    def step():
        model(**batch).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, model


def alone(batch_size, seq_len):
    """Return the same step without its model."""
    return as_step(batch_size, seq_len)[0]


def llama():
    """Build a small Llama."""
    config = transformers.LlamaConfig(
        vocab_size=500,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        use_cache=False,
        # Which kernel attends without a device is another matter.
        attn_implementation="eager",
    )
    return transformers.LlamaForCausalLM(config)


def chunked_loss(hidden, head, labels, size=32):
    """Return the cross-entropy of a language model, its logits made again chunk by chunk."""
    from torch.utils.checkpoint import checkpoint

    def of_chunk(rows, wanted):
        return functional.cross_entropy((rows @ head.T).float(), wanted, reduction="sum")

    chunks = zip(hidden.flatten(0, 1).split(size), labels.flatten().split(size), strict=True)
    losses = [checkpoint(of_chunk, *chunk, use_reentrant=False) for chunk in chunks]
    return torch.stack(losses).sum() / labels.numel()


def chunked(batch_size, seq_len):
    """Return a loop of one's own: a bfloat16 Llama, a chunked loss, clipping, two micro-batches."""
    model = llama().to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step():
        for _ in range(2):
            ids = torch.randint(0, 500, (batch_size, seq_len))
            hidden = model.model(input_ids=ids).last_hidden_state
            (chunked_loss(hidden, model.lm_head.weight, ids) / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step, model


def lora(batch_size, seq_len):
    """Return a Llama with PEFT's LoRA, its base in bfloat16, and batches."""
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(r=8, target_modules=["q_proj", "v_proj"], lora_dropout=0.05)
    with warnings.catch_warnings():
        # PEFT 0.21 reads what transformers 5.24 has another name for.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        model = peft.get_peft_model(llama().bfloat16(), settings)

    def make_batch():
        ids = torch.randint(0, 500, (batch_size, seq_len))
        return {"input_ids": ids, "labels": ids}

    return model, make_batch


def lora_step(batch_size, seq_len):
    """Return a step of the same LoRA, with its model."""
    model, make_batch = lora(batch_size, seq_len)
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer, batch = torch.optim.AdamW(trained, lr=1e-5, foreach=False), make_batch()

    def step():
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step, model


def preparing(factory, seq_len=None, batch_size=64, **settings):
    """Return what builds the step of a factory as it is measured."""
    said = {"model": "import:mine:factory", "batch_size": batch_size, "seq_len": seq_len}
    case = Case.model_validate(said | settings)

    def build(case):
        return made_by(factory, case.model, case)

    return lambda: prepare(Draft(case, lambda stage: None), "cpu", foreach=False, build=build)


FACTORIES = {
    "step": (as_step, {}),
    "alone": (alone, {}),
    "chunked": (chunked, {"batch_size": 2, "seq_len": 64}),
    "lora": (lora, {"batch_size": 2, "seq_len": 64}),
    "lora step": (lora_step, {"batch_size": 2, "seq_len": 64}),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_predicted_is_measured(name):
    """Steps of one's own, LoRA and chunked losses take the bytes that the CPU's allocator has."""
    factory, shape = FACTORIES[name]
    build = preparing(factory, **shape)
    predicted = predict_memory(build)
    measured, told = measure_cpu_memory(build)
    assert told == []
    assert abs(predicted.resting_bytes - measured.resting_bytes) <= 64
    assert predicted.saved_bytes == pytest.approx(measured.saved_bytes, rel=0.001)
    for name in ("peak_allocated_bytes", "cold_peak_allocated_bytes"):
        assert getattr(predicted, name) == pytest.approx(getattr(measured, name), rel=0.01)


def test_a_step_is_the_one_that_would_be_done():
    """Whether rmmbench does the step or the factory, the bytes are the same."""
    usual, own, bare = (predict_memory(preparing(each)) for each in (as_pair, as_step, alone))
    assert own == bare
    for name in ("peak_allocated_bytes", "cold_peak_allocated_bytes", "resting_bytes"):
        assert getattr(own, name) == getattr(usual, name)
    # Of inputs that were there before, only those of a batch that is known count as kept.
    assert own.saved_bytes == usual.saved_bytes - 64 * 64 * 4 - 64 * 8


@pytest.mark.parametrize("settings", [{"sketch": "oporp", "rho": 0.1}, {"method": "checkpoint"}])
def test_methods_change_the_model_of_a_step(settings):
    """A method saves in a step of one's own what it saves in any."""
    shape = {"batch_size": 8, "seq_len": 64}
    method = {"method": "rmm"} | settings
    exact = predict_memory(preparing(lora_step, **shape))
    found = predict_memory(preparing(lora_step, **shape, **method))
    assert found.saved_bytes < exact.saved_bytes


@pytest.mark.parametrize("factory", [as_step, alone])
def test_the_phases_of_a_step_are_found(factory):
    """A timeline of a step has its phases, and knows parameters, gradients and state."""
    usual = follow_memory(preparing(as_pair), ALL, "predict")
    own = follow_memory(preparing(factory), ALL, "predict")
    starts = {}
    for point in own.points:
        starts.setdefault(point.phase, point)
    assert list(starts) == ["forward", "backward", "optimizer"]
    numbers = 64 * 256 + 256 + 256 * 8 + 8
    sizes = dict(zip(CATEGORIES, starts["optimizer"].live_bytes, strict=True))
    assert sizes["parameters"] == sizes["gradients"] == 4 * numbers
    assert sizes["optimizer"] == 8 * numbers + 4 * 4
    assert own.highest.total_bytes == usual.highest.total_bytes
    assert own.epoch[1].peak_bytes == usual.epoch[1].peak_bytes


def test_a_loop_of_micro_batches_has_its_phases():
    """Each pass of a loop is a phase, and clipping is no forward pass."""
    points = follow_memory(preparing(chunked, batch_size=2, seq_len=64), ALL, "predict").points
    phases = [each.phase for each in points]
    order = [one for one, before in zip(phases, [None, *phases[:-1]], strict=True) if one != before]
    assert order == ["forward", "backward"] * 2 + ["optimizer"]


def test_steps_are_timed():
    """A step alone is timed without a reference, one with a model in turn with exact."""
    timing = {"warmup_steps": 1, "min_steps": 2, "max_steps": 2}
    quick = {"time_device": "cpu", "timing": timing}
    for factory, more in ((alone, {}), (as_step, {"method": "rmm", "sketch": "dct", "rho": 0.1})):
        said = {"model": "import:mine:factory", "batch_size": 64} | quick | more
        draft = Draft(Case.model_validate(said), lambda stage: None)
        built = prepare.__kwdefaults__["build"]
        prepare.__kwdefaults__["build"] = lambda case, of=factory: made_by(of, case.model, case)
        try:
            measure_time(draft, "cpu")
        finally:
            prepare.__kwdefaults__["build"] = built
        assert draft.timing.samples_per_second > 0
        assert bool(draft.timing.reference_step_seconds) == bool(more)


def nothing(batch_size, seq_len):
    """Return nothing."""


def generating(batch_size, seq_len):
    """Return a loop that only begins when it is asked for its next value."""
    step, model = as_step(batch_size, seq_len)

    def loop():
        step()
        yield 1

    return loop, model


def with_arguments(batch_size, seq_len):
    """Return a step that wants a batch."""
    return lambda batch: None


def reading(batch_size, seq_len):
    """Return a step that prints its loss."""
    model, make_batch = as_pair(batch_size, seq_len)

    def step():
        loss = model(**make_batch())
        loss.backward()
        return loss.item()

    return step


REAL = nn.Linear(4, 4)


def training_real(batch_size, seq_len):
    """Return a step that trains a layer from outside."""
    return lambda: REAL(torch.ones(batch_size, 4)).sum().backward()


TOTAL = torch.zeros(3)


def changing_real(batch_size, seq_len):
    """Return a step that adds to a tensor from outside."""
    step, model = as_step(batch_size, seq_len)

    def adding():
        step()
        TOTAL.add_(torch.ones(3))

    return adding, model


@pytest.mark.parametrize(
    ("factory", "settings", "error", "message"),
    [
        (nothing, {}, ValueError, r"must return \(model, make_batch\), a step .*, got NoneType"),
        (lambda **_: (1, 2), {}, ValueError, "got int, int$"),
        (lambda **_: Classifier(), {}, ValueError, "got Classifier$"),
        (with_arguments, {}, ValueError, "called without arguments, got one with a missing"),
        (generating, {}, TypeError, "return nothing, or its loss, got generator"),
        (reading, {}, CannotPredictError, "reads the value of a tensor"),
        (training_real, {}, ValueError, r"trains a real tensor of shape \(4, 4\); make all"),
        (changing_real, {}, ValueError, r"changes a real tensor of shape \(3,\); make all"),
        (alone, {"method": "checkpoint"}, ValueError, r"a step alone; return \(step, model\)"),
        (as_step, {"accumulate": 2}, ValueError, "decides about accumulate itself, got 2"),
        (as_step, {"dtype": "bfloat16"}, ValueError, "decides about dtype itself, got 'bfloat16'"),
        (
            as_step,
            {"sketch": "dct", "rho": 0.5, "where": "beneficial"},
            ValueError,
            "'beneficial' needs a batch to look at",
        ),
    ],
)
def test_what_is_no_step_is_refused(factory, settings, error, message):
    """Each fault of a factory or a step is one line that says what to return instead."""
    with pytest.raises(error, match=message) as raised:
        rmmbench.predict(factory, batch_size=8, **settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("bfloat16-true", None),
        ("float16-true", "needs a factory that makes float16 parameters, got bfloat16 and float32"),
    ],
)
def test_a_users_model_stays_as_it_was_made(dtype, message):
    """LoRA's mix of dtypes is kept; a dtype that no parameter has is refused."""
    build = preparing(lora, batch_size=2, seq_len=16, dtype=dtype)
    if message is None:
        kinds = {each.dtype for each in build().model.parameters()}
        assert kinds == {torch.bfloat16, torch.float32}
        return
    with pytest.raises(ValueError, match=message):
        build()


def test_advice_needs_a_batch(tmp_path, monkeypatch):
    """A step by itself gets no advice on layers, and is told why."""
    from rmmbench.running.advising import _layers

    said = {"model": f"import:{__name__}:alone", "batch_size": 8, "method": "rmm", "rho": 0.5}
    monkeypatch.setattr("rmmbench.models.build", lambda case: made_by(alone, case.model, case))
    with pytest.raises(UsageError, match=r"needs a factory that returns \(model, make_batch\)"):
        _layers(Case.model_validate(said | {"sketch": "dct"}))
