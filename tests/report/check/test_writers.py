"""What every way of writing a report keeps, and what each has of its own."""

import io
import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from rmmbench.cli.drawn_report import drawn_report
from rmmbench.report.check import WRITERS, github, junit, markdown, wording
from rmmbench.report.check.compare import compare
from rmmbench.report.check.report import Report
from rmmbench.results.counts import Counts
from rmmbench.units import GIB, MIB


def drawn(report, width=120, **about):
    """Return what the terminal has of a report."""
    console = Console(file=io.StringIO(), width=width)
    console.print(drawn_report(report, width, **about))
    return console.file.getvalue()


def rmm(rho):
    """The settings of a case of its own."""
    return {"method": "rmm", "sketch": "dct", "rho": rho}


@pytest.fixture
def report(make_record):
    """A case of every kind: the same, rose, fell, failed, missing, new, and too few steps."""
    few = {"step_seconds": (1.0,), "reference_step_seconds": (1.0,)}
    before = [make_record(), make_record(**rmm(0.7), **few)]
    before += [make_record(**rmm(rho)) for rho in (0.1, 0.2, 0.3, 0.4)]
    now = [make_record(), make_record(**rmm(0.7), **few)]
    now += [make_record(peak=int(11.4 * GIB), **rmm(0.1)), make_record(peak=8 * GIB, **rmm(0.2))]
    now += [make_record(outcome="error", **rmm(0.3)), make_record(**rmm(0.5))]
    return compare(before, now)


@pytest.fixture
def failing(make_record):
    """Build a report of one case that failed for a reason."""

    def make(reason, **settings):
        now = make_record(outcome="error", **settings).model_copy(update={"reason": reason})
        return compare([make_record(**settings)], [now])

    return make


@pytest.mark.parametrize("name", WRITERS.names())
def test_every_failure_is_written(name, report):
    """No format leaves out a case that makes the check fail."""
    text = WRITERS.get(name)(report)
    rhos = ("0.1", "0.3", "0.4")
    assert all(
        f"ρ={rho}" in text or f"rho={rho}" in text or f'"rho": {rho}' in text for rho in rhos
    )
    assert all(verdict in text for verdict in ("regressed", "failed", "missing"))


@pytest.mark.parametrize("name", WRITERS.names())
def test_warnings_are_written(name, report):
    """No format leaves out what makes the comparison doubtful."""
    assert "torch differs" in WRITERS.get(name)(replace(report, warnings=("torch differs",)))


@pytest.mark.parametrize("name", WRITERS.names())
def test_nothing_to_tell(name, make_record):
    """Every format can write a report in which nothing changed."""
    text = WRITERS.get(name)(compare([make_record()], [make_record()]))
    assert "regressed" not in text


def test_line_of_a_finding(report):
    """One line says what happened, by how much, the limit, and to which case."""
    case = "model=roberta-tiny task=mrpc batch_size=16 seq_len=103 sketch=dct"
    assert [wording.line(finding) for finding in report.findings[:5]] == [
        f"outcome is now error, was ok (it was told to fail): {case} rho=0.3",
        f"the case is missing, was ok: {case} rho=0.4",
        f"peak_allocated_bytes rose 14.0 % (limit 1.0 %): {case} rho=0.1",
        "relative_throughput did not change "
        "(limit 5.0 %, 1 pair of steps does not show the noise; raise min_steps in [timing]): "
        f"{case} rho=0.7",
        f"peak_allocated_bytes fell 20.0 % (limit 1.0 %): {case} rho=0.2",
    ]


def test_line_of_a_count(make_record):
    """A change of a count is told by how many, bytes in bytes; large values are in a unit."""
    some = {"flops": 2 * 10**13, "moved_bytes": GIB, "operator_calls": 2_135}
    more = {"flops": 2 * 10**13 + 1_000, "moved_bytes": GIB + 4, "operator_calls": 2_134}
    sides = [[make_record(counts=Counts(**each))] for each in (some, more)]
    found = {finding.what: finding for finding in compare(*sides).findings}
    case = "model=roberta-tiny task=mrpc batch_size=16 seq_len=103 method=exact"
    said = [wording.line(found[what]) for what in some]
    assert said == [
        f"flops rose 1,000 (limit 0): {case}",
        f"moved_bytes rose 4 B (limit 0 B): {case}",
        f"operator_calls fell 1 (limit 0): {case}",
    ]
    assert wording.shown("flops", 2 * 10**13) == "20.00 TFLOP"
    assert wording.shown("operator_calls", 2_135) == "2,135"


