"""The largest batch that fits: found with few probes, none of them above a known failure."""

import itertools
import math
import random

import pytest

from rmmbench.results.record import Memory
from rmmbench.results.store import Run, RunInfo
from rmmbench.running.events import Finished
from rmmbench.running.largest_batch import (
    MOST,
    Line,
    estimate,
    find,
    found,
    next_batch,
    parameter_bytes,
)
from rmmbench.running.launchers.local import LocalLauncher
from rmmbench.spec.case import Case
from rmmbench.units import MIB

LIMIT = 10_000


def memory(peak, resting=1_000, saved=0, reserved=None):
    """Return the memory of a step."""
    return Memory(
        device="predict",
        peak_allocated_bytes=peak,
        cold_peak_allocated_bytes=peak,
        resting_bytes=resting,
        saved_bytes=saved,
        reserved_bytes=reserved,
    )


def limited(**settings):
    """Return a case at batch size 1 with a limit."""
    data = {"model": "mlp:8-8-4", "batch_size": 1, "memory_limit_bytes": LIMIT}
    data |= {"memory_device": "predict", "gpu": "a100"} | settings
    if data["memory_device"] != "predict":
        data["gpu"] = None
    return Case.model_validate(data)


ALONE = limited()
PAIR = [ALONE, limited(method="rmm", sketch="oporp", rho=0.5)]


class Known:
    """A launcher that knows each batch's peak, and can be interrupted; it launches nothing."""

    def __init__(
        self,
        make_record,
        peak,
        outcomes=None,
        *,
        saved=lambda case: 0,
        reserved=lambda case: None,
        patience=10**9,
    ):
        """Answer by `peak`, `saved` and `reserved`, functions of the case.

        What `outcomes` have by method goes before.
        """
        self.make_record, self.outcomes = make_record, outcomes or {}
        self.peak, self.saved, self.reserved = peak, saved, reserved
        self.patience = patience
        self.launched = []

    def run(self, cases):
        """Yield a record of each case."""
        for case in cases:
            if len(self.launched) == self.patience:
                raise KeyboardInterrupt
            self.launched.append(case)
            yield Finished(self._record(case))

    def _record(self, case):
        seconds = {"step_seconds": (0.5,)} if case.time_device else {}
        record = self.make_record(peak=None, **seconds, **case.model_dump(exclude={"timing"}))
        outcome = self.outcomes.get((case.method, case.memory_device))
        if case.memory_device is None or outcome is not None:
            return record.model_copy(update={"outcome": outcome or "ok"})
        used = memory(self.peak(case), saved=self.saved(case), reserved=self.reserved(case))
        fits = used.needed_bytes <= LIMIT
        outcome = "ok" if fits else "out_of_memory"
        return record.model_copy(update={"outcome": outcome, "memory": used})


@pytest.fixture
def make_run(tmp_path, environment):
    """Return the one run directory of a test, new or as it is."""
    profile = {"version": 1, "title": "t", "grid": [{"model": ["mlp:8-8-4"]}]}
    about = {"rmmbench": "0", "profile_name": "t", "profile": profile, "profile_hash": "0"}
    about |= {"environment": environment, "command": "", "started_at": ""}
    return lambda: Run.create(tmp_path / "run", RunInfo.model_validate(about))


def searched(run, cases, launcher, time_device=None):
    """Search to the end and return what was found."""
    with run.locked():
        for _ in find(run, cases, launcher, time_device):
            pass
    return found(run.records(), cases, time_device)


def probes(largest, start):
    """Follow `next_batch` where `largest` is the largest that fits; return what it probed."""
    fits, fails, asked = 0, None, []
    while (size := next_batch(fits, fails, start)) is not None:
        assert fits < size < (fails or MOST + 1)
        asked.append(size)
        fits, fails = (size, fails) if size <= largest else (fits, size)
    assert (fits, fails) == (largest, largest + 1)
    return asked


def test_the_largest_is_found_from_wherever_the_search_starts():
    """No probe is at or above a failure, or below a success, and their number is logarithmic.

    Of a distance d the steps 1, 2, 4, ... pass at most the log2(d + 1) + 2 first, and bisection
    halves the last of them.
    """
    numbers = random.Random(0)
    for _ in range(2000):
        largest, start = (int(2 ** numbers.uniform(0, 20)) for _ in range(2))
        largest -= numbers.random() < 0.1
        distance = abs(largest - start)
        assert len(probes(largest, start)) <= 2 * math.log2(distance + 1) + 3


@pytest.mark.parametrize(
    ("largest", "start", "asked"),
    [
        (12, 12, [12, 13]),
        (14, 10, [10, 11, 13, 17, 15, 14]),
        (9, 10, [10, 9]),
        (4, 10, [10, 9, 7, 3, 5, 4]),
        (0, 3, [3, 2, 1]),
        (0, 1, [1]),
    ],
)
def test_steps_double_until_they_pass_the_largest(largest, start, asked):
    """The start comes first, then 1, 2, 4, ... away from it, then the middle of what is open."""
    assert sorted(probes(largest, start)) == sorted(asked)
    assert probes(largest, start)[: len(asked) - 2] == asked[: len(asked) - 2]


