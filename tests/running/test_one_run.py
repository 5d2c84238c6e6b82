"""run, predict and measure: what Python asks for is what the command line would measure."""

import pytest
import torch
from torch import nn

import rmmbench
from rmmbench.errors import ProfileError, RunError, UnknownNameError, UsageError
from rmmbench.running import factories
from rmmbench.running.installations import arguments

QUICK = {"warmup_steps": 1, "min_steps": 2, "max_steps": 2}
MINE = {"grid": [{"model": ["mlp:8-16-4"], "batch_size": [16], "rho": [0.5, 0.1]}]}


class Own(nn.Module):
    """A model that returns its loss."""

    def __init__(self):
        """Make its layer."""
        super().__init__()
        self.layer = nn.Linear(64, 8)

    def forward(self, x):
        """Return the loss."""
        return self.layer(x).sum()


def factory(batch_size, seq_len):
    """Return the model and a maker of batches."""
    return Own(), lambda: {"x": torch.randn(batch_size, 64, requires_grad=True)}


def test_predictions_leave_random_numbers_alone():
    """What torch and the sketches draw next is what they would have drawn."""
    torch.manual_seed(1)
    rmmbench.manual_seed(1)
    weight = torch.ones(2, 8, requires_grad=True)

    def drawn():
        loss = rmmbench.rmm_linear(torch.ones(64, 8), weight, rho=0.5).sum()
        return torch.cat([torch.rand(3), torch.autograd.grad(loss, weight)[0].flatten()])

    first = drawn()
    torch.manual_seed(1)
    rmmbench.manual_seed(1)
    rmmbench.predict(factory, batch_size=32, rho=0.5)
    assert torch.equal(first, drawn())


def test_prediction_is_that_of_a_record():
    """Predict and a record of the same case have the same bytes."""
    asked = {"batch_size": 64, "sketch": "oporp", "rho": 0.1, "seed": 3}
    record = rmmbench.measure("mlp:8-16-4", device="predict", **asked)
    assert rmmbench.predict("mlp:8-16-4", **asked) == record.memory
    assert record.case.steps if hasattr(record.case, "steps") else record.case.method == "rmm"


def test_a_function_is_measured_in_another_process(monkeypatch):
    """One that no other process could import is sent there, or refused with what to do."""
    pytest.importorskip("cloudpickle")
    size = 48

    def local(batch_size, seq_len):
        model, make_batch = factory(size, seq_len)
        return model, make_batch

    record = rmmbench.measure(local, device="predict", rho=0.5)
    assert record.outcome == "ok", record.reason
    assert record.memory == rmmbench.predict(local, rho=0.5)
    assert record.case.model == "import:defined_here_local:factory"
    monkeypatch.setattr(factories, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install cloudpickle, or put it in a file of its own"):
        rmmbench.measure(local)


def test_the_shape_is_the_tasks_where_none_is_given():
    """Batch size and length come from the task; a shape that is given goes before."""
    by_task = rmmbench.measure("roberta-tiny", device="predict", task="mrpc").case
    assert (by_task.batch_size, by_task.seq_len) == (16, 103)
    without = rmmbench.measure("roberta-tiny", device="predict", batch_size=2).case
    assert (without.batch_size, without.seq_len) == (2, 128)


def test_what_cannot_be_predicted_is_refused_with_what_can():
    """A compiler's memory is told by measuring only."""
    with pytest.raises(UsageError, match=r"compile cannot be predicted: .* use rmmbench.measure"):
        rmmbench.predict("mlp:8-8", method="compile")


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("mlp:8", {}, "mlp must be given as mlp:IN-HIDDEN-OUT"),
        ("mlp:8-4-2", {"method": "checkpoint"}, "mlp:8-4-2: checkpoint must find blocks"),
        ("mlp:8-4-2", {"ranks": 2, "parallel": "fsdp2"}, "mlp:8-4-2: fsdp2 needs blocks"),
    ],
)
def test_a_model_that_does_not_suit_is_told_alike(model, settings, message):
    """By a prediction as by a measurement."""
    for function in (rmmbench.predict, rmmbench.measure):
        with pytest.raises(UsageError, match=f"^{message}"):
            function(model, **settings)


def test_run_goes_on_where_it_stopped(tmp_path, capfd, monkeypatch):
    """A run made again measures nothing that it has; other cases need another directory."""
    out = tmp_path / "mine"
    monkeypatch.setattr("rmmbench.running.display._LINE_SECONDS", (0.0, 0.0))
    run = rmmbench.run(MINE, out=out, device="predict")
    assert [record.outcome for record in run.records()] == ["ok"] * 3
    assert "mlp:8-16-4 16 exact" in capfd.readouterr().err
    again = rmmbench.run(MINE, out=out, device="predict")
    assert len(list(again.each_record())) == 3
    assert repr(again) == f"Run({str(out)!r}: Asked for in Python; 3 ok)"
    with pytest.raises(RunError, match="holds other cases"):
        rmmbench.run(MINE, out=out, device="predict", rho=0.2)


