"""`rmmbench verify` shows the paper's claims beside what holds."""

import json

import pytest
import torch
import typer
from typer.testing import CliRunner

from rmmbench import claims
from rmmbench.claims.claim import Claim, Finding
from rmmbench.cli.verify_command import verify
from rmmbench.errors import UnknownNameError

app = typer.Typer()
app.command()(verify)


def run(*arguments):
    """Run the command with arguments."""
    return CliRunner().invoke(app, list(arguments))


def test_a_table_a_claim_at_a_hundred_columns():
    """Each claim asked for has its heading, its cases and verdicts, and the whole is counted."""
    done = run("work", "bound")
    assert done.exit_code == 0
    for name in ("work", "bound"):
        assert claims.get(name).title in done.stdout
    assert done.stdout.index(claims.get("work").title) < done.stdout.index("Theorem 2.3")
    assert "does not hold" in done.stdout
    assert "11 statements: holds 2, holds as corrected 6, does not hold 3." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_json_has_every_number(one_thread):
    """Machines get claims, findings, verdicts and full numbers, and people's words go to stderr."""
    done = run("bound", "--json", "--seed", "5")
    told = json.loads(done.stdout)
    assert told["seed"] == 5
    (claim,) = told["claims"]
    assert claim["claim"] == "bound"
    found = list(claims.get("bound").findings(5))
    assert [finding["numbers"] for finding in claim["findings"]] == [f.numbers for f in found]
    assert [finding["verdict"] for finding in claim["findings"]] == [f.verdict for f in found]
    assert done.stderr == "trying 1 of 8 claims with seed 5\n"


def test_a_claim_named_twice_is_tried_once():
    """A name counts once, in the order given."""
    told = json.loads(run("work", "memory", "work", "--json").stdout)
    assert [claim["claim"] for claim in told["claims"]] == ["work", "memory"]


def test_an_unknown_name_is_wrong_usage():
    """A slip gives the right word, before anything is tried."""
    done = run("work", "exmple")
    assert isinstance(done.exception, UnknownNameError)
    assert str(done.exception).startswith("no claim named 'exmple'; did you mean 'example'?")
    assert done.stdout == done.stderr == ""


@pytest.mark.parametrize("is_own", [True, False])
def test_a_fault_is_an_exit_code_and_a_finding_is_none(monkeypatch, is_own):
    """What the package relies on makes the command fail and is named; the rest is shown alone."""

    class Wrong(Claim):
        title, statement, method = "Arithmetic", "2 + 2 = 5", "adding"

        def findings(self, seed):
            why = "it is 4"
            shown = {"case": "two", "paper": "5", "here": "4", "why": why, "numbers": {"sum": 4}}
            yield Finding(**shown, holds=False, is_own=is_own)

    monkeypatch.setitem(claims.CLAIMS._loaded, "example", Wrong)
    done = run("example")
    assert done.exit_code == (1 if is_own else 0)
    assert "it is 4" in done.stdout
    said = "error: what this package relies on does not hold: example (two); "
    assert (said in done.stderr) == is_own


def test_threads_are_given_back():
    """Trying claims on one thread leaves the number of threads as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    run("work")
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert after == 2
