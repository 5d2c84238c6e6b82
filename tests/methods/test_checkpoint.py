"""Blocks that are computed again: the same gradients, less memory, and no noise of sketches."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, SelectiveCheckpointContext

from rmmbench import methods, models
from rmmbench.errors import UsageError
from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.measures.optimizers import make_optimizer
from rmmbench.measures.step import AUTOCAST, TrainingStep, autocast
from rmmbench.methods import _products, _projected
from rmmbench.nn import manual_seed, ops
from rmmbench.nn.blocks import repeated_blocks
from rmmbench.spec.case import Case
from rmmbench.spec.steps import Step

METHODS = ["checkpoint", "selective-checkpoint"]
RECOMPUTING = [*METHODS, "checkpoint-attention"]
HF = ["gpt2", "llama", "bert", "t5", "vit"]
DRAWS = 36

each_method = pytest.mark.parametrize("method", METHODS)
each_recomputing = pytest.mark.parametrize("method", RECOMPUTING)


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


def case(model, method="exact", **settings):
    """Return a case of four sequences of eight tokens."""
    data = {"model": model, "method": method, "batch_size": 4, "seq_len": 8, "optimizer": "sgd"}
    return Case.model_validate(data | settings)


def built(wanted):
    """Return the unchanged model of a case, training, and a batch."""
    torch.manual_seed(0)
    model, make_batch, *_ = models.build(wanted)
    return model.train(), make_batch()


def trained(model, batch, dtype="float32"):
    """Return loss and gradients of a step, dropout drawn alike, and a number drawn after it."""
    torch.manual_seed(5)
    model.zero_grad(set_to_none=True)
    with autocast(model, AUTOCAST[dtype]):
        output = model(**batch)
    loss = output if isinstance(output, torch.Tensor) else output.loss
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"loss": loss.detach(), "next": torch.rand(1)} | gradients


def check_exact(method, wanted):
    """Assert that a method changes no number of a step, and return how many parts it changed."""
    unchanged, batch = built(wanted)
    changed = copy.deepcopy(unchanged)
    parts = methods.stack([Step(method)]).apply(changed, batch)
    found = trained(changed, batch, wanted.dtype)
    torch.testing.assert_close(found, trained(unchanged, batch, wanted.dtype))
    return parts


def name_of(model, small_hf):
    """Return a model's name for a case: of two blocks where the config is written here."""
    layers = {"gpt2": "n_layer", "t5": "num_layers"}.get(model, "num_hidden_layers")
    return small_hf(model, **{layers: 2}) if model in HF else model


@each_recomputing
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["roberta-tiny", *HF])
def test_a_step_is_the_unchanged_models(small_hf, method, model, dtype):
    """Loss, gradients, and random numbers of dropout and afterwards, are those of the model."""
    attention = {"gpt2": 2, "llama": 2, "bert": 2, "t5": 6, "vit": 2}.get(model, 2)
    blocks = 4 if model == "t5" else 2
    parts = check_exact(method, case(name_of(model, small_hf), dtype=dtype))
    assert parts == (attention if method == "checkpoint-attention" else blocks)


@each_method
@pytest.mark.parametrize(
    ("model", "seq_len", "blocks"), [("decoder:3x64", 8, 3), ("gcn2:6-8x5-4", None, 5)]
)
def test_other_models_have_blocks(method, model, seq_len, blocks):
    """Our own decoder and the convolutions of GCN2 are computed again."""
    assert check_exact(method, case(model, batch_size=16, seq_len=seq_len)) == blocks


class Block(nn.Module):
    """A block whose linear layers share a sketch, and that drops out."""

    def __init__(self, width=16):
        """Make the layers."""
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(0.2)
        self.calls = 0

    def forward(self, x, scale=1.0):
        """Return a sum that is another function of each."""
        self.calls += 1
        return self.dropout(torch.tanh(self.q(x)) + torch.sin(self.k(x)) + scale * self.v(x))


class Own(nn.Module):
    """A model that transformers knows nothing of."""

    def __init__(self, layers):
        """Hold the layers."""
        super().__init__()
        self.layers = layers

    def forward(self, x):
        """Return a loss."""
        for layer in self.layers:
            x = layer(x)
        return x.square().mean()


def own(*layers):
    """Return a model of the user's own with some layers, and a batch."""
    torch.manual_seed(0)
    return Own(nn.ModuleList(layers)), {"x": torch.randn(6, 4, 16)}


