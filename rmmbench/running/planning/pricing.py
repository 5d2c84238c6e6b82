"""Costs from a survey: bytes as they are, noise by its terms, seconds by a clock."""

from rmmbench.results.counts import Counts
from rmmbench.running.planning.costs import Block, Choice, Costs, Unit, worthwhile
from rmmbench.running.planning.noise_terms import Noise
from rmmbench.running.planning.speeds import Clock
from rmmbench.running.planning.surveyed import Survey, SurveyedUnit


def priced(
    survey: Survey,
    noise: Noise,
    clock: Clock,
    exact: tuple[int, Counts],
    again_bytes: int,
) -> Costs:
    """Return the costs of all that can be chosen.

    Args:
        survey: What there is to choose from.
        noise: Of each layer.
        clock: Of the device.
        exact: What the unchanged step needs, and its work.
        again_bytes: What a step needs whose blocks are all computed again.
    """
    blocks = _blocks(survey, clock)
    place = {block.name: number for number, block in enumerate(blocks)}
    units = [_unit(unit, place, noise, clock) for unit in survey.units]
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
    has_some = sum(saved > 0 for saved in survey.attention) or 1
    each = clock.of(*survey.attention_work) / has_some
    return tuple(
        Block(
            block.name,
            block.kept_bytes,
            block.output_bytes,
            saved,
            clock.of(*block.work),
            each,
            block.gradient_bytes,
        )
        for block, saved in zip(survey.blocks, survey.attention, strict=True)
    )


def _beside(blocks: tuple[Block, ...]) -> list[int]:
    """Return what is there while each block is computed again, if all are."""
    outputs, later = 0, sum(block.gradient_bytes for block in blocks)
    found = []
    for block in blocks:
        later -= block.gradient_bytes
        found.append(outputs + block.kept_bytes + later)
        outputs += block.output_bytes
    return found


def _unit(unit: SurveyedUnit, place: dict[str, int], noise: Noise, clock: Clock) -> Unit:
    choices = []
    for way, saved in unit.saved_bytes.items():
        added = sum(noise.of(layer, *way) for layer in unit.layers)
        forward, backward = (clock.of(*each[way]) for each in (unit.forward, unit.backward))
        seconds = forward + backward
        choices.append(Choice(*way, saved, added, seconds, seconds + forward))
    return Unit(unit.layers, _block_of(unit.layers[0], place), worthwhile(choices))


def _block_of(layer: str, place: dict[str, int]) -> int | None:
    return next((number for name, number in place.items() if layer.startswith(f"{name}.")), None)