def test_a_search_ends_where_everything_fits():
    """Memory that no batch exhausts is searched up to a bound."""
    fits = 0
    for _ in range(40):
        size = next_batch(fits, None, 1)
        if size is None:
            break
        fits = size
    assert fits == MOST
    assert next_batch(MOST, None, 1) is None


@pytest.mark.parametrize(
    ("peaks", "expected"),
    [
        ({}, None),
        ({10: 2_800}, 50),  # 1,000 at rest and 180 a sample
        ({10: 3_000, 20: 4_000}, 80),
        ({20: 4_000, 60: 12_000}, 50),
        ({10: 9_000, 100: 19_000}, 50),  # the nearer is the optimizer's
        ({10: 9_000, 60: 12_000, 70: 14_000}, 50),
        ({60: 10_800, 70: 12_800}, 56),
        ({10: 1_000}, 90_000),
        ({1: 50_000}, 1),
    ],
)
def test_an_estimate_is_a_line_through_what_grows(peaks, expected):
    """Two batches make a line, one makes it with what rests between steps."""
    memories = {size: memory(peak) for size, peak in peaks.items()}
    assert estimate(memories, LIMIT) == expected


def test_an_estimate_of_flat_peaks_is_by_what_is_saved():
    """Where the optimizer's part is the peak of both, what autograd keeps tells how far to go."""
    memories = {size: memory(3_000, saved=90 * size) for size in (8, 9)}
    assert estimate(memories, LIMIT) == 100


def test_an_estimate_leaves_room_for_what_is_reserved_beyond():
    """The line is through what is allocated; the limit holds what the allocator reserves too."""
    memories = {10: memory(3_000, reserved=4_000), 20: memory(4_000, reserved=5_000)}
    assert estimate(memories, LIMIT) == 70
    assert estimate({10: memory(2_800, reserved=4_600)}, LIMIT) == 40


