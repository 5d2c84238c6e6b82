"""The estimate of the time left, by a clock that the test sets, on times as they were measured."""

from itertools import pairwise

import pytest

from rmmbench.results.stage import Stage
from rmmbench.running.estimate import Estimate
from rmmbench.running.events import Ahead, Finished, Started, Working
from rmmbench.running.pieces import Kind, Piece, piece_of
from rmmbench.running.progress import Progress, tell_event
from rmmbench.spec.case import Case

TICK = 0.5


def case(model, size, way, where, **settings):
    """Return a case; a way is written as its method, sketch, ρ and bits."""
    method, *rest = way.split()
    how = {"method": method}
    if method.startswith("rmm"):
        how |= {"sketch": rest[0], "rho": float(rest[1]), "where": "all", "share": True}
    if len(rest) > 2:
        how["bits"] = int(rest[2])
    if method == "exact-rp":
        how["rho"] = 0.1
    memory, _, timed = where.partition("+")
    devices = {"memory_device": memory, "time_device": timed or None}
    shape = {"batch_size": size, "seq_len": None if ":" in model else 128}
    return Case.model_validate({"model": model} | shape | how | devices | settings)


def over_batches():
    """Predict four ways at each of seven batches, as figure 2 does."""
    ways = ["exact", "rmm gaussian 0.5", "rmm gaussian 0.2", "rmm gaussian 0.1"]
    times = [1.7, 2.0, 1.9, 1.9]
    for size in (50, 75, 100, 125, 150, 200, 250):
        for way, seconds in zip(ways, times, strict=True):
            yield case("roberta-base", size, way, "predict"), seconds


def larger_and_larger():
    """Time a layer at batches that double, then another layer."""
    times = [1.4, 3.4, 2.4, 2.3, 2.7, 5.0, 4.7, 4.6, 5.3, 9.6, 9.0, 9.0, 11.6, 20.7, 19.2, 18.4]
    times += [1.5, 3.8, 3.7, 3.7, 2.9, 5.4, 5.0, 5.0, 5.6, 10.7, 9.8, 9.6, 11.2, 20.6, 18.9, 18.7]
    ways = ["exact", "rmm oporp 0.5", "rmm oporp 0.2", "rmm oporp 0.1"]
    shapes = [(of, n) for of in ("768x3072", "3072x768") for n in (2048, 4096, 8192, 16384)]
    cases = [case(f"linear:{of}", n, way, "predict+cpu") for of, n in shapes for way in ways]
    return zip(cases, times, strict=True)


METHODS = ["exact", "rmm gaussian 0.5", "rmm gaussian 0.1", "rmm oporp 0.5", "rmm oporp 0.1"]
METHODS += ["checkpoint", "rmm norm-rows 0.1", "checkpoint-attention", "selective-checkpoint"]
METHODS += ["offload", "velora", "quantize", "fewbit-activation", "exact-rp"]


def every_method_timed():
    """Time every method on a large model."""
    times = [67, 139, 113, 113, 90, 132, 85, 101, 97, 1.3, 106, 131, 124, 118]
    for way, seconds in zip(METHODS, times, strict=True):
        yield case("roberta-base", 24, way, "predict+cpu"), float(seconds)


def every_method_predicted():
    """Predict every method, of which some take ten times as long as others."""
    times = [3.3, 3.5, 3.5, 6.4, 5.6, 2.2, 4.7, 1.9, 2.3, 2.0, 2.4, 16.4, 4.1, 22.3]
    for way, seconds in zip(METHODS, times, strict=True):
        yield case("roberta-base", 128, way, "predict"), seconds


def trained(model, task, way, seed, steps, threads=1):
    """Return a training."""
    training = {"max_steps": steps, "threads": threads}
    return case(model, 64, way, "predict+cpu", task=task, seed=seed, training=training)


def small_trainings():
    """Train a small model five times with each sketch, and then in few bits, much slower."""
    sketches = {"gaussian": 1.5, "rademacher": 2.3, "dct": 3.6, "dft": 3.2, "oporp": 2.8}
    for seed in range(5):
        yield trained("mlp:64-256-10", "digits", "exact", seed, 300), 1.1
        for name, seconds in sketches.items():
            for rho in (0.5, 0.2, 0.1):
                yield trained("mlp:64-256-10", "digits", f"rmm {name} {rho}", seed, 300), seconds
    for bits, seconds in ((8, 17.0), (4, 15.5)):
        for seed in range(5):
            way = f"rmm oporp 0.5 {bits}"
            yield trained("mlp:64-256-10", "digits", way, seed, 300), seconds


def long_trainings():
    """Fine-tune a model for minutes, five times each way, while others use the machine too."""
    times = [206, 212, 184, 362, 236, 202, 174, 160, 356, 200, 128, 117, 105, 286, 199]
    times += [208, 141, 250, 277, 192, 304, 190, 261, 260, 190]
    ways = ["exact", "rmm oporp 0.5", "rmm oporp 0.1", "rmm oporp 0.5 8", "rmm oporp 0.5 4"]
    some = [(way, seed) for seed in range(5) for way in ways]
    for (way, seed), seconds in zip(some, times, strict=True):
        yield trained("minilm", "reviews", way, seed, 80, threads=2), float(seconds)


