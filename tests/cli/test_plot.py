"""`rmmbench plot`: what it draws, where to, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from rmmbench.cli import main
from rmmbench.units import GIB

FOLDER = Path("runs/run-figures")


@pytest.fixture
def plot(monkeypatch, capsys, tmp_path):
    """Run `rmmbench plot` with arguments; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "plot", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        return raised.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def run(make_run, make_record):
    """A run with peaks at two batch sizes, without RMM and at one ρ."""
    rmm = {"method": "rmm", "sketch": "dct", "rho": 0.1}
    return make_run(
        *(make_record(batch_size=size, peak=size * GIB) for size in (8, 16)),
        *(make_record(batch_size=size, peak=size * GIB // 2, **rmm) for size in (8, 16)),
    )


def test_all_that_the_records_allow(plot, run):
    """Without --figure every figure that the records allow is drawn, below runs/."""
    code, out, err = plot(run.path)
    paths = [FOLDER / "figure2.html", FOLDER / "table3-memory.html"]
    assert (code, err) == (0, "")
    assert out.split() == [str(path) for path in paths]
    assert all("plotly.js" in path.read_text(encoding="utf-8") for path in paths)
    assert sorted(path.name for path in FOLDER.iterdir()) == [p.name for p in paths]


def test_reading_a_run_changes_nothing_in_it(plot, run):
    """Nothing is written into a run directory, which may be a baseline, unless --out says so."""
    before = sorted(path.name for path in run.path.iterdir())
    assert plot(run.path)[0] == 0
    assert sorted(path.name for path in run.path.iterdir()) == before
    assert plot(run.path, "--figure", "figure2", "--out", run.path)[0] == 0
    assert (run.path / "figure2.html").exists()


def test_only_what_was_asked_for(plot, run):
    """With --figure only that is drawn, once."""
    code, out, _ = plot(run.path, "--figure", "figure2", "--figure", "figure2")
    assert (code, out) == (0, f"{FOLDER / 'figure2.html'}\n")
    assert not (FOLDER / "table3-memory.html").exists()


def test_out_is_a_file(plot, run, tmp_path):
    """An --out that ends in a format is the file of the one figure."""
    path = tmp_path / "new" / "mine.html"
    assert plot(run.path, "--figure", "figure2", "--out", path)[:2] == (0, f"{path}\n")
    assert path.exists()


def test_out_is_a_folder(plot, run, tmp_path):
    """Any other --out is a folder for the figures, made where it is not there."""
    folder = tmp_path / "figures-1.2"
    code, out, _ = plot(run.path, "--out", folder)
    assert code == 0
    assert out.split() == [str(folder / "figure2.html"), str(folder / "table3-memory.html")]


def test_a_figure_that_the_records_do_not_allow(plot, run):
    """A figure asked for that cannot be drawn exits with 2 and says what it needs."""
    code, out, err = plot(run.path, "--figure", "figure2", "--figure", "linear")
    assert (code, out) == (2, "")
    assert err == (
        "error: linear needs relative throughput or saved bytes of a model linear:INxOUT with a ρ, "
        "which the records do not have; sweep a profile that measures it, or leave --figure out\n"
    )
    assert not FOLDER.exists()


def test_no_figure_at_all(plot, make_run):
    """A run that allows no figure exits with 2 and says what each would need."""
    path = make_run(name="empty").path
    code, out, err = plot(path)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {path} does not have what any figure needs: figure2 peak memory")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--figure", "figur2"], "no figure named 'figur2'; did you mean 'figure2'?"),
        (
            ["--format", "gif"],
            "--format must be one of html, png, svg, pdf, got 'gif'; see `",
        ),
        (["--out", "figure2.jpeg"], "no format named 'jpeg'; choose from: html, png, svg, pdf"),
        (
            ["--format", "svg", "--out", "mine.html"],
            "--out must end in .svg for --format svg, got 'mine.html'",
        ),
        (
            ["--out", "mine.html"],
            "--out must be a folder for more than one figure, got 'mine.html'",
        ),
    ],
)
def test_bad_input(plot, run, monkeypatch, tmp_path, arguments, message):
    """What makes no sense exits with 2, says so in one line, and draws nothing."""
    monkeypatch.chdir(tmp_path)
    code, out, err = plot(run.path, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.rglob("*.html")) == []


def test_no_run_directory(plot, tmp_path):
    """A path that is no run directory is refused by name."""
    code, _, err = plot(tmp_path)
    assert code == 2
    assert err.startswith(f"error: {tmp_path} is not a run directory")


def test_no_browser(plot, run, monkeypatch, tmp_path):
    """Images without a browser are a line that says what to do, not a traceback."""
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nothing"))
    code, out, err = plot(run.path, "--format", "png")
    assert (code, out) == (2, "")
    assert err.startswith("error: --format png needs a Chrome or Chromium, and none was found")


def test_needs_no_torch(run, tmp_path):
    """The whole command runs where torch is not installed."""
    program = (
        "import sys\nsys.modules['torch'] = sys.modules['transformers'] = None\n"
        f"sys.argv = ['rmmbench', 'plot', {str(run.path)!r}]\n"
        "from rmmbench.cli import main\nmain()"
    )
    out = subprocess.check_output([sys.executable, "-c", program], text=True, cwd=tmp_path)
    assert out.split() == [str(FOLDER / f"{name}.html") for name in ("figure2", "table3-memory")]
