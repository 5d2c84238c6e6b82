"""Training learns, repeats, stops where it must, and goes on where it was stopped."""

import shutil

import pytest
import torch
import transformers

from rmmbench import data, methods, models
from rmmbench.measures.training_loop import _samples, train
from rmmbench.nn import ops
from rmmbench.nn.seeds import next_seed
from rmmbench.spec.case import Case

RMM = {"method": "rmm", "sketch": "gaussian", "rho": 0.5}


class Stop(transformers.TrainerCallback):
    """Ends a run outright at one step, as a process that is killed ends."""

    def __init__(self, step):
        """Take the step."""
        self.step = step

    def on_step_end(self, args, state, control, **_):
        """Raise in the middle of a run."""
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.fixture
def trained(tmp_path):
    """Train a small model on digits; the same folder goes on."""

    def run(folder="run", callbacks=(), **changes):
        settings = {"max_steps": 40, "log_every": 4, "eval_every": 10, "learning_rate": 1e-2}
        settings |= changes.pop("training", {})
        case = {"model": "mlp:64-32-10", "task": "digits", "batch_size": 32, "time_device": "cpu"}
        case = Case.model_validate(case | changes | {"training": settings})
        torch.manual_seed(case.seed)
        built = models.build(case)
        methods.stack(case.steps).apply(built.model.train(), built.make_batch())
        return train(built.model, data.load(case), case, tmp_path / folder, callbacks=callbacks)

    return run


def test_a_model_learns_from_data(trained):
    """Loss falls, the score rises above chance, and both are there at every interval."""
    training, diverged = trained()
    assert diverged is None
    assert training.steps == 40
    assert [point.step for point in training.losses] == list(range(4, 41, 4))
    assert [each.step for each in training.evaluations] == [10, 20, 30, 40]
    assert training.losses[-1].loss < 0.7 * training.losses[0].loss
    assert training.metric == "accuracy"
    assert training.score > 0.5
    assert (training.train_samples, training.eval_samples) == (1347, 450)
    assert training.samples_per_second == pytest.approx(40 * 32 / training.train_seconds)


def test_a_step_of_several_micro_batches(trained):
    """The Trainer accumulates, clips and updates as the case says; the speed counts all samples."""
    training, _ = trained(accumulate=2, clip_norm=0.5, update="fused", batch_size=16)
    assert training.steps == 40
    assert training.epochs == pytest.approx(40 * 32 / 1347, rel=0.05)
    assert training.losses[-1].loss < 0.7 * training.losses[0].loss
    assert training.samples_per_second == pytest.approx(40 * 32 / training.train_seconds)


def test_the_last_step_is_logged_and_evaluated(trained):
    """Intervals that do not divide the steps leave nothing out at the end."""
    training, _ = trained(training={"max_steps": 7})
    assert [point.step for point in training.losses] == [4, 7]
    assert [each.step for each in training.evaluations] == [7]


@pytest.mark.parametrize("settings", [{}, RMM])
def test_a_seed_repeats_a_run_and_another_does_not(trained, settings):
    """Parameters, order of the data and sketches all come from the case's seed."""
    first, again, other = (
        trained(f"run-{name}", training={"max_steps": 8}, seed=seed, **settings)[0]
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first.losses == again.losses
    assert first.losses != other.losses


def test_every_step_draws_sketches_of_its_own(trained, monkeypatch):
    """Noise averages out over steps, as no layer meets the same S twice."""
    drawn = []

    def recorded(device):
        drawn.append(int(seed := next_seed(device)))
        return seed

    monkeypatch.setattr(ops, "next_seed", recorded)
    trained(training={"max_steps": 8}, **RMM)
    assert len(drawn) == len(set(drawn)) == 8 * 2


@pytest.mark.parametrize(
    "settings",
    [
        RMM,
        RMM | {"model": "roberta-tiny", "seq_len": 64, "batch_size": 4, "optimizer": "adamw"},
    ],
    ids=["mlp", "roberta-tiny"],
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(trained, settings):
    """Order of the data, dropout, sketches, optimizer and schedule are those of the whole run."""
    steps = {"training": {"max_steps": 8, "log_every": 2, "eval_every": 4}}
    whole, _ = trained("whole", **settings, **steps)
    with pytest.raises(KeyboardInterrupt):
        trained("stopped", [Stop(6)], **settings, **steps)
    resumed, _ = trained("stopped", **settings, **steps)
    assert resumed.resumed_at == (4,)
    assert [point.step for point in resumed.losses] == [point.step for point in whole.losses]
    for one, other in zip(resumed.losses, whole.losses, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
    assert resumed.evaluations[-1].loss == pytest.approx(whole.evaluations[-1].loss, rel=1e-5)
    assert whole.resumed_at == ()


@pytest.mark.parametrize("state", [None, '{"global_step": 12, "log_his'], ids=["missing", "torn"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_checkpoint_half_written_is_passed_over(trained, tmp_path, state, is_first):
    """Killed while it wrote one, a run goes on from the one before, or from the start."""
    steps = {"training": {"max_steps": 16, "eval_every": 6}}
    whole, _ = trained("whole", **steps)
    with pytest.raises(KeyboardInterrupt):
        trained("stopped", [Stop(9)], **steps)
    written = tmp_path / "stopped" / "checkpoint-6"
    half = written.with_name("checkpoint-12")
    if is_first:
        written.rename(half)
    else:
        shutil.copytree(written, half)
    (half / "trainer_state.json").unlink()
    if state is not None:
        (half / "trainer_state.json").write_text(state)
    resumed, _ = trained("stopped", **steps)
    assert resumed.resumed_at == (() if is_first else (6,))
    assert resumed.evaluations[-1].loss == pytest.approx(whole.evaluations[-1].loss, rel=1e-5)


def test_a_run_that_was_stopped_after_its_last_step_takes_no_other(trained):
    """Its losses and scores are those that it had; its last epoch need not be whole."""
    steps = {"training": {"max_steps": 6, "eval_every": 3, "log_every": 3}}
    whole, _ = trained("stopped", **steps)
    resumed, _ = trained("stopped", **steps)
    assert (resumed.resumed_at, resumed.steps) == ((6,), 6)
    assert (resumed.losses, resumed.evaluations) == (whole.losses, whole.evaluations)


def test_a_run_that_diverges_is_stopped_and_kept(trained):
    """What was learnt before the loss was no number stays, with the reason."""
    training, diverged = trained(training={"learning_rate": 1e15}, optimizer="sgd")
    assert training.steps < 40
    assert diverged.startswith("the training loss was nan at step ")
    assert "learning_rate" in diverged
    assert all(point.step < 40 for point in training.losses)


def test_decay_needs_the_optimizer_that_has_it(trained):
    """Adam's own decay is another thing than what the setting is."""
    with pytest.raises(ValueError, match="weight_decay needs the optimizer 'adamw'"):
        trained(training={"weight_decay": 0.1})


@pytest.mark.parametrize(("steps", "samples"), [(1, 4), (2, 8), (3, 10), (4, 14), (6, 20), (7, 24)])
def test_the_last_batch_of_an_epoch_may_be_short(steps, samples):
    """Ten samples in batches of four are three steps."""
    assert _samples(steps, size=10, batch_size=4) == samples
    assert _samples(steps, size=10, batch_size=2, accumulate=2) == samples