@each_method
def test_blocks_of_ones_own(method):
    """Blocks are called once more in the backward pass, and not at all in the reference or eval."""
    torch.manual_seed(0)
    model, batch = own(nn.Linear(16, 16), Block(), Block(), nn.Linear(16, 16))
    changed = copy.deepcopy(model)
    applied = methods.stack([Step(method)])
    assert applied.apply(changed, batch) == 2
    exact = trained(model, batch)
    torch.testing.assert_close(trained(changed, batch), exact)
    block = changed.layers[1]
    assert (block.calls, model.layers[1].calls) == (2, 1)
    with methods.get(method).reference(changed):
        torch.testing.assert_close(trained(changed, batch), exact)
    assert block.calls == 3
    trained(copy.deepcopy(changed), batch)
    changed.eval()
    trained(changed, batch)
    assert block.calls == 4
    assert list(changed.state_dict()) == list(model.state_dict())


@each_method
@pytest.mark.parametrize("model", ["roberta-tiny", "own"])
def test_the_reference_computes_nothing_again(method, model):
    """In the reference the forward pass keeps what the unchanged one keeps, an error or not."""
    wanted = case("roberta-tiny")
    changed, batch = own(Block(), Block()) if model == "own" else built(wanted)
    methods.stack([Step(method)]).apply(changed, batch)
    flags = [getattr(module, "gradient_checkpointing", None) for module in changed.modules()]

    def fail_in_the_reference():
        with methods.get(method).reference(changed):
            assert not any(vars(m).get("gradient_checkpointing") for m in changed.modules())
            raise KeyError(model)

    with pytest.raises(KeyError):
        fail_in_the_reference()
    after = [getattr(module, "gradient_checkpointing", None) for module in changed.modules()]
    assert after == flags
    assert any(flags)


def test_what_is_a_block():
    """Blocks have parts and a like beside them; lists within lists are one, blocks in blocks no."""
    pair = [nn.ModuleList([Block(), nn.Sequential(nn.Linear(2, 2))]) for _ in range(2)]
    nested = nn.Sequential(nn.Sequential(Block(), Block()), nn.Sequential(Block()))
    assert repeated_blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == []
    assert repeated_blocks(nn.Sequential(Block(), nn.Linear(2, 2))) == []
    assert len(repeated_blocks(nn.ModuleList(pair))) == 4
    assert repeated_blocks(nested) == list(nested)
    shared = Block()
    assert repeated_blocks(nn.ModuleList([shared, shared])) == []
    inner = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Block(), Block()))
    assert repeated_blocks(inner) == list(inner[1])


@each_method
def test_a_part_with_a_switch_says_what_a_block_is(method):
    """A transformers model within a module of the user's own is found."""
    model, batch = built(case("roberta-tiny"))
    assert methods.stack([Step(method)]).apply(nn.ModuleDict({"inner": model}), batch) == 2


@each_method
def test_frozen_embeddings_stay_so(method):
    """Nothing is computed for embeddings that are not trained."""
    model, batch = built(case("roberta-tiny"))
    model.roberta.embeddings.requires_grad_(False)
    methods.stack([Step(method)]).apply(model, batch)
    assert not model.roberta.embeddings(batch["input_ids"]).requires_grad
    unchanged = trained(model, batch)
    with methods.get(method).reference(model):
        torch.testing.assert_close(trained(model, batch), unchanged)


@each_method
@pytest.mark.parametrize("model", ["mlp:6-8-8-4", "linear:6x4"])
def test_a_model_without_blocks_is_refused(method, model):
    """What must hold, what was given, and what to do, in one line."""
    wanted = case(model, seq_len=None)
    unchanged, batch = built(wanted)
    with pytest.raises(
        ValueError, match=rf"{method} must find blocks .*, and the model has none; choose another"
    ):
        methods.stack([Step(method)]).apply(unchanged, batch)


@pytest.mark.parametrize("other", ["selective-checkpoint", "checkpoint-attention"])
def test_one_of_a_kind(other):
    """Two ways to compute things again are not combined."""
    with pytest.raises(UsageError, match="both take over recomputation"):
        methods.stack([Step("checkpoint"), Step(other)])


def preparing(wanted):
    """Return what builds the case's step on the current device."""

    def prepare():
        manual_seed(0)
        model, batch = built(wanted)
        methods.stack(wanted.steps).apply(model, batch)
        optimizer = make_optimizer(wanted.optimizer, model.parameters(), foreach=True)
        return TrainingStep(model, batch, optimizer, AUTOCAST[wanted.dtype])

    return prepare


