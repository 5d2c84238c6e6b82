"""Golden runs for the figures: one that allows all of them, and what a figure draws, in short."""

from types import SimpleNamespace

import pytest

from rmmbench.report.figures import FigureData, get
from rmmbench.results.counts import Counts
from rmmbench.results.gradient_noise import DrawnNoise, LayerNoise
from rmmbench.results.record import SYNTHETIC
from rmmbench.results.timeline import Timeline
from rmmbench.spec.profile import Profile
from rmmbench.units import GIB

RATES = (0.5, 0.1)


def rmm(rho, sketch="gaussian", **more):
    """Settings of a case of the method rmm."""
    return {"method": "rmm", "sketch": sketch, "rho": rho, **more}


def counted(size, rho):
    """Return counts: (2 + ρ) ÷ 3 of exact's operations, 1.5 − ρ ÷ 2 of its bytes, 1.5 × its calls.

    Exact's own is ρ = 1.
    """
    flops, moved = (4 + 2 * rho) * size * 10**9, (3 - rho) * size * GIB
    calls = 100 if rho == 1 else 150
    return Counts(flops=round(flops), moved_bytes=round(moved), operator_calls=calls)


@pytest.fixture
def memory_cases(make_record):
    """Memory at three batch sizes: exact takes 2 GiB and 0.1 a sample, ρ = 0.5 half as much."""

    def make(
        sketches=("gaussian",), rates=RATES, sizes=(16, 32, 64), rmm_settings=None, **settings
    ):
        records, chosen = [], rmm_settings or {}
        for size in sizes:
            peak = lambda rho, size=size: round((2 + 0.1 * size * rho) * GIB)  # noqa: E731
            work = {"batch_size": size, **settings}
            records.append(make_record(peak=peak(1), counts=counted(size, 1), **work))
            records += [
                make_record(
                    peak=peak(rho), counts=counted(size, rho), **rmm(rho, sketch, **chosen), **work
                )
                for sketch in sketches
                for rho in rates
            ]
        return records

    return make


@pytest.fixture
def timed_cases(make_record):
    """Step times at two ρ: 1.25 ± 0.06 × exact's throughput at ρ = 0.1, 0.8 ± 0.04 × at ρ = 0.5."""

    def make(sketches=("gaussian",), share=True, **settings):
        settings = {"peak": None, **settings}
        exact = (1.0,) * 3
        return [
            make_record(step_seconds=exact, **settings),
            *(
                make_record(
                    step_seconds=(seconds,) * 3,
                    reference_step_seconds=(0.98, 1.0, 1.02),
                    **rmm(rho, sketch, share=share),
                    **settings,
                )
                for sketch in sketches
                for rho, seconds in ((0.5, 1.25), (0.1, 0.8))
            ),
        ]

    return make


@pytest.fixture
def linear_cases(make_record):
    """One layer with memory and time: ρ of what exact keeps is kept."""

    def make(sizes=(1024, 4096), sketches=("gaussian", "dct"), model="linear:768x3072"):
        cell = {"model": model, "task": None, "seq_len": None}
        records = []
        for size in sizes:
            saved = size * 768 * 4
            exact = {"step_seconds": (1.0,) * 3, "batch_size": size, **cell}
            records.append(make_record(saved=saved, **exact))
            for sketch in sketches:
                for rho in RATES:
                    timed = {"step_seconds": (0.5 + rho,) * 3, "reference_step_seconds": (1.0,) * 3}
                    settings = exact | timed | rmm(rho, sketch)
                    records.append(make_record(saved=round(saved * rho), **settings))
        return records

    return make


@pytest.fixture
def projection_cases(make_record):
    """Sketches timed alone: 8 in the time of a product at ρ = 0.1, 2 at ρ = 0.5."""

    def make(sizes=(2048,), sketches=("gaussian", "oporp"), **settings):
        settings = {"model": "linear:768x3072", "task": None, "seq_len": None} | settings
        settings |= {"peak": None, "time_device": None, "projection_device": "cpu"}
        exact = (1.0,) * 3
        return [
            record
            for size in sizes
            for record in (
                make_record(step_seconds=exact, batch_size=size, **settings),
                *(
                    make_record(
                        step_seconds=(seconds,) * 3,
                        reference_step_seconds=exact,
                        batch_size=size,
                        **rmm(rho, sketch),
                        **settings,
                    )
                    for sketch in sketches
                    for rho, seconds in ((0.5, 0.5), (0.1, 0.125))
                ),
            )
        ]

    return make


@pytest.fixture
def timeline_cases(make_record):
    """Memory over time: 4 GiB of activations at the end of forward, ρ of half of it kept."""

    def make(rates=RATES, sketches=("gaussian",), with_exact=True, **settings):
        chosen = [{}] if with_exact else []
        chosen += [rmm(rho, sketch) for sketch in sketches for rho in rates]
        records = []
        for each in chosen:
            followed = timeline(4 * GIB, each.get("rho", 1))
            asked = {"timeline": {"epoch_steps": 3}, "peak": followed.highest.total_bytes}
            record = make_record(**(asked | settings | each))
            records.append(record.model_copy(update={"timeline": followed}))
        return records

    return make


