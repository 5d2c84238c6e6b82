"""Scores over seeds: what is averaged, what is compared, and what is more than chance."""

import random
import statistics

import pytest
from scipy.stats import false_discovery_control, ttest_rel

from rmmbench.report.scores import (
    Difference,
    Line,
    Spread,
    by_place,
    place_names,
    read_lines,
    threads_note,
)
from rmmbench.units import GIB

GAUSSIAN = {"method": "rmm", "sketch": "gaussian", "rho": 0.5}
EXACT_SCORES = (0.90, 0.92, 0.91, 0.93, 0.89)


@pytest.fixture
def runs(make_trained):
    """Make the runs of one setting, seed by seed, from their scores."""

    def make(scores, **settings):
        return [make_trained(score, seed=seed, **settings) for seed, score in enumerate(scores)]

    return make


def shown(lines):
    """Return each line's sketch and ρ."""
    return [(line.row["sketch"], line.row["rho"]) for line in lines]


def test_a_line_a_setting(runs):
    """Runs of one setting are a line with their mean and standard deviation."""
    (line,) = read_lines(runs(EXACT_SCORES))
    assert line.is_exact
    assert list(line.records) == [0, 1, 2, 3, 4]
    assert line.score == Spread(
        5, pytest.approx(0.91), pytest.approx(statistics.stdev(EXACT_SCORES))
    )
    assert line.train_seconds.mean == 10
    assert line.peak_bytes is None
    assert line.against is None
    assert line.relative_throughput == 1


def test_peak_memory(make_trained):
    """The peak of a training step is there where memory was measured too."""
    assert read_lines([make_trained(0.9, peak=2 * GIB)])[0].peak_bytes.mean == 2 * GIB


def test_records_without_training_are_no_lines(make_record):
    """What was only measured is not a training run."""
    assert read_lines([make_record(), make_record(**GAUSSIAN)]) == []


def test_order(runs):
    """Exact comes first; a sketch goes from most to least kept, sketches as they came."""
    records = [
        *runs([0.8], **GAUSSIAN | {"rho": 0.1}),
        *runs([0.8], **GAUSSIAN | {"sketch": "dct"}),
        *runs([0.8], **GAUSSIAN),
        *runs([0.9]),
    ]
    assert shown(read_lines(records)) == [
        (None, None),
        ("gaussian", 0.5),
        ("gaussian", 0.1),
        ("dct", 0.5),
    ]


def test_paired_over_seeds(runs):
    """The test, its interval and its p-value are scipy's paired ones, whatever order runs have."""
    scores = (0.89, 0.90, 0.91, 0.90, 0.88)
    records = [*reversed(runs(scores, **GAUSSIAN)), *runs(EXACT_SCORES)]
    line = read_lines(records)[1]
    expected = ttest_rel(scores, EXACT_SCORES)
    interval = expected.confidence_interval(0.95)
    assert line.against.pairs == 5
    assert line.against.mean == pytest.approx(statistics.fmean(scores) - 0.91)
    assert line.against.p_value == pytest.approx(expected.pvalue)
    assert (line.against.low, line.against.high) == pytest.approx((interval.low, interval.high))


def test_only_common_seeds_are_compared(runs, make_trained):
    """A seed that one side lacks, or that ended badly there, is no pair."""
    ours = runs((0.8, 0.81, 0.84), **GAUSSIAN)
    ours[2] = make_trained(0.1, seed=2, outcome="diverged", **GAUSSIAN)
    line = read_lines([*runs(EXACT_SCORES[1:3]), *ours])[1]
    assert line.against.pairs == 2
    assert line.against.mean == pytest.approx((0.8 + 0.81 - 0.92 - 0.91) / 2)


