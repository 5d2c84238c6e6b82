"""The page in a real browser, by width and colours: nothing is cut, and all of it works."""

import re
import shutil
from pathlib import Path

import pytest

from rmmbench.report.check import baseline
from rmmbench.report.page.html_page import html_page
from rmmbench.results.store import Run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

DRAWN = "html[data-drawn=all]"  # what the page says of itself when every figure is there
WIDTHS = (1440, 768, 390)
OPENS_WITHIN = 2.0  # seconds


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Write the page of a real run, of twenty cases with times and errors; return its address."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html_page([Run.open(baseline.find("frontier-cpu"))]), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    """Start the browser that is installed."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """Open the page; what its console complained of is in `page.complaints`."""
    contexts = []

    def opened(width=1440, at=address, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.complaints = []
        page.on("console", lambda said: page.complaints.append(said.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(at)
        if settings.get("java_script_enabled", True):
            page.wait_for_selector(DRAWN, state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nothing_is_cut(opened, width, colours):
    """The page is no wider than the window, draws every figure, and the console stays empty."""
    page = opened(width, color_scheme=colours)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0
    assert page.locator(".plot .main-svg").count() >= 2
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (colours == "light")
    assert page.complaints == []


def test_tables_sort_and_filter(opened):
    """A heading sorts by its numbers, empty cells last, by keyboard too; words hide other rows."""
    page = opened()
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
    shown = table.locator("tbody tr:visible")
    assert 0 < shown.count() < len(cells)
    assert all("oporp" in text for text in shown.all_inner_texts())
    assert page.get_by_role("status").first.inner_text() == f"{shown.count()} of {len(cells)} rows"


@pytest.mark.parametrize("width", WIDTHS)
def test_hovering_tells_a_point(opened, width):
    """A point under the pointer shows its numbers, also where the figure is drawn smaller."""
    page = opened(width)
    plot = page.locator(".plot").first
    plot.scroll_into_view_if_needed()
    point = plot.locator(".scatterlayer .point").first
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    hover = plot.locator(".hoverlayer .hovertext")
    hover.first.wait_for(timeout=3000)
    assert "peak" in hover.first.text_content()


def test_colours_can_be_chosen(opened):
    """The button turns page and figures dark and back, and the choice is kept."""
    page = opened(color_scheme="light")
    drawn = "document.querySelector('.plot').dataset.theme"
    page.get_by_role("button", name="dark colours").click()
    assert page.evaluate(drawn) == "dark"
    page.reload()
    page.wait_for_selector(DRAWN, state="attached")
    assert page.evaluate(drawn) == "dark"
    page.get_by_role("button", name="light colours").click()
    assert page.evaluate(drawn) == "light"


def test_it_opens_at_once(opened):
    """The page can be read, with plotly and its tables, within two seconds of being opened."""
    told = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    took = [opened().evaluate(told) for _ in range(2)]
    assert min(took) < 1000 * OPENS_WITHIN


def test_without_scripts_there_are_the_tables(opened):
    """A browser without JavaScript shows every table, and the points of figures in words."""
    page = opened(java_script_enabled=False)
    text = page.inner_text("body")
    assert "memory-budget 0.5" in text
    assert "This figure is drawn by a script" in text
    assert page.locator("table.data").first.is_visible()
    assert page.locator("button:visible").count() == 0


def test_hostile_names_do_nothing_in_a_browser(opened, make_run, make_record, tmp_path):
    """No text of a run becomes a tag or runs: there is no dialog, picture or complaint."""
    hostile = "</script><img src=x onerror=alert(1)>"
    record = make_record().model_copy(update={"warnings": (hostile,), "synthetic": hostile})
    other = make_record(peak=2**30, method="rmm", sketch="dct", rho=0.5)
    path = tmp_path / "page.html"
    path.write_text(html_page([make_run(record, other)]), encoding="utf-8")
    page = opened(at=Path(path).as_uri())
    dialogs = []
    page.on("dialog", dialogs.append)
    assert page.locator("img").count() == 0
    assert hostile in page.inner_text("body")
    assert (dialogs, page.complaints) == ([], [])
