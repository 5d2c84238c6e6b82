"""Every number and text of a record, a case and a profile has its range."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from rmmbench.registry import open_set
from rmmbench.results.record import Record
from rmmbench.results.store import RunInfo
from rmmbench.spec.case import Case
from rmmbench.spec.grid import grid_class
from rmmbench.spec.profile import Profile
from rmmbench.spec.steps import settings_class

CASE = {"model": "mlp", "batch_size": 4}


def models(root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a model and all that its fields are made of."""
    yield root
    for field in root.model_fields.values():
        for kind in parts(field.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from models(kind)


def parts(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation is made of, those with a range as `Annotated`."""
    yield annotation
    if get_origin(annotation) is not Annotated:
        for argument in get_args(annotation):
            yield from parts(argument)


SETTINGS = [
    settings_class(folder, name)
    for folder in ("methods", "sketches")
    for name in open_set(folder).names()
]
BARE = [
    pytest.param(model, name, id=f"{model.__name__}.{name}")
    for model in dict.fromkeys([*models(RunInfo), *models(Record), grid_class(), *SETTINGS])
    for name, field in model.model_fields.items()
    if not field.metadata and {int, float, str, bool} & set(parts(field.annotation))
]


def test_no_field_is_a_bare_number_or_text():
    """Each field says what range it has, in the type or by its allowed values."""
    # What a grid changes of training is judged as the training settings that it makes; what a step
    # is told, as the settings of its method.
    assert [each.id for each in BARE] == ["Grid.training"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 2**63),
        ("seed", -1),
        ("batch_size", 2**63),
        ("batch_size", 10**400),
        ("proj_dim", 2**53),
        ("memory_limit_bytes", 10**30),
        ("model", "a\nb"),
        ("model", "::error::gone"),
        ("model", "\x1b[2J"),
        ("model", "\ud800"),
        ("model", "x" * 3000),
        ("sketch", "dct\x00"),
        ("include", ("a\u2028b",)),
        ("timing", {"max_seconds": 1e300}),
        ("training", {"learning_rate": 1e300}),
    ],
)
def test_a_case_beyond_its_range_is_not_made(name, value):
    """What could be measured and never read again is refused before it is measured."""
    with pytest.raises(ValidationError, match=name):
        Case.model_validate(CASE | {name: value})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("timing.step_seconds", []),
        ("timing.step_seconds", [0.0]),
        ("timing.step_seconds", [-1.0]),
        ("timing.step_seconds", [1e300]),
        ("timing.reference_step_seconds", [0.0]),
        ("timing.samples_per_second", 0),
        ("timing.relative_throughput", -1.0),
        ("memory.peak_allocated_bytes", -1),
        ("memory.peak_allocated_bytes", 2**63),
        ("memory.saved_bytes", True),
        ("memory.saved_bytes", "4"),
        ("gradient", {"device": "cpu", "errors": [], "mean_error": 0.0}),
        ("timeline", {"device": "cpu", "operators": 1, "points": [], "epoch": []}),
        ("converted", -1),
        ("wall_seconds", -1.0),
    ],
)
def test_a_record_that_cannot_be_is_none(make_record, path, value):
    """A number that no step has, or a list of nothing, makes no record."""
    data = json.loads(make_record(step_seconds=(0.1, 0.2)).model_dump_json())
    *above, last = path.split(".")
    place = data
    for name in above:
        place = place[name]
    place[last] = value
    with pytest.raises(ValidationError, match=path):
        Record.model_validate_json(json.dumps(data))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("lone \ud800", r"lone \ud800"),
        ("a\nb\x1b[31m", r"a b\x1b[31m"),
        ("x" * 50_000, "x" * 1999 + "…"),
    ],
)
def test_what_a_program_said_is_made_a_line(make_record, said, kept):
    """No text of a case stops its record from being written, nor does it do harm when read."""
    made = make_record(outcome="error")
    data = dict(made) | {"reason": said, "warnings": (said,), "missing": {"timing": said}}
    record = Record.model_validate_json(Record.model_validate(data).model_dump_json())
    assert (record.reason, record.warnings, record.missing) == (kept, (kept,), {"timing": kept})


def test_a_profile_beyond_its_range_is_refused():
    """Numbers of a profile have their range too, as large as somebody may want them."""
    grid = [{"model": ["mlp"], "batch_size": [4], "rho": [0.5]}]
    with pytest.raises(ValidationError, match="time_limit_seconds"):
        Profile(version=1, title="x", grid=grid, time_limit_seconds=1e300)
    assert Profile(version=1, title="x", grid=grid, time_limit_seconds=1e6)


def test_no_line_begins_with_a_workflow_command(make_record):
    """What GitHub would take for a command at the start of a line is none, wherever it wraps."""
    failed = make_record(outcome="error")
    said = dict(failed) | {"reason": "::error::gone a ::stop-commands::x c10::Error"}
    assert Record.model_validate(said).reason == ": :error::gone a : :stop-commands::x c10::Error"
