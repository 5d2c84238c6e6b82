"""The callback in a real Trainer: its log, a resume, accumulation, and the record it writes."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset
from transformers import (
    RobertaConfig,
    RobertaForSequenceClassification,
    Trainer,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

import rmmbench
from rmmbench.cli import main
from rmmbench.errors import NoiseFileError, RunError, UsageError
from rmmbench.nn import converted_layers
from rmmbench.results.noise_file import NoiseFile
from rmmbench.running.trainer_callback import TrainerCallback

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


def small_model(width=32):
    """Return a small model, always the same."""
    set_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": width, "num_hidden_layers": 2}
    config = RobertaConfig(vocab_size=50, num_attention_heads=2, **sizes)
    return RobertaForSequenceClassification(config)


def trainer(out, callback, sketch=None, model=None, model_init=None, **settings):
    """Return a Trainer of a small model with the callback."""
    model = model or (None if model_init else small_model())
    if sketch:
        rmmbench.convert(model, sketch=sketch, rho=0.25)
    usual = {"max_steps": 5, "save_strategy": "no", "logging_strategy": "no"}
    usual["per_device_train_batch_size"] = 4
    settings = usual | settings
    arguments = TrainingArguments(
        output_dir=str(out),
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        **settings,
    )
    data = {"train_dataset": Texts(), "eval_dataset": Texts()}
    return Trainer(model, arguments, callbacks=[callback], model_init=model_init, **data)


def test_logs_what_was_watched(tmp_path):
    """The first and every n-th step are in the log, with plain figures and the whole of it."""
    callback = TrainerCallback(noise="*.1.output.dense", every=2)
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
    callback = TrainerCallback(noise=["*.1.output.dense", "*.0.output.dense"], every=2)
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
        TrainerCallback(noise="*").save(tmp_path / "noise.json")


def test_goes_on_after_a_resume(tmp_path):
    """A run that was stopped and resumed has the noise of before, and that of one that was not."""
    whole = TrainerCallback(noise="*.output.dense", every=1)
    trainer(tmp_path / "whole", whole).train()
    saving = {"save_strategy": "steps", "save_steps": 3}
    trainer(tmp_path / "part", TrainerCallback(noise="*.output.dense", every=1), **saving).train()
    resumed = TrainerCallback(noise="*.output.dense", every=1)
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
    callback = TrainerCallback(noise="*.1.output.dense", every=100, capture=True)
    trainer(tmp_path, callback).train()
    assert [noise.step for noise in callback.noise] == [1, 5]
    point = callback.captured
    assert (point.layer, point.step) == (LAYER, 5)
    assert (point.x.shape, point.y.shape) == ((4, 6, 32), (4, 6, 16))
    g = (point.x.flatten(0, 1).T @ point.y.flatten(0, 1)).square().sum().item()
    assert callback.noise[-1].g == pytest.approx(g, rel=1e-4)


def test_accumulated_gradients(tmp_path):
    """Of a step of two micro-batches the first is told, by its own rows and samples."""
    callback = TrainerCallback(noise="*.1.output.dense", every=1)
    trainer(tmp_path, callback, gradient_accumulation_steps=2, max_steps=2).train()
    assert [(noise.step, noise.rows, noise.samples) for noise in callback.noise] == [
        (1, 24, 4),
        (2, 24, 4),
    ]


def test_wrong_layers_are_told_before_training(tmp_path):
    """A pattern that matches nothing ends the run before its first step."""
    with pytest.raises(ValueError, match="no layer matches layers="):
        trainer(tmp_path, TrainerCallback(noise="*.12.output.dense")).train()
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        TrainerCallback(noise="*", every=0)


def test_converts_and_records(tmp_path):
    """The Trainer's model trains converted, and what its steps cost is in a run directory."""
    run = Path(tmp_path / "run")
    plain = TrainerCallback(run)
    trainer(tmp_path, plain, max_steps=5, logging_strategy="steps", logging_steps=2).train()
    callback = TrainerCallback(run, sketch="oporp", rho=0.25, noise="*.1.output.dense", every=4)
    sketched = trainer(tmp_path, callback, max_steps=9, eval_strategy="epoch")
    before = {name: id(each) for name, each in sketched.model.named_parameters()}
    sketched.train()
    assert {name: id(each) for name, each in sketched.model.named_parameters()} == before
    assert len(converted_layers(sketched.model)) == callback.record.converted == 14
    assert [noise.step for noise in callback.noise] == [3, 4, 8]
    exact, record = rmmbench.load(run).records()
    assert record == callback.record
    assert (exact.case.method, record.case.label) == ("exact", "oporp ρ=0.25")
    assert record.case.batch_size == 4
    assert (record.case.optimizer, record.case.clip_norm) == ("adamw", 1.0)
    assert len(record.timing.step_seconds) == 4
    assert record.memory.resting_bytes > 3 * sum(p.nbytes for p in sketched.model.parameters())
    assert record.memory.peak_allocated_bytes > record.memory.resting_bytes
    assert 0 < record.memory.saved_bytes < exact.memory.saved_bytes
    training = record.training
    assert (training.steps, training.train_samples, training.eval_samples) == (9, 24, 24)
    assert [each.step for each in training.evaluations] == [6, 9]
    assert [each.step for each in exact.training.losses] == [2, 4]
    assert tuple(callback.noise) == training.noise


