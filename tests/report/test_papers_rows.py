"""Published numbers find the case that they are of, and no other."""

import pytest

from rmmbench.report.papers_rows import find, matches, peak, relative_throughput, saving, sources
from rmmbench.results.tidy import read_rows
from rmmbench.spec.profile import Profile
from rmmbench.spec.published import Published

ROWS = [
    {
        "model": "roberta-tiny",
        "task": "mrpc",
        "batch_size": 16,
        "peak_gib": 10.0,
        "source": "Table 3, left",
    },
    {
        "model": "roberta-tiny",
        "task": "mrpc",
        "batch_size": 16,
        "rho": 0.5,
        "peak_gib": 9.0,
        "source": "Table 3, left",
    },
    {"model": "roberta-tiny", "task": "mrpc", "minutes": 10.0, "source": "Table 3, right"},
    {
        "model": "roberta-tiny",
        "task": "mrpc",
        "sketch": "dct",
        "rho": 0.5,
        "minutes": 16.0,
        "source": "Table 3, right",
    },
]


@pytest.fixture
def profile(make_run):
    """The golden profile with the rows above."""
    golden = make_run(name="golden").info.profile
    return Profile.model_validate(golden.model_dump() | {"published": ROWS})


@pytest.fixture
def row(make_record):
    """Make the row of one case; ρ makes it one of the method rmm, by the paper's choice."""

    def make(rho=None, sketch="dct", **settings):
        how = {"method": "rmm", "sketch": sketch, "rho": rho, "share": False} if rho else {}
        how = how if settings.get("method", "rmm") == "rmm" else {"rho": rho}
        return read_rows([make_record(**how | settings)])[0]

    return make


def test_find(profile, row):
    """Each field comes from the row that has it: of exact, of any sketch, of one sketch."""
    assert find(profile, row(), "peak_gib") == 10
    assert find(profile, row(), "minutes") == 10
    assert find(profile, row(0.5), "peak_gib") == 9
    assert find(profile, row(0.5, "gaussian"), "peak_gib") == 9
    assert find(profile, row(0.5), "minutes") == 16


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 32},
        {"task": "cola"},
        {"task": None},
        {"method": "rmm", "sketch": "dct", "rho": 0.2},
        {"method": "checkpoint"},
    ],
)
def test_nothing_is_published_of_other_cases(profile, row, settings):
    """A case that differs in what the row names is not the published one."""
    assert find(profile, row(**settings), "peak_gib") is None


def test_a_published_method_is_of_that_method(profile, row):
    """A row that names a method is of that one: with the ρ of another it is not taken for it."""
    rows = [
        {"model": "roberta-tiny", "task": "mrpc", "method": "exact-rp", "rho": 0.1, "score": 72.61},
        {"model": "roberta-tiny", "task": "mrpc", "rho": 0.1, "score": 70.99},
        {"model": "roberta-tiny", "task": "mrpc", "method": "exact", "score": 72.87},
    ]
    rows = [row | {"source": "Table 5"} for row in rows]
    changed = Profile.model_validate(profile.model_dump() | {"published": rows})
    assert find(changed, row(method="exact-rp", rho=0.1, sketch=None), "score") == 72.61
    assert find(changed, row(0.1), "score") == 70.99
    assert find(changed, row(), "score") == 72.87


def test_another_sketch_is_not_the_published_one(profile, row):
    """A row that names its sketch is of that one only."""
    assert find(profile, row(0.5, "gaussian"), "minutes") is None


@pytest.mark.parametrize(
    "settings",
    [
        {"share": True},
        {"where": "beneficial"},
        {"sketch": "gaussian", "block_rows": 103},
        {"include": ("*.query",)},
        {"exclude": ("classifier.*",)},
    ],
)
def test_the_papers_numbers_are_of_its_own_choice(profile, row, settings):
    """The paper sketches every linear layer, Q, K and V apart; what it printed is of no other."""
    assert find(profile, row(0.5, **settings), "peak_gib") is None
    assert saving(profile, row(0.5, **settings)) is None
    assert relative_throughput(profile, row(0.5, **settings)) is None


def test_a_column_can_be_left_out(profile, row):
    """A match can leave a column aside, as a line over batch sizes does."""
    published = profile.published[0]
    assert not matches(published, row(batch_size=32))
    assert matches(published, row(batch_size=32), but=("batch_size",))


def test_saving(profile, row):
    """The saving is as printed, or else from the published peaks; exact has none."""
    assert saving(profile, row(0.5)) == pytest.approx(0.1)
    printed = ROWS[1] | {"saved_percent": 10.4}
    changed = Profile.model_validate(profile.model_dump() | {"published": [ROWS[0], printed]})
    assert saving(changed, row(0.5)) == pytest.approx(0.104)
    assert saving(profile, row()) is None
    assert saving(profile, row(0.2)) is None


def test_relative_throughput(profile, row):
    """Published minutes without RMM ÷ those of the case."""
    assert relative_throughput(profile, row(0.5)) == pytest.approx(10 / 16)
    assert relative_throughput(profile, row()) == 1
    assert relative_throughput(profile, row(0.2)) is None


def test_sources(profile):
    """Each source is named once."""
    assert sources(profile) == "Table 3, left; Table 3, right"


@pytest.mark.parametrize(
    ("of", "context", "expected"),
    [("allocated", None, 100), ("reserved", None, 120), ("nvidia-smi", 30, 150)],
)
def test_a_published_peak_meets_the_figure_that_it_is_of(
    make_record, profile, of, context, expected
):
    """What was allocated stands beside what is allocated; nvidia-smi has the context in it."""
    record = make_record()
    memory = record.memory.model_copy(update={"peak_allocated_bytes": 100, "reserved_bytes": 120})
    found = read_rows([record.model_copy(update={"memory": memory})])[0]
    printed = {"model": "roberta-tiny", "peak_bytes": 99, "peak_of": of, "context_bytes": context}
    rows = [{"model": "roberta-tiny", "optimizer": "sgd", "peak_bytes": 1, "source": "x"}]
    changes = {"published": [*rows, printed | {"source": "y"}]}
    changed = Profile.model_validate(profile.model_dump() | changes)
    told, here = peak(changed, found)
    assert (told.peak_bytes, here) == (99, expected)
    nothing_reserved = found | {"reserved_bytes": None}
    assert (peak(changed, nothing_reserved) is None) == (of != "allocated")


@pytest.mark.parametrize(("of", "context"), [("nvidia-smi", None), ("reserved", 5)])
def test_a_context_belongs_to_nvidia_smi(of, context):
    """What nvidia-smi shows can be compared only if its context is known."""
    told = {"model": "mlp", "peak_bytes": 1, "peak_of": of, "context_bytes": context, "source": "x"}
    with pytest.raises(ValueError, match=r"context_bytes must be given for peak_of = 'nvidia-smi'"):
        Published.model_validate(told)
