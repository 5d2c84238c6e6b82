"""One set of options with one meaning, in every command; each command with its group and help."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from rmmbench import cli
from rmmbench.cli import app
from rmmbench.cli.options import AXES, words
from rmmbench.cli.run_cases import Asked
from rmmbench.spec import profile

COMMANDS = typer.main.get_command(app).commands
GROUPS = {"Measure", "Read", "Paper", "Help"}
# What a table is exported as is no figure's format, a plan saves memory and variance a file, and a
# plan's limits stand together; a history has series in the place of cases.
ANOTHER = {("export", "--format"), ("doctor", "--calibrate")}
ANOTHER |= {("history", "--allow"), ("history", "--all")}
ANOTHER |= {("plan", "--memory"), ("plan", "--save"), ("variance", "--save")}
FOR_MACHINES = (
    *("sweep", "train", "max-batch", "advise", "table", "plot", "frontier", "check"),
    *("verify", "variance", "list", "doctor", "plan", "report", "history"),
)


@pytest.fixture
def rmmbench(monkeypatch, capsys):
    """Run a command line; return its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rmmbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        return raised.value.code, *capsys.readouterr()

    return run


def options(name):
    """Return a command's options by their longest name."""
    return {each.opts[0]: each for each in COMMANDS[name].params if each.opts[0][:2] == "--"}


