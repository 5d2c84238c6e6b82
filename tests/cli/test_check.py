"""`rmmbench check`: its exit codes, what it prints where, and what it writes."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rmmbench.cli import main
from rmmbench.errors import Interrupted
from rmmbench.report.check import baseline as baselines
from rmmbench.report.check import calibration
from rmmbench.results.store import RUN_FILE, Run
from rmmbench.units import GIB

RMM = {"method": "rmm", "sketch": "dct", "rho": 0.1}


@pytest.fixture(autouse=True)
def outside_github(monkeypatch, tmp_path):
    """Run in a folder of its own, as on a machine that is not GitHub's."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def check(monkeypatch, capsys):
    """Run `rmmbench check` with arguments; return its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        return raised.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def baseline(make_run, make_record):
    """A baseline of two cases at ./baseline."""
    return make_run(make_record(), make_record(**RMM), name="baseline")


@pytest.fixture
def worse(make_run, make_record):
    """A run at ./worse in which one of the two cases takes 14 % more memory."""
    return make_run(make_record(), make_record(peak=int(11.4 * GIB), **RMM), name="worse")


def test_same(check, baseline):
    """A run that holds its baseline prints the counts, and exits with 0."""
    assert check("baseline", "--against", "baseline") == (0, "2 cases: 2 same\n", "")


def test_regression(check, baseline, worse):
    """A regression exits with 3: the table is on stdout, one line with the worst on stderr."""
    code, out, err = check("worse", "--against", "baseline")
    assert code == 3
    assert "10.00 GiB  11.40 GiB  +14.0 %  1.0 %  regressed" in out
    assert out.endswith("2 cases: 1 regressed, 1 same\n")
    assert err == (
        "error: 1 of 2 cases regressed, failed or are missing; the gravest: "
        "peak_allocated_bytes rose 14.0 % (limit 1.0 %): "
        "model=roberta-tiny task=mrpc batch_size=16 seq_len=103 sketch=dct rho=0.1\n"
    )


def test_missing_case(check, baseline, make_run, make_record):
    """A run that stopped halfway does not pass."""
    make_run(make_record(), name="half")
    code, _, err = check("half", "--against", "baseline")
    assert code == 3
    assert "the case is missing, was ok: " in err


@pytest.mark.parametrize("text", ["15%", "15 %", "0.15"])
def test_tolerance(check, baseline, worse, text):
    """A tolerance is a percentage or a fraction."""
    assert check("worse", "--against", "baseline", "--memory-tolerance", text)[0] == 0


@pytest.mark.parametrize("text", ["5", "100%", "-1%", "nan", "much", "5%x", ""])
@pytest.mark.parametrize("flag", ["--memory-tolerance", "--throughput-tolerance"])
def test_bad_tolerance(check, baseline, flag, text):
    """What is no tolerance is refused, with how one is written; 5 is not taken for 500 %."""
    code, out, err = check("baseline", "--against", "baseline", f"{flag}={text}")
    assert (code, out) == (2, "")
    expected = f"{flag} must be from 0 to below 100 %, such as 5% or 0.05, got '{text}'"
    assert err == f"error: {expected}\n"


def test_strict(check, make_run, make_record):
    """Too little evidence passes, and exits with 4 where that was asked for."""
    make_run(make_record(step_seconds=(1.0,), reference_step_seconds=(1.0,), **RMM), name="few")
    code, out, err = check("few", "--against", "few")
    assert (code, err) == (0, "")
    assert "1 pair of steps does not show the noise; raise" in out
    code, _, err = check("few", "--against", "few", "--strict")
    assert code == 4
    assert err.startswith("error: 1 of 1 cases have not enough evidence; the gravest: relative_")


def test_not_comparable(check, baseline, make_run, make_record):
    """Another torch exits with 5 and one line with the flag; that flag compares all the same."""
    other = make_record().environment.model_copy(update={"torch": "2.14.0"})
    make_run(
        make_record(environment=other), make_record(environment=other, **RMM), environment=other
    )
    code, out, err = check("run", "--against", "baseline")
    assert (code, out) == (5, "")
    assert err == (
        "error: torch differs: 2.13.0+cpu in the baseline, 2.14.0 in the run; "
        "compare them anyway with --allow torch\n"
    )
    code, out, _ = check("run", "--against", "baseline", "--allow", "torch", "--allow", "gpu")
    assert code == 0
    assert "warning: torch differs: " in out


@pytest.mark.parametrize("flags", [(), ("--strict",)])
def test_timed_elsewhere(check, make_run, make_record, flags):
    """A run whose times are another processor's exits with 5, after the report is written."""
    times = {"step_seconds": (1.0,) * 8, "reference_step_seconds": (1.0,) * 8}
    there = make_record().environment.model_copy(update={"processor": "Another"})
    make_run(make_record(**RMM, **times), name="baseline")
    make_run(make_record(**RMM, **times, environment=there), environment=there)
    code, out, err = check("run", "--against", "baseline", "--json", *flags)
    assert code == 5
    assert "1 case: 1 not comparable" in err
    assert "--allow processor" in err
    last = err.splitlines()[-1]
    assert last.startswith("error: 1 of 1 cases are not comparable; the gravest: relative_")
    assert json.loads(out)["exit_code"] == 5
    code, out, _ = check("run", "--against", "baseline", "--allow", "processor")
    assert code == 0
    assert "warning: processor differs: Golden CPU in the baseline, Another in the run (al" in out


