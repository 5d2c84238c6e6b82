"""Finds the plans of one case, in the process that predicts them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from rmmbench.errors import RmmbenchError, UsageError
from rmmbench.results.noise_file import NoiseFile
from rmmbench.running.planning.costs import Chosen, Costs
from rmmbench.running.planning.goals import Asked, goals
from rmmbench.running.planning.measured_ratios import MeasuredRatios
from rmmbench.running.planning.noise_terms import FromFile, Noise, RuleOfThumb
from rmmbench.running.planning.plans import Plans, Sought, plan_of
from rmmbench.running.planning.predictor import Predictor
from rmmbench.running.planning.pricing import measured_by, priced
from rmmbench.running.planning.searching import Goal, Ladder, aimed, modelled_peak, search
from rmmbench.running.planning.speeds import Clock, clock_of
from rmmbench.running.planning.survey import survey
from rmmbench.running.planning.surveyed import Survey
from rmmbench.running.planning.told import Left, Surveyed
from rmmbench.running.planning.uniform import best_uniform
from rmmbench.spec.case import Case
from rmmbench.spec.gpus import find_gpu
from rmmbench.spec.saving_plan import SavingPlan
from rmmbench.units import format_bytes

_USUAL_TRIES: Final = 4
"""About how many plans are predicted for a goal."""


class Request(NamedTuple):
    """What plans are asked for.

    Attributes:
        case: Without steps.
        sketch: By name.
        asked: What they must fit; without memory's limit if `save` gives it.
        save: The share of the unchanged model's memory that is to be saved; None if not given.
        noise: A noise file, and what it is called; None for the rule of thumb.
        ratios: Measured ratios of single layers; None for counted work.
    """

    case: Case
    sketch: str
    asked: Asked
    save: float | None = None
    noise: tuple[NoiseFile, str] | None = None
    ratios: MeasuredRatios | None = None


def find_plans(tell: Callable[[object], None], request: Request) -> Plans:
    """Return the plans that fit; in a process of their own.

    Raises:
        UsageError: If none does; the message has the least that one reaches.
        NoiseFileError: If the noise file is of another model.
    """
    try:
        return _Finding.of(tell, request).plans()
    except RmmbenchError:
        raise
    except ValueError as error:
        # A user's own model may raise anything; so may a sketch that cannot take its inputs.
        words = " ".join(str(error).split())[:500]
        raise UsageError(f"{request.case.model}: {words}") from error


@dataclass
class _Finding:
    """One case, and all that is known of it."""

    tell: Callable[[object], None]
    request: Request
    asked: Asked
    predictor: Predictor
    survey: Survey
    costs: Costs
    clock: Clock
    noise: Noise

    @classmethod
    def of(cls, tell: Callable[[object], None], request: Request) -> "_Finding":
        """Follow the unchanged step, and predict it and that in which all blocks are again."""
        case, asked = request.case, request.asked
        found = survey(case, request.sketch)
        tell(Surveyed())
        noise = _noise(found, request)
        predictor = Predictor(case, tell)
        exact = predictor.step(SavingPlan(model=case.model))
        needed = exact.memory.needed_bytes
        if request.save is not None:
            asked = asked._replace(memory_bytes=int((1 - request.save) * needed))
        again = needed
        if found.blocks:
            names = tuple(block.name for block in found.blocks)
            again = predictor.peak(SavingPlan(model=case.model, checkpoint=names))
        clock = clock_of(find_gpu(case.gpu) if case.gpu else None, case.dtype)
        if case.ranks > 1:
            clock = clock._replace(by=f"{clock.by}, without what GPUs send one another")
        measured = None
        if request.ratios is not None:
            clock = clock._replace(by=_timed_by(request.ratios, found, request.sketch, clock))
            measured = measured_by(request.ratios, found, clock, request.sketch)
        costs = priced(found, noise, clock, (needed, exact.counts), again, measured)
        return cls(tell, request, asked, predictor, found, costs, clock, noise)

    def plans(self) -> Plans:
        """Return the plans that fit.

        Raises:
            UsageError: If none does.
        """
        exact = self.predictor.step(SavingPlan(model=self.request.case.model)).memory
        limit = self.asked.memory_bytes
        about = Plans(self.request.case, exact, limit, self.noise.by, self.clock.by)
        if limit is not None and limit >= exact.needed_bytes:
            return about
        wanted = goals(self.costs, self.asked)
        best: dict[Goal, Chosen | None] = {}
        for goal in wanted:
            others = _USUAL_TRIES * (len(wanted) - len(best) - 1)
            best[goal] = self._best(Ladder(self.costs, goal), others)
        found = [self._sought(goal, one, about) for goal, one in best.items() if one is not None]
        if not found:
            raise UsageError(self._out_of_reach(wanted))
        beside = [self._uniform(goal, one, about) for goal, one in best.items() if one is not None]
        about = replace(
            about,
            uniform=next(filter(None, beside), None),
            warnings=self.predictor.warnings,
        )
        return about.having(found, [goal.name for goal, one in best.items() if one is None])

    def _uniform(self, goal: Goal, best: Chosen, about: Plans) -> Sought | None:
        """Return the best plan with one setting for all layers, beside a noisy one's goal."""
        if goal.ties is None or not best.noise():
            return None
        peak = modelled_peak(self.costs, best)
        one = best_uniform(self.costs, peak, goal.limits.seconds)
        if one is None:
            return None
        alike = goal._replace(name="one setting", why="the least noise with one setting for all")
        return self._sought(alike, one, about)

    def _best(self, ladder: Ladder, others: int) -> Chosen | None:
        """Return a goal's plan that fits, if there is one; `others` are tried for further goals."""
        if self.asked.memory_bytes is None or ladder.least is None:
            return ladder.least
        limit = self.asked.memory_bytes
        # Only of the plan with the least noise is it promised that more memory makes it no noisier.
        if ladder.goal.ties is not None:
            trying = search(ladder.rung, limit)
        else:
            modelled = partial(modelled_peak, self.costs)
            trying = aimed(ladder.within, modelled, ladder.least, limit)
        try:
            chosen = next(trying)
            left = _USUAL_TRIES
            while True:
                self.tell(Left(left + others))
                left = max(1, left - 1)
                chosen = trying.send(self.predictor.peak(self._plan(chosen)))
        except StopIteration as end:
            best: Chosen | None = end.value
            return best

    def _sought(self, goal: Goal, best: Chosen, about: Plans) -> Sought:
        plan = self._plan(best)
        memory, counts = self.predictor.step(plan)
        numbers = (counts, memory.needed_bytes, self.costs, self.clock)
        return Sought.of(goal, plan, best, *numbers, about)

    def _plan(self, chosen: Chosen) -> SavingPlan:
        request = self.request
        return plan_of(request.case, self.survey.shapes, self.costs, chosen, request.sketch)

    def _out_of_reach(self, wanted: list[Goal]) -> str:
        """Return what the least is that a plan reaches, and with what."""
        within = self.asked.words
        tried = [Ladder(self.costs, goal).least for goal in wanted]
        plans = [self._plan(least) for least in tried if least is not None]
        title = self.request.case.title
        limit, on_each = self.asked.memory_bytes, self.request.case.on_each
        if not plans or limit is None:
            return f"no plan of {title} has {within}; ask for less"
        unchanged = SavingPlan(model=self.request.case.model)
        least = min([unchanged, *plans], key=self.predictor.peak)
        how = "the unchanged model's" if least.does_nothing else f"reached with {least.words}"
        need = f"memory must be at least {format_bytes(self.predictor.peak(least))}{on_each}"
        need += f" for {title}"
        need += f" with {within}" if within else ""
        rests = format_bytes(self.predictor.step(least).memory.resting_bytes)
        told = f"that least is {how}; {rests} of it rest between steps, as"
        return f"{need}, got {format_bytes(limit)}; {told} parameters and the optimizer's state do"


