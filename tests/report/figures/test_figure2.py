"""Figure 2: what each panel shows of the records, and what it does not."""

import pytest

from rmmbench.report.figures import FigureData, get
from rmmbench.report.joined_runs import joined
from rmmbench.results import paired
from rmmbench.units import GIB


def rmm(rho, sketch="gaussian"):
    """Settings of a case of the method rmm."""
    return {"method": "rmm", "sketch": sketch, "rho": rho}


def gib(points):
    """Round the heights of points."""
    return [(x, round(y, 6)) for x, y in points]


def test_memory_lines(draw, memory_cases):
    """The left panel has a line without RMM and one a ρ, in GiB by batch size."""
    seen = draw("figure2", memory_cases(sizes=(64, 16, 32)))
    assert list(seen.lines) == ["No RMM", "ρ=0.5", "ρ=0.1"]
    assert gib(seen.lines["No RMM"]) == [(16, 3.6), (32, 5.2), (64, 8.4)]
    assert gib(seen.lines["ρ=0.1"]) == [(16, 2.16), (32, 2.32), (64, 2.64)]


def test_small_memory_is_in_mib(draw, make_record):
    """Where no peak reaches 1 GiB the axis is in MiB."""
    records = [make_record(peak=size * 2**20, batch_size=size) for size in (16, 32)]
    seen = draw("figure2", records)
    assert seen.lines["No RMM"] == [(16, 16), (32, 32)]
    assert seen.drawing.layout.yaxis.title.text == "peak memory, MiB"


def test_what_is_drawn_of_memory_is_named(draw, make_record):
    """Where what is reserved is known, the axis says what it has, and the note what a limit has."""
    records = [
        make_record(peak=size * 2**20, reserved=size * 2**20 + 2**20, batch_size=size)
        for size in (16, 32)
    ]
    seen = draw("figure2", records)
    assert seen.drawing.layout.yaxis.title.text == "peak allocated memory, MiB"
    assert "A device must hold what is reserved: up to 6.2 % more than is allocated." in seen.note
    hover = seen.drawing.data[0].hovertext[0]
    assert "peak 16.0 MiB allocated" in hover
    assert "16.0 MiB live, 17.0 MiB reserved" in hover


def test_throughput_lines(draw, timed_cases):
    """The right panel has a line a task over ρ in percent, and the line at 1, labelled."""
    records = timed_cases() + timed_cases(task="cola", seq_len=47)
    seen = draw("figure2", records)
    assert seen.lines == {
        "MRPC": [(10, 1.25), (50, 0.8)],
        "CoLA": [(10, 1.25), (50, 0.8)],
    }
    assert seen.drawing.layout.xaxis.tickvals == (10, 50)
    assert seen.levels == [1]
    assert "No RMM" in seen.words
    low, high = seen.drawing.layout.yaxis.range
    assert low < 0.8
    assert high > 1.25


def test_throughput_shows_its_interval(draw, timed_cases):
    """Error bars reach from end to end of the 95 % interval."""
    seen = draw("figure2", timed_cases())
    (line,) = seen.drawing.data
    found = paired.relative_throughput((0.98, 1.0, 1.02), (0.8,) * 3)
    assert line.y[0] + line.error_y.array[0] == pytest.approx(found.high)
    assert line.y[0] - line.error_y.arrayminus[0] == pytest.approx(found.low)
    assert "Error bars are 95 % confidence intervals." in seen.note


def test_both_panels(draw, memory_cases, timed_cases):
    """Memory is on the left, throughput on the right, each with its own axes and legend."""
    seen = draw("figure2", memory_cases() + timed_cases(batch_size=8))
    left = {name for axis, name in seen.by_axis if axis == "x"}
    right = {name for axis, name in seen.by_axis if axis == "x2"}
    assert left == {"No RMM", "ρ=0.5", "ρ=0.1"}
    assert right == {"gaussian"}
    layout = seen.drawing.layout
    assert layout.xaxis.domain[1] < layout.legend.x < layout.xaxis2.domain[0] < layout.legend2.x
    assert layout.xaxis.title.text == "batch size"
    assert layout.xaxis2.title.text == "compression rate ρ, %"


