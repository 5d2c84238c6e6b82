"""Writes figures to files: an HTML page that needs no network, or an image by a local browser."""

from collections.abc import Mapping
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rmmbench.errors import UnknownNameError, UsageError
from rmmbench.results.whole_file import write_whole

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as Drawing

# The page may load only itself and the picture that its download button makes.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; form-action 'none'"
)
# By default plotly adds a button that uploads the chart.
SETTINGS = {"displaylogo": False, "showSendToCloud": False, "responsive": False}
FORMATS = ("html", "png", "svg", "pdf")
PNG_SCALE = 2  # pixels of the image per pixel of the figure, so that it is sharp on a projector


def write(drawings: "Mapping[Path, Drawing]", file_format: str) -> None:
    """Write each figure to its path, atomically; create missing folders.

    Raises:
        UnknownNameError: If the format is not in `FORMATS`.
        UsageError: If a program that images need is missing, or a file cannot be written.
    """
    if file_format not in FORMATS:
        raise UnknownNameError("format", file_format, FORMATS)
    if file_format == "html":
        contents = {path: _page(drawing).encode() for path, drawing in drawings.items()}
    else:
        contents = _images(drawings, file_format)
    for path, content in contents.items():
        _write(path, content)


def plotly_script() -> str:
    """Return plotly.js, for a page of several figures."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _page(drawing: "Drawing") -> str:
    """Return a page that contains all it needs to show the figure and may load nothing else."""
    page = drawing.to_html(include_plotlyjs=True, include_mathjax=False, config=SETTINGS)
    title = f"<title>{escape(drawing.layout.meta['title'])}</title>"
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    return str(page).replace("<head>", f"<head>\n    {policy}\n    {title}", 1)


def _images(drawings: "Mapping[Path, Drawing]", file_format: str) -> dict[Path, bytes]:
    """Return each figure as an image; one browser draws all."""
    import asyncio

    needs = f"--format {file_format} needs"
    if find_spec("kaleido") is None:
        hint = "pip install 'rmmbench[images]' or use --format html"
        raise UsageError(f"{needs} the package kaleido, which is not installed; {hint}")
    from kaleido.errors import BrowserFailedError, ChromeNotFoundError

    try:
        return asyncio.run(_drawn_by_browser(drawings, file_format))
    except ChromeNotFoundError:
        fault = "none was found; install one"
    except BrowserFailedError:
        fault = "it did not start; repair it"
    raise UsageError(f"{needs} a Chrome or Chromium, and {fault} or use --format html")


async def _drawn_by_browser(
    drawings: "Mapping[Path, Drawing]", file_format: str
) -> dict[Path, bytes]:
    from kaleido import Kaleido

    options = {"format": file_format, "scale": PNG_SCALE if file_format == "png" else 1}
    # By default kaleido fetches MathJax from the network; no figure here needs it.
    async with Kaleido(mathjax=False) as browser:
        return {path: await browser.calc_fig(each, options) for path, each in drawings.items()}


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        reason = f"{path} cannot be written: {error.strerror}"
        raise UsageError(f"{reason}; free space or give another --out") from error
