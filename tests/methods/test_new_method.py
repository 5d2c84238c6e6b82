"""A method with a setting of its own is its file and its line in the registry, and nothing else."""

import json
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from rmmbench import methods
from rmmbench.cli import app
from rmmbench.registry import Entry
from rmmbench.report.check import wording
from rmmbench.report.labels import kind
from rmmbench.report.ways import way_names
from rmmbench.results.record import Record
from rmmbench.results.tidy import kind_columns, read_rows, setting_columns
from rmmbench.spec import profile
from rmmbench.spec.case import Case

FILE = '''"""Every few layers keep nothing."""

from contextlib import nullcontext
from typing import Annotated

from rmmbench.methods.method import Method
from rmmbench.spec.ranges import Count
from rmmbench.spec.settings import Setting, Settings


class SkippingSettings(Settings):
    every: Annotated[Count, Setting("every {} layers", varies=True)] = 2
    gently: Annotated[bool, Setting("gently")] = False


class Skipping(Method[SkippingSettings]):
    def apply(self, model, settings, batch):
        return settings.every

    def reference(self, model):
        return nullcontext()
'''

PROFILE = """
version = 1
title = "Skipping"

[[grid]]
model = ["mlp"]
batch_size = [4]
method = ["skipping"]
every = [3, 5]
gently = true
"""


@pytest.fixture(autouse=True)
def skipping(tmp_path, monkeypatch):
    """Add the method: a file beside the others, and one line."""
    (tmp_path / "skipping.py").write_text(FILE)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    entry = Entry("skipping:Skipping", "some layers", settings="skipping:SkippingSettings")
    monkeypatch.setitem(methods.METHODS._entries, "skipping", entry)
    yield
    methods.METHODS._loaded.pop("skipping", None)
    sys.modules.pop("rmmbench.methods.skipping", None)


@pytest.fixture
def cases(tmp_path) -> list[Case]:
    """Return the cases of a profile that varies the setting."""
    file = tmp_path / "skipping.toml"
    file.write_text(PROFILE)
    return profile.load(str(file)).cases("predict", None)


def test_a_profile_varies_it(cases):
    """Its setting is an axis of a grid; the label has its words, the JSON what is not usual."""
    assert [case.label for case in cases] == [
        "exact",
        "skipping, every 3 layers, gently",
        "skipping, every 5 layers, gently",
    ]
    assert json.loads(cases[1].model_dump_json())["steps"] == [
        ["skipping", {"every": 3, "gently": True}]
    ]
    assert methods.stack(cases[1].steps).apply(None, {}) == 3


def test_a_record_has_its_column(cases, make_record: Any):
    """A case comes back from its record as it was, and tables and figures tell it apart."""
    records = [make_record(**dict(case)) for case in cases]
    read = [Record.model_validate_json(record.model_dump_json()) for record in records]
    assert [record.case for record in read] == cases
    assert len({record.key for record in read}) == 3
    rows = read_rows(read)
    assert [row["every"] for row in rows] == [None, 3, 5]
    assert [row["gently"] for row in rows] == [False, True, True]
    assert {"every", "gently"} <= {*setting_columns()}
    assert kind(rows[1], kind_columns()).endswith("every 3 layers, gently")
    names = [f"skipping, every {every} layers" for every in (3, 5)]
    assert list(way_names(rows).values())[1:] == names
    assert "method=skipping every=5 gently=true" in wording.settings(cases[2])


def test_it_is_listed():
    """`rmmbench list methods` has it."""
    found = CliRunner().invoke(app, ["list", "methods"])
    assert "skipping" in found.output


def test_its_settings_are_no_others(tmp_path):
    """What it alone has is refused where it is not, and a slip is told with its name."""
    with pytest.raises(ValueError, match="it is a setting of skipping, and the case has quantize"):
        Case.model_validate({"model": "mlp", "batch_size": 4, "method": "quantize", "every": 3})
    with pytest.raises(ValueError, match="'evry'; did you mean 'every'"):
        Case.model_validate({"model": "mlp", "batch_size": 4, "method": "skipping", "evry": 3})
