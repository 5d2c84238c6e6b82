"""A sheet of many panels is made in time that grows as they do."""

import plotly.graph_objects as go
import pytest

from rmmbench.report.figures import FigureData, get


def test_a_sheet_is_made_at_once(make_run, memory_cases, monkeypatch):
    """Nothing is added to a figure piece by piece, for which plotly checks the whole anew."""
    for name in ("add_trace", "add_shape", "add_annotation", "update_layout"):
        monkeypatch.setattr(go.Figure, name, lambda *_, **__: pytest.fail("added by the piece"))
    run = make_run(*memory_cases(sketches=("gaussian", "dct")))
    for name in ("figure2", "table3-memory"):
        assert get(name).draw(FigureData.of(run)).layout.annotations


def test_what_a_machine_says_is_no_tag(make_run, memory_cases):
    """A processor's name in angle brackets is shown, not taken for a mark of the figure."""
    records = [r.model_copy(update={"synthetic": "<b>made up</b>"}) for r in memory_cases()]
    note = get("figure2").draw(FigureData.of(make_run(*records))).layout.annotations[-1].text
    assert "&lt;b&gt;made up" in note