def launched(sequence, clock, finished):
    """Yield what a launcher tells, two predictions or small trainings at a time."""
    waiting = list(sequence)
    yield Ahead([case for case, _ in waiting])
    running = []
    while waiting or running:
        while waiting and (not running or (_shares(running[0][0]) and len(running) < 2)):
            one, seconds = waiting.pop(0)
            clock.now += 0.05
            yield Started(one)
            running.append((one, clock.now, seconds))
        ends = [start + seconds for _, start, seconds in running]
        clock.now = min(*ends, clock.now + TICK)
        for one, start, seconds in [each for each in running if each[1] + each[2] <= clock.now]:
            running.remove((one, start, seconds))
            yield finished(one, seconds)
        yield Working([(each[0], _stage(*each, clock)) for each in running])


def _shares(one):
    return one.device == "predict" or (one.training is not None and one.training.threads == 1)


def _stage(one, start, seconds, clock):
    share = (clock.now - start) / seconds if one.training else None
    return Stage.of("training", share)


class Seen:
    """A display that keeps what it is shown."""

    def __init__(self, clock):
        """Note when."""
        self.clock, self.states = clock, []

    def show(self, state):
        """Keep a state."""
        self.states.append((self.clock.now, state))

    def tell(self, text):
        """Fail: nothing went wrong."""
        raise AssertionError(text)


@pytest.fixture
def finished(make_record):
    """Return the end of a case."""
    golden = make_record()

    def made(one, seconds):
        told = {"key": one.key, "case": one, "wall_seconds": seconds, "memory": None}
        return Finished(golden.model_copy(update=told))

    return made


SEQUENCES = [
    *(over_batches, larger_and_larger, every_method_timed, every_method_predicted),
    *(small_trainings, long_trainings),
]


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda each: each.__name__)
def test_after_a_third_the_estimate_is_within_a_factor_of_two(sequence, finished, clock):
    """From a third of the time on, what is shown is at most twice, and at least half, what is left.

    Near the end, where little is left, a tenth of all time is as good. From one half second to the
    next it changes by no more than a fifth of itself, whatever ends.
    """
    seen = Seen(clock)
    progress = Progress(seen, "case", clock)
    for event in launched(sequence(), clock, finished):
        tell_event(progress, event)
    total = clock.now
    shown = [(now, state.ends_at - now) for now, state in seen.states if now >= total / 3]
    for now, left in shown:
        true = total - now
        assert abs(left - true) < total / 10 or true / 2 <= left <= 2 * true, (now, total)
    for (_, before), (_, left) in pairwise(shown):
        assert abs(left - before) < max(1.0, before / 5)
    (_, last) = seen.states[-1]
    assert (last.done, last.total) == (len(list(sequence())),) * 2


def test_nothing_is_known_before_the_first(clock):
    """Before anything is done there is no estimate, and then there is."""
    estimate = Estimate(clock)
    piece = Piece((Kind("a"),))
    estimate.expect([piece] * 3)
    estimate.begin("1", piece)
    assert estimate.seconds_left() is None
    clock.now = 10.0
    estimate.finish("1", piece, 10.0)
    assert estimate.seconds_left() == pytest.approx(20.0)


def test_a_share_tells_before_the_first_is_done(clock):
    """A training that is a fifth through tells how long all of them take; resumed, by what it did.

    Of a training that begins at nine tenths, one tenth is left, however short it ran.
    """
    estimate = Estimate(clock)
    piece = Piece((Kind("training"),))
    estimate.expect([piece] * 2)
    estimate.begin("1", piece)
    for clock.now, share in ((2.0, 0.0), (12.0, 0.2)):
        estimate.working({"1": share})
    assert estimate.seconds_left() == pytest.approx(40 + 52)
    resumed = Estimate(clock)
    resumed.begin("2", piece)
    for clock.now, share in ((20.0, 0.90), (25.0, 0.95)):
        resumed.working({"2": share})
    assert resumed.seconds_left() == pytest.approx(5.0)


def test_what_takes_longer_than_it_should_is_never_nearly_done(clock):
    """Of a piece that is overdue some is left, the more the longer it runs."""
    estimate = Estimate(clock)
    piece = Piece((Kind("a"),))
    estimate.learn(piece, 10.0)
    estimate.begin("1", piece)
    for clock.now, left in ((5.0, 5.0), (20.0, 5.0), (40.0, 10.0)):
        assert estimate.seconds_left() == pytest.approx(left)


def test_records_of_before_tell_how_long_the_rest_takes(make_record, clock):
    """A run that goes on has an estimate at once, of every kind of case by itself."""
    estimate = Estimate(clock)
    timed = {"peak": None, "step_seconds": (1.0,)}
    for size, seconds in ((8, 2.0), (64, 30.0)):
        estimate.learn(piece_of(make_record(batch_size=size, **timed).case), seconds)
    estimate.expect([piece_of(make_record(batch_size=8, seed=1, **timed).case)] * 3)
    assert estimate.seconds_left() == pytest.approx(6.0)


def test_a_search_may_take_other_pieces_than_it_was_to(clock):
    """A piece that was not expected takes the place of one that was."""
    estimate = Estimate(clock)
    expected, other = Piece((Kind("a"),)), Piece((Kind("b"),))
    estimate.expect([expected] * 2)
    estimate.begin("1", other)
    assert estimate.left == 2
    estimate.finish("1", other, 1.0)
    assert estimate.left == 1
