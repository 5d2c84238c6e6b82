"""`rmmbench train` and `rmmbench variance`, as a person types them."""

import json
import sys

import pytest

from rmmbench.cli import main
from rmmbench.errors import Exit
from rmmbench.results.noise_file import NoiseFile
from rmmbench.results.store import Run


@pytest.fixture
def rmmbench(tmp_path, monkeypatch, capsys):
    """Run the command in a directory of its own; return its exit code, output and last words."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rmmbench", *arguments])
        with pytest.raises(SystemExit) as raised:
            main()
        return raised.value.code, *capsys.readouterr()

    return run


def test_a_profile_that_trains_nothing_is_refused(rmmbench):
    """What sweep measures is not trained in silence."""
    code, out, said = rmmbench("train", "quick")
    assert (code, out) == (Exit.USAGE, "")
    assert said == "error: profile 'quick' trains nothing; measure it with `rmmbench sweep`\n"


def test_runs_can_be_listed_before_they_start(rmmbench):
    """Each run has a line with its seed, and nothing is trained."""
    code, out, said = rmmbench("train", "digits", "--dry-run", "--sketch", "oporp", "--seed", "0,1")
    assert code == Exit.OK
    lines = out.splitlines()
    assert len(lines) == 2 * (1 + 3 + 4)
    assert lines[0].endswith("mlp:64-256-256-10 digits 64 exact seed 0")
    assert lines[-1].endswith("mlp:64-256-256-10 digits 64 no sketch, 8 bits ρ=1 seed 1")
    assert said == "16 cases\n"


def test_training_ends_with_a_table_of_scores(rmmbench, tmp_path):
    """Settings are compared over seeds, and what was measured where is said."""
    flags = ["--steps", "8", "--sketch", "oporp", "--rho", "0.5", "--seed", "0,1", "--out", "run"]
    code, out, said = rmmbench("train", "digits", *flags)
    assert code == Exit.OK, said
    assert "accuracy, %" in out
    for words in ("oporp 0.5 2 ", "paired over seeds"):
        assert words in " ".join(out.split())
    assert len(Run.open(tmp_path / "run").records()) == 2 * (1 + 1)


def test_variance_tells_the_noise_and_draws_it(rmmbench, tmp_path):
    """Every sketch has its closed form and its drawn error, and the figures are written."""
    flags = ["--steps", "6", "--every", "3", "--draws", "4", "--batch-size", "16", "--out", "run"]
    code, out, said = rmmbench("variance", "mlp:64-32-10", *flags)
    assert code == Exit.OK, said
    for word in ("SGD, whole samples", "gaussian by eq. 11", "oporp", "effective", "eq. 12"):
        assert word in out
    for name in ("figure3", "figure5", "noise"):
        assert (tmp_path / "run" / f"{name}.html").stat().st_size > 1000
    code, out, said = rmmbench("variance", "mlp:64-32-10", *flags, "--json")
    told = json.loads(out)
    assert set(told["figures"]) == {"figure3", "figure5", "noise"}
    assert len(told["tables"][0]["rows"]) > 3


def test_variance_in_few_bits(rmmbench):
    """Every sketch's noise is told and drawn with rounding and an exact part, and what is free."""
    flags = ["--steps", "2", "--every", "2", "--draws", "3", "--batch-size", "16"]
    asked = ["--sketch", "oporp", "--rho", "0.4", "--bits", "4", "--principal", "2"]
    code, out, said = rmmbench("variance", "mlp:64-64-10", *flags, *asked)
    assert code == Exit.OK, said
    told = ("oporp ρ=0.4, 4 bits, 2 principal", "every row, 8 bits", "free at", "B_simple")
    # A narrow terminal breaks the name before its last word.
    for words in ("oporp, 4 bits", "gaussian, 4 bits, 2", *told):
        assert words in out, out


def test_variance_saves_a_noise_file(rmmbench, tmp_path):
    """Every layer is watched, and the file's path is printed last."""
    flags = ["--steps", "2", "--every", "2", "--draws", "2", "--batch-size", "16"]
    saved = ["--sketch", "oporp", "--save", "kept/noise.json"]
    code, out, said = rmmbench("variance", "mlp:64-32-10", *flags, *saved)
    assert code == Exit.OK, said
    assert out.split()[-1].endswith("noise.json")
    found = NoiseFile.read(tmp_path / "kept" / "noise.json")
    assert (found.model, found.task, found.batch_size) == ("mlp:64-32-10", "digits", 16)
    assert list(found.layers) == ["layers.0", "layers.1"]
    assert found.layers["layers.1"].steps == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mlp:64-10", "--layer", "*", "--bits", "3"], "--bits must be 2, 4 or 8, got 3"),
        (["mlp:64-10", "--layer", "nowhere"], "no layer matches layers=['nowhere']"),
        (["hf:gpt2"], "--layer must be given for model 'hf:gpt2'"),
        (["mlp:64-10", "--layer", "*", "--rho", "2"], "--rho must be in (0, 1], got 2"),
        (["mlp:64-10", "--layer", "*", "--steps", "0"], "--steps must be at least 1, got 0"),
        (["mlp:64-10", "--layer", "*", "--format", "gif"], "--format must be one of html"),
        (["mlp:64-10", "--layer", "*", "--device", "predict"], "cannot train"),
    ],
)
def test_what_variance_cannot_do_is_told_in_one_line(rmmbench, arguments, said):
    """Layers, rates and names are checked before anything is trained."""
    code, out, told = rmmbench("variance", *arguments)
    assert (code, out) == (Exit.USAGE, "")
    line = told.splitlines()[-1]
    assert line.startswith("error: ")
    assert said in line