def test_p_values_are_adjusted_within_a_place(runs):
    """All comparisons of one place are adjusted together, those of another task not with them."""
    generator = random.Random(0)
    records, p_values = runs(EXACT_SCORES), []
    for rho in (0.9, 0.5, 0.1):
        scores = [score - 0.01 / rho * generator.random() for score in EXACT_SCORES]
        records += runs(scores, **GAUSSIAN | {"rho": rho})
        p_values.append(ttest_rel(scores, EXACT_SCORES).pvalue)
    records += [*runs(EXACT_SCORES, task="cola"), *runs(scores, task="cola", **GAUSSIAN)]
    lines = by_place(read_lines(records))
    first, second = ([line.against for line in each[1:]] for each in lines.values())
    expected = false_discovery_control(p_values)
    assert [each.adjusted for each in first] == pytest.approx(list(expected))
    assert second[0].adjusted == second[0].p_value == pytest.approx(p_values[-1])


def test_what_is_more_than_chance(runs):
    """A clear loss is more than chance and a loss within the spread is not; a gain counts too."""
    clear = [score - 0.1 - 0.001 * seed for seed, score in enumerate(EXACT_SCORES)]
    better = [score + 0.05 + 0.001 * seed for seed, score in enumerate(EXACT_SCORES)]
    records = runs(EXACT_SCORES)
    records += runs(clear, **GAUSSIAN)
    records += runs(reversed(EXACT_SCORES), **GAUSSIAN | {"rho": 0.2})
    records += runs(better, **GAUSSIAN | {"rho": 0.1})
    verdicts = [line.against.is_more_than_chance for line in read_lines(records)[1:]]
    assert verdicts == [True, False, True]


def test_false_alarms_are_rare(runs):
    """Where nothing differs but chance, about one place in twenty has a verdict of more, not all.

    Of 100 places with three comparisons each no more than 5 + 4 standard errors (2.2) may.
    """
    generator = random.Random(1)
    alarms = 0
    for _ in range(100):
        records = runs([generator.gauss(0.8, 0.01) for _ in range(5)])
        for rho in (0.5, 0.2, 0.1):
            scores = [generator.gauss(0.8, 0.01) for _ in range(5)]
            records += runs(scores, **GAUSSIAN | {"rho": rho})
        alarms += any(line.against.is_more_than_chance for line in read_lines(records)[1:])
    assert alarms <= 13


def test_one_seed_has_no_verdict(runs):
    """One run has a mean and a difference, and no spread, interval or verdict."""
    exact, line = read_lines([*runs([0.9]), *runs([0.8], **GAUSSIAN)])
    assert exact.score == Spread(1, 0.9, None)
    assert line.against == Difference(1, pytest.approx(-0.1))
    assert line.against.is_more_than_chance is None


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, False), (-0.1, None)])
def test_equal_differences(runs, shift, verdict):
    """Where every seed differs by the same, the test has no spread and gives neither NaN nor one.

    No difference at all is not more than chance; equal ones may come of a coarse score.
    """
    scores = [score + shift for score in EXACT_SCORES]
    line = read_lines([*runs(EXACT_SCORES), *runs(scores, **GAUSSIAN)])[1]
    assert line.against.low == line.against.high == line.against.mean == pytest.approx(shift)
    assert line.against.is_more_than_chance is verdict


def test_diverged_runs_are_counted_apart(runs, make_trained):
    """A run that diverged is in no mean, though it has scores from before, and is counted."""
    records = runs((0.8, 0.82), **GAUSSIAN)
    records += [make_trained(0.1, seed=seed, outcome="diverged", **GAUSSIAN) for seed in (2, 3)]
    records += [make_trained(seed=4, outcome="timeout", **GAUSSIAN)]
    (line,) = read_lines(records)
    assert line.score == Spread(2, pytest.approx(0.81), pytest.approx(0.02 / 2**0.5))
    assert len(line.records) == 5
    assert line.failures == {"diverged": 2, "timeout": 1}


