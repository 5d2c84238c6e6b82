"""Figures as files: a page that needs no network, and images where a browser is found."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from rmmbench.errors import UnknownNameError, UsageError
from rmmbench.report.figures import FORMATS, FigureData, get, write

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chrome or Chromium is here")
MAGIC = {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}


@pytest.fixture
def drawing(make_run, memory_cases, timed_cases):
    """Figure 2, with three lines on the left and two on the right."""
    records = memory_cases() + timed_cases(batch_size=8) + timed_cases(task="cola", seq_len=47)
    return get("figure2").draw(FigureData.of(make_run(*records)))


@pytest.fixture
def page(drawing, tmp_path):
    """Figure 2 as a page."""
    path = tmp_path / "figure2.html"
    write({path: drawing}, "html")
    return path


@pytest.fixture
def dom(page, tmp_path):
    """What a browser without network makes of the page."""
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    alone = ["--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND"]
    profile = f"--user-data-dir={tmp_path / 'browser'}"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *quiet, *alone, profile]
    command += ["--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


class Outside(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self):
        """Start with nothing."""
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        """Keep every address in a tag."""
        addresses = [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.found += [(tag, value) for value in addresses]


def test_page_is_whole(page):
    """The page has plotly itself inside, fetches nothing, and forbids the browser to."""
    text = page.read_text(encoding="utf-8")
    outside = Outside()
    outside.feed(text)
    assert outside.found == []
    assert "Content-Security-Policy\" content=\"default-src 'none'" in text
    assert len(text) > 2**20
    assert "<title>Peak memory and relative throughput</title>" in text


@needs_browser
def test_page_is_drawn_without_network(dom):
    """A browser without network draws every line, its marks and the legends."""
    # In the legend a line is drawn with h, in the panel with L.
    assert len(re.findall(r'<path class="js-line"[^>]* d="M[^"h]*L', dom)) == 3 + 2
    assert dom.count('<path class="point"') >= 3 * 3 + 2 * 2
    legend = set(re.findall(r'class="legend2?text"[^>]*>([^<]+)<', dom))
    assert {"No RMM", "ρ=0.5", "ρ=0.1", "CoLA", "MRPC"} <= legend
    assert "peak memory, GiB" in dom
    assert "Inputs and labels are random." in dom


@needs_browser
def test_page_offers_no_upload(dom):
    """The page has plotly's buttons, but not the one that sends the chart away."""
    titles = re.findall(r'class="modebar-btn"[^>]*data-title="([^"]+)"', dom)
    assert "Reset axes" in titles
    assert not [title for title in titles if "hare" in title or "loud" in title]


@needs_browser
@pytest.mark.parametrize("file_format", MAGIC)
def test_images(drawing, tmp_path, file_format):
    """Each image format is written as what it is."""
    path = tmp_path / f"figure2.{file_format}"
    write({path: drawing}, file_format)
    content = path.read_bytes()
    assert content.startswith(MAGIC[file_format])
    assert len(content) > 10_000


def test_images_take_nothing_from_the_network(drawing, tmp_path, monkeypatch):
    """The browser is not told to fetch MathJax, and draws all figures of one call."""
    started = []

    class Browser:
        def __init__(self, **settings):
            started.append(settings)

        async def __aenter__(self):
            return self

        async def __aexit__(self, *error):
            pass

        async def calc_fig(self, figure, options):
            return b"drawn"

    monkeypatch.setattr("kaleido.Kaleido", Browser)
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    write(dict.fromkeys(paths, drawing), "png")
    assert started == [{"mathjax": False}]
    assert [path.read_bytes() for path in paths] == [b"drawn"] * 2


def test_formats_are_tested():
    """Every format is either the page or an image that is tested here."""
    assert set(FORMATS) == {"html", *MAGIC}


def test_unknown_format(drawing, tmp_path):
    """A format that is none is refused by name."""
    with pytest.raises(UnknownNameError, match="no format named 'gif'; choose from: html, png"):
        write({tmp_path / "figure2.gif": drawing}, "gif")


def test_no_browser(drawing, tmp_path, monkeypatch):
    """Without a Chrome or Chromium the error says what to do."""
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nothing"))
    with pytest.raises(UsageError) as raised:
        write({tmp_path / "figure2.png": drawing}, "png")
    assert str(raised.value) == (
        "--format png needs a Chrome or Chromium, and none was found; "
        "install one or use --format html"
    )
    assert not (tmp_path / "figure2.png").exists()


def test_broken_browser(drawing, tmp_path, monkeypatch):
    """A browser that ends at once is told apart from none."""
    monkeypatch.setenv("BROWSER_PATH", str(shutil.which("false")))
    with pytest.raises(UsageError, match="and it did not start; repair it or use --format html"):
        write({tmp_path / "figure2.svg": drawing}, "svg")


def test_no_kaleido(drawing, tmp_path, monkeypatch):
    """Without kaleido the error names the extra that brings it."""
    monkeypatch.setattr("rmmbench.report.figures._write.find_spec", lambda name: None)
    with pytest.raises(UsageError) as raised:
        write({tmp_path / "figure2.pdf": drawing}, "pdf")
    assert str(raised.value) == (
        "--format pdf needs the package kaleido, which is not installed; "
        "pip install 'rmmbench[images]' or use --format html"
    )


def test_unwritable(drawing, tmp_path):
    """A path that cannot be written is named, with the system's reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/figure2\.html cannot be written: .+; free space"):
        write({tmp_path / "file" / "figure2.html": drawing}, "html")


def test_a_full_disk_leaves_the_old_file(page, drawing, monkeypatch):
    """Where the new file cannot be finished the old one stands, and nothing half lies about."""
    old = page.read_bytes()
    monkeypatch.setattr("pathlib.Path.write_bytes", _full)
    with pytest.raises(UsageError, match="No space left on device"):
        write({page: drawing}, "html")
    assert page.read_bytes() == old
    assert [path.name for path in page.parent.glob("figure2*")] == ["figure2.html"]


def _full(path, content):
    with path.open("wb") as file:
        file.write(content[:10])
    raise OSError(28, os.strerror(28))


def test_only_images_need_kaleido(wide_run):
    """A page is written where kaleido is not installed."""
    program = (
        "import sys\nsys.modules['kaleido'] = None\n"
        "from pathlib import Path\nfrom rmmbench.results.store import Run\n"
        "from rmmbench.report.figures import FigureData, get, write\n"
        f"run = Run.open(Path({str(wide_run.path)!r}))\n"
        "write({run.path / 'f.html': get('figure2').draw(FigureData.of(run))}, 'html')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (wide_run.path / "f.html").exists()