def test_line_of_a_small_case(make_record):
    """Where 2 MiB are the limit, the change is in bytes too; other settings are told by name."""
    settings = {"task": None, "model": "mlp", "seq_len": None, "include": ("a.*", "b")}
    settings |= {"method": "velora"}
    (before, now) = (
        make_record(saved=size, memory_device="cpu", **settings) for size in (MIB, 4 * MIB)
    )
    (finding, *_) = compare([before], [now]).findings
    assert wording.line(finding) == (
        "saved_bytes rose 3.0 MiB (limit 2.0 MiB): "
        "model=mlp batch_size=16 method=velora group_size=64 include=a.*,b"
    )
    assert wording.name(now.case) == "mlp 16 velora, groups of 64 include=a.*,b"


@pytest.mark.parametrize(
    ("choice", "words", "setting"),
    [
        ({"where": "beneficial"}, "dct, beneficial layers ρ=0.1", " where=beneficial"),
        ({"share": False}, "dct, unshared ρ=0.1", " share=false"),
        (
            {"where": "beneficial", "share": False},
            "dct, beneficial layers, unshared ρ=0.1",
            " where=beneficial share=false",
        ),
    ],
)
def test_choices_are_told_once(make_record, choice, words, setting):
    """Cases that differ in a choice alone are two cases, with two names, each said once."""
    plain, other = make_record(**rmm(0.1)), make_record(**rmm(0.1), **choice)
    report = compare([plain, other], [plain, other])
    assert len(report.cases) == 2
    assert wording.name(plain.case) == "roberta-tiny mrpc 16×103 dct ρ=0.1"
    assert wording.name(other.case) == f"roberta-tiny mrpc 16×103 {words}"
    assert setting in wording.settings(other.case)
    assert setting not in wording.settings(plain.case)


def test_terminal_table(report):
    """The table has the gravest case first, each change, what to do next, and the counts."""
    text = drawn(report)
    rows = [" ".join(row.split()) for row in text.splitlines()]
    assert [row[-3:] for row in rows if "ρ=" in row][:3] == ["0.3", "0.4", "0.1"]
    assert "roberta-tiny mrpc 16×103 dct ρ=0.1" in rows
    assert "peak memory 10.00 GiB 11.40 GiB +14.0 % 1.0 % regressed" in rows
    assert "throughput 1.000 1.000 +0.0 % 5.0 % not enough evidence" in rows
    assert "to keep what improved, make this run the baseline with --save" in rows
    assert rows[-1] == (
        "7 cases: 1 failed, 1 missing, 1 regressed, 1 not enough evidence, "
        "1 improved, 1 new, 1 same"
    )
    assert "exact" not in text


@pytest.mark.parametrize("width", [72, 80, 120])
def test_terminal_shows_every_case_if_asked(report, width):
    """Every case can be shown; at any usual width no number and no verdict is cut off."""
    lines = drawn(report, width, every=True).splitlines()
    assert "roberta-tiny mrpc 16×103 exact" in " ".join(" ".join(lines).split())
    assert all(len(line) <= width and "…" not in line for line in lines)


@pytest.fixture
def elsewhere(make_record):
    """A report on two cases, both timed on another processor than the baseline's."""
    times = (1.0,) * 8
    cases = [rmm(0.1), rmm(0.2)]
    before = [
        make_record(step_seconds=times, reference_step_seconds=times, **case) for case in cases
    ]
    other = before[0].environment.model_copy(update={"processor": "Another"})
    now = [record.model_copy(update={"environment": other}) for record in before]
    return compare(before, now)


def test_times_of_another_processor_are_one_remark(elsewhere):
    """However many cases are not compared, one line says so, why, and what to do."""
    assert " ".join(drawn(elsewhere).split()) == (
        "throughput of 2 cases not compared: processor differs: Golden CPU in the baseline, "
        "Another in the run; compare them anyway with --allow processor 2 cases: 2 not comparable"
    )


@pytest.mark.parametrize("name", WRITERS.names())
def test_what_is_not_comparable_fails_in_every_format(elsewhere, name):
    """No format lets what could not be compared look like a pass."""
    text = WRITERS.get(name)(elsewhere)
    assert "processor differs: Golden CPU in the baseline, Another in the run" in text
    assert "not comparable" in text
    if name == "json":
        assert (json.loads(text)["passed"], json.loads(text)["exit_code"]) == (False, 5)
    if name == "markdown":
        assert text.startswith("### rmmbench check failed")
    if name == "junit":
        assert ElementTree.fromstring(text).find("testsuite").get("failures") == "2"
    if name == "github":
        (line,) = text.splitlines()
        assert line.startswith("::error title=rmmbench check - not comparable::throughput of 2 ")


def test_markup_in_names_is_text(failing):
    """Brackets, bars and tags that come from outside do not change the table."""
    odd = failing("a | b\n<img> [red]", model="import:pkg[x]:make")
    assert "import:pkg[x]:make" in drawn(odd)
    assert "[red]" in drawn(odd)
    text = markdown.write(odd)
    assert "import:pkg\\[x\\]:make" in text
    assert "a \\| b &lt;img>" in text