@pytest.fixture
def measured_again(monkeypatch, make_run, make_record):
    """Let no sweep run: each gives another record of one case, slower in the candidate's code."""
    from rmmbench.running import installations as again

    noise = random.Random(0)

    def sweep_again(run, code, out, heard):
        slow = 1.0 if out.name.endswith("baseline") else 1.2
        steps = (slow * noise.gauss(1, 0.01),) * 2
        record = make_record(step_seconds=steps, reference_step_seconds=(1.0, 1.0), **RMM)
        return make_run(record, name=str(out))

    monkeypatch.setattr(again, "sweep_again", sweep_again)
    return make_run(make_record(step_seconds=(1.0,) * 2, reference_step_seconds=(1.0,) * 2, **RMM))


def test_rerun(check, measured_again):
    """Two codes are measured in turn, each run is kept, and a slower candidate exits with 3."""
    code, out, err = check("run", "--rerun", sys.executable)
    assert code == 3
    assert "1 case: 1 regressed" in out
    *told, last = err.splitlines()
    assert told[1].startswith("4 runs in run-rerun/")
    assert told[-2].endswith(": decided")
    assert told[-1].startswith("every run is kept: rmmbench table run-rerun/")
    assert last.startswith("error: 1 of 1 cases regressed")
    (folder,) = Path("run-rerun").iterdir()
    names = sorted(path.name for path in folder.iterdir())[:4]
    assert names == ["001-baseline", "002-candidate", "003-candidate", "004-baseline"]


def test_rerun_out_of_time(check, measured_again):
    """Where the time is up before the answer is clear, that passes, and fails if strict."""
    arguments = ("run", "--rerun", sys.executable, "--max-minutes", "0")
    code, out, _ = check(*arguments)
    assert code == 0
    assert "cannot tell below 100.0 %: 2 pairs of runs, and it takes 6; give more" in " ".join(
        out.split()
    )
    assert check(*arguments, "--strict")[0] == 4


def test_calibrate(check, measured_again, tmp_path):
    """More runs of one code are kept with the run, and say what its records can tell."""
    code, out, err = check("run", "--calibrate", "4")
    assert code == 0
    assert out.startswith("roberta-tiny mrpc 16×103 dct ρ=0.1: 5 runs differ by ")
    *_, done, then = err.splitlines()
    assert done.startswith("4 of 4 runs are in run-calibration/")
    assert then == "stored in run; it counts from now on: rmmbench check RUN --against run"
    assert check("run", "--against", "main", "--save")[0] == 0
    assert len(calibration.read(tmp_path / "main").runs) == 4
    check("run", "--calibrate", "1")
    runs = calibration.read(tmp_path / "run").runs
    assert len(runs) == 5
    assert all(Path(run.records).parts[0] == "run-calibration" for run in runs)


def test_run_directory_that_one_is_in(check, measured_again, monkeypatch, tmp_path):
    """A run by the name of "." has its further runs beside it, not inside."""
    monkeypatch.chdir("run")
    assert check(".", "--calibrate", "1")[0] == 0
    assert (tmp_path / "run-calibration").is_dir()


def test_new_records_lose_the_calibration_of_old_ones(check, measured_again, make_run, make_record):
    """A baseline that is replaced by a run without a calibration has none."""
    check("run", "--calibrate", "2")
    check("run", "--against", "main", "--save")
    make_run(make_record(**RMM), name="other")
    check("other", "--against", "main", "--save")
    assert calibration.read(Path("main")) == calibration.NONE


