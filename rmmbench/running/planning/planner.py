"""Makes plans for a memory limit: surveys the model, solves, predicts, and corrects."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rmmbench.errors import ArgumentError, UsageError, check_arguments
from rmmbench.models import MODELS
from rmmbench.results.noise_file import NoiseFile
from rmmbench.results.record import Record
from rmmbench.running.factories import Factory, importable
from rmmbench.running.isolation import process
from rmmbench.running.one_case import case_of
from rmmbench.running.planning.costs import Chosen, Costs
from rmmbench.running.planning.goals import Asked, goals
from rmmbench.running.planning.noise_terms import FromFile, Noise, RuleOfThumb
from rmmbench.running.planning.plans import Plans, Sought, plan_of
from rmmbench.running.planning.predictor import Predictor
from rmmbench.running.planning.pricing import priced
from rmmbench.running.planning.searching import Goal, Ladder, search
from rmmbench.running.planning.speeds import clock_of
from rmmbench.running.planning.surveyed import Survey
from rmmbench.running.sweep_plan import check_models, check_names, environment_here
from rmmbench.sketches import SKETCHES
from rmmbench.spec.case import Case
from rmmbench.spec.gpus import find_gpu
from rmmbench.spec.saving_plan import SavingPlan
from rmmbench.units import format_bytes, parse_bytes, parse_fraction

_LIMIT_SECONDS: Final = 600.0


def plan(
    model: str | Factory,
    *,
    memory: str | int | None = None,
    save: str | float | None = None,
    max_inflation: float | None = None,
    min_throughput: float | None = None,
    noise: str | Path | None = None,
    sketch: str = "oporp",
    task: str | None = None,
    batch_size: int | None = None,
    seq_len: int | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Plans:
    """Find how a model is to save memory so that a training step fits a limit.

    The model's step is followed on fake tensors, and every plan is predicted as a whole; nothing is
    allocated. Up to three plans come of it: the fastest with exact gradients, the one with the least
    noise, and the fastest for its noise.

    Args:
        model: As `predict` takes it.
        memory: What there is: "24GiB", or bytes. It is held against what the step reserves.
        save: Instead of `memory`, the share of the unchanged model's that is to be saved: "30%".
        max_inflation: The most noise of the gradient, as a multiple of SGD's own; needs `noise`.
        min_throughput: The least samples a second, as a share of the unchanged model's.
        noise: A noise file of this model, from `variance`; without one a rule of thumb is used.
        sketch: A name of `rmmbench list sketches`.
        task: A task whose shape to take.
        batch_size: Samples in a step; by default the task's, or 32.
        seq_len: Padded length in tokens; by default the task's, or 128 for models of tokens.
        quiet: Show no progress.
        settings: Of the case: dtype, optimizer, attention, gpu, accumulate …

    Raises:
        TypeError: If there is no argument of that name.
        UsageError: If a value is not possible, or no plan reaches the limit; the message has the
            least that one does.
        NoiseFileError: If the noise file is damaged, or of another model.

    Examples:
        >>> import rmmbench
        >>> plans = rmmbench.plan(
        ...     "roberta-tiny", save="20%", batch_size=64, seq_len=64, quiet=True
        ... )
        >>> plans.best.plan.predicted.peak_bytes <= plans.limit_bytes
        True
    """
    start = time.monotonic()
    SKETCHES.check(sketch)
    with importable(model) as name, TemporaryDirectory(prefix="rmmbench-") as folder:
        check_arguments([each for each in settings if each in ("method", "steps", "rho")], ())
        case = case_of(name, task, batch_size, seq_len, settings | {"memory_device": "predict"})
        read = NoiseFile.read(Path(noise)) if noise is not None else None
        asked = Asked(_bytes(memory), max_inflation, min_throughput)
        share = _share(save)
        if share is None:
            asked.checked()
        check_names([case])
        process.preload([MODELS.module(name.partition(":")[0]), "rmmbench.running.planning.survey"])
        check_models([case], _LIMIT_SECONDS)
        with Predictor(
            case, process.call(environment_here), Path(folder), quiet=quiet
        ) as predictor:
            planner = _Planner(case, sketch, predictor, read, str(noise))
            found = planner.found(asked, share)
    return replace(found, seconds=time.monotonic() - start)


@dataclass
class _Planner:
    """One model, and all that is known of it."""

    case: Case
    sketch: str
    predictor: Predictor
    file: NoiseFile | None
    path: str

    def found(self, asked: Asked, share: float | None) -> Plans:
        """Return the plans that fit.

        Raises:
            UsageError: If none does.
        """
        self.predictor.tell("following the step")
        survey: Survey = process.call(_survey, self.case, self.sketch, limit_seconds=_LIMIT_SECONDS)
        noise = self._noise(survey)
        exact, again = self._ends(survey)
        assert exact.memory is not None
        if share is not None:
            asked = asked._replace(memory_bytes=int((1 - share) * exact.memory.needed_bytes))
        about = Plans(self.case, exact.memory, asked.memory_bytes, noise.by, "")
        if asked.memory_bytes is not None and asked.memory_bytes >= exact.memory.needed_bytes:
            return about
        gpu = find_gpu(self.case.gpu) if self.case.gpu else None
        clock = clock_of(gpu, self.case.dtype)
        assert exact.counts is not None
        ends = (exact.memory.needed_bytes, exact.counts)
        costs = priced(survey, noise, clock, ends, again)

        def sought(chosen: Chosen) -> SavingPlan:
            return plan_of(self.case, survey.shapes, costs, chosen, self.sketch)

        def peak(chosen: Chosen, record: Record) -> int:
            assert record.memory is not None
            return record.memory.needed_bytes

        wanted = goals(costs, asked)
        chosen = self._search(costs, wanted, asked, sought)
        about = replace(about, time_by=clock.by)
        lines = []
        for goal in wanted:
            best = chosen[goal.name]
            if best is not None:
                record = self.predictor.known(sought(best))
                lines.append(Sought.of(goal, sought(best), best, record, costs, clock, about))
        if not lines:
            raise UsageError(self._out_of_reach(costs, wanted, asked, sought))
        return about.having(lines, [goal.name for goal in wanted if chosen[goal.name] is None])

    def _noise(self, survey: Survey) -> Noise:
        if self.file is None:
            return RuleOfThumb(len(survey.trained))
        shapes = {
            name: _shape(survey.shapes[name]) for unit in survey.units for name in unit.layers
        }
        self.file.check_layers(shapes)
        return FromFile(self.file, self.path, self.sketch)

    def _ends(self, survey: Survey) -> tuple[Record, int]:
        """Return the record of the unchanged step, and what all blocks again need."""
        blocks = tuple(block.name for block in survey.blocks)
        whole = SavingPlan(model=self.case.model, checkpoint=blocks)
        asked = [SavingPlan(model=self.case.model), *([whole] if blocks else [])]
        records = self.predictor.predict(asked)
        assert records[-1].memory is not None
        return records[0], records[-1].memory.needed_bytes

    def _search(
        self,
        costs: Costs,
        wanted: Sequence[Goal],
        asked: Asked,
        sought: Callable[[Chosen], SavingPlan],
    ) -> dict[str, Chosen | None]:
        """Return the plan of each goal that fits, all searched side by side."""
        ladders = {goal.name: Ladder(costs, goal) for goal in wanted}
        if asked.memory_bytes is None:
            (ladder,) = ladders.values()
            if ladder.least is not None:
                self.predictor.predict([sought(ladder.least)])
            return dict.fromkeys(ladders, ladder.least)
        found: dict[str, Chosen | None] = dict.fromkeys(ladders)
        running = {
            name: search(ladder.rung, asked.memory_bytes)
            for name, ladder in ladders.items()
            if ladder.least is not None
        }
        waiting: Mapping[str, Chosen] = _advanced(running, dict.fromkeys(running), found)
        while waiting:
            names = list(waiting)
            records = self.predictor.predict([sought(waiting[name]) for name in names])
            peaks = {
                name: record.memory.needed_bytes
                for name, record in zip(names, records, strict=True)
                if record.memory is not None
            }
            waiting = _advanced(running, peaks, found)
        return found

    def _out_of_reach(
        self,
        costs: Costs,
        wanted: Sequence[Goal],
        asked: Asked,
        sought: Callable[[Chosen], SavingPlan],
    ) -> str:
        tried = [Ladder(costs, goal).least for goal in wanted]
        plans = [sought(least) for least in tried if least is not None]
        within = [
            f"a throughput of {asked.min_throughput:g} or more" if asked.min_throughput else "",
            f"a noise inflation of {asked.max_inflation:g} or less" if asked.max_inflation else "",
        ]
        told = " and ".join(filter(None, within))
        if not plans:
            return f"no plan of {self.case.model} has {told}; ask for less"
        records = self.predictor.predict(plans)
        peaks = [r.memory.needed_bytes for r in records if r.memory is not None]
        least = min(peaks)
        words = plans[peaks.index(least)].words
        assert asked.memory_bytes is not None
        need = f"memory must be at least {format_bytes(least)} for {self.case.title}"
        if told:
            need += f" with {told}"
        got = format_bytes(asked.memory_bytes)
        return f"{need}, got {got}; that least is reached with {words}"


def _advanced(
    running: dict[str, Generator[Chosen, int, Chosen | None]],
    peaks: Mapping[str, int | None],
    found: dict[str, Chosen | None],
) -> dict[str, Chosen]:
    """Send each search the peak that it waits for, and return what each asks for next."""
    asked = {}
    for name, peak in peaks.items():
        try:
            asked[name] = running[name].send(peak)  # type: ignore[arg-type]
        except StopIteration as end:
            found[name] = end.value
    return asked


def _survey(case: Case, sketch: str) -> Survey:
    from rmmbench.running.planning.survey import survey

    return survey(case, sketch)


def _bytes(memory: str | int | None) -> int | None:
    if memory is None:
        return None
    try:
        found = parse_bytes(str(memory))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if found == 0:
        raise ArgumentError("memory", f" must be above 0, got {memory!r}")
    return found


def _share(save: str | float | None) -> float | None:
    if save is None:
        return None
    try:
        return parse_fraction(str(save))
    except ValueError as error:
        raise ArgumentError("save", f" {error}") from None


def _shape(text: str) -> tuple[int, int]:
    out, _, inner = text.partition("x")
    return int(out), int(inner)
