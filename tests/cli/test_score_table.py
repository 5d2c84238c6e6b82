"""`rmmbench table` of training runs: a section a task, Table 2 below it, and a caption."""

import sys
from itertools import count

import pytest

from rmmbench.cli import main
from rmmbench.report.scores import read_lines
from rmmbench.report.tables.score_table import score_tables
from rmmbench.spec.profile import Profile

GAUSSIAN = {"method": "rmm", "sketch": "gaussian", "rho": 0.5, "share": False}
PUBLISHED = [
    {"model": "roberta-tiny", "task": "mrpc", "score": 89.3, "source": "Table 2"},
    {"model": "roberta-tiny", "task": "mrpc", "rho": 0.5, "score": 88.73, "source": "Table 2"},
    {"model": "roberta-tiny", "task": "cola", "score": 60.51, "source": "Table 2"},
    {"model": "roberta-tiny", "task": "cola", "rho": 0.5, "score": 59.45, "source": "Table 2"},
]
EXACT_SCORES, SCORES = (0.9, 0.92, 0.91), (0.8, 0.81, 0.82)


@pytest.fixture
def runs(make_trained):
    """Make the runs of one setting, seed by seed, from their scores."""

    def make(scores, **settings):
        return [make_trained(score, seed=seed, **settings) for seed, score in enumerate(scores)]

    return make


@pytest.fixture
def profile(make_run):
    """The golden profile with scores of two tasks."""
    golden = make_run(name="golden").info.profile
    return Profile.model_validate(golden.model_dump() | {"published": PUBLISHED})


@pytest.fixture
def cells(profile):
    """Return the columns of the last table of some records by their headings."""

    def make(records):
        table = score_tables(read_lines(records), profile, records[0].environment, "")[-1]
        return {column.heading.replace("\n", " "): list(column.cells) for column in table.shown}

    return make


@pytest.fixture
def table(monkeypatch, capsys, make_run, profile):
    """Return what `rmmbench table` prints of some records: its exit code, stdout and stderr."""
    numbers = count()

    def run(records):
        path = make_run(*records, name=f"run{next(numbers)}", profile=profile).path
        monkeypatch.setattr(sys, "argv", ["rmmbench", "table", str(path)])
        with pytest.raises(SystemExit) as raised:
            main()
        return raised.value.code, *capsys.readouterr()

    return run


def test_columns(cells, runs):
    """Score, the paper's, differences of score and loss, the verdict and time stand in a row."""
    records = [*runs(EXACT_SCORES), *runs(SCORES, seconds=8.0, **GAUSSIAN)]
    assert cells(records) == {
        "sketch": ["exact", "gaussian"],
        "ρ": ["", "0.5"],
        "runs": ["3", "3"],
        "score": ["91.00 ± 1.00", "81.00 ± 1.00"],
        "paper's score": ["89.30", "88.73"],
        # The differences are -10, -11 and -9 points: t for 2 degrees of freedom is 4.303.
        "difference ± 95 %": ["", "-10.00 ± 2.48"],
        "more than chance": ["", "yes"],
        # The golden loss is 2 − score.
        "loss": ["1.090", "1.190"],
        "difference of loss ± 95 %": ["", "+0.100 ± 0.025*"],
        "time": ["10 s", "8.00 s"],
        "relative throughput": ["1.000", "1.250"],
    }


def test_one_seed(cells, runs):
    """One run has no spread, no interval and no verdict."""
    seen = cells([*runs([0.9]), *runs([0.8], **GAUSSIAN)])
    assert seen["score"] == ["90.00", "80.00"]
    assert seen["difference ± 95 %"] == ["", "-10.00"]
    assert "more than chance" not in seen


def test_bits_per_byte(cells, runs):
    """A score that is no fraction is printed as it is, with three decimals."""
    bits = {"metric": "bits_per_byte", "higher_is_better": False}
    seen = cells([*runs((2.4, 2.5), **bits), *runs((2.5, 2.7), **bits, **GAUSSIAN)])
    assert seen["score"] == ["2.450 ± 0.071", "2.600 ± 0.141"]
    assert seen["difference ± 95 %"][1].startswith("+0.150 ±")
    assert "loss" not in seen  # bits are the loss


def test_runs_that_count(cells, runs, make_trained):
    """Of how many runs the score is the mean is said where it is not all of them."""
    records = [*runs(EXACT_SCORES), *runs(SCORES, **GAUSSIAN)]
    records[-1] = make_trained(0.1, seed=2, outcome="diverged", **GAUSSIAN)
    assert cells(records)["runs"] == ["3", "2 of 3"]


