"""The callback in a real Trainer: its log, a resume, and gradient accumulation."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset
from transformers import (
    RobertaConfig,
    RobertaForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

import rmmbench
from rmmbench.errors import NoiseFileError
from rmmbench.measures.gradient.callback import NoiseCallback
from rmmbench.results.noise_file import NoiseFile

LAYER = "roberta.encoder.layer.1.output.dense"


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread):
    """Let every test here compute on one thread."""


class Texts(Dataset):
    """A few texts of random tokens."""

    def __len__(self):
        """Return how many."""
        return 24

    def __getitem__(self, index):
        """Return one."""
        tokens = torch.randint(5, 50, (6,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": tokens, "labels": torch.tensor(index % 2)}


def trainer(out, callback, sketch=None, **settings):
    """Return a Trainer of a small model with the callback."""
    set_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = RobertaConfig(vocab_size=50, num_attention_heads=2, **sizes)
    model = RobertaForSequenceClassification(config)
    if sketch:
        rmmbench.convert(model, sketch=sketch, rho=0.25)
    settings = {"max_steps": 5, "save_strategy": "no", **settings}
    arguments = TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=4,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
        **settings,
    )
    return Trainer(model, arguments, train_dataset=Texts(), callbacks=[callback])


def test_logs_what_was_watched(tmp_path):
    """The first and every n-th step are in the log, with plain figures and the whole of it."""
    callback = NoiseCallback("*.1.output.dense", every=2)
    run = trainer(tmp_path, callback, "oporp")
    run.train()
    assert [noise.step for noise in callback.noise] == [1, 2, 4]
    entries = [entry for entry in run.state.log_history if "noise" in entry]
    json.dumps(entries, allow_nan=False)
    for entry, noise in zip(entries, callback.noise, strict=True):
        assert entry["step"] == noise.step
        assert (noise.layer, noise.trained_with, noise.proj_dim) == (LAYER, "oporp", 6)
        assert (noise.rows, noise.samples) == (24, 4)
        assert entry[f"noise/{LAYER}/inflation"] == noise.inflation("oporp")
        batch_size = entry[f"noise/{LAYER}/effective_batch_size"]
        assert 0 < batch_size == noise.effective_batch_size("oporp") < 4
    assert not run.model.get_submodule(LAYER)._forward_hooks


def test_saves_a_noise_file(tmp_path):
    """All watched layers are in the file, and one without a gradient is named."""
    callback = NoiseCallback(["*.1.output.dense", "*.0.output.dense"], every=2)
    run = trainer(tmp_path, callback)
    run.model.get_submodule(LAYER.replace("1", "0")).weight.requires_grad_(False)
    run.train()
    callback.save(tmp_path / "noise.json", model="tiny")
    found = NoiseFile.read(tmp_path / "noise.json")
    assert (found.model, found.dtype, found.batch_size) == ("tiny", "float32", 4)
    assert (found.steps, found.never_ran) == ((1, 2, 4), (LAYER.replace("1", "0"),))
    layer = found.layers[LAYER]
    assert (layer.steps, layer.rows, layer.samples) == (3, 24, 4)
    assert (layer.out_features, layer.in_features) == (16, 32)
    assert layer.g == pytest.approx(sum(noise.g for noise in callback.noise) / 3)
    assert layer.rounding["2"][0] > layer.rounding["8"][0] > 0


def test_nothing_to_save(tmp_path):
    """Before a training there is no noise."""
    with pytest.raises(NoiseFileError, match="none had"):
        NoiseCallback("*").save(tmp_path / "noise.json")


def test_goes_on_after_a_resume(tmp_path):
    """A run that was stopped and resumed has the noise of before, and that of one that was not."""
    whole = NoiseCallback("*.output.dense", every=1)
    trainer(tmp_path / "whole", whole).train()
    saving = {"save_strategy": "steps", "save_steps": 3}
    trainer(tmp_path / "part", NoiseCallback("*.output.dense", every=1), **saving).train()
    resumed = NoiseCallback("*.output.dense", every=1)
    trainer(tmp_path / "part", resumed, **saving).train(
        resume_from_checkpoint=str(Path(tmp_path) / "part" / "checkpoint-3")
    )
    steps = [noise.step for noise in resumed.noise]
    assert steps == [step for step in range(1, 6) for _ in range(4)]
    assert [noise.g for noise in resumed.noise] == pytest.approx(
        [noise.g for noise in whole.noise], rel=1e-3
    )


def test_captures_the_last_step(tmp_path):
    """The first layer's X and Y are there when training is over, if they were asked for."""
    callback = NoiseCallback("*.1.output.dense", every=100, capture=True)
    trainer(tmp_path, callback).train()
    assert [noise.step for noise in callback.noise] == [1, 5]
    point = callback.captured
    assert (point.layer, point.step) == (LAYER, 5)
    assert (point.x.shape, point.y.shape) == ((4, 6, 32), (4, 6, 16))
    g = (point.x.flatten(0, 1).T @ point.y.flatten(0, 1)).square().sum().item()
    assert callback.noise[-1].g == pytest.approx(g, rel=1e-4)


def test_accumulated_gradients(tmp_path):
    """Of a step of two micro-batches the first is told, by its own rows and samples."""
    callback = NoiseCallback("*.1.output.dense", every=1)
    trainer(tmp_path, callback, gradient_accumulation_steps=2, max_steps=2).train()
    assert [(noise.step, noise.rows, noise.samples) for noise in callback.noise] == [
        (1, 24, 4),
        (2, 24, 4),
    ]


def test_wrong_layers_are_told_before_training(tmp_path):
    """A pattern that matches nothing ends the run before its first step."""
    with pytest.raises(ValueError, match="no layer matches layers="):
        trainer(tmp_path, NoiseCallback("*.12.output.dense")).train()
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        NoiseCallback("*", every=0)
