"""The pytest plugin holds steps to limits and to what is stored, and tells it at the end."""

import pytest

from rmmbench.pytest_plugin import checker
from rmmbench.report.tables.run_tables import tables_of
from rmmbench.results.store import Run
from rmmbench.results.timeline import Timeline
from rmmbench.units import GIB, parse_bytes

pytest_plugins = ["pytester"]


@pytest.fixture
def tested(pytester, monkeypatch):
    """Run pytest on a test module with nothing but the plugin; return its result."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source, *arguments, how="runpytest_inprocess"):
        pytester.makepyfile(test_it=source)
        return getattr(pytester, how)("-p", "rmmbench.pytest_plugin", *arguments)

    return run


def timeline(peak):
    """Return a timeline at whose peak three fifths are activations."""
    fifth = peak // 5
    sizes = [fifth, 0, 0, 3 * fifth, 0, peak - 4 * fifth]
    point = {"time": 7, "phase": "backward", "live_bytes": sizes}
    return Timeline.model_validate(
        {"device": "predict", "operators": 9, "points": [point], "epoch": []}
    )


@pytest.fixture
def golden(monkeypatch, make_record):
    """Let a step take the bytes that its name says, half of them when it is checkpointed."""

    def measured(model, ways, *, device, sizes, **_):
        records = []
        for way in ways:
            peak = parse_bytes(model) // (2 if way.get("method") == "checkpoint" else 1)
            own = {"model": model, "batch_size": sizes[1] or 16, "memory_device": device}
            own |= {"method": way["method"]} if way.get("method") == "checkpoint" else {}
            record = make_record(peak=peak, saved=peak // 2, **own)
            records.append(record.model_copy(update={"timeline": timeline(peak)}))
        return records

    monkeypatch.setattr(checker, "measure_ways", measured)


def check(arguments):
    """Return a test module with one check."""
    return f"def test_memory(rmmbench):\n    rmmbench.check({arguments}, device='predict')\n"


def test_a_limit_holds_or_fails(tested, golden):
    """Within its limit a step passes; over it the test says how far, what is held, what helps."""
    passed = tested(check("'10GiB', peak='10GiB'"))
    passed.assert_outcomes(passed=1)
    passed.stdout.re_match_lines(
        [r"test_it.py:test_memory +predict .*limit 10.00 GiB +\+0.0 % +ok"]
    )
    failed = tested(check("'10GiB', peak='8GiB', saved=3 * 2**30"))
    failed.assert_outcomes(failed=1)
    lines = [
        "*peak 10.00 GiB is 2.00 GiB (25.0 %) over the limit of 8.00 GiB",
        "*saved 5.00 GiB is 2.00 GiB (66.7 %) over the limit of 3.00 GiB",
        "*at the peak, in the backward pass: activations 6.00 GiB, parameters 2.00 GiB, temp*",
        '*measured too, and within: method="checkpoint" takes 5.00 GiB',
        "test_it.py:test_memory *saved limit 3.00 GiB* +66.7 %  over",
    ]
    failed.stdout.fnmatch_lines(["*check('10GiB'*", *lines])
    far = tested(check("'10GiB', peak='4GiB'"))
    far.stdout.fnmatch_lines(
        ['*measured too, and not within: method="checkpoint" takes 5.00 GiB; method="rmm"*']
    )


def test_without_a_limit_the_stored_baseline_holds(tested, golden, pytester):
    """What is stored is the limit: more fails and says what grew, less passes; update moves it."""
    nothing = tested(check("'10GiB'"))
    nothing.assert_outcomes(failed=1)
    nothing.stdout.fnmatch_lines(["*nothing is stored for this check; run pytest --rmmbench-up*"])
    tested(check("'10GiB'"), "--rmmbench-update").assert_outcomes(passed=1)
    file = pytester.path / "rmmbench-baseline" / "records.jsonl"
    before = file.read_bytes()
    assert tested(check("'10GiB'"), "--rmmbench-update").ret == 0
    assert file.read_bytes() == before
    for size, verdict in (("10GiB", "same"), ("9GiB", "less"), ("10.05GiB", "same")):
        result = tested(check(f"'{size}'"))
        result.assert_outcomes(passed=1)
        result.stdout.re_match_lines([rf".*baseline 10.00 GiB .* {verdict}$"])
    more = tested(check("'11GiB'"))
    more.assert_outcomes(failed=1)
    more.stdout.fnmatch_lines(
        [
            "*peak 11.00 GiB is 1.00 GiB (10.0 %) above the stored 10.00 GiB",
            "*held at the peak: activations +614.4 MiB, *",
            "*stored at commit 0123abc; if the rise is meant, run pytest --rmmbench-update",
        ]
    )
    tested(check("'11GiB', tolerance=0.1")).assert_outcomes(passed=1)
    other = tested(check("'10GiB', batch_size=3"))
    other.stdout.fnmatch_lines(["*what is stored is of another case*"])


def test_an_update_leaves_other_checks(tested, golden, pytester):
    """What did not run stays stored; checks of one test are told apart by number or name."""
    two = "def test_memory(rmmbench):\n    rmmbench.check('1GiB')\n    rmmbench.check('2GiB')\n"
    named = "    rmmbench.check('3GiB', name='large')\n"
    on_predict = ("--rmmbench-device", "predict", "--rmmbench-update")
    tested(two + named, *on_predict)
    tested("def test_other(rmmbench):\n    rmmbench.check('4GiB')\n", *on_predict)
    records = Run.open(pytester.path / "rmmbench-baseline").records()
    assert [(each.case.model, each.memory.peak_live_bytes // GIB) for each in records] == [
        ("import:test_it.py:test_memory", 1),
        ("import:test_it.py:test_memory:2", 2),
        ("import:test_it.py:test_memory:large", 3),
        ("import:test_it.py:test_other", 4),
    ]


def test_records_are_saved_as_a_run(tested, golden, pytester):
    """What is saved can be read as any run; a folder of something else is refused at once."""
    source = "import pytest\n\n@pytest.mark.rmmbench(peak='2GiB', device='cuda')\n"
    source += "def test_memory(rmmbench):\n    assert rmmbench.check('1GiB').memory\n"
    source += "    rmmbench.check('3GiB', peak='4GiB', name='<own>')\n"
    for _ in range(2):
        tested(source, "--rmmbench-save", "kept").assert_outcomes(passed=1)
    run = Run.open(pytester.path / "kept")
    assert [each.case.memory_device for each in run.records()] == ["cuda", "cuda"]
    assert len(tables_of(run).tables[0]) == 2
    assert len(run.info.profile.cases("predict", None)) == 2
    refused = tested(source, "--rmmbench-save", ".")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["ERROR: --rmmbench-save . holds something else*"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("'mlp', peak='lots'", "peak: a memory size must be a number and a unit*got 'lots'"),
        ("'mlp', peak=-1", "peak: a memory size must be*"),
        ("'mlp', tolerance=2", "tolerance: *must be at least 0 and below 1*"),
        (
            "lambda: LOCK",
            "<lambda> refers to something that cannot be sent to*",
        ),
        ("3", "*model must be a name of*"),
    ],
)
def test_bad_arguments_are_told_in_a_line(tested, monkeypatch, arguments, told):
    """A wrong limit, tolerance or step fails with what must hold, and measures nothing."""
    monkeypatch.setattr(checker, "measure_ways", None)
    source = f"import threading\nLOCK = threading.Lock()\n{check(arguments)}"
    tested(source).stdout.fnmatch_lines([f"E *{told}"])


def test_checks_of_other_processes_come_together(tested, golden, pytester, make_record):
    """Under xdist one table has the checks of all processes, and one run their records."""
    pytest.importorskip("xdist")
    record = make_record(peak=GIB).model_copy(update={"timeline": timeline(GIB)})
    pytester.path.joinpath("record.json").write_text(record.model_dump_json())
    pytester.makeconftest(
        "from pathlib import Path\n"
        "from rmmbench.pytest_plugin import checker\n"
        "from rmmbench.results.record import Record\n"
        "record = Record.model_validate_json(Path('record.json').read_text())\n"
        "checker.measure_ways = lambda *_, **__: [record]\n"
    )
    tests = "".join(
        f"def test_{i}(rmmbench):\n    rmmbench.check('mlp', peak='2GiB')\n" for i in range(4)
    )
    shared = ("-p", "xdist", "-n", "2", "--rmmbench-save", "kept")
    result = tested(tests, *shared, how="runpytest_subprocess")
    result.assert_outcomes(passed=4)
    assert sum("limit 2.00 GiB" in line for line in result.outlines) == 4
    assert len(Run.open(pytester.path / "kept").records()) == 4