def test_overview(cells, runs):
    """Table 2: a column a task, a row a setting, the paper's below it, and the mean over tasks."""
    records = [*runs(EXACT_SCORES), *runs(SCORES, **GAUSSIAN)]
    cola = {"task": "cola", "seq_len": 47}
    records += [*runs((0.6, 0.61), **cola), *runs((0.59, 0.62), **cola, **GAUSSIAN)]
    assert cells(records) == {
        "sketch": ["exact", "", "gaussian", ""],
        "ρ": ["", "", "0.5", ""],
        "": ["", "paper", "", "paper"],
        "MRPC %": ["91.00", "89.30", "81.00*", "88.73"],
        "CoLA %": ["60.50", "60.51", "60.50", "59.45"],
        "mean %": ["75.75", "74.91", "70.75", "74.09"],
    }


def test_no_mean_of_unlike_scores(cells, runs):
    """Bits and percent have no mean, and a setting that a task lacks has none either."""
    bits = {"metric": "bits_per_byte", "higher_is_better": False, "task": "text"}
    records = [*runs([0.9]), *runs([2.5], **bits)]
    seen = cells(records)
    assert seen["text bits per byte"] == ["2.500", ""]
    assert "mean %" not in seen
    records = [*runs([0.9]), *runs([0.6], task="cola"), *runs([0.8], **GAUSSIAN)]
    seen = cells(records)
    assert seen["mean %"] == ["75.00", "74.91", "", ""]


def test_command(table, runs, make_trained):
    """The command prints sections, what failed, and how the numbers came about."""
    records = [*runs(EXACT_SCORES, synthetic="it is made up"), *runs(SCORES, **GAUSSIAN)]
    records[-1] = make_trained(seed=2, outcome="diverged", **GAUSSIAN)
    code, out, err = table(records)
    said = " ".join(out.split())
    assert code == 0
    assert "MRPC · accuracy, %" in said
    assert "gaussian ρ=0.5: 1 of 3 diverged" in said
    assert "roberta-tiny · MRPC · 16×103 · adam · eager attention" in said
    assert "Trained on Golden CPU with torch 2.13.0+cpu, float32. It is made up." in said
    assert "1 CPU thread a run, up to" in said
    assert "paired t-test, p below 0.05 when adjusted over all settings" in said
    assert "The paper's numbers: Table 2; from its own hardware and weights." in said
    title = "roberta-tiny mrpc 16×103 gaussian, unshared ρ=0.5 seed 2"
    assert err == f"diverged: {title}: it was told to fail\n"


def test_what_is_not_there_is_not_explained(table, runs):
    """Of one seed without exact the caption speaks of no test and no difference."""
    said = " ".join(table(runs([0.9], task="digits", **GAUSSIAN))[1].split())
    assert "Score: after the last step, one seed." in said
    assert "chance" not in said
    assert "Difference" not in said
    assert "paper" not in said


def test_sections(table, runs):
    """Each task has a section, named by all in which tasks differ, to one width."""
    records = [*runs([0.9]), *runs([0.6], task="cola", seq_len=47, batch_size=8)]
    out = table(records)[1]
    assert "MRPC · 16×103 · accuracy, %" in out
    assert "CoLA · 8×47 · accuracy, %" in out
    rules = {line.strip() for line in out.splitlines() if line.strip().startswith("─")}
    assert len(rules) == 2  # that of the sections, and that of Table 2


def test_fits_a_pipe(table, runs):
    """The widest table goes into a pipe without breaking a cell."""
    rademacher = GAUSSIAN | {"sketch": "rademacher", "rho": 0.05}
    records = [*runs(EXACT_SCORES, seconds=4000.0), *runs(SCORES, **rademacher)]
    out = table(records)[1]
    assert max(map(len, out.splitlines())) <= 120
    assert "-10.00 ± 2.48" in out


def test_steps_and_training_in_one_run(table, runs, make_record):
    """A run that has both prints both, each with its own caption."""
    said = " ".join(table([make_record(), *runs([0.9])])[1].split())
    assert "16×103 exact 10.00" in said
    assert "Memory predicted on fake tensors with torch 2.13.0+cpu, float32." in said
    assert "Trained on Golden CPU" in said


def test_nothing_ended_well(table, make_trained):
    """A run of which nothing ended well is still a table that says so."""
    records = [make_trained(outcome="error"), make_trained(outcome="timeout", **GAUSSIAN)]
    code, out, _ = table(records)
    assert code == 0
    assert "exact: 1 of 1 error" in out
    assert "0 of 1" in out
