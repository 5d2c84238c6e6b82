"""Scores by sketch and by task: dots, what is beyond chance, and what is published."""

import pytest

from rmmbench.report.figures import FigureData, get

GAUSSIAN = {"method": "rmm", "sketch": "gaussian", "rho": 0.5, "share": False}
PUBLISHED = [
    {"model": "roberta-tiny", "task": "sst2", "score": 94.09, "minutes": 10, "source": "Table 2"},
    {"model": "roberta-tiny", "task": "sst2", "rho": 0.5, "sketch": "gaussian", "score": 94.61,
     "minutes": 16, "source": "Table 3"},
]  # fmt: skip


def symbols(seen, name):
    """Return the inside of the dots of one name: white where they are hollow."""
    (trace,) = (each for each in seen.drawing.data if each.name == name and each.xaxis == "x")
    return list(trace.marker.color)


def test_dots(draw, training_cases, profile_with):
    """A dot is the mean of a sketch's scores in percent with its deviation; time is relative."""
    seen = draw("scores", training_cases(("gaussian", "dct")), profile=profile_with())
    means = [100 * (0.91 - 0.002 * 1.1)] * 2
    assert [y for _, y in seen.by_axis["x", "ρ=0.5"]] == pytest.approx(means)
    assert [y for _, y in seen.by_axis["x2", "ρ=0.1"]] == pytest.approx([1.1, 1.1])
    trace = next(each for each in seen.drawing.data if each.name == "ρ=0.5")
    assert trace.error_y.array == pytest.approx([0.98, 0.98])
    assert seen.drawing.layout.xaxis.ticktext == ("gaussian", "dct")
    assert seen.by_axis["x", "exact"] == [(-0.5, pytest.approx(91)), (1.5, pytest.approx(91))]
    assert seen.levels == [1]
    assert seen.hollow == []


def test_dots_stand_side_by_side(draw, training_cases, profile_with):
    """No two dots of a panel are at one place."""
    records = training_cases(("gaussian", "dct", "oporp"), rates=(0.9, 0.5, 0.1))
    seen = draw("scores", records, profile=profile_with())
    places = [x for name in ("ρ=0.9", "ρ=0.5", "ρ=0.1") for x, _ in seen.by_axis["x", name]]
    assert len(places) == len(set(places)) == 9


def test_more_than_chance_is_filled(draw, make_trained, profile_with):
    """A dot is filled if it differs from exact by more than chance, white inside if it does not."""
    exact, loss = (0.9, 0.92, 0.91), (0.8, 0.81, 0.82)
    other = GAUSSIAN | {"sketch": "dct"}
    runs = ((exact, {}), (loss, GAUSSIAN), (exact[::-1], other))
    records = [
        make_trained(score, seed=seed, **how)
        for scores, how in runs
        for seed, score in enumerate(scores)
    ]
    seen = draw("scores", records, profile=profile_with())
    filled, white = symbols(seen, "ρ=0.5")
    assert filled != white == "white"
    assert {"differs by more than chance", "no more than chance"} <= set(seen.legend)


def test_one_seed_has_no_verdict(draw, training_cases, profile_with):
    """Where no test was possible no dot says what it found."""
    seen = draw("scores", training_cases(seeds=1), profile=profile_with())
    assert seen.legend == ["exact", "ρ=0.5", "ρ=0.1"]


def test_published(draw, training_cases, profile_with):
    """What is published stands on its dot, and exact's at the right edge, of score and of time."""
    profile = profile_with(published=PUBLISHED)
    seen = draw("scores", training_cases(), profile=profile)
    dot = seen.by_axis["x", "ρ=0.5"][0][0]
    assert seen.hollow == [(0.5, 94.09), (dot, 94.61), (dot, pytest.approx(1.6))]
    assert (
        "Hollow diamonds are the paper's numbers (Table 2; Table 3), from its own hardware"
        in seen.note
    )
    low, high = seen.drawing.layout.yaxis.range
    assert low < 91 < 94.61 < high


def test_table2(draw, training_cases, profile_with):
    """Table 2 has a panel a task, in it a column a ρ from most to least kept."""
    records = training_cases(("gaussian", "dct")) + training_cases(task="rte", base=0.7)
    seen = draw("table2", records, profile=profile_with(published=PUBLISHED))
    assert seen.drawing.layout.xaxis.ticktext == ("ρ=0.5", "ρ=0.1")
    assert {"<b>SST2</b>", "<b>RTE</b>"} <= set(seen.words)
    assert ("x", "dct") in seen.by_axis
    assert ("x2", "dct") not in seen.by_axis
    assert [y for _, y in seen.hollow] == [94.09, 94.61]


def test_table2_needs_tasks(make_run, training_cases):
    """One task is no table of tasks, and one with exact alone does not count."""
    records = training_cases() + training_cases(task="rte", rates=())
    assert "two or more tasks" in get("table2").lacks(FigureData.of(make_run(*records)))


def test_exact_alone_has_no_scores_to_show(make_run, training_cases):
    """Without a way to save memory there is nothing to compare."""
    data = FigureData.of(make_run(*training_cases(rates=())))
    assert get("scores").lacks(data) == "training runs with a score of a way to save memory"


def test_training_is_not_of_single_steps(make_run, training_cases, timed_cases):
    """Figures of steps neither draw training runs nor count them as missing."""
    data = FigureData.of(make_run(*timed_cases(), *training_cases()))
    drawing = get("table3-matmul").draw(data)
    assert "Not drawn" not in drawing.layout.annotations[-1].text
