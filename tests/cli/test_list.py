"""`rmmbench list` names what profiles and flags take."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from rmmbench.claims import CLAIMS
from rmmbench.cli import app, main
from rmmbench.data import DATA
from rmmbench.methods import METHODS
from rmmbench.models import MODELS
from rmmbench.report.figures import FIGURES
from rmmbench.sketches import SKETCHES
from rmmbench.spec import profile
from rmmbench.spec.gpus import GPUS

SUMMARIES = {
    "models": MODELS.summaries(),
    "sketches": SKETCHES.summaries(),
    "methods": METHODS.summaries(),
    "tasks": DATA.summaries(),
    "gpus": {gpu.name: gpu.summary for gpu in GPUS.values()},
    "claims": CLAIMS.summaries(),
    "figures": FIGURES.summaries(),
    "profiles": {name: profile.load(name).title for name in profile.names()},
}


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    """Let every line be whole."""
    monkeypatch.setenv("COLUMNS", "250")


@pytest.mark.parametrize("kind", SUMMARIES)
def test_every_name_has_a_line_with_its_summary(kind):
    """A line is the name, spaces and the summary, in the registry's order, without colours."""
    result = CliRunner().invoke(app, ["list", kind])
    assert result.exit_code == 0
    lines = [line.strip().split(maxsplit=1) for line in result.stdout.strip().splitlines()]
    assert lines == [[name, summary] for name, summary in SUMMARIES[kind].items()]


@pytest.mark.parametrize("kind", SUMMARIES)
def test_json_is_names_with_summaries(kind):
    """Machines get one object."""
    result = CliRunner().invoke(app, ["list", kind, "--json"])
    assert json.loads(result.stdout) == SUMMARIES[kind]


def test_alone_it_lists_everything():
    """Without a kind every kind is listed, under its name; machines get one object of all."""
    blocks = CliRunner().invoke(app, ["list"]).stdout.strip().split("\n\n")
    listed = [[line.split()[0] for line in block.splitlines()] for block in blocks]
    assert listed == [[kind, *names] for kind, names in SUMMARIES.items()]
    assert json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout) == SUMMARIES


def test_an_unknown_kind_is_named_with_the_nearest(monkeypatch, capsys):
    """A slip gives the right word and all there are, and is wrong usage."""
    monkeypatch.setattr(sys, "argv", ["rmmbench", "list", "sketchs"])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: kind must be one of models, sketches, methods, tasks, ")
    assert ", got 'sketchs'; did you mean 'sketches'?; see `" in told


@pytest.mark.parametrize("kind", SUMMARIES)
def test_listing_imports_nothing_heavy(kind):
    """Names are listed where neither torch nor plotly can be imported."""
    program = (
        "import sys; sys.modules |= dict.fromkeys(['torch', 'plotly', 'transformers', 'pandas']); "
        f"sys.argv = ['rmmbench', 'list', {kind!r}]; from rmmbench.cli import main; main()"
    )
    wide = os.environ | {"COLUMNS": "120"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=wide)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == len(SUMMARIES[kind])
