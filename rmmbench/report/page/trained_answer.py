"""What training runs say, in two sentences: differences from exact, or the noise of gradients."""

from collections.abc import Callable, Sequence

from rmmbench.report.scores import Line, by_place, place_names
from rmmbench.report.ways import way_names
from rmmbench.results.record import Record
from rmmbench.units import format_count

MOST = 3
"""Settings that a sentence names; more are counted."""

Answer = tuple[str, str]
Name = Callable[[Line], str]


def trained_answer(lines: Sequence[Line]) -> Answer:
    """Answer which settings end otherwise than exact, and which of the rest is fastest."""
    names = way_names([line.row for line in lines])
    places = place_names(lines) if len(by_place(lines)) > 1 else {}

    def name(line: Line) -> str:
        way = names[line.row["key"]].replace("\N{NO-BREAK SPACE}", " ")
        where = places.get(line.place)
        return f"{way} ({where})" if where else way

    pairs = {id(line): _pairs(line) for line in lines}
    judged = [line for line in lines if pairs[id(line)] > 1]
    if not judged:
        return _best(lines, name)
    seeds = format_count(max(pairs.values()), "seed")
    apart = [line for line in judged if _is_apart(line)]
    named = ", ".join(map(name, apart[:MOST]))
    more = f" and {len(apart) - MOST} more" if len(apart) > MOST else ""
    told = f": {named}{more}" if apart else ""
    first = (
        f"Over up to {seeds}, {len(apart)} of {len(judged)} settings end with a score or a loss "
        f"that differs from exact's by more than chance{told}."
    )
    rest = [line for line in judged if line not in apart and line.relative_throughput]
    if not rest:
        return first, "The table has every setting's difference with its interval."
    fastest = max(rest, key=lambda line: line.relative_throughput or 0)
    score = f", {_difference(fastest)}" if fastest.against else ""
    second = f"Of the rest the fastest is {name(fastest)}: {fastest.relative_throughput:.3g} × "
    return first, f"{second}exact's speed{score}."


def _pairs(line: Line) -> int:
    """Return with how many seeds a line is compared with exact's."""
    return max((each.pairs for each in (line.against, line.loss_against) if each), default=0)


def _is_apart(line: Line) -> bool:
    found = (line.against, line.loss_against)
    return any(each.is_more_than_chance for each in found if each is not None)


def _difference(line: Line) -> str:
    """Return a line's difference of scores in words: "accuracy, % −1.37 ± 2.95"."""
    found = line.against
    if found is None:
        return ""
    spread = ""
    if found.low is not None and found.high is not None:
        spread = f" ± {line.write((found.high - found.low) / 2)}"
    mean = f"{line.scale * found.mean:+.{line.digits}f}"
    unit = " points" if line.higher_is_better else ""
    return f"its {(line.metric or 'score').replace('_', ' ')} {mean}{spread}{unit} from exact's"


def _best(lines: Sequence[Line], name: Name) -> Answer:
    """Answer which setting has the best score, where nothing can be told from chance."""
    scored = [line for line in lines if line.score is not None]
    if not scored:
        return "No training has a score.", "The table says how each ended."
    sign = 1 if scored[0].higher_is_better else -1
    best = max(scored, key=lambda line: sign * line.score.mean if line.score else 0)
    mean = best.write(best.score.mean) if best.score else ""
    return (
        f"The best {best.metric_name.partition(',')[0]} is that of {name(best)}: {mean}"
        f"{' %' if best.higher_is_better else ''}.",
        "With one seed a setting, no difference can be told from chance.",
    )


def noise_answer(records: Sequence[Record]) -> Answer:
    """Answer how noisy sketches make gradients; each record has noise that was watched."""
    ways = [way for record in records if record.training for way in record.training.kept_noise]
    if ways:
        scale = ways[0].noise_scale
        free = [way for way in ways if (way.free_batch_size or way.samples + 1) <= way.samples]
        least = min(free, key=lambda way: way.bytes_ratio, default=None)
        told = (
            f"the smallest way to keep X that is free is {least.words}, "
            f"with {least.bytes_ratio:.3g} of its bytes"
            if least
            else "no way to keep X is free"
        )
        known = f"is {scale:,.0f} samples" if scale is not None else "cannot be told from these"
        return (
            f"The gradient noise scale {known}.",
            f"At this batch of {ways[0].samples}, {told}.",
        )
    training = records[-1].training
    if training is None:
        return "No noise was watched.", "The table has the scores."
    last = training.noise[-1]
    by_noise = sorted(last.variances, key=lambda sketch: last.variances[sketch])
    inflations = [last.inflation(sketch) for sketch in (by_noise[0], by_noise[-1])]
    low, high = (f"{each:.3g}" if each is not None else "unknown" for each in inflations)
    held = sum(each.holds for each in training.noise)
    return (
        f"At step {last.step}, with {last.proj_dim} columns, {by_noise[0]} makes the gradient of "
        f"{last.layer} the least noisy of the sketches, {low} times SGD's own noise; "
        f"{by_noise[-1]} the most, {high} times.",
        f"The paper's bound, eq. 12, held at {held} of {len(training.noise)} watched points.",
    )
