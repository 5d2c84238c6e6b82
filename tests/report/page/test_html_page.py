"""The page of runs: what it says, that it is safe, and that it says why a number is not there."""

import json
import re
import zlib
from base64 import b64decode
from html import unescape

import pytest

from rmmbench.report.check import baseline
from rmmbench.report.figures import FigureData
from rmmbench.report.page.answer import answer
from rmmbench.report.page.html_page import html_page
from rmmbench.results.store import Run
from rmmbench.spec.profile import Profile
from rmmbench.units import GIB

HOSTILE = "</script><img src=x onerror=alert(1)>"
RMM = {"method": "rmm", "sketch": "dct", "rho": 0.1}


def said(page):
    """Return the page's text as a reader has it, without style and scripts."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def figures(page):
    """Return the page's figures, as plotly takes them."""
    packed = re.findall(r'class="panels">([^<]*)</script>', page)
    return [json.loads(zlib.decompress(b64decode(each))) for each in packed]


@pytest.fixture
def run(make_run, make_record):
    """A run of exact and one sketch, whose peak is a quarter less; nothing was timed."""
    missing = {"missing": {"timing": "a prediction has no time"}}
    records = [make_record(peak=8 * GIB), make_record(peak=6 * GIB, **RMM)]
    return make_run(*(each.model_copy(update=missing) for each in records))


def test_a_run_on_one_page(run):
    """The page has the question, two sentences, the machine, the table, and the command."""
    page = html_page([run])
    text = said(page)
    assert "<h1>Golden</h1>" in page
    assert "dct ρ=0.1 saves most: its peak is 6.00 GiB in place of 8.00 GiB, 25.0 %" in text
    assert "Nothing was timed here" in text
    assert "Golden CPU, 2 CPUs" in text
    assert "git checkout 0123abc" in text
    assert "rmmbench sweep golden" in text
    assert "a prediction has no time" in text
    assert re.search(r'<td class="number" data-value="0.25">\s*25.0 %', page)


def test_plotly_stands_in_it_once_and_nothing_is_loaded(run, make_record):
    """All figures share one plotly.js; no script, style or picture comes from elsewhere."""
    for size in (32, 64):
        run.append(make_record(peak=size * GIB, batch_size=size))
    page = html_page([run])
    assert page.count("plotly.js v") == 1
    assert page.count('class="panels"') == 2
    assert not re.search(r'<(script|link|img|iframe)\b[^>]*(src|href)=["\']?(?!#)', page)
    assert len(page.encode()) < 5_500_000


def test_a_page_of_twenty_cases_is_small():
    """The largest committed comparison of methods is below 5.5 MB with everything in it."""
    assert len(html_page([Run.open(baseline.find("frontier-cpu"))]).encode()) < 5_500_000


def test_long_timelines_are_drawn_whole():
    """Thirty-two cases of memory over time are below 5.5 MB, with every recorded moment in them."""
    run = Run.open(baseline.find("figure8-predict"))
    page = html_page([run])
    assert len(page.encode()) < 5_500_000
    lines = {tuple(trace["y"]) for of in figures(page) for trace in of["data"] if "y" in trace}
    points = {len(record.timeline.points) for record in run.records()}
    assert sum(len(line) in points for line in lines) >= 32


def test_cases_that_differ_in_one_thing_have_titles_of_their_own(make_run, make_record):
    """Cases that only dtype or GPU tell apart are told apart wherever the page names them."""
    changes = ({}, {"dtype": "bfloat16"}, {"gpu": "v100-16gb"})
    records = [make_record(outcome="error", **RMM, **each) for each in changes]
    records = [each.model_copy(update={"missing": {"memory": "it failed"}}) for each in records]
    again = make_run(*records, name="again")
    text = said(html_page([make_run(*records), again]))
    title = "roberta-tiny 16×103 dct ρ=0.1 dtype"
    assert text.count(f"{title}=float32 gpu=v100-16gb") == text.count(f"{title}=bfloat16")
    assert text.count(f"{title}=bfloat16") == 5


def test_a_plan_says_how_it_was_made(make_run, make_record):
    """A page of a saving plan has what it does, and what was predicted when it was made."""
    predicted = {"peak_bytes": 6 * GIB, "exact_peak_bytes": 8 * GIB, "limit_bytes": 7 * GIB}
    predicted |= {"noise": 0.125, "noise_by": "its closed form"}
    predicted |= {"relative_throughput": 0.9, "time_by": "a model of a V100"}
    plan = {"model": "roberta-tiny", "title": "fastest", "checkpoint": ["0-2"]}
    made = make_record(peak=6 * GIB, method="plan", plan=plan | {"predicted": predicted})
    by_hand = make_record(peak=6 * GIB, method="plan", plan=plan | {"checkpoint": ["0"]})
    text = said(html_page([make_run(make_record(peak=8 * GIB), made, by_hand)]))
    assert "made by `rmmbench plan`: 3 blocks computed again. Predicted then: peak 6.00" in text
    assert "within 7.00 GiB, exact's 8.00 GiB; noise 0.125 by its closed form; 0.900 of" in text
    assert "written by hand: 1 block computed again" in text


