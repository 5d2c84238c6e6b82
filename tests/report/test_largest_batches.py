"""`rmmbench.max_batch`: what it finds, keeps and refuses, without the command line."""

import pytest
import torch
from torch import nn

import rmmbench
from rmmbench.errors import RunError, UsageError
from rmmbench.results.store import Run
from rmmbench.units import MIB

MODEL = "mlp:32-256-256-4"
ASKED = {"memory": "48MiB", "device": "predict", "method": "exact", "quiet": True}


class Net(nn.Linear):
    """A layer and its loss."""

    def forward(self, input):
        """Return a loss."""
        return super().forward(input).square().sum()


def fails_later(batch_size, seq_len):
    """Make a model, unless the batch is large."""
    if batch_size > 8:
        raise OSError("the dog ate it")
    return Net(256, 4), lambda: {"input": torch.randn(batch_size, 256)}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_largest_batch_is_kept_where_it_is_asked_for(tmp_path, capsys):
    """What is found is a table and a frame; probes go to `out`, and are not repeated.

    Without `out` nothing is written.
    """
    found = rmmbench.max_batch(MODEL, **ASKED, out="kept")
    (row,) = found.frame().to_dict("records")
    assert (row["method"], row["outcome"], row["times_exact"]) == ("exact", "ok", 1.0)
    assert row["too_large_batch_size"] == row["largest_batch_size"] + 1
    assert row["largest_reserved_bytes"] <= 48 * MIB < row["too_large_reserved_bytes"]
    assert repr(found).startswith("method  largest batch  reserved MiB  too large")
    assert f"| {row['largest_batch_size']} |" in found._repr_markdown_()
    run = Run.open(tmp_path / "kept")
    before = run.records()
    assert rmmbench.max_batch(MODEL, **ASKED, out="kept") == found
    assert run.records() == before
    with pytest.raises(RunError, match="kept holds other cases"):
        rmmbench.max_batch(MODEL, **ASKED | {"memory": "64MiB"}, out="kept")
    assert rmmbench.max_batch(MODEL, **ASKED) == found
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
    assert capsys.readouterr() == ("", "")


def test_batches_may_be_tried_on_a_cluster():
    """With a launcher as `run` takes it; what nodes cannot have is refused."""
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match=r"the Ray cluster at 127\.0\.0\.1:1 cannot be reached"):
        rmmbench.max_batch(MODEL, **ASKED, launcher="ray:127.0.0.1:1")
    with pytest.raises(UsageError, match="function must be in a file of its own, which nodes can"):
        rmmbench.max_batch(lambda batch_size, seq_len: None, **ASKED, launcher="ray")


def test_a_search_that_fails_is_told():
    """Of a function's model: how far it came, and why it ended, in the table and in the frame."""
    found = rmmbench.max_batch(fails_later, **ASKED)
    assert found.frame().outcome.tolist() == ["error"]
    assert "the dog ate it" in found.frame().reason[0]
    assert "the dog ate it" in repr(found)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"memory": "lots"}, UsageError, "a memory size must be a number and a unit, such as '16"),
        ({"memory": "0GiB"}, UsageError, "memory must be above 0, got '0GiB'"),
        ({"memory": "100KiB"}, UsageError, "memory must be above the 294.0 KiB of mlp:32-256-256"),
        ({"method": "rrm"}, UsageError, "no method named 'rrm'; did you mean 'rmm'"),
        ({"device": "gpu"}, UsageError, "no device named 'gpu'"),
        ({"profile": "frontir"}, UsageError, "no profile named 'frontir'; did you mean 'frontier'"),
        ({"memry": "3GiB"}, TypeError, "no argument named 'memry'; did you mean 'memory'"),
        ({"batch_size": 8}, TypeError, "no argument named 'batch_size'"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(wrong, error, message):
    """A wrong request is refused with the nearest right one."""
    with pytest.raises(error, match=message):
        rmmbench.max_batch(MODEL, **ASKED | wrong)