def test_all_failed(make_trained):
    """A setting of which no run ended well is a line without numbers."""
    exact, line = read_lines([make_trained(0.9), make_trained(outcome="error", **GAUSSIAN)])
    assert exact.metric == line.metric == "accuracy"
    assert line.score is line.train_seconds is line.against is line.relative_throughput is None


def test_a_score_without_a_value(runs):
    """A run whose score has no value counts for its time, not for its score."""
    (line,) = read_lines(runs((0.5, None)))
    assert line.score == Spread(1, 0.5, None)
    assert line.train_seconds.count == 2


def test_no_exact(runs):
    """Without exact there is nothing to compare with, and the rest stands."""
    (line,) = read_lines(runs(EXACT_SCORES, **GAUSSIAN))
    assert line.score.count == 5
    assert line.against is line.relative_throughput is None


def test_relative_throughput_is_a_median(make_trained):
    """Exact's seconds ÷ these, seed by seed; one run in a slow hour does not move the median."""
    seconds = {0: 5.0, 1: 8.0, 2: 1000.0}
    records = [make_trained(0.9, seed=seed, seconds=10.0) for seed in seconds]
    records += [make_trained(0.9, seed=s, seconds=time, **GAUSSIAN) for s, time in seconds.items()]
    assert read_lines(records)[1].relative_throughput == pytest.approx(10 / 8)


def test_threads_are_told(make_trained, make_record):
    """What a run had of the CPU, and beside how many others; not of a GPU."""
    one = make_trained(0.9)
    two = make_trained(0.9, task="cola", training={"threads": 2})
    assert threads_note(read_lines([one])) == "1 CPU thread a run, up to 2 runs side by side."
    assert threads_note(read_lines([two])) == "2 CPU threads a run."
    both = "1 CPU thread a run, up to 2 runs side by side; 2 CPU threads a run."
    assert threads_note(read_lines([one, two])) == both
    spread = make_trained(0.9, ranks=2, parallel="ddp")
    assert threads_note(read_lines([spread])) == "1 CPU thread a rank."
    assert threads_note(read_lines([make_trained(0.9, time_device="cuda")])) == ""


def test_the_last_record_counts(make_trained):
    """Of a case that was run again the last record is the run."""
    (line,) = read_lines([make_trained(outcome="timeout"), make_trained(0.9)])
    assert (len(line.records), line.failures, line.score.mean) == (1, {}, 0.9)


def test_places_differ_by_how_they_were_trained(runs):
    """Two ways to train are two places, compared each with its own exact, and named apart."""
    slow, fast = ({"training": {"learning_rate": rate}} for rate in (1e-4, 1e-3))
    records = [*runs([0.9], **slow), *runs([0.5], **fast), *runs([0.4], **fast, **GAUSSIAN)]
    lines = read_lines(records)
    assert len(by_place(lines)) == 2
    assert lines[2].against.mean == pytest.approx(-0.1)
    assert list(place_names(lines).values()) == ["learning_rate 0.0001", "learning_rate 0.001"]


def test_places_are_named_by_what_differs(runs):
    """Tasks that were trained each in its own way are named by the task alone."""
    records = runs([0.9], task="cola", seq_len=47, training={"epochs": 1.0})
    lines = read_lines([*records, *runs([0.9])])
    assert list(place_names(lines).values()) == ["CoLA", "MRPC"]
    assert list(place_names(lines[:1]).values()) == [""]


@pytest.mark.parametrize(
    ("metric", "higher_is_better", "name", "scale"),
    [
        ("accuracy", True, "accuracy, %", 100),
        ("bits_per_byte", False, "bits per byte, lower is better", 1),
    ],
)
def test_printed_scores(runs, metric, higher_is_better, name, scale):
    """Fractions are percentages on paper; a score that is no fraction says which way is better."""
    (line,) = read_lines(runs([0.5], metric=metric, higher_is_better=higher_is_better))
    assert isinstance(line, Line)
    assert (line.metric_name, line.scale) == (name, scale)