@pytest.mark.parametrize(
    ("measured", "title", "absent"),
    [
        ("memory", "Peak memory", "throughput"),
        ("time", "Relative throughput", "memory"),
    ],
)
def test_one_panel_alone(draw, memory_cases, timed_cases, measured, title, absent):
    """Where only one panel has numbers it is drawn alone, and nothing speaks of the other."""
    seen = draw("figure2", memory_cases() if measured == "memory" else timed_cases())
    assert title in seen.title
    text = seen.title + " ".join(seen.words) + str(seen.drawing.layout.yaxis.title.text)
    assert absent not in text.lower()
    assert "xaxis2" not in seen.drawing.layout


@pytest.mark.parametrize("sizes", [(16,), ()])
def test_lines_need_two_batch_sizes(sizes, memory_cases, make_run):
    """Peaks at a single batch size are no line, and the reason says so."""
    need = get("figure2").lacks(FigureData.of(make_run(*memory_cases(sizes=sizes))))
    assert need == (
        "peak memory at two or more batch sizes, or relative throughput at two or more ρ"
    )


def test_sketches_are_told_apart(draw, memory_cases, timed_cases):
    """With two sketches every line says which is its own, in name and in look."""
    sketches = ("gaussian", "dct")
    seen = draw("figure2", memory_cases(sketches) + timed_cases(sketches, batch_size=8))
    assert {"gaussian ρ=0.5", "dct ρ=0.5", "No RMM", "gaussian", "dct"} <= set(seen.lines)
    assert len(seen.looks) == len(set(seen.looks)) == 7


@pytest.mark.parametrize(
    ("column", "values", "names"),
    [
        ("model", ("mlp", "roberta-base"), ("mlp", "roberta-base")),
        ("task", ("cola", "mrpc"), ("CoLA", "MRPC")),
        ("seq_len", (47, 128), ("47 tokens", "128 tokens")),
        ("dtype", ("float32", "bfloat16"), ("float32", "bfloat16")),
        ("attention", ("eager", "sdpa"), ("eager attention", "sdpa attention")),
        ("seed", (0, 1), ("seed 0", "seed 1")),
    ],
)
def test_places_are_told_apart(draw, memory_cases, column, values, names):
    """Lines that differ in any part of their cell are drawn apart, and say in what."""
    seen = draw("figure2", [r for value in values for r in memory_cases(**{column: value})])
    expected = [f"{name} · {how}" for name in names for how in ("No RMM", "ρ=0.5", "ρ=0.1")]
    assert sorted(seen.lines) == sorted(expected)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"proj_dim": 64}, "proj_dim=64"),
        ({"rho": 0.5, "min_proj_dim": 8}, "gaussian proj_dim≥8 ρ=0.5"),
        ({"rho": 0.5, "include": ("*.query", "*.key")}, "gaussian include *.query *.key ρ=0.5"),
    ],
)
def test_settings_are_told_apart(draw, memory_cases, make_record, settings, name):
    """A line of other settings is one of its own beside that of the same ρ."""
    more = [
        make_record(peak=size * GIB, batch_size=size, method="rmm", sketch="gaussian", **settings)
        for size in (16, 32)
    ]
    seen = draw("figure2", memory_cases() + more)
    assert gib(seen.lines[name]) == [(16, 16), (32, 32)]
    assert len(seen.lines) == 4


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"where": "beneficial"}, "gaussian, beneficial layers ρ=0.5"),
        ({"share": False}, "gaussian, unshared ρ=0.5"),
        ({"block_rows": 8}, "gaussian, blocks of 8 ρ=0.5"),
    ],
)
def test_choices_are_told_apart(draw, memory_cases, timed_cases, make_record, settings, name):
    """Cases that differ in their choice of layers alone have lines, looks and hovers apart."""
    more = [
        make_record(peak=size * GIB, batch_size=size, **rmm(0.5), **settings) for size in (16, 32)
    ]
    seen = draw("figure2", memory_cases(rates=(0.5,)) + more)
    assert list(seen.lines) == ["No RMM", "gaussian ρ=0.5", name]
    assert gib(seen.lines[name]) == [(16, 16), (32, 32)]
    assert len(seen.looks) == len(set(seen.looks)) == 3
    assert [trace.hovertext[0].partition("<br>")[0] for trace in seen.drawing.data[1:3]] == [
        "<b>gaussian ρ=0.5</b>",
        f"<b>{name}</b>",
    ]


