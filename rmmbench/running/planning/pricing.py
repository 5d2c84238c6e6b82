"""Costs from a survey: bytes as they are, noise by its terms, seconds by a clock."""

from collections.abc import Callable

from rmmbench.results.counts import Counts
from rmmbench.running.planning.costs import Block, Choice, Costs, Part, Unit, paying, worthwhile
from rmmbench.running.planning.measured_ratios import MeasuredRatios
from rmmbench.running.planning.noise_terms import Noise
from rmmbench.running.planning.speeds import Clock
from rmmbench.running.planning.surveyed import Survey, SurveyedUnit
from rmmbench.running.planning.ways_to_keep import Way

Measured = Callable[[SurveyedUnit, Way], float | None]


def priced(
    survey: Survey,
    noise: Noise,
    clock: Clock,
    exact: tuple[int, Counts],
    again_bytes: int,
    measured: Measured | None = None,
) -> Costs:
    """Return the costs of all that can be chosen.

    Args:
        survey: What there is to choose from.
        noise: Of each layer.
        clock: Of the device.
        exact: What the unchanged step needs, and its work.
        again_bytes: What a step needs whose blocks are all computed again.
        measured: Tells the seconds that a way to keep a unit's input adds, where they were
            measured; None where work is counted.
    """
    blocks = _blocks(survey, clock)
    place = {block.name: number for number, block in enumerate(blocks)}
    units = [_unit(unit, place, noise, clock, measured) for unit in survey.units]
    beside = max(_beside(blocks), default=0)
    return Costs(
        exact_bytes=exact[0],
        again_bytes=again_bytes - beside,
        exact_seconds=clock.seconds(exact[1]),
        units=tuple(unit for unit in units if len(unit.choices) > 1),
        blocks=blocks,
        sgd_noise=noise.sgd,
    )


def _blocks(survey: Survey, clock: Clock) -> tuple[Block, ...]:
    return tuple(
        Block(
            block.name,
            block.kept_bytes,
            block.output_bytes,
            clock.of(*block.work),
            block.gradient_bytes,
            _parts(survey, number, clock),
        )
        for number, block in enumerate(survey.blocks)
    )


def _parts(survey: Survey, number: int, clock: Clock) -> tuple[Part, ...]:
    """Return the parts that pay in a block; a sketch saves beside one without operators only."""
    found: dict[bool, list[Part]] = {False: [], True: []}
    for part in survey.parts:
        saving = sum(saved > 0 for saved in part.saved_bytes)
        seconds = clock.of(*part.work) / saving
        saved = part.saved_bytes[number]
        what = part.operators, part.attention, part.products
        found[part.operators] += (
            [Part(*what, saved, seconds, part.beside_bytes)] if saved > 0 else []
        )
    return paying(found[False]) + paying(found[True])


def _beside(blocks: tuple[Block, ...]) -> list[int]:
    """Return what is there while each block is computed again, if all are."""
    outputs, later = 0, sum(block.gradient_bytes for block in blocks)
    found = []
    for block in blocks:
        later -= block.gradient_bytes
        found.append(outputs + block.kept_bytes + later)
        outputs += block.output_bytes
    return found


def _unit(
    unit: SurveyedUnit, place: dict[str, int], noise: Noise, clock: Clock, measured: Measured | None
) -> Unit:
    choices = []
    for way, saved in unit.saved_bytes.items():
        added = sum(noise.of(layer, *way) for layer in unit.layers)
        forward, backward = (clock.of(*each[way]) for each in (unit.forward, unit.backward))
        counted = forward + backward
        known = None if measured is None else measured(unit, way)
        seconds = counted if known is None else known
        choices.append(Choice(*way, saved, added, seconds, seconds + forward, seconds - counted))
    block = _block_of(unit.layers[0], place)
    return Unit(unit.layers, block, worthwhile(choices), unit.made_again_bytes)


def measured_by(ratios: MeasuredRatios, survey: Survey, clock: Clock, sketch: str) -> Measured:
    """Return what tells the seconds that a way adds, by measured ratios of the layers' shapes."""

    def seconds(unit: SurveyedUnit, way: Way) -> float | None:
        total = 0.0
        for layer, work in zip(unit.layers, unit.exact, strict=True):
            more = ratios.more_time(survey.shapes[layer], unit.rows, sketch, way)
            if more is None:
                return None
            total += more * clock.of(*work)
        return total

    return seconds


def _block_of(layer: str, place: dict[str, int]) -> int | None:
    return next((number for name, number in place.items() if layer.startswith(f"{name}.")), None)