def test_an_option_means_the_same_everywhere():
    """Of one name there is one form, one help and one value where it is not given."""
    meanings = {}
    for name in COMMANDS:
        for flag, option in options(name).items():
            if (name, flag) not in ANOTHER:
                meaning = (option.help, option.metavar, option.multiple, option.default)
                meaning += (option.rich_help_panel,)
                of = str(option.type_descriptor.annotation)
                meanings.setdefault(flag, {})[(*meaning, of)] = name
    assert {flag: found for flag, found in meanings.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_told_and_heard_alike(name):
    """A command is in a group, shows how it is called, and takes -q and -v."""
    command = COMMANDS[name]
    assert command.rich_help_panel in GROUPS
    assert re.search(rf"Examples:\n +rmmbench {name}\b", command.help)
    flags = {flag for each in command.params for flag in each.opts}
    assert flags >= {"--quiet", "-q", "--verbose", "-v"}
    assert ("--json" in flags) == (name in FOR_MACHINES)
    for each in command.params:
        assert each.help
        assert each.help[0].isupper() or each.help.split()[0] in ("auto",)


def test_axes_are_all_asked_for():
    """What sweeps takes every axis, what trains all but the GPU of a prediction."""
    flags = {f"--{name.replace('_', '-')}" for name in AXES}
    assert set(options("sweep")) >= flags
    assert set(options("train")) >= flags - {"--gpu"}
    assert set(options("max-batch")) >= flags - {"--model", "--batch-size"}


@pytest.mark.parametrize(
    ("name", "folder", "path"),
    [
        ("quick", "", "runs/quick-auto"),
        ("my/own profile.toml", "", "runs/own-profile-auto"),
        ("frontier", "max-batch-hf:org/one-16GiB", "runs/max-batch-hf-org-one-16GiB-auto"),
    ],
)
def test_a_run_is_found_by_what_was_asked_for(name, folder, path):
    """Without --out a run directory is called after its profile, or model, and its device."""
    asked = Asked(name, profile.load("quick"), None, None, folder)
    assert asked.path == Path(path)


@pytest.mark.parametrize("command", ["table RUN", "plot RUN", "frontier RUN"])
def test_json_has_stdout_to_itself(rmmbench, make_run, make_record, monkeypatch, tmp_path, command):
    """What programs read is JSON and nothing else, also of what a person would see drawn."""
    monkeypatch.chdir(tmp_path)
    limit = {"memory_limit_bytes": 2**34}
    run = make_run(make_record(), make_record(method="rmm", sketch="dct", rho=0.5, **limit))
    code, out, _ = rmmbench(*command.replace("RUN", str(run.path)).split(), "--json")
    assert code == 0
    assert json.loads(out)
    # Reading writes nothing; to draw is to write.
    assert (tmp_path / "runs").exists() == command.startswith("plot")


def test_quiet_is_results_and_errors(rmmbench, tmp_path, monkeypatch):
    """With -q a sweep prints its table, and on stderr what failed; nothing of how it went."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "def broken(batch_size, seq_len):\n    raise OSError('no dog')\n"
    )
    asked = ["sweep", "ci", "--device", "predict", "--method", "exact"]
    code, out, err = rmmbench(*asked, "--model", "mlp:8-8", "-q")
    assert (code, err) == (0, "")
    assert "exact" in out
    asked += ["--model", "import:mine:broken", "--batch-size", "4", "--out", "broken"]
    code, out, err = rmmbench(*asked, "-q")
    assert code == 7
    assert {line.partition(":")[0] for line in err.splitlines()} == {"error"}
    assert "OSError: no dog" in err
    (tmp_path / "broken").rename("before")
    code, out, err = rmmbench(*asked, "-v")
    assert code == 7
    assert "info: import:mine:broken" in err
    assert 'mine.py", line 2, in broken' in err


NAMES = {
    "sweep figure2-": ["figure2-fast"],
    "sweep quick --sketch gaussian,opo": ["gaussian,oporp"],
    "sweep quick --method rmm+off": ["rmm+offload"],
    "advise roberta-b": ["roberta-base"],
    "sweep quick --task mr": ["mrpc"],
    "plot x --figure table": ["table2", "table3-memory", "table3-matmul"],
    "verify boun": ["bound"],
    "table ru": ["runs/first", "runs"],
    "check runs/first --against text-": ["text-cpu"],
    "docs quick": ["quick-start"],
    "fron": ["frontier"],
}


def test_a_shell_completes_names(tmp_path):
    """Names, stacks, the last of several, and run directories; within a second, without torch."""
    for name in ("first", "first-figures"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "first" / "run.json").touch()
    program = (
        "import sys, os; sys.modules |= dict.fromkeys(['torch', 'transformers', 'pandas']);\n"
        "from rmmbench.cli import app\n"
        f"for line in {list(NAMES)}:\n"
        "    os.environ['COMP_WORDS'] = 'rmmbench ' + line\n"
        "    os.environ['COMP_CWORD'] = str(len(line.split()))\n"
        "    try:\n"
        "        app(prog_name='rmmbench', args=[])\n"
        "    except SystemExit:\n"
        "        print('--', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"_RMMBENCH_COMPLETE": "complete_bash", "PYTHONPATH": ":".join(sys.path)},
    )
    found = [part.split() for part in done.stdout.split("--\n")[:-1]]
    assert dict(zip(NAMES, found, strict=True)) == NAMES, done.stderr


def test_the_first_word_comes_at_once(tmp_path):
    """What imports torch says before it what it begins, and where records go."""
    command = [sys.executable, "-m", "rmmbench", "sweep", "quick", "--device", "predict"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path, text=True) as running:
        begun = time.monotonic()
        line = running.stderr.readline()
        took = time.monotonic() - begun
        running.kill()
    assert line == "quick on predict: records go to runs/quick-predict; loading torch\n"
    # A second on a machine that does nothing else.
    assert took < 5


def test_help_imports_nothing_heavy():
    """Every help comes where neither torch nor any other of the large libraries can be had."""
    heavy = ["torch", "transformers", "pandas", "plotly", "scipy", "pynvml", "numpy"]
    program = (
        f"import sys; sys.modules |= dict.fromkeys({heavy}); sys.modules['pydantic'] = None\n"
        "from rmmbench.cli import main\n"
        f"for words in {[[], *([name] for name in COMMANDS)]}:\n"
        "    sys.argv = ['rmmbench', *words, '--help']\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, (words, end.code)\n"
        "    sys.modules.pop('pydantic', None)  # which typer takes for a command's parameters\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == 1 + len(COMMANDS)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["mlp,linear"], ("mlp", "linear")),
        (
            ["hf:llama:hidden_size=64, vocab_size=8,mlp"],
            ("hf:llama:hidden_size=64, vocab_size=8", "mlp"),
        ),
        (["mlp", "hf:gpt2:n_layer=1"], ("mlp", "hf:gpt2:n_layer=1")),
    ],
)
def test_commas_between_changes_of_a_config_part_no_names(given, names):
    """A model's name may hold key=value with commas, and other names still follow after one."""
    assert words(given) == names
