"""Whatever is given, the command line answers in one line, and its streams end no command."""

import subprocess
import sys

import pytest
import typer

from rmmbench.cli import app, main

PROGRAM = "from rmmbench.cli import main; main()"


@pytest.fixture
def refused(monkeypatch, capsys):
    """Run `rmmbench` with arguments that cannot be met; return its one line on stderr."""

    def run(*arguments, code=2):
        monkeypatch.setattr(sys, "argv", ["rmmbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        out, err = capsys.readouterr()
        assert (raised.value.code, out) == (code, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    return run


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tabel"], "No such command 'tabel'. Did you mean 'table'?"),
        (["table"], "Missing argument 'RUN'; see `"),
        (["table", "x", "--zzz"], "no option named '--zzz'; see `"),
        (["sweep", "x", "--skech", "dct"], "no option named '--skech'; did you mean '--sketch'?"),
        (["sweep", "x", "--bath-size=3"], "named '--bath-size'; did you mean '--batch-size'?"),
        (["verify", "--seed", "many"], "--seed must be whole numbers, got 'many'"),
        (["verify", "--seed", "1,2"], "--seed must be one value for this command, got 1, 2"),
        (["verify", "--seed", str(2**64)], "seed must be from 0 to 4294967295, got 1844"),
        (["list", "models", "-q", "-v"], "--quiet and --verbose exclude each other"),
        (["max-batch", "x", "--memory", "9" * 400 + "GiB"], "must be below 8192 TiB"),
        (["table", "a\nb\x1b[31m"], r"a b\x1b[31m is not a run directory"),
        (["table", "x" * 300], "File name too long"),
        (["table", "x" * 50_000], "x…"),
        (["check", "x" * 300, "--against", "y" * 300], "File name too long"),
        (["plot", "x" * 300], "File name too long"),
        (["sweep", "x" * 300 + ".toml"], "File name too long"),
        (["sweep", "x" * 300], "no profile named 'xxx"),
        (["sweep", "\ud800"], r"no profile named '\ud800'"),
    ],
)
def test_wrong_usage_is_told_in_a_line(refused, arguments, told):
    """No argument, of whatever letters and length, gets a traceback or several lines."""
    line = refused(*arguments)
    assert told in line
    assert len(line) < 5000


def run(*arguments, **streams):
    """Run `rmmbench` in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.run(command, check=False, **streams)


def test_a_full_disk_is_told():
    """Where stdout has no room the command fails in one line."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123 -- a device
        done = run("list", "sketches", stdout=full)
    assert done.returncode == 2
    assert done.stderr == b"error: stdout cannot be used: No space left on device\n"


def test_a_reader_that_left_changes_no_verdict(tmp_path):
    """Neither a broken pipe nor closed streams end a command otherwise than it would have."""
    for wrong, code in (("sketches", 0), ("nothing", 2)):
        command = f'"{sys.executable}" -c "{PROGRAM}" list {wrong}'
        for streams in ("| true; exit ${PIPESTATUS[0]}", ">&- 2>&-", "<&- >&- 2>&-"):
            done = subprocess.run(["bash", "-c", f"{command} {streams}"], capture_output=True)
            assert (done.returncode, done.stdout) == (code, b"")
            assert b"Traceback" not in done.stderr


def test_data_is_utf8_and_prose_is_what_the_terminal_has(make_run, make_record, monkeypatch):
    """A terminal without Greek gets escapes; what programs read is UTF-8 all the same."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    failed = make_record(outcome="error", model="hf:ρ", method="rmm", sketch="dct", rho=0.5)
    path = make_run(failed).path
    table = run("table", path)
    assert (table.returncode, b"\\u03c1" in table.stdout) == (0, True)
    assert "hf:ρ".encode() in run("export", path).stdout


COMMANDS = typer.main.get_command(app).commands
ASKED = "device model task batch-size seq-len dtype attention optimizer rho sketch method seed"


@pytest.mark.parametrize("name", ["sweep", "train"])
def test_what_is_measured_is_asked_for_by_the_same_flags(name):
    """Every axis of a grid has its flag, and so have a directory, a second try and JSON."""
    flags = {flag for each in COMMANDS[name].params for flag in each.opts}
    asked = [*ASKED.split(), "out", "retry", "dry-run", "json"]
    assert flags >= {f"--{each}" for each in asked}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_says_what_it_is(name):
    """No help sends its reader to another's."""
    assert all("Likewise" not in (each.help or "") for each in COMMANDS[name].params)


@pytest.mark.parametrize("flag", ["--device", "--dtype", "--attention", "--optimizer", "--format"])
@pytest.mark.parametrize(
    "command",
    ["sweep x", "train x", "max-batch x --memory 1GiB", "variance x", "advise x", "plot x"],
)
def test_a_choice_is_a_choice_everywhere(refused, command, flag):
    """What is one of few is checked as such by every command that asks for it."""
    name, *rest = command.split()
    has_it = any(flag in each.opts for each in COMMANDS[name].params)
    told = "must be one of" if has_it else "no option named"
    assert told in refused(name, *rest, flag, "other")