def test_the_record_is_read_as_others_are(tmp_path, capfd, monkeypatch):
    """`table`, `check`, `export` and `report` read what the callback wrote, and say what it was."""
    for rho in (None, 0.25):
        trainer(tmp_path, TrainerCallback(tmp_path / "run", rho=rho), max_steps=4).train()
    for words in (
        ["table", "run"],
        ["check", "run", "--against", "run"],
        ["export", "run"],
        ["report", "run"],
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["rmmbench", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, capfd.readouterr().err
    printed = capfd.readouterr().out
    assert "gaussian" in printed
    assert "RobertaForSequenceClassification" in next(tmp_path.rglob("*.html")).read_text("utf-8")
    assert "Trainings of RobertaForSequenceClassification" in repr(rmmbench.load(tmp_path / "run"))


def test_trains_again_and_looks_at_the_data_itself(tmp_path):
    """One Trainer may train twice; "beneficial" takes its batch from the data, in their order."""
    shuffled = {"max_steps": 3, "logging_strategy": "steps", "logging_steps": 1}
    shuffled["per_device_train_batch_size"] = 8
    plain = trainer(tmp_path, TrainerCallback(), model=small_model(1024), **shuffled)
    plain.train()
    choosing = TrainerCallback(tmp_path / "run", sketch="oporp", rho=0.25, where="beneficial")
    run = trainer(tmp_path, choosing, model=small_model(1024), **shuffled)
    run.train()
    assert 0 < choosing.record.converted < 14
    first = [entry["loss"] for entry in plain.state.log_history if "loss" in entry]
    second = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert second == pytest.approx(first, rel=1e-2)
    run.train()
    assert choosing.record.outcome == "ok"
    assert len(rmmbench.load(tmp_path / "run").records()) == 1


def test_each_model_of_model_init_is_converted(tmp_path):
    """Where the Trainer makes a model for each training, each of them trains converted."""
    callback = TrainerCallback(tmp_path / "run", rho=0.5)
    run = trainer(tmp_path, callback, model_init=lambda: small_model(), max_steps=3)
    first = run.model
    run.train()
    assert run.model is not first
    assert len(converted_layers(run.model)) == callback.record.converted == 14
    assert callback.record.memory is not None


def test_a_plan_changes_the_model(tmp_path):
    """A plan is applied before training, and the record tells it."""
    plan = Path(tmp_path / "plan.toml")
    layers = '[[layers]]\nnames = ["*.output.dense"]\nrho = 0.5\nbits = 8\n'
    plan.write_text(f'version = 1\nmodel = "small"\n{layers}', encoding="utf-8")
    callback = TrainerCallback(tmp_path / "run", plan=plan)
    trainer(tmp_path, callback, max_steps=3).train()
    assert callback.record.case.method == "plan"
    assert callback.record.converted == 4


def test_what_the_trainer_changes_itself_is_told(tmp_path):
    """Checkpointed blocks are in the case, beside what the callback did, and save memory."""
    found = {}
    for name, settings in (("kept", {}), ("again", {"activation_checkpointing": True})):
        callback = TrainerCallback(tmp_path / "run", rho=0.5)
        trainer(tmp_path, callback, max_steps=2, **settings).train()
        found[name] = callback.record
    assert found["kept"].case.methods == ("rmm",)
    assert found["again"].case.methods == ("rmm", "checkpoint")
    assert found["again"].memory.saved_bytes < found["kept"].memory.saved_bytes


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"plan": "p.toml", "rho": 0.5}, "rho must not be given beside plan, which says it"),
        ({"rhoo": 0.5}, "no argument named 'rhoo'; did you mean 'rho'"),
        ({"rho": 1.5}, r"rho: must be in \(0, 1\], got 1.5|rho must be in"),
        ({"method": "chekpoint"}, "did you mean 'checkpoint'"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_changed(settings, said):
    """What cannot be is said in one line where the callback is made."""
    with pytest.raises((TypeError, ValueError, UsageError), match=said):
        TrainerCallback(**settings)


def test_wrong_trainers_are_told_in_a_line(tmp_path):
    """No model, DeepSpeed, a model that is converted already: one line each, nothing changed."""
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    callback, state = TrainerCallback(rho=0.5), TrainerState()
    with pytest.raises(ValueError, match="needs the model of its Trainer, got none"):
        callback.on_init_end(arguments, state, TrainerControl())
    model = small_model()
    arguments.deepspeed = {"zero_optimization": {"stage": 3}}
    with pytest.raises(ValueError, match="without DeepSpeed"):
        callback.on_init_end(arguments, state, TrainerControl(), model=model)
    assert not converted_layers(model)
    with pytest.raises(ValueError, match="14 keep one; rmmbench"):
        trainer(tmp_path, TrainerCallback(rho=0.5), sketch="oporp")


def test_a_directory_that_is_not_free_is_told_before_the_first_step(tmp_path):
    """A directory in use, and one with a sweep, are refused; nothing is trained."""
    profile = {"grid": [{"model": ["mlp:8-8"], "batch_size": [4], "rho": [0.5]}]}
    swept = rmmbench.run(profile, out=tmp_path / "sweep", device="predict", quiet=True)
    run = trainer(tmp_path, TrainerCallback(swept.path))
    with pytest.raises(RunError, match=r"holds a sweep .* give another directory as out"):
        run.train()
    assert run.state.global_step == 0
    with swept.locked(), pytest.raises(RunError, match=r"is in use by another .* as out"):
        trainer(tmp_path, TrainerCallback(swept.path)).train()