def test_what_is_reserved_in_steps_is_searched_as_well(make_record, make_run):
    """Blocks of any size, a part that comes and goes: the batch that is found fits, one more not.

    Where more samples never reserve less, none larger fits either. Few probes are enough.
    """
    numbers = random.Random(0)
    places = range(60)
    fixed = [numbers.randint(1_000, 6_000) for _ in places]
    each = [2 ** numbers.uniform(1, 9) for _ in places]
    block = [numbers.choice((20, 200, 1_500)) for _ in places]
    uneven = [numbers.choice((0, 0, 150, 600)) for _ in places]

    def peak(case):
        return int(fixed[case.seed] + each[case.seed] * case.batch_size)

    def reserved(case):
        jitter = random.Random(case.batch_size).random() * uneven[case.seed]
        return -int(-(peak(case) + jitter) // block[case.seed]) * block[case.seed]

    cases = [limited(seed=number) for number in places]
    lines = searched(make_run(), cases, Known(make_record, peak, reserved=reserved))
    for number, line in enumerate(lines):
        assert line.fails == line.fits + 1
        assert line.fits == 0 or reserved(line.at(line.fits)) <= LIMIT
        assert reserved(line.at(line.fails)) > LIMIT
        if not uneven[number]:
            larger = range(line.fails, 2 * line.fails + 10)
            assert all(reserved(line.at(size)) > LIMIT for size in larger)
    assert sum(len(line.known) for line in lines) <= 7 * len(lines)
    assert max(len(line.known) for line in lines) <= 20


def test_few_predictions_are_enough(make_record, make_run):
    """Where the optimizer is the peak at first and then a straight line, six on average find it."""
    numbers = random.Random(0)
    flat = [numbers.randint(1_100, 8_000) for _ in range(30)]
    fixed = [numbers.randint(1_000, 4_000) for _ in range(30)]
    each = [2 ** numbers.uniform(2, 9) for _ in range(30)]

    def peak(case):
        return max(flat[case.seed], int(fixed[case.seed] + each[case.seed] * case.batch_size))

    def saved(case):
        return int(0.8 * each[case.seed] * case.batch_size)

    cases = [limited(seed=number) for number in range(30)]
    lines = searched(make_run(), cases, Known(make_record, peak, saved=saved))
    for line in lines:
        assert peak(line.at(line.fits)) <= LIMIT < peak(line.at(line.fits + 1))
        assert line.fails == line.fits + 1
    counts = [len(line.known) for line in lines]
    assert sum(counts) <= 6 * len(counts)
    assert max(counts) <= 8


def test_a_crooked_step_is_searched_by_bisection(make_record, make_run):
    """Where no line comes near the search ends all the same, soon after its estimates."""
    launcher = Known(make_record, lambda case: 1_000 + case.batch_size**4)
    line = searched(make_run(), [ALONE], launcher)[0]
    assert (line.fits, line.fails) == (9, 10)
    assert len(line.known) <= 14


def test_what_never_fits_is_a_result(make_record, make_run):
    """Where a single sample is too much, that is told."""
    launcher = Known(make_record, lambda case: 9_999 + 2 * case.batch_size)
    line = searched(make_run(), [ALONE], launcher)[0]
    assert (line.fits, line.fails, line.trouble) == (0, 1, None)


def test_an_interrupted_search_launches_nothing_twice(make_record, make_run):
    """Ended after any number of probes and started again, it ends as if it never had been."""

    def peak(case):
        return 1_000 + case.batch_size * (90 if case.method == "exact" else 60)

    run, launched = make_run(), []
    for patience in itertools.count(1):
        launcher = Known(make_record, peak, patience=patience % 3 + 1)
        try:
            lines = searched(run, PAIR, launcher, "cpu")
        except KeyboardInterrupt:
            launched += launcher.launched
            continue
        launched += launcher.launched
        break
    assert [(line.fits, line.fails) for line in lines] == [(100, 101), (150, 151)]
    keys = [case.key for case in launched]
    assert len(keys) == len(set(keys)) == len(run.records())
    assert patience > 2


def test_a_device_starts_where_the_prediction_ended(make_record, make_run):
    """Steps of a device begin at the batch that was predicted, and none is far above what fits."""

    def peak(case):
        extra = 100 if case.memory_device == "cpu" else 0
        return 1_000 + extra + case.batch_size * 90

    cases = [case.model_copy(update={"memory_device": "cpu", "gpu": None}) for case in PAIR]
    launcher = Known(make_record, peak)
    lines = searched(make_run(), cases, launcher)
    assert [(line.fits, line.fails) for line in lines] == [(98, 99)] * 2
    measured = [case for case in launcher.launched if case.memory_device == "cpu"]
    assert [case.batch_size for case in measured[:2]] == [100, 100]
    assert max(case.batch_size for case in measured) == 100
    assert {case.memory_device for case in launcher.launched} == {"predict", "cpu"}


def test_what_cannot_be_predicted_starts_where_exact_ended(make_record, make_run):
    """A method that the prediction has nothing to tell of is measured from exact's batch on."""
    cases = [case.model_copy(update={"memory_device": "cuda", "gpu": None}) for case in PAIR]
    outcomes = {("rmm", "predict"): "skipped"}
    launcher = Known(make_record, lambda case: 1_000 + case.batch_size * 90, outcomes)
    lines = searched(make_run(), cases, launcher)
    assert [line.fits for line in lines] == [100, 100]
    measured = [case for case in launcher.launched if case.memory_device == "cuda"]
    assert [case.batch_size for case in measured[:2]] == [100, 100]


@pytest.mark.parametrize("outcome", ["error", "timeout", "skipped"])
def test_what_fails_otherwise_ends_its_own_search_alone(make_record, make_run, outcome):
    """A probe that ended in another way says nothing of memory: its search stops and tells."""
    outcomes = {("rmm", "predict"): outcome}
    launcher = Known(make_record, lambda case: 1_000 + case.batch_size * 90, outcomes)
    exact, failed = searched(make_run(), PAIR, launcher)
    assert (exact.fits, exact.trouble) == (100, None)
    assert failed.trouble.outcome == outcome
    assert len(failed.known) == 1


def test_the_largest_is_timed_where_it_is_known(make_record, make_run):
    """Time is of the largest batch alone, under the same limit, and of no search that stopped."""
    outcomes = {("rmm", "predict"): "error"}
    launcher = Known(make_record, lambda case: 1_000 + case.batch_size * 90, outcomes)
    exact, failed = searched(make_run(), PAIR, launcher, "cpu")
    assert exact.timed.case.batch_size == exact.fits == 100
    assert exact.timed.case.memory_limit_bytes == LIMIT
    assert exact.timed.timing.samples_per_second == 200.0
    assert failed.timed is None
    assert [case.device for case in launcher.launched].count("cpu") == 1


def test_measured_on_the_cpu_the_next_batch_does_not_fit(make_run, environment):
    """In processes of their own: the batch that is found was measured to fit, one more not to."""
    run, limit = make_run(), 3 * MIB
    case = limited(memory_limit_bytes=limit, memory_device="cpu", model="mlp:32-256-256-4")
    launcher = LocalLauncher(environment, time_limit_seconds=60, jobs=2, folder=run.path)
    line = searched(run, [case], launcher)[0]
    assert line.trouble is None
    assert line.fails == line.fits + 1 > 2
    fitting, failing = (line.memory(size).needed_bytes for size in (line.fits, line.fails))
    assert fitting <= limit < failing
    assert {record.memory.device for record in line.known.values()} == {"cpu"}


def test_parameters_are_counted_without_memory():
    """Weights and biases, four bytes each; a model that cannot be made has no number."""
    assert parameter_bytes(limited(model="mlp:8-32-4")) == 4 * (8 * 32 + 32 + 32 * 4 + 4)
    assert parameter_bytes(limited(model="import:nowhere:nothing")) is None


def test_a_line_without_probes_asks_for_its_start():
    """Before anything is known the start is asked for, at the case's own settings."""
    case = Line(PAIR[1], start=7).next_case()
    assert case == PAIR[1].model_copy(update={"batch_size": 7})
