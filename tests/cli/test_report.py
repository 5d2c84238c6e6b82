"""`rmmbench report`: where the page goes, what is refused, and how it follows a run."""

import json
import sys
import webbrowser

import pytest

from rmmbench.cli import main, report_command
from rmmbench.errors import Interrupted


@pytest.fixture
def report(monkeypatch, capsys, tmp_path):
    """Run `rmmbench report` with arguments; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        return raised.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def drawn(monkeypatch):
    """Put a short text in the place of the page, and collect what was asked of it."""
    asked = []

    def html_page(runs, *, is_live=False):
        asked.append(([run.path.name for run in runs], is_live))
        return "<!doctype html>"

    monkeypatch.setattr("rmmbench.report.page.html_page.html_page", html_page)
    return asked


def test_the_page_goes_into_the_run(report, make_run, make_record, drawn):
    """By default it is RUN/report.html, whose path is printed and nothing else."""
    path = make_run(make_record()).path / "report.html"
    assert report(path.parent) == (0, f"{path}\n", "")
    assert path.read_text() == "<!doctype html>"
    code, out, _ = report(path.parent, "--json")
    assert (code, json.loads(out)) == (0, {"report": str(path)})


def test_several_runs_are_one_page_beside_the_first(report, make_run, make_record, drawn):
    """Runs are drawn in the order given, each once; the page belongs to none of them."""
    paths = [make_run(make_record(), name=name).path for name in ("b", "a")]
    assert report(*paths, paths[0])[1] == f"{paths[0].parent / 'report.html'}\n"
    assert drawn == [(["b", "a"], False)]


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("page.pdf", "--out must end in .html, or be a folder, got 'page.pdf'"),
        ("file/page.html", "file/page.html cannot be written: "),
    ],
)
def test_no_such_place(report, make_run, make_record, drawn, tmp_path, out, told):
    """A page goes to an HTML file or a folder that can be written; else one line says why."""
    (tmp_path / "file").write_text("")
    code, printed, err = report(make_run(make_record()).path, "--out", out)
    assert (code, printed) == (2, "")
    assert err.startswith(f"error: {told}")
    assert err.count("\n") == 1


def test_no_run(report, tmp_path):
    """A folder that is no run is refused in one line, and no page is left."""
    code, _, err = report(tmp_path)
    assert code == 2
    assert "is not a run directory" in err
    assert not (tmp_path / "report.html").exists()


def test_an_empty_run_is_told(report, make_run, drawn):
    """Of a run without records there is a page; people are told that it is empty."""
    code, _, err = report(make_run().path)
    assert code == 0
    assert "has no records yet" in err


def test_it_is_drawn_again_as_records_come(report, make_run, make_record, drawn, monkeypatch):
    """With --watch each new record draws the page; the last one no longer loads itself again."""
    run = make_run(make_record())
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            run.append(make_record(method="rmm", sketch="dct", rho=0.1))
        if len(looks) == 4:
            raise Interrupted(2)

    monkeypatch.setattr(report_command.time, "sleep", sleep)
    code, _, err = report(run.path, "--watch")
    assert code == 130
    assert "Ctrl-C ends it" in err
    assert [is_live for _, is_live in drawn] == [True, True, False]


def test_it_is_opened(report, make_run, make_record, drawn, monkeypatch):
    """--open gives the page to the browser; where there is none, a line says where the page is."""
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address))
    _, _, err = report(make_run(make_record()).path, "--open")
    assert opened[0].startswith("file:///")
    assert opened[0].endswith("/run/report.html")
    assert "no browser could be opened" in err
