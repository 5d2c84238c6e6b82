"""`rmmbench doctor --calibrate`, with the CPU in the place of a GPU."""

import json

import pytest
import typer
from typer.testing import CliRunner

from rmmbench.cli import app
from rmmbench.cli.calibrated import calibrate_here
from rmmbench.errors import Exit
from rmmbench.results.store import Run
from rmmbench.spec import profile as profiles
from rmmbench.spec.profile import Profile

STEPS = {
    "version": 1,
    "title": "Small",
    "grid": [
        {
            "model": ["mlp:64-256-10"],
            "batch_size": [256],
            "sketch": ["oporp", "dct"],
            "rho": [0.5],
            "measure": ["memory"],
        },
        {
            "model": ["mlp:64-256-10"],
            "batch_size": [256],
            "method": ["offload"],
            "measure": ["memory"],
        },
    ],
}
ANOTHER = {"model": ["import:odd:factory"], "batch_size": [64], "method": ["exact"]}
ODD = """
import torch
from torch._subclasses.fake_tensor import FakeTensor

def factory(batch_size, seq_len):
    model = torch.nn.Linear(64, 64)
    def forward(x):
        more = torch.zeros(200_000, device=x.device) if isinstance(x, FakeTensor) else x
        return (torch.nn.functional.linear(x, model.weight).sum() + more.sum())
    model.forward = forward
    return model, lambda: {"x": torch.randn(batch_size, 64)}
"""


def calibrated(folder, steps=STEPS, **how):
    """Calibrate with the CPU in the place of a GPU."""
    about = {"retry": False, "as_json": False, "device": "cpu"}
    calibrate_here(folder, **(about | how), profile=Profile.model_validate(steps))


def test_predictions_stand_beside_what_was_measured(tmp_path, capsys):
    """The CPU's memory is predicted right; the table is printed, kept, and read by programs."""
    calibrated(tmp_path / "kept")
    printed = capsys.readouterr().out
    assert "All 3 steps are predicted within 1 % of allocated bytes: trust --device predict" in (
        " ".join(printed.split())
    )
    page = (tmp_path / "kept" / "calibration.md").read_text()
    assert "| exact | 1.1 | 1.1 | +0.00 % |" in page
    told = json.loads((tmp_path / "kept" / "calibration.json").read_text())
    rows = {row["step"]: row for row in told["tables"][0]["rows"]}
    assert rows["offload"]["verdict"] == "left out"
    assert "offload moves what is saved to the CPU's memory" in page
    row = rows["oporp ρ=0.5"]
    assert row["verdict"] == "ok"
    assert row["measured_peak_allocated_bytes"] > 0
    error = row["predicted_peak_allocated_bytes"] / row["measured_peak_allocated_bytes"] - 1
    assert row["peak_allocated_bytes_error"] == pytest.approx(error)
    assert told["environment"]["torch"]


def test_a_calibration_goes_on_where_it_stopped(tmp_path, capsys):
    """The runs are kept whole; called again, nothing is measured anew, and JSON is JSON."""
    calibrated(tmp_path)
    runs = [Run.open(tmp_path / part) for part in ("measured", "predicted")]
    before = [run.records() for run in runs]
    assert [len(records) for records in before] == [4, 4]
    capsys.readouterr()
    calibrated(tmp_path, as_json=True)
    assert [run.records() for run in runs] == before
    told = json.loads(capsys.readouterr().out)
    assert told["device"] == "cpu"
    assert told["gpu"] is None


def test_a_wrong_prediction_ends_with_code_3(tmp_path, capsys, monkeypatch):
    """A step that takes less than was predicted is off: the worst is told, and CI sees it."""
    (tmp_path / "odd.py").write_text(ODD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    steps = STEPS | {"grid": [*STEPS["grid"][:1], ANOTHER | {"measure": ["memory"]}]}
    with pytest.raises(typer.Exit) as ended:
        calibrated(tmp_path / "kept", steps)
    assert ended.value.exit_code == Exit.REGRESSION
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 of 4 steps are predicted wrong, at worst allocated by +" in printed
    assert "(import:odd:factory 64 exact): measure such steps with --device cpu" in printed


def test_without_a_gpu_one_line_says_what_is_needed(monkeypatch):
    """Where torch has no GPU, the command ends at once as wrong usage."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    result = CliRunner().invoke(app, ["doctor", "--calibrate"])
    assert result.exit_code == Exit.USAGE or result.exception is not None
    assert "doctor --calibrate needs a GPU, and " in (result.output + str(result.exception))


@pytest.mark.parametrize("flags", [["--out", "x"], ["--retry"]])
def test_what_is_of_a_calibration_needs_one(flags):
    """A flag that only a calibration has is refused without it."""
    result = CliRunner().invoke(app, ["doctor", *flags])
    assert "must be with --calibrate" in (result.output + str(result.exception))


def test_the_shipped_profile_has_what_there_is():
    """Every sketch, every method that can be predicted, and every kernel of attention is a step."""
    from rmmbench import methods, sketches

    cases = profiles.load("calibrate").cases("predict", None)
    assert len(cases) >= 12
    assert {case.settings["sketch"] for case in cases} >= set(sketches.names())
    tried = {name for case in cases for name in case.methods} | {"exact"}
    missing = set(methods.names()) - tried
    # Those of a compiler cannot be predicted, and a plan is made of the others.
    assert missing == {"compile", "memory-budget", "plan"}
    assert {case.attention_kernel for case in cases} >= {"flash", "efficient", "cudnn", "math"}
    dtypes = {"float32", "bfloat16", "float16", "bfloat16-true", "float16-true"}
    assert {case.dtype for case in cases} == dtypes
    assert any(case.accumulate > 1 for case in cases)


@pytest.mark.cuda
def test_calibrate_on_a_gpu(tmp_path, capsys):
    """On a GPU all three numbers are compared, and predictions of small steps hold."""
    calibrated(tmp_path, device="cuda")
    told = json.loads((tmp_path / "calibration.json").read_text())
    steps, kernels = (table["rows"] for table in told["tables"])
    assert {row["verdict"] for row in (*steps, *kernels)} == {"ok"}
    assert all(row["measured_reserved_bytes"] for row in steps)
    assert all(row["kernel_bytes"] for row in kernels)
    assert "trust --device predict --gpu " in told["verdict"]
