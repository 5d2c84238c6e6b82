"""The figure of memory through a step and an epoch."""

from itertools import pairwise

import pytest

from rmmbench.report.figures import FigureData, get
from rmmbench.results.timeline import CATEGORIES
from rmmbench.units import GIB


def axes(seen):
    """Return the lines of each panel by name, panels in order."""
    panels = {}
    for (place, name), points in seen.by_axis.items():
        panels.setdefault(int(place[1:] or 1), {})[name] = points
    return [panels[place] for place in sorted(panels)]


def test_a_line_a_setting(draw, timeline_cases):
    """A step is drawn in live GiB, each phase as wide for every case, with a dot at the highest."""
    step, *_ = axes(draw("figure8", timeline_cases()))
    assert list(step) == ["No RMM", "ρ=0.5", "ρ=0.1", "highest"]
    assert step["No RMM"] == [(0, 3), (1, 7), (1, 7), (2, 4), (2, 4), (2.6, 3)]
    assert [y for _, y in step["ρ=0.5"]] == [3, 6, 6, 4, 4, 3]
    assert [x for x, _ in step["ρ=0.1"]] == [x for x, _ in step["No RMM"]]
    assert [x for x, _ in step["highest"]] == [1, 1, 1]
    assert [y for _, y in step["highest"]] == pytest.approx([7, 6, 5.2])


def test_categories_stand_on_one_another(draw, timeline_cases):
    """Areas are of exact and of the smallest sketch; the uppermost ends at the step's own line."""
    step, exact, sketched, _ = axes(draw("figure8", timeline_cases()))
    assert sorted(exact) == sorted(sketched) == sorted(CATEGORIES)
    for areas, name in ((exact, "No RMM"), (sketched, "ρ=0.1")):
        assert list(areas.values())[-1] == step[name]
        for lower, upper in pairwise(areas.values()):
            assert all(y <= above for (_, y), (_, above) in zip(lower, upper, strict=True))
    # At the end of the forward pass half of the activations are there, and a tenth of the rest.
    heights = {name: points[1][1] for name, points in sketched.items()}
    assert heights["activations"] - heights["gradients"] == pytest.approx(2)
    assert heights["sketches"] - heights["activations"] == pytest.approx(0.2)


def test_an_epoch_is_its_peaks(draw, timeline_cases):
    """The last panel has the peak of each step, the first without the optimizer's state."""
    *_, epoch = axes(draw("figure8", timeline_cases()))
    assert epoch["No RMM"] == [(1, 5), (2, 7), (3, 7)]
    assert epoch["ρ=0.5"] == [(1, 4), (2, 6), (3, 6)]


def test_a_cell_is_to_one_scale(draw, timeline_cases):
    """What is beside one another can be compared; what is of another task has its own scale."""
    records = timeline_cases()
    records += [
        record.model_copy(update={"timeline": halved(record.timeline)})
        for record in timeline_cases(task="cola", seq_len=47)
    ]
    layout = draw("figure8", records).drawing.layout
    scales = [layout[f"yaxis{n}"].range for n in ("", *range(2, 9))]
    assert len(set(scales[:4])) == len(set(scales[4:])) == 1
    assert scales[0] > scales[4]
    assert 7 < scales[0][1] < 9


