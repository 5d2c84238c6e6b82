"""A run's page is made from its records: no number in a committed one is typed by hand."""

import pytest

from rmmbench.errors import RunError
from rmmbench.report.check import baseline
from rmmbench.report.summary import PAGE, summary
from rmmbench.results.store import Run

NAMES = baseline.names()


@pytest.mark.parametrize("name", NAMES)
def test_committed_pages_are_what_the_command_makes(name):
    """The page of each baseline equals what `rmmbench summary` makes of its records."""
    path = baseline.find(name)
    assert (path / PAGE).read_text(encoding="utf-8") == summary(Run.open(path)), (
        "run: rmmbench summary profiles/baselines/* --write"
    )


@pytest.mark.parametrize("name", NAMES)
def test_pages_have_a_question_a_way_and_an_answer(name):
    """A page has the title, the command, the machine, the versions and at least one table."""
    run = Run.open(baseline.find(name))
    text = summary(run)
    assert text.startswith(f"# {run.info.profile.title}")
    assert run.info.command in text
    assert run.info.environment.torch in text
    assert "| --- |" in text.split("## Results")[1]
    for picture in run.path.glob("*.png"):
        assert f"]({picture.name})" in text


def test_what_went_wrong_is_told(make_run, make_record):
    """Warnings are counted, and a case that is not ok has a line with its reason."""
    warned = [
        make_record(rho=rho, method="rmm", sketch="dct").model_copy(
            update={"warnings": ("the clock fell; fix it",)}
        )
        for rho in (0.5, 0.1)
    ]
    run = make_run(*warned, make_record(outcome="error"))
    text = summary(run)
    assert "- 2 cases: the clock fell; fix it" in text
    assert "- error: roberta-tiny 16×103 exact: it was told to fail" in text
    assert "| cases | 2 ok, 1 error |" in text


def test_notes_are_a_persons(make_run, make_record):
    """What stands in notes.md stands in the page as it is; a run without has no such section."""
    run = make_run(make_record())
    assert "What it shows" not in summary(run)
    (run.path / "notes.md").write_text("All *well*.\n")
    assert "## What it shows\n\nAll *well*.\n" in summary(run)


def test_a_run_that_cannot_be_read_is_refused(make_run, make_record):
    """A line that is no record is told, not left out."""
    run = make_run(make_record())
    with (run.path / "records.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(RunError, match=r"records\.jsonl:2"):
        summary(run)
