"""The page in a real browser, by width and colours: nothing is cut, and all of it works.

The page takes a second to load, so the tests share one tab, which each leaves as it found it.
"""

import itertools
import re
import shutil
from types import SimpleNamespace

import pytest

from rmmbench.report.check import baseline
from rmmbench.report.page.html_page import html_page
from rmmbench.results.store import Run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

WIDTHS = (1440, 768, 390)
DRAWN = "html[data-drawn=all]"  # what the page says of itself when every figure is there
HOSTILE = "</script><img src=x onerror=alert(1)>"
SECONDS = 2000  # milliseconds within which the page is there to be read
PATIENCE = 60_000


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Write the page of a real run, twenty cases with times and errors, and of hostile texts."""
    folder = tmp_path_factory.mktemp("page")
    run = Run.open(baseline.find("frontier-cpu"))
    profile = run.info.profile.model_copy(update={"title": HOSTILE})
    hurt = Run.create(folder / "run", run.info.model_copy(update={"profile": profile}))
    for record in run.records():
        hurt.append(record.model_copy(update={"warnings": (HOSTILE,), "synthetic": HOSTILE}))
    path = folder / "report.html"
    path.write_text(html_page([hurt]), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    """Start the browser that is installed."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tab(browser, address):
    """Open the page; `complaints` has what the console, errors and dialogs told."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    complaints = []
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(address, timeout=PATIENCE)
    page.wait_for_selector(DRAWN, state="attached", timeout=PATIENCE)
    return SimpleNamespace(page=page, complaints=complaints)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nothing_is_cut(tab, width, colours):
    """The page is no wider than the window, and page and figures have the system's colours."""
    tab.page.set_viewport_size({"width": width, "height": 900})
    tab.page.emulate_media(color_scheme=colours)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.page.evaluate(wide) <= 0
    ground = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (colours == "light")
    drawn = "[...document.querySelectorAll('.plot')].map(each => each.dataset.theme)"
    assert set(tab.page.evaluate(drawn)) == {colours}


@pytest.mark.parametrize("width", WIDTHS)
def test_hovering_tells_a_point(tab, width):
    """A point under the pointer shows its numbers, also where the figure is drawn smaller."""
    tab.page.set_viewport_size({"width": width, "height": 900})
    plot = tab.page.locator(".plot").first
    plot.scroll_into_view_if_needed()
    boxes = [each.bounding_box() for each in plot.locator(".scatterlayer .point").all()[:20]]
    seen = next(box for box in boxes if 60 < box["x"] < width - 60)
    tab.page.mouse.move(seen["x"] + seen["width"] / 2, seen["y"] + seen["height"] / 2)
    hover = plot.locator(".hoverlayer .hovertext").first
    hover.wait_for(timeout=PATIENCE)
    assert "peak" in hover.text_content()


def test_tables_sort_and_filter(tab):
    """A heading sorts by its numbers, empty cells last, by keyboard too; words hide other rows."""
    page = tab.page
    table = page.locator("table.data").first
    heading = table.locator("th", has_text=re.compile("^relative")).first
    column = heading.evaluate("cell => cell.cellIndex")
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    cells = table.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()
    numbers = [float(cell) for cell in cells if re.fullmatch(r"[\d.]+", cell)]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) > 15
    assert not re.fullmatch(r"[\d.]+", cells[-1])
    page.get_by_label("Filter rows").first.fill("oporp bits")
    shown = table.locator("tbody tr:visible").all_inner_texts()
    assert 0 < len(shown) < len(cells)
    assert all("oporp" in text for text in shown)
    assert page.get_by_role("status").first.inner_text() == f"{len(shown)} of {len(cells)} rows"
    page.get_by_label("Filter rows").first.fill("")


def test_colours_can_be_chosen(tab):
    """The button turns page and figures dark and back, and the choice is kept."""
    page, drawn = tab.page, "document.querySelector('.plot').dataset.theme"
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="dark colours").click()
    assert page.evaluate(drawn) == "dark"
    assert page.evaluate("localStorage.getItem('rmmbench-theme')") == "dark"
    page.get_by_role("button", name="light colours").click()
    assert page.evaluate(drawn) == "light"


def test_every_part_has_a_name(tab):
    """Headings go down step by step, and every table, figure, field and button has a name."""
    page = tab.page
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(e => +e.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.locator("table.data:not(:has(caption))").count() == 0
    assert page.locator(".plot[role=group]:not([aria-label])").count() == 0
    assert page.locator(".plot svg:not([aria-hidden])").count() == 0
    for role in ("figure", "region", "button", "searchbox", "toolbar"):
        every = page.get_by_role(role).count()
        assert every > 0
        assert page.get_by_role(role, name=re.compile(r"\w")).count() == every


@pytest.mark.parametrize("width", [WIDTHS[0], WIDTHS[-1]])
def test_printed_figures_keep_to_their_place(tab, width):
    """In print no figure reaches over what stands below it, however small the window showed it."""
    tab.page.set_viewport_size({"width": width, "height": 900})
    tab.page.emulate_media(media="print")
    edges = "(plot, note) => plot.getBoundingClientRect().bottom - note.getBoundingClientRect().top"
    parts = "figure => ['.plot', '.note'].map(each => figure.querySelector(each))"
    figures = "[...document.querySelectorAll('figure.plot-part')]"
    frames = f"{figures}.map({parts}).map(each => ({edges})(...each))"
    found = tab.page.evaluate(frames)
    tab.page.emulate_media(media="screen")
    assert max(found) <= 0


def test_it_opens_at_once(tab):
    """The page is there to be read within two seconds, with plotly in it."""
    told = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    assert tab.page.evaluate(told) < SECONDS


def test_hostile_texts_do_nothing(tab):
    """No text of a run becomes a tag or runs: no dialog, no picture, and an empty console."""
    assert tab.page.locator("img").count() == 0
    assert tab.page.inner_text("h1") == HOSTILE
    assert tab.complaints == []


def test_without_scripts_there_are_the_tables(browser, address):
    """A browser without JavaScript shows every table, and the points of figures in words."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address, timeout=PATIENCE)
    text = page.inner_text("body")
    assert "memory-budget 0.5" in text
    assert "This figure is drawn by a script" in text
    assert page.locator("table.data").first.is_visible()
    assert page.locator("button:visible").count() == 0
    context.close()