def test_choices_of_timed_cases_are_told_apart(draw, timed_cases, make_record):
    """On the right, too, two choices in one cell are two lines."""
    exact = {"peak": None, "reference_step_seconds": (1.0,) * 3}
    more = [
        make_record(step_seconds=(0.5,) * 3, where="beneficial", **rmm(rho), **exact)
        for rho in (0.5, 0.1)
    ]
    seen = draw("figure2", timed_cases() + more)
    assert set(seen.lines) == {"gaussian", "gaussian, beneficial layers"}


@pytest.mark.parametrize("choice", [{"where": "beneficial"}, {"share": False}])
def test_a_choice_that_all_share_is_in_the_subtitle(draw, memory_cases, choice):
    """Where every case is of one choice the lines do not repeat it."""
    seen = draw("figure2", memory_cases(rmm_settings=choice))
    assert list(seen.lines) == ["No RMM", "ρ=0.5", "ρ=0.1"]
    words = {"where": "gaussian sketch, beneficial layers", "share": "gaussian sketch, unshared"}
    assert words[next(iter(choice))] in seen.title


def test_a_sketch_alone_is_no_model(make_run, projection_cases):
    """What a projection gains on a product is not drawn as a throughput of training."""
    data = FigureData.of(make_run(*projection_cases()))
    assert get("figure2").lacks(data)
    assert get("table3-matmul").lacks(data)


def test_other_methods_are_lines_too(draw, memory_cases, make_record):
    """A method without a rate has a line with its name, in a look of its own."""
    more = [make_record(batch_size=size, method="checkpoint") for size in (16, 32)]
    seen = draw("figure2", memory_cases() + more)
    assert "checkpoint" in seen.lines
    assert len(seen.looks) == len(set(seen.looks)) == 4


def test_limit_of_a_prediction(draw, memory_cases):
    """Where memory is predicted the line is the profile's device limit."""
    seen = draw("figure2", memory_cases())
    assert seen.levels == [16]
    assert "V100: 16 GiB" in seen.words


def test_limit_of_a_gpu(draw, memory_cases, on_cuda, profile_with):
    """Where memory is measured on a GPU the line is that GPU's own memory."""
    records = memory_cases(memory_device="cuda", environment=on_cuda)
    limit = {"name": "V100", "memory": "12GiB"}
    run = {"environment": on_cuda, "profile": profile_with(device_limit=limit)}
    seen = draw("figure2", records, **run)
    assert seen.levels == [16]
    assert "Golden GPU: 16 GiB" in seen.words


@pytest.mark.parametrize("device", ["cpu", "predict"])
def test_no_limit(draw, memory_cases, profile_with, device):
    """Without a limit that means something there is no line: on a CPU, or if none is set."""
    limit = {"name": "V100", "memory": "16GiB"} if device == "cpu" else None
    seen = draw(
        "figure2", memory_cases(memory_device=device), profile=profile_with(device_limit=limit)
    )
    assert seen.levels == []


def test_far_limit(draw, memory_cases, profile_with):
    """A limit that would squeeze the lines into the bottom is named at the top instead."""
    limit = {"name": "H200", "memory": "140GiB"}
    seen = draw("figure2", memory_cases(), profile=profile_with(device_limit=limit))
    assert seen.levels == []
    assert "↑ H200: 140 GiB, beyond this scale" in seen.words
    assert seen.drawing.layout.yaxis.range[1] < 20