def _noise(found: Survey, request: Request) -> Noise:
    if request.noise is None:
        return RuleOfThumb(max(1, len(found.trained)))
    file, path = request.noise
    layers = [name for unit in found.units for name in unit.layers]
    file.check_layers({name: _shape(found.shapes[name]) for name in layers})
    case, watched = request.case, file.batch_size
    # Each rank draws a sketch of its own for its own batch, as do micro-batches.
    scaled = file.for_batch(case.samples, case.seq_len)
    if scaled is not file:
        path = f"{path}, of batch {watched}, brought to batch {case.samples}"
    return FromFile(scaled, path, request.sketch)


def _timed_by(ratios: MeasuredRatios, found: Survey, sketch: str, clock: Clock) -> str:
    """Return in words what times are from.

    Raises:
        UsageError: If no layer has a shape that was measured.
    """
    shapes = [found.shapes[layer] for unit in found.units for layer in unit.layers]
    known = [shape for shape in shapes if ratios.knows(shape, sketch)]
    if shapes and not known:
        models = [f"linear:{inner}x{out}" for out, inner in map(_shape, dict.fromkeys(shapes))]
        need = f"ratios must be of layers that the model has, with sketch {sketch}"
        raise UsageError(f"{need}, got none in {ratios.source}; time {', '.join(models)}")
    told = f"ratios measured on {ratios.device} ({ratios.source}) of {len(known)}"
    return f"{told} of {len(shapes)} layers; the rest by {clock.by}"


def _shape(text: str) -> tuple[int, int]:
    out, _, inner = text.partition("x")
    return int(out), int(inner)