def halved(timeline):
    """Return a timeline of half the bytes."""
    points = [
        point.model_copy(update={"live_bytes": tuple(size // 2 for size in point.live_bytes)})
        for point in timeline.points
    ]
    epoch = [
        step.model_copy(update={"peak_bytes": step.peak_bytes // 2}) for step in timeline.epoch
    ]
    return timeline.model_copy(update={"points": tuple(points), "epoch": tuple(epoch)})


@pytest.mark.parametrize(
    ("memory", "level"), [("8 GiB", 8), ("10 GiB", 10), ("16 GiB", None), ("4 GiB", 4)]
)
def test_the_devices_limit(draw, timeline_cases, profile_with, memory, level):
    """A limit is a line in the step's panel; far above it is only named."""
    profile = profile_with(device_limit={"name": "GPU", "memory": memory})
    seen = draw("figure8", timeline_cases(), profile=profile)
    levels = [shape.y0 for shape in seen.drawing.layout.shapes if shape.x0 != shape.x1]
    assert levels == ([] if level is None else [level])
    named = f"GPU: {memory}"
    assert (named in seen.words) == (level is not None)
    assert any(f"↑ {named}" in word for word in seen.words) == (level is None)


def test_no_limit_where_none_is_known(draw, timeline_cases, profile_with):
    """Without a device to predict for there is nothing about one."""
    seen = draw("figure8", timeline_cases(), profile=profile_with(device_limit=None))
    assert not any("↑" in word for word in seen.words)


@pytest.mark.parametrize(("cells", "columns"), [(1, 4), (3, 4), (4, 8), (8, 8)])
def test_many_tasks_fit_one_sheet(draw, timeline_cases, cells, columns):
    """Few cells have a row each; of more two share a row, and eight still fit a slide."""
    records = [record for size in range(1, cells + 1) for record in timeline_cases(batch_size=size)]
    drawing = draw("figure8", records).drawing
    tops, layout = [axis.domain[1] for axis in drawing.select_yaxes()], drawing.layout
    assert len(tops) == 4 * cells
    assert sum(top == max(tops) for top in tops) == columns
    assert layout.width <= 2400
    assert layout.height <= 1500


def test_a_cell_with_one_case_leaves_a_panel_empty(draw, timeline_cases):
    """Where there is no second case its panel is empty, and all others stay where they were."""
    records = [*timeline_cases(), timeline_cases(task="cola", seq_len=47)[0]]
    seen = draw("figure8", records)
    assert [sorted(panel) for panel in axes(seen)][4:] == [
        ["No RMM", "highest"],
        sorted(CATEGORIES),
        ["No RMM"],
    ]
    assert len(list(seen.drawing.select_yaxes())) == 8


def test_kinds_of_sketch_are_told_apart(draw, timeline_cases):
    """Two sketches at one ρ have names and dashes of their own."""
    seen = draw("figure8", timeline_cases(sketches=("gaussian", "oporp"), rates=(0.5,)))
    step, *_ = axes(seen)
    assert list(step) == ["No RMM", "gaussian ρ=0.5", "oporp ρ=0.5", "highest"]
    looks = [look[1:3] for look in seen.looks if look[0] == "x"]
    assert len(set(looks)) == 3


def test_small_models_are_in_mib(draw, timeline_cases):
    """What is far from a GiB is in MiB."""
    record = timeline_cases()[0]
    for _ in range(4):
        record = record.model_copy(update={"timeline": halved(record.timeline)})
    seen = draw("figure8", [record])
    assert seen.drawing.layout.yaxis.title.text == "live memory, MiB"
    assert max(y for _, y in axes(seen)[0]["No RMM"]) == 7 * 1024 / 16


def test_hover_says_where_in_the_step(draw, timeline_cases):
    """A point tells phase, operator, and bytes by category; a step of the epoch its rows."""
    seen = draw("figure8", timeline_cases())
    texts = [trace.hovertext for trace in seen.drawing.data]
    assert texts[0][2] == (
        "<b>No RMM</b><br>backward, operator 10 of 32<br>7.00 GiB live, peak 7.00 GiB<br>"
        "parameters 1.00 GiB<br>optimizer 2.00 GiB<br>activations 4.00 GiB"
    )
    assert texts[-1][0].endswith("step 1, 64 rows<br>peak 3.20 GiB, at rest 3.00 GiB")


def test_what_it_lacks(make_run, make_record):
    """Peaks without their history are not enough."""
    need = get("figure8").lacks(FigureData.of(make_run(make_record(peak=GIB))))
    assert need == "memory over time, of a grid whose measure has 'timeline'"