@pytest.mark.parametrize("memory", ["16GiB", "140GiB"])
def test_out_of_memory(draw, memory_cases, make_record, profile_with, memory):
    """Cases out of memory are crosses above the limit's line, one above the other."""
    failed = [
        make_record(outcome="out_of_memory", batch_size=128),
        make_record(
            outcome="out_of_memory", batch_size=128, method="rmm", sketch="gaussian", rho=0.5
        ),
    ]
    limit = {"name": "GPU", "memory": memory}
    seen = draw("figure2", memory_cases() + failed, profile=profile_with(device_limit=limit))
    (level,) = seen.levels
    heights = [y for _, y in seen.crosses]
    assert [x for x, _ in seen.crosses] == [128, 128]
    assert level < heights[0] < heights[1] < seen.drawing.layout.yaxis.range[1]
    assert "out of memory" in seen.legend
    assert "Not drawn" not in seen.note


def test_a_line_that_never_fits_is_in_the_legend(draw, memory_cases, make_record):
    """A line of which every case ran out of memory is named like the others."""
    failed = [
        make_record(outcome="out_of_memory", batch_size=size, dtype="bfloat16") for size in (16, 32)
    ]
    seen = draw("figure2", memory_cases() + failed)
    assert "bfloat16 · No RMM" in seen.legend
    assert len(seen.crosses) == 2


def test_published_peaks(draw, memory_cases, profile_with):
    """Published peaks of a drawn line are hollow marks; those of other tasks are not there."""
    rows = [
        {
            "model": "roberta-tiny",
            "task": "mrpc",
            "batch_size": 100,
            "peak_gib": 11.3,
            "source": "Table 3",
        },
        {
            "model": "roberta-tiny",
            "task": "mrpc",
            "batch_size": 48,
            "peak_gib": 5.5,
            "rho": 0.5,
            "source": "Table 3",
        },
        {
            "model": "roberta-tiny",
            "task": "mrpc",
            "batch_size": 48,
            "peak_gib": 5.0,
            "rho": 0.2,
            "source": "Table 3",
        },
        {
            "model": "roberta-tiny",
            "task": "qnli",
            "batch_size": 16,
            "peak_gib": 11.7,
            "source": "Table 3",
        },
    ]
    papers = memory_cases(rmm_settings={"share": False})
    seen = draw("figure2", papers, profile=profile_with(published=rows))
    assert seen.hollow == [(100, 11.3), (48, 5.5)]
    assert "Hollow diamonds are the paper's numbers (Table 3)." in seen.note
    assert seen.legend.count("published") == 1
    assert all("open" in t.marker.symbol for t in seen.drawing.data if t.name == "published")


def test_nothing_published(draw, memory_cases, profile_with):
    """Without published rows nothing speaks of them."""
    seen = draw("figure2", memory_cases(), profile=profile_with())
    assert seen.hollow == []
    assert "published" not in seen.legend
    assert "Hollow" not in seen.note


def test_a_case_measured_again_counts_once(draw, memory_cases, make_record):
    """Of two records of one case the last is drawn."""
    seen = draw("figure2", [make_record(outcome="timeout"), *memory_cases()])
    assert gib(seen.lines["No RMM"]) == [(16, 3.6), (32, 5.2), (64, 8.4)]
    assert "Not drawn" not in seen.note


def test_runs_beside_each_other(memory_cases, timed_cases, make_run):
    """Several runs have a row of panels each, which says its sketch, on one axis of throughput."""
    sketch = {"sketches": ("oporp",), "rmm_settings": {"bits": 4}}
    runs = [
        make_run(*memory_cases(), *timed_cases(), name="theirs"),
        make_run(*memory_cases(**sketch), *timed_cases(task="cola", seq_len=47), name="ours"),
    ]
    drawing = get("figure2").draw(joined(runs))
    titles = [note.text for note in drawing.layout.annotations if "sketch" in note.text]
    assert len(titles) == 4
    assert sum("oporp sketch, 4 bits" in title for title in titles) == 1
    assert drawing.layout.yaxis2.range == drawing.layout.yaxis4.range
    tops = [drawing.layout[f"yaxis{number}"].domain[1] for number in ("", 2, 3, 4)]
    assert tops[0] == tops[1] > tops[2] == tops[3]