def test_hostile_texts_do_nothing(make_run, make_record):
    """Whatever a record, a profile, notes or a folder's name says is text, and none is a tag."""
    hurt = {"processor": HOSTILE, "commit": HOSTILE}
    records = [
        make_record(peak=8 * GIB).model_copy(
            update={"warnings": (HOSTILE,), "missing": {"timing": HOSTILE}, "synthetic": HOSTILE}
        ),
        make_record(outcome="error", **RMM).model_copy(update={"reason": HOSTILE}),
        make_record(peak=6 * GIB, method="rmm", sketch="dct", rho=0.5),
    ]
    environment = records[0].environment.model_copy(update=hurt)
    profile = Profile.model_validate(
        {"version": 1, "title": HOSTILE, "grid": [{"model": ["mlp"], "rho": [0.5]}]}
    )
    run = make_run(*records, name="<img>", profile=profile, environment=environment)
    (run.path / "notes.md").write_text(f"{HOSTILE}\n\n[x](javascript:alert(1)) [y](../z.md)\n")
    page = html_page([run])
    assert "<img" not in page
    assert 'href="javascript' not in page
    assert page.count(HOSTILE.replace("<", "&lt;").replace(">", "&gt;")) > 5
    # Each script ends where it ends: there are as many ends as beginnings.
    assert page.count("<script") == page.count("</script>")


@pytest.mark.parametrize("name", baseline.names())
def test_every_committed_run_has_an_answer(name):
    """The two sentences can be made of whatever was measured, and are sentences."""
    run = Run.open(baseline.find(name))
    records = run.records()
    data = FigureData.of_records(records, run.info.profile, run.info.environment)
    sentences = answer(records, data)
    assert len(sentences) == 2
    for each in sentences:
        assert re.fullmatch(r"\S.*[.]", each)
        assert not re.search(r"None|nan|inf\b|  |\.\.", each), each


def test_no_records_yet(make_run):
    """A run that has just begun has a page, which says so and how to go on."""
    text = said(html_page([make_run()]))
    assert "There are no records yet." in text
    assert "rmmbench sweep golden" in text


def test_failed_cases_only(make_run, make_record):
    """Where no case gave a number, the page counts how they ended, and each has its reason."""
    failed = [make_record(outcome="out_of_memory"), make_record(outcome="timeout", **RMM)]
    text = said(html_page([make_run(*failed)]))
    assert "No case gave a number: of 2 cases, 1 out of memory, 1 timeout." in text
    assert text.count("it was told to fail") >= 2


def test_runs_side_by_side(make_run, make_record, run):
    """A second run is judged against the first, and every case has a column of each."""
    worse = make_run(make_record(peak=8 * GIB), make_record(peak=7 * GIB, **RMM), name="later")
    page = html_page([run, worse])
    text = said(page)
    assert "later against run" in text
    assert "1 regressed, 1 same" in text
    assert "+16.7 %" in text
    assert "peak memory run" in text
    assert "peak memory later" in text
    assert page.count("plotly.js v") == 1


def test_runs_that_cannot_be_compared(make_run, make_record, run):
    """Runs of other cases stand side by side, with the reason why none is judged by another."""
    other = make_run(make_record(peak=GIB, model="mlp"), name="other", profile_hash="another")
    text = said(html_page([run, other]))
    assert "cannot be compared" in text
    assert "Not compared: profile differs" in text


def test_commits_are_a_line(make_run, make_record):
    """Records of two commits make a figure over time, in the order in which they were measured."""

    def of(commit, peak, day):
        environment = make_record().environment.model_copy(update={"commit": commit})
        record = make_record(peak=peak, environment=environment)
        return record.model_copy(update={"started_at": f"2026-11-{day}T00:00:00+00:00"})

    page = html_page([make_run(of("bbbbbbb1", 8 * GIB, 20), of("aaaaaaa1", 9 * GIB, 21))])
    assert "Over time" in page
    (figure,) = figures(page)
    assert figure["layout"]["xaxis"]["ticktext"] == ["bbbbbbb1", "aaaaaaa1"]
    assert [trace["marker"]["symbol"] for trace in figure["data"] if "symbol" in trace["marker"]]
    assert "aaaaaaa1 2026-11-21" in said(page)
    assert "peak memory 8.00 GiB 9.00 GiB +12.5 % exact" in said(page)


def test_notes_keep_what_a_page_can_hold(run):
    """Remarks are shown as they are meant; a link to a file that is not there becomes its words."""
    (run.path / "notes.md").write_text("All *well*: [other](../x/README.md), [a](https://a.org)\n")
    page = html_page([run])
    assert 'All <em>well</em>: other, <a href="https://a.org">a</a>' in page