def predicted(model, method, **settings):
    """Return the predicted memory of a step."""
    return predict_memory(preparing(case(model, method, **settings)))


@each_recomputing
@pytest.mark.parametrize(
    ("model", "dtype"),
    [("roberta-tiny", "float32"), ("roberta-tiny", "bfloat16"), ("llama", "float32")],
)
def test_predicted_is_measured(small_hf, method, model, dtype):
    """The predicted peak is within 2 % of the allocator's, and below the unchanged model's."""
    shape = {"batch_size": 8, "seq_len": 128, "dtype": dtype}
    name = small_hf(model, num_hidden_layers=2) if model == "llama" else model
    found = predicted(name, method, **shape)
    measured, _ = measure_cpu_memory(preparing(case(name, method, **shape)))
    for field in ("peak_allocated_bytes", "cold_peak_allocated_bytes", "saved_bytes"):
        assert getattr(found, field) == pytest.approx(getattr(measured, field), rel=0.02)
    exact = predicted(name, "exact", **shape)
    assert found.peak_allocated_bytes < exact.peak_allocated_bytes
    assert found.saved_bytes < exact.saved_bytes


def test_whole_blocks_save_most():
    """Of a model of several layers, blocks that keep their input alone keep least."""
    exact, attention, selective, whole = (
        predicted("decoder:4x64", method, batch_size=8, seq_len=32)
        for method in ("exact", *reversed(RECOMPUTING))
    )
    for field in ("peak_allocated_bytes", "saved_bytes"):
        bytes_of = [getattr(found, field) for found in (whole, selective, exact)]
        assert bytes_of == sorted(set(bytes_of))
        assert bytes_of[0] < getattr(attention, field) < bytes_of[-1]


def test_a_selective_block_keeps_its_products():
    """Beside the input of a block: its linear layers' outputs, the scores, and their product."""
    rows, length, width, heads = 8 * 64, 64, 128, 2
    shape = {"batch_size": 8, "seq_len": length}
    whole = predicted("roberta-tiny", "checkpoint", **shape)
    selective = predicted("roberta-tiny", "selective-checkpoint", **shape)
    outputs = rows * width * (3 + 1 + 1 + 4 + 1)  # Q, K, V, attention, its dense, up, down
    scores = 8 * heads * length * length
    assert selective.saved_bytes - whole.saved_bytes == 2 * 4 * (outputs + scores)


def test_the_papers_cell():
    """RoBERTa-base, 128 texts of 98 tokens: 2.8 GiB where the unchanged model takes 11.35."""
    found = predicted("roberta-base", "checkpoint", batch_size=128, seq_len=98, optimizer="adam")
    assert found.peak_allocated_bytes / 2**30 == pytest.approx(2.8, abs=0.2)


def test_attention_that_drops_out_is_computed_again():
    """Kept, it would leave its random numbers to the next dropout."""

    def policy(op, *args, **settings):
        context = SelectiveCheckpointContext(is_recompute=False)
        return _products._policy(context, op, *args, **settings)

    x = torch.empty(0)
    save, again = CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_RECOMPUTE
    flash = torch.ops.aten._scaled_dot_product_flash_attention.default
    assert policy(flash, x, x, x) == policy(flash, x, x, x, 0.0) == save
    assert policy(flash, x, x, x, 0.1) == policy(flash, x, x, x, dropout_p=0.1) == again
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention.default
    assert policy(efficient, x, x, x, None, True, 0.0) == save
    assert policy(efficient, x, x, x, None, True, 0.1) == again


@pytest.mark.parametrize("method", [*METHODS, "exact"])
def test_a_block_that_is_computed_again_draws_again(method, monkeypatch):
    """Once more for its layers together, which share; x_proj and its key come of one operator."""
    drawn = []
    next_seed = ops.next_seed
    monkeypatch.setattr(ops, "next_seed", lambda device: drawn.append(1) or next_seed(device))
    model, batch = blocks()
    stack = "rmm" if method == "exact" else f"rmm+{method}"
    methods.stack(case("mlp", stack, rho=0.5).steps).apply(model, batch)
    trained(model, batch)
    # One for each block, as the three layers share.
    assert len(drawn) == (2 if method == "exact" else 4)