def test_markdown_says_the_outcome_first(report):
    """The first line says whether the check passed; the table has a row for each change."""
    lines = markdown.write(report).splitlines()
    assert lines[0] == "### rmmbench check failed"
    assert any(
        line.endswith("| 10.00 GiB | 11.40 GiB | +14.0 % | 1.0 % | regressed |") for line in lines
    )
    assert markdown.write(Report(())).startswith("### rmmbench check passed")


def test_junit_counts_failures(report):
    """Each case is a test case; failures and too little evidence are marked and counted."""
    suite = ElementTree.fromstring(junit.write(report)).find("testsuite")
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors")} == {
        "tests": "7",
        "failures": "3",
        "skipped": "1",
        "errors": "0",
    }
    message = suite.find("testcase/failure[@type='regressed']").get("message")
    assert message.startswith("peak_allocated_bytes rose 14.0 % (limit 1.0 %): model=")


def test_junit_of_a_strict_check(report):
    """Where too little evidence fails the check, it fails the test case."""
    suite = ElementTree.fromstring(junit.write(replace(report, strict=True))).find("testsuite")
    assert suite.get("failures") == "4"
    assert suite.get("skipped") == "0"


def test_junit_is_xml_whatever_a_program_printed(failing):
    """Escape codes in a reason, which XML cannot hold, do not break the file."""
    text = junit.write(failing("\x1b[31mboom\x00 & <b>\ud800"))
    failure = ElementTree.fromstring(text.encode("utf-8")).find("testsuite/testcase/failure")
    assert "?[31mboom? & <b>?" in failure.get("message")


def test_github_levels(report):
    """What fails is an error, what nearly does a warning, and the rest is silent."""
    lines = github.write(report).splitlines()
    assert [line.split("::")[1].split(" ")[0] for line in lines] == ["error"] * 3 + ["warning"]
    strict = github.write(replace(report, strict=True)).splitlines()
    assert [line.split("::")[1].split(" ")[0] for line in strict] == ["error"] * 4


@pytest.mark.parametrize(("strict", "level"), [(False, "warning"), (True, "error")])
def test_github_tells_once_what_cannot_be_told(make_record, strict, level):
    """Cases that seem the same, of which two runs alone cannot be sure, are one annotation."""
    times = (1.0, 1.01) * 4
    timed = {"step_seconds": times, "reference_step_seconds": times}
    records = [make_record(**timed, **rmm(rho)) for rho in (0.1, 0.2, 0.3)]
    (line,) = github.write(replace(compare(records, records), strict=strict)).splitlines()
    start = f"::{level} title=rmmbench check - not enough evidence::throughput of 3 cases: cannot"
    assert line.startswith(start)


def test_github_escapes(failing):
    """A reason of many lines with percent signs stays one command."""
    (line,) = github.write(failing("100%\n::error::no")).splitlines()
    assert "(100%25 ::error::no)" in line
    (line,) = github.write(Report((), warnings=("a\nb",))).splitlines()
    assert line == "::warning title=rmmbench check::a%0Ab"


def test_github_summary_is_added(report, tmp_path, monkeypatch):
    """The summary of a step keeps what was in it."""
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert github.tell(report, io.StringIO()) is None
    assert path.read_text(encoding="utf-8").startswith("before\n### rmmbench check failed\n")


def test_json_has_the_numbers(report):
    """Numbers are in SI units, and what is not there is null."""
    data = json.loads(WRITERS.get("json")(report))
    assert data["passed"] is False
    assert data["counts"]["regressed"] == 1
    (case,) = [case for case in data["cases"] if case["verdict"] == "regressed"]
    assert case["case"]["rho"] == 0.1
    assert case["findings"][0] == {
        "verdict": "regressed",
        "what": "peak_allocated_bytes",
        "baseline": 10 * GIB,
        "now": int(11.4 * GIB),
        "change": pytest.approx(0.14),
        "limit": pytest.approx(0.1 * GIB),
        "tolerance": 0.01,
        "reason": None,
        "excluded_fall": None,
    }


def test_training_is_named_in_short(make_trained):
    """A training run is named by its case, not by all the settings of its training."""
    case = make_trained(0.9, seed=3).case
    assert wording.name(case) == "roberta-tiny mrpc 16×103 exact seed=3"
    assert wording.settings(case).endswith("method=exact seed=3")


@pytest.mark.parametrize("name", WRITERS.names())
def test_training_runs_are_written(make_trained, name):
    """Every way of writing takes a report of training runs, what changed and what did not."""
    before = [make_trained(0.9, peak=10 * GIB), make_trained(0.9, seed=1)]
    now = [make_trained(0.9, peak=12 * GIB), make_trained(0.1, seed=1)]
    report = compare(before, now)
    assert "2" in WRITERS.get(name)(report)
    assert "score" in drawn(report)