def test_quiet_run_says_nothing(tmp_path, capfd):
    """Nothing is printed by a run that is told to be quiet."""
    rmmbench.run(MINE, out=tmp_path / "mine", device="predict", quiet=True)
    assert capfd.readouterr() == ("", "")


def test_axes_and_training_are_replaced(tmp_path):
    """One value or several take the place of an axis, false too, and of a setting of training."""
    run = rmmbench.run(MINE, out=tmp_path, device="predict", sketch=["dct", "oporp"], share=False)
    rows = run.frame()
    assert set(rows["sketch"].dropna()) == {"dct", "oporp"}
    assert set(rows[rows.method == "rmm"]["share"]) == {False}


def test_command_of_a_run_can_be_given_again(tmp_path):
    """run.json has the command line that does the same, so that a check can measure it anew."""
    run = rmmbench.run(
        "ci", out=tmp_path, device="predict", model="mlp:64-256-64-10", method="exact", quiet=True
    )
    words = "--device predict --model mlp:64-256-64-10 --method exact"
    assert arguments(run) == ["ci", *words.split()]


def test_frame_has_the_columns_of_export(tmp_path):
    """A frame has a row a case; its numbers are those of the rows."""
    run = rmmbench.run(MINE, out=tmp_path / "mine", device="predict", quiet=True)
    frame = rmmbench.load(tmp_path / "mine").frame()
    assert list(frame.key) == [record.key for record in run.records()]
    assert list(frame.saved_bytes) == [record.memory.saved_bytes for record in run.records()]


def test_compare_tells_what_changed(tmp_path):
    """A run against itself is the same; what is not there has a line that says so."""
    run = rmmbench.run(MINE, out=tmp_path / "mine", device="predict", quiet=True)
    report = rmmbench.compare(run, tmp_path / "mine")
    assert (report.verdict, report.changes, report.exit_code) == ("same", (), 0)
    assert set(report.frame()["verdict"]) == {"same"}
    with pytest.raises(UnknownNameError, match="no difference to allow named 'gpus'"):
        rmmbench.compare(run, run, allow=["gpus"])


@pytest.mark.parametrize(
    ("profile", "given", "error", "said"),
    [
        ("cj", {}, UnknownNameError, "no profile named 'cj'"),
        ("ci", {"rhoo": 1}, TypeError, "no argument named 'rhoo'; did you mean 'rho'"),
        ("ci", {"rho": 2.0}, UsageError, "rho must be in"),
        ("ci", {"device": "gpu"}, UnknownNameError, "no device named 'gpu'; did you mean 'cpu'"),
        (MINE, {}, UsageError, "give out"),
        ({"grid": [{"modell": 1}]}, {"out": "x"}, ProfileError, "unknown key 'modell' in"),
    ],
)
def test_what_makes_no_run_is_told_in_a_line(profile, given, error, said):
    """A wrong name or value is refused, with the nearest right one, before anything is measured."""
    with pytest.raises(error, match=said):
        rmmbench.run(profile, **given)


def test_a_record_shows_itself_in_a_line():
    """What `measure` returns is told shortly, with why it has no result if it has none."""
    record = rmmbench.measure("mlp:8-16-4", device="predict", batch_size=16)
    assert repr(record) == "Record(mlp:8-16-4 16 exact: ok, peak 16.3 MiB)"
    assert str(record.memory.peak_allocated_bytes) in record.model_dump_json()
    failed = record.model_copy(update={"outcome": "out_of_memory", "reason": "no room"})
    assert "out of memory, no room" in repr(failed)


def test_a_run_is_drawn_and_told():
    """A figure is plotly's, the profile's own first; what cannot be drawn says what is missing."""
    assert rmmbench.plot("frontier-predict", "frontier").data
    assert rmmbench.plot(rmmbench.load("ci")).data
    with pytest.raises(UsageError, match="figure8 needs"):
        rmmbench.plot("ci", "figure8")
    with pytest.raises(UnknownNameError, match="no figure named 'figure9'"):
        rmmbench.plot("ci", "figure9")
    page = rmmbench.summary("ci")
    assert page._repr_markdown_() == str(page)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"timing": {"max_secs": 1}}, "unknown key 'timing.max_secs'; did you mean 'max_seconds'"),
        ({"timing": {"min_steps": 0}}, "timing.min_steps must be at least 1, got 0"),
        ({"method": "checkpoint", "rho": 0.5}, "rho must not be given"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_wrong_settings_of_a_case_are_told_by_their_place(settings, said):
    """A setting that cannot be is named with the table it stands in, before anything runs."""
    with pytest.raises(UsageError, match=said):
        rmmbench.measure("mlp:8-8", **settings)