def test_an_interrupted_check_says_what_is_kept(check, measured_again, monkeypatch):
    """Runs that ended before Ctrl-C are kept, and the last line says where, and how to go on."""
    from rmmbench.running import installations

    measure = installations.sweep_again

    def interrupted(run, code, out, heard):
        if out.name.startswith("003"):
            raise Interrupted(signal.SIGINT)
        return measure(run, code, out, heard)

    monkeypatch.setattr(installations, "sweep_again", interrupted)
    code, out, err = check("run", "--calibrate", "5")
    assert (code, out) == (130, "")
    told = "interrupted: 2 of 5 runs are stored in run; `rmmbench check run --calibrate 3` goes on"
    assert err.splitlines()[-1] == told
    code, out, err = check("run", "--rerun", sys.executable)
    assert (code, out) == (130, "")
    told, command = err.splitlines()[-1].removesuffix(" compares two of them").split("; ")
    assert told.startswith("interrupted: the runs that ended are kept in run-rerun/")
    begun, again = command.split(", ")
    assert begun == "the same command begins anew"
    assert check(*again.strip("`").split()[2:])[0] in (0, 3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "one of --against BASELINE, --rerun REVISION|PYTHON or --calibrate N, got none"),
        (("--against", "run", "--calibrate", "2"), "got --against and --calibrate"),
        (("--rerun", "main", "--save"), "--save makes RUN the baseline that --against names"),
        (("--rerun", "run/run.json"), "must be a Python or a git revision, got the file run/run"),
        (("--calibrate", "2"), "run has no relative throughput, and so nothing that varies"),
    ],
)
def test_what_to_compare_with_must_be_clear(check, make_run, make_record, flags, message):
    """One thing is asked for at a time, and what cannot be is told in a line."""
    make_run(make_record())
    code, out, err = check("run", *flags)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_unknown_allowance(check, baseline):
    """Only what may differ can be allowed to, and the message has all of it."""
    code, _, err = check("baseline", "--against", "baseline", "--allow", "python")
    assert code == 2
    assert all(name in err for name in ("gpu", "torch", "profile"))


def test_no_baseline(check, worse):
    """Without a baseline the exit code is 6, and the line says how to make one."""
    code, _, err = check("worse", "--against", "nowhere")
    assert code == 6
    assert err == "error: no baseline at nowhere; make this run the baseline with --save\n"