class InPlace(nn.Module):
    """A block that adds to a product without a copy."""

    def __init__(self):
        """Make the layers."""
        super().__init__()
        self.linear, self.other = (nn.Linear(16, 16, bias=False) for _ in range(2))

    def forward(self, x):
        """Return a function of a product that is changed first."""
        product = self.linear(x)
        product += self.other(x)
        return torch.tanh(product) * torch.sin(product)


def test_a_product_that_changes_in_place():
    """Kept, it would be added to twice: it is refused, and computed again as a whole is exact."""
    model, batch = own(InPlace(), InPlace())
    changed, selective = copy.deepcopy(model), copy.deepcopy(model)
    methods.stack([Step("checkpoint")]).apply(changed, batch)
    torch.testing.assert_close(trained(changed, batch), trained(model, batch))
    methods.stack([Step("selective-checkpoint")]).apply(selective, batch)
    with pytest.raises(ValueError, match=r"got aten\.add_\.Tensor, which .*; choose checkpoint"):
        selective(**batch)


@each_method
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fused_attention_is_exact_too(small_hf, method, dtype):
    """With a kernel for attention, which is kept or computed again, gradients are the model's."""
    wanted = case(small_hf("llama", num_hidden_layers=2), attention="sdpa", dtype=dtype)
    assert check_exact(method, wanted) == 2


def along(method, make, sketch):
    """Return ⟨∂W, exact⟩ / ‖exact‖² of each draw and each sketched layer."""
    manual_seed(1)
    stack = f"{'rmm' if sketch else 'exact-rp'}+{method}"
    settings = {"sketch": sketch} if sketch else {}
    wanted = case("roberta-tiny", stack, rho=0.5, **settings)
    model, batch = make()
    exact = trained(copy.deepcopy(model), batch)
    methods.stack(wanted.steps).apply(model, batch)
    # Whichever method converted a layer, it has a switch.
    layers = [name for name, layer in model.named_modules() if hasattr(layer, "exact")]
    weights = [f"{name}.weight" for name in layers]
    draws = []
    for _ in range(DRAWS):
        found = trained(model, batch)
        pairs = [(found[name], exact[name]) for name in weights]
        draws.append([float((g * e).sum() / e.square().sum()) for g, e in pairs])
    return torch.tensor(draws)


def test_a_sketch_gains_nothing_within_a_block():
    """A block keeps its input alone, so that only a classifier would save, and next to nothing."""
    settings = {"sketch": "oporp", "rho": 0.1, "where": "beneficial", "batch_size": 64}
    wanted = case("roberta-tiny", "rmm+checkpoint", **settings)
    model, batch = built(wanted)
    with pytest.raises(
        ValueError, match=r"none of the 14 .*gains.*, a sketch would save less than"
    ):
        methods.stack(wanted.steps).apply(model, batch)


def roberta():
    """Return RoBERTa, and a batch of one text: of rows that are alike a sketch has little noise."""
    model, batch = built(case("roberta-tiny", batch_size=16))
    return model, {name: values[:1].expand_as(values) for name, values in batch.items()}


def blocks():
    """Return two blocks whose layers share a sketch, and a batch."""
    return own(Block(), Block())


@each_method
@pytest.mark.parametrize(
    ("make", "sketch"),
    [(roberta, "oporp"), (blocks, "gaussian"), (blocks, "norm-rows"), (blocks, None)],
)
def test_a_sketch_within_a_block_is_no_noise(method, make, sketch):
    """The mean weight gradient of each layer is the exact one, within five standard errors."""
    found = along(method, make, sketch)
    standard_error = found.std(0) / DRAWS**0.5
    assert bool((standard_error < 0.1).all()), standard_error
    assert bool(((found.mean(0) - 1).abs() <= 5 * standard_error).all()), found.mean(0)


def test_noise_would_be_seen(monkeypatch):
    """Were a product kept and the seed of its factor drawn again, ratios would be near 0."""

    def apart(x, proj_dim, seed):
        key = ops.draw_seed(x, seed)
        signs = _projected._signs(key, x.shape[1], proj_dim, x.dtype)
        return key, _projected._project(x, signs, proj_dim)

    monkeypatch.setattr(_projected, "projection_of", apart)
    monkeypatch.setattr(_products, "KEPT", _products.PRODUCTS)
    found = along("selective-checkpoint", blocks, None)
    assert bool((found.mean(0).abs() < 0.5).all()), found.mean(0)
