"""`rmmbench plan` on the command line: the table, the file, JSON, and what is refused."""

import json
import sys

import pytest

from rmmbench.cli import main
from rmmbench.errors import Exit
from rmmbench.spec.saving_plan import read_plan

MODEL = ("mlp:256-512-512-512-10", "--batch-size", "8192")


@pytest.fixture
def plan(tmp_path, monkeypatch, capfd):
    """Return a function that runs the command; it returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "plan", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capfd.readouterr()

    return run


def test_a_plan_is_shown_and_written(plan, tmp_path):
    """The table has the unchanged model and each plan; the file is the best, and says what next."""
    code, out, err = plan(*MODEL, "--save", "10%")
    assert code == Exit.OK, err
    assert "exact" in out
    assert "least noise" in out
    assert "(1 − ρ)/ρ and bits alone" in out
    assert "counted work" in out
    assert "rmmbench.convert(model" in err
    written = read_plan(tmp_path / "plan.toml")
    assert written.layers
    assert written.predicted.peak_bytes <= written.predicted.limit_bytes


def test_json_is_all_on_stdout(plan, tmp_path):
    """Programs get the plans, what was written, and nothing else; a plan can be chosen."""
    chosen = ("--choose", "least noise", "--out", "mine.toml", "--json", "--quiet")
    code, out, err = plan(*MODEL, "--save", "10%", *chosen)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["written"] == "mine.toml"
    named = {name: each for each in told["plans"] for name in each["names"]}
    assert named["least noise"]["plan"]["title"] == read_plan(tmp_path / "mine.toml").title
    assert set(told["without"]) <= {"exact gradients", "fastest"}


def test_an_unknown_choice_writes_nothing(plan, tmp_path):
    """A plan that is not there is answered with those that are."""
    code, _, err = plan(*MODEL, "--save", "10%", "--choose", "least nois", "--quiet")
    assert code == Exit.USAGE
    assert "--choose must be a plan that fits" in err
    assert "did you mean 'least noise'?" in err
    assert not (tmp_path / "plan.toml").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "a plan must have a limit"),
        (("--memory", "1MiB"), "memory must be at least"),
        (("--save", "10%", "--max-inflation", "1.2"), "needs a noise file"),
        (("--save", "10%", "--noise", "none.json"), "none.json cannot be read"),
        (("--save", "10%", "--out", "there/is/none.toml"), "--out must name a file in a folder"),
    ],
)
def test_what_is_refused_is_told_in_a_line(plan, words, told):
    """A limit that cannot be, and a file that is not there, end with exit code 2."""
    code, out, err = plan(*MODEL, *words, "--quiet")
    assert code == Exit.USAGE
    assert out == ""
    assert told in err
    assert err.count("\n") == 1