def test_what_is_no_run(check, baseline, tmp_path):
    """A run, or a baseline, that is not a run directory is wrong input."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "code.py").touch()
    for run, against in (("src", "baseline"), ("baseline", "src"), ("nowhere", "baseline")):
        code, _, err = check(run, "--against", against)
        assert code == 2
        assert "is not a run directory: it has no run.json" in err


def test_baseline_of_another_schema(check, baseline, worse):
    """A baseline that another version wrote is refused in one line, and can be replaced."""
    file = baseline.path / RUN_FILE
    file.write_text(file.read_text().replace('"schema_version": 2', '"schema_version": 99'))
    code, _, err = check("worse", "--against", "baseline")
    assert code == 2
    assert "must have schema_version 1 or 2, got 99" in err
    code, _, err = check("worse", "--against", "baseline", "--save")
    assert code == 0
    assert err.startswith("not compared: ")
    assert check("worse", "--against", "baseline")[0] == 0


def test_run_without_records(check, baseline, make_run):
    """A run in which nothing was measured is wrong input, and never becomes a baseline."""
    make_run(name="empty")
    for flags in ([], ["--save"]):
        code, _, err = check("empty", "--against", "baseline", *flags)
        assert code == 2
        assert "error: empty has no records; measure some with `rmmbench sweep`" in err
    assert len(Run.open(baseline.path).records()) == 2


def test_save_shows_what_changes(check, baseline, worse):
    """Saving compares with the old baseline for information, and exits with 0."""
    code, out, err = check("worse", "--against", "baseline", "--save")
    assert (code, err) == (0, "worse is now the baseline baseline\n")
    assert "2 cases: 1 regressed, 1 same" in out
    assert Run.open(baseline.path).records() == worse.records()


def test_save_the_first(check, worse):
    """The first baseline is made without a complaint that there was none."""
    expected = (0, "", "worse is now the baseline baselines/main\n")
    assert check("worse", "--against", "baselines/main", "--save") == expected
    assert check("worse", "--against", "baselines/main")[0] == 0


def test_save_what_failed(check, make_run, make_record):
    """A run with failed cases can be the baseline, and it is said that they are then expected."""
    make_run(make_record(), make_record(outcome="out_of_memory", **RMM))
    code, _, err = check("run", "--against", "main", "--save")
    assert code == 0
    assert "warning: 1 of 2 cases of run are not ok; the baseline now expects them to fail" in err
    assert check("run", "--against", "main")[0] == 0


def test_baseline_by_name(check, worse, monkeypatch, tmp_path, make_run, make_record):
    """A shipped baseline is found by its name."""
    make_run(make_record(), make_record(**RMM), name="shipped/ci")
    monkeypatch.setattr(baselines, "_FOLDERS", (tmp_path / "shipped",))
    assert check("worse", "--against", "ci")[0] == 3


def test_files(check, baseline, worse, tmp_path):
    """Every report is written, in folders that are made for it, also where the check fails."""
    flags = {
        "--junit": "out/deep/check.xml",
        "--markdown": "out/check.md",
    }
    arguments = [text for pair in flags.items() for text in pair]
    assert check("worse", "--against", "baseline", *arguments)[0] == 3
    assert ElementTree.parse("out/deep/check.xml").find("testsuite").get("failures") == "1"
    assert (tmp_path / "out" / "check.md").read_text().startswith("### rmmbench check failed")


def test_data_on_stdout_stands_alone(check, baseline, worse, monkeypatch):
    """A report that goes to stdout has it to itself: the table and annotations go to stderr."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    code, out, err = check("worse", "--against", "baseline", "--json")
    assert code == 3
    data = json.loads(out)
    assert data["counts"] == {"regressed": 1, "same": 1}
    assert (data["run"], data["baseline"], data["passed"]) == ("worse", "baseline", False)
    assert "regressed" in err
    assert "::error " in err
    code, out, err = check("worse", "--against", "baseline", "--json", "--markdown", "-")
    assert (code, out) == (2, "")
    assert "only one of --junit -, --markdown - and --json can have stdout" in err


def test_file_that_cannot_be_written(check, baseline, worse):
    """A path that cannot be written is named with its flag."""
    code, _, err = check("worse", "--against", "baseline", "--junit", "worse/run.json/check.xml")
    assert code == 2
    assert "error: --junit worse/run.json/check.xml cannot be written: " in err


def test_github(check, baseline, worse, monkeypatch, tmp_path):
    """Under GitHub Actions it annotates and adds to the step's summary; not so with --save."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    _, out, _ = check("worse", "--against", "baseline")
    assert "\n::error title=rmmbench check - regressed::peak_allocated_bytes rose 14.0 %25" in out
    assert "### rmmbench check failed" in (tmp_path / "summary.md").read_text()
    assert "::error" not in check("worse", "--against", "baseline", "--save")[1]


def test_github_summary_that_cannot_be_written(check, baseline, worse, monkeypatch, tmp_path):
    """The verdict stands where the summary cannot be written, and that is said."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    code, _, err = check("worse", "--against", "baseline")
    assert code == 3
    assert "warning: the step summary " in err


def test_as_a_process(baseline, worse):
    """The installed command line exits with the right code and prints no traceback."""
    command = [sys.executable, "-m", "rmmbench", "check", "worse", "--against", "baseline"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "regressed" in done.stdout
    assert done.stderr.startswith("error: 1 of 2 cases")
    assert "Traceback" not in done.stderr


def test_needs_no_heavy_library(baseline, worse):
    """A check imports neither torch nor anything else that would make it slow."""
    code = (
        "import sys, rmmbench.cli\n"
        "sys.argv = ['rmmbench', 'check', 'worse', '--against', 'baseline', '--junit', 'x.xml']\n"
        "try:\n    rmmbench.cli.main()\n"
        "except SystemExit as end:\n    assert end.code == 3, end.code\n"
        "heavy = {'torch', 'transformers', 'pandas', 'plotly', 'scipy', 'numpy'}\n"
        "print('imported:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("imported: []\n")


def test_help(check):
    """The help has the exit codes and commands to copy."""
    code, out, _ = check("--help")
    assert code == 0
    assert "3 a case regressed, failed or is missing" in out
    assert "rmmbench check runs/ci --against ci" in out