def timeline(activations, rho):
    """Return a step whose activations rise and fall, half of them to ρ of it in sketches."""
    kept, sketched = activations // 2, round(activations * rho / 2) if rho < 1 else 0
    kept = kept if rho < 1 else activations
    rest = (GIB, 0, 2 * GIB, 0, 0, 0)
    top = (GIB, 0, 2 * GIB, kept, sketched, 0)
    late = (GIB, GIB, 2 * GIB, 0, 0, 0)
    moments = [
        *((0, "forward", rest), (10, "forward", top), (10, "backward", top)),
        *((30, "backward", late), (30, "optimizer", late), (32, "optimizer", rest)),
    ]
    points = [{"time": t, "phase": phase, "live_bytes": sizes} for t, phase, sizes in moments]
    cold, warm = (GIB, 0, 0, kept, sketched, 0), top
    epoch = [
        {
            "step": i + 1,
            "rows": 64,
            "peak_bytes": sum(sizes),
            "at_peak_bytes": sizes,
            "resting_bytes": 3 * GIB,
        }
        for i, sizes in enumerate((cold, warm, warm))
    ]
    data = {"device": "predict", "operators": 32, "points": points, "epoch": epoch}
    return Timeline.model_validate(data)


@pytest.fixture
def training_cases(make_trained):
    """Training runs of three seeds: a score of 0.9, a tenth of 1/ρ points less with a sketch."""

    def make(sketches=("gaussian",), rates=RATES, seeds=3, base=0.9, **settings):
        settings = {"synthetic": SYNTHETIC, "task": "sst2", "seq_len": 66, **settings}
        chosen = [{}, *(rmm(rho, sketch, share=False) for sketch in sketches for rho in rates)]
        records = []
        for each in chosen:
            loss = 0.001 / each.get("rho", 1) if each else 0.0
            for seed in range(seeds):
                # The loss differs a little from seed to seed, so that there is an interval.
                score = base + 0.01 * seed - loss * (1 + 0.1 * seed)
                run = {"losses": (2.0 + loss, 1.0 + loss + 0.1 * seed), "seed": seed}
                run["seconds"] = 10.0 + 100 * loss
                records.append(make_trained(score - 0.2, score, **run, **settings, **each))
        return records

    return make


@pytest.fixture
def noise_cases(make_trained):
    """Training runs that watch a layer, exact and sketched, and draw S at the last step."""

    def make(task="mrpc", **settings):
        training = {"watch": ("*.output.dense",)}
        about = {"layer": "encoder.layer.7.output.dense", "proj_dim": 4}
        sums = {"rows": 8, "samples": 4, "a": 10.0, "g": 1.0, "d": 0.9, "g_samples": 1.0}
        sums["variances"] = {"gaussian": 2.75, "oporp": 1.3}
        noise = tuple(LayerNoise.model_validate(about | sums | {"step": s}) for s in (1, 10, 20))
        found = {"predicted": 1.0, "measured": 1.1, "standard_error": 0.1, "exact": 5.0}
        drawn = tuple(
            DrawnNoise.model_validate(
                about | found | {"sketch": sketch, "rho": rho, "step": 20, "draws": 200}
            )
            for sketch in ("gaussian", "oporp")
            for rho in (0.5, 0.1)
        )
        records = []
        for each in ({}, rmm(0.5, "gaussian", share=False)):
            run = make_trained(
                0.3, 0.5, task=task, training=training, synthetic=SYNTHETIC, **settings, **each
            )
            more = run.training.model_copy(update={"noise": noise, "drawn_noise": drawn})
            records.append(run.model_copy(update={"training": more}))
        return records

    return make


@pytest.fixture
def wide_run(
    make_run,
    memory_cases,
    timed_cases,
    linear_cases,
    projection_cases,
    timeline_cases,
    training_cases,
    noise_cases,
):
    """A run that allows every figure."""
    return make_run(
        *memory_cases(task="cola", seq_len=47),
        *timed_cases(),
        *timed_cases(task="cola", seq_len=47, batch_size=8),
        *linear_cases(),
        *projection_cases(),
        *timeline_cases(task="wnli", seq_len=108),
        *training_cases(("gaussian", "dct")),
        *training_cases(task="rte", seq_len=289, base=0.7),
        *noise_cases(),
    )


@pytest.fixture
def draw(make_run):
    """Draw a figure of some records, and read what is in it."""

    def make(name, records, **run):
        data = FigureData.of(make_run(*records, **run))
        assert get(name).lacks(data) is None
        return read(get(name).draw(data))

    return make


def read(drawing):
    """Return a drawing's points by name, with the marks apart, and its words and looks."""
    lines, hollow, crosses = {}, [], []
    for trace in drawing.data:
        points = [(x, y) for x, y in zip(trace.x, trace.y, strict=True) if y is not None]
        if trace.name == "published":
            hollow += points
        elif trace.name == "out of memory":
            crosses += points
        elif points:
            lines.setdefault((trace.xaxis, trace.name), []).extend(points)
    return SimpleNamespace(
        drawing=drawing,
        lines={name: points for (_, name), points in lines.items()},
        by_axis=lines,
        hollow=hollow,
        crosses=crosses,
        levels=[shape.y0 for shape in drawing.layout.shapes],
        words=[note.text for note in drawing.layout.annotations],
        note=drawing.layout.annotations[-1].text.replace("<br>", " "),
        looks=[
            (trace.xaxis, trace.line.color, trace.line.dash, trace.marker.symbol)
            for trace in drawing.data
            if trace.type == "scatter" and "lines" in trace.mode
        ],
        title=drawing.layout.title.text,
        legend=[trace.name for trace in drawing.data if trace.showlegend is not False],
    )


@pytest.fixture
def profile_with(make_run):
    """Change keys of the golden profile, which otherwise has no published rows here."""
    golden = make_run(name="golden").info.profile

    def make(**changes):
        return Profile.model_validate(golden.model_dump() | {"published": ()} | changes)

    return make


@pytest.fixture
def on_cuda(make_record):
    """The environment of a machine with a GPU of 16 GiB."""
    gpu = {"gpu": "Golden GPU", "gpu_memory_bytes": 16 * GIB}
    return make_record().environment.model_copy(update=gpu)
