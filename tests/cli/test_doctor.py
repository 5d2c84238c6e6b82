"""`rmmbench doctor` finds what is here, and says what to do about what is not."""

import json
import sys
import warnings
from importlib.metadata import version

import pytest
import torch
from choreographer.browsers.chromium import Chromium
from typer.testing import CliRunner

from rmmbench.cli import app
from rmmbench.measures import environment


def doctor(*flags):
    """Run the command and return what it printed."""
    result = CliRunner().invoke(app, ["doctor", *flags])
    assert result.exit_code == 0, result.output
    return result.stdout


def found_and_noted(name):
    """Return what is said to be found of `name`, and the note beside it."""
    data = json.loads(doctor("--json"))
    return data["found"][name], data["notes"].get(name, "")


def test_versions_are_those_that_run():
    """Python, torch and the packages are named by the versions that are here."""
    found = json.loads(doctor("--json"))["found"]
    assert found["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["torch"] == torch.__version__
    assert found["transformers"] == version("transformers")
    assert found["Triton"] == environment.installed("triton")


def test_a_person_reads_the_same_as_a_machine():
    """The table has every name and every finding that the JSON has."""
    words = " ".join(doctor().split())
    data = json.loads(doctor("--json"))
    for name, found in data["found"].items():
        assert name in words
        assert (found or "–") in words
    for note in data["notes"].values():
        assert note in words


def test_without_a_gpu_memory_is_predicted(monkeypatch):
    """Without a GPU the devices are cpu and predict, and the GPU's line says so."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert json.loads(doctor("--json"))["devices"] == ["cpu", "predict"]
    found, note = found_and_noted("GPU")
    assert found is None
    assert "memory is predicted" in note


def test_what_torch_complains_of_is_shown(monkeypatch):
    """Torch's own warning, an old driver's for one, becomes the note on the GPU."""

    def too_old():
        warnings.warn("The NVIDIA driver on your system is too old", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", too_old)
    assert found_and_noted("GPU") == (None, "The NVIDIA driver on your system is too old")


def test_a_gpu_that_cannot_be_used_allows_no_cuda(monkeypatch):
    """A GPU that refuses the first tensor is named with the reason, and cuda is not offered."""

    class Properties:
        name = "Fake"
        total_memory = 2**34

    def refuse(*_, **__):
        raise RuntimeError("CUDA error: all devices are busy or unavailable\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: Properties)
    monkeypatch.setattr(torch, "zeros", refuse)
    found, note = found_and_noted("GPU")
    assert found is None
    assert note == (
        "Fake, 16.00 GiB is there and cannot be used: "
        "CUDA error: all devices are busy or unavailable"
    )
    assert "cuda" not in json.loads(doctor("--json"))["devices"]


def test_a_broken_torch_is_a_finding(monkeypatch):
    """Where torch cannot be imported the rest is still shown, and no device is offered."""
    monkeypatch.setitem(sys.modules, "torch", None)
    data = json.loads(doctor("--json"))
    assert data["found"]["torch"] is None
    assert data["notes"]["torch"].startswith("broken: ModuleNotFoundError: ")
    assert data["devices"] == []
    assert data["found"]["processor"]
    assert "torch" in doctor()


def test_a_broken_nvml_is_a_finding(monkeypatch):
    """Where pynvml cannot be imported, only what it would tell is broken."""
    monkeypatch.setitem(sys.modules, "rmmbench.measures.nvml", None)
    data = json.loads(doctor("--json"))
    broken = {name for name, note in data["notes"].items() if note.startswith("broken: ")}
    assert broken == {"driver", "NVML"}
    assert data["devices"]


def test_a_browser_is_what_kaleido_would_take(monkeypatch):
    """The browser shown is the one that draws the static images."""
    monkeypatch.setattr(Chromium, "find_browser", lambda **_: sys.executable)
    assert found_and_noted("Chrome") == (sys.executable, "")


def test_without_a_browser_html_is_offered(monkeypatch):
    """Where no Chrome is found the note says what works without and what to install."""
    monkeypatch.setattr(Chromium, "find_browser", lambda **_: None)
    found, note = found_and_noted("Chrome")
    assert found is None
    assert "`rmmbench plot --format html` works" in note
    assert "install chromium" in note


def test_a_browser_path_that_is_no_program_is_named(monkeypatch):
    """A setting that points nowhere is shown with its value."""
    monkeypatch.setattr(Chromium, "find_browser", lambda **_: "/no/such/chrome")
    assert found_and_noted("Chrome")[0] is None
    assert "/no/such/chrome is no program" in found_and_noted("Chrome")[1]


def test_a_browser_is_looked_for_without_kaleido(monkeypatch, tmp_path):
    """Where kaleido's own search is not installed, the usual names on the PATH count."""
    monkeypatch.setitem(sys.modules, "choreographer.browsers.chromium", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found_and_noted("Chrome")[0] is None
    program = tmp_path / "chromium"
    program.touch(0o755)
    assert found_and_noted("Chrome") == (str(program), "")


@pytest.mark.parametrize(
    ("name", "distribution", "extra"),
    [("kaleido", "kaleido", "rmmbench[images]"), ("pyarrow", "pyarrow", "rmmbench[parquet]")],
)
def test_an_absent_extra_is_named(monkeypatch, name, distribution, extra):
    """What an extra would bring is said with the command that installs it, in both formats."""
    monkeypatch.setattr(
        environment, "installed", lambda asked: None if asked == distribution else "1"
    )
    found, note = found_and_noted(name)
    assert found is None
    assert f"pip install '{extra}'" in note
    assert f"pip install '{extra}'" in " ".join(doctor().split())


def test_an_old_kaleido_is_not_enough(monkeypatch):
    """Kaleido 0.x, which plotly no longer works with, counts as absent."""
    monkeypatch.setattr(environment, "installed", lambda _: "0.2.1")
    found, note = found_and_noted("kaleido")
    assert found is None
    assert "0.2.1" in note


@pytest.mark.cuda
def test_a_real_gpu_allows_cuda():
    """With a GPU the first device is cuda, and driver and NVML are found."""
    data = json.loads(doctor("--json"))
    assert data["devices"] == ["cuda", "cpu", "predict"]
    assert all(data["found"][name] for name in ("CUDA", "GPU", "driver", "NVML"))
