"""Plans as they are returned: what each is the best of, and what was predicted of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rmmbench.results.counts import Counts
from rmmbench.results.listing import Listing
from rmmbench.results.record import Memory
from rmmbench.results.whole_file import write_whole
from rmmbench.running.planning.costs import Chosen, Costs
from rmmbench.running.planning.goals import USUAL_SGD_NOISE
from rmmbench.running.planning.searching import Goal
from rmmbench.running.planning.speeds import Clock
from rmmbench.running.planning.ways_to_keep import Way
from rmmbench.spec.case import Case
from rmmbench.spec.name_ranges import joined
from rmmbench.spec.saving_plan import LayerChoice, Predicted, SavingPlan
from rmmbench.units import format_bytes, format_percent


@dataclass(frozen=True)
class Sought:
    """A plan that fits.

    Attributes:
        names: What it is the best of: one or several of "exact gradients", "least noise",
            "fastest", "least memory".
        why: The same in a sentence.
        plan: With all that was predicted of it.
    """

    names: tuple[str, ...]
    why: str
    plan: SavingPlan

    @classmethod
    def of(
        cls,
        goal: Goal,
        plan: SavingPlan,
        chosen: Chosen,
        counts: Counts,
        peak_bytes: int,
        costs: Costs,
        clock: Clock,
        about: "Plans",
    ) -> "Sought":
        """Return a goal's plan with what was predicted of it."""
        noise = chosen.noise()
        seconds = clock.seconds(counts) + chosen.beyond_count()
        predicted = Predicted(
            peak_bytes=peak_bytes,
            exact_peak_bytes=about.exact.needed_bytes,
            limit_bytes=about.limit_bytes,
            noise=noise,
            noise_by=about.noise_by,
            relative_throughput=costs.exact_seconds / seconds,
            time_by=clock.by,
            inflation=None if costs.sgd_noise is None else 1 + noise / costs.sgd_noise,
        )
        told = {"title": goal.name, "predicted": predicted}
        return cls((goal.name,), goal.why, plan.model_copy(update=told))

    @property
    def predicted(self) -> Predicted:
        """What was predicted of it."""
        assert self.plan.predicted is not None
        return self.plan.predicted

    @property
    def worth(self) -> float:
        """Throughput ÷ noise inflation, with SGD's usual noise where its own is not known."""
        told = self.predicted
        inflation = told.inflation or 1 + told.noise / USUAL_SGD_NOISE
        return told.relative_throughput / inflation

    def save(self, path: str | Path) -> None:
        """Write the plan's file.

        Raises:
            OSError: If it cannot be written.
        """
        write_whole(Path(path), self.plan.toml().encode())


@dataclass(frozen=True)
class Plans:
    """The plans for one model and limit.

    Attributes:
        case: The unchanged model's.
        exact: Its memory.
        limit_bytes: What a step may need, on each rank; None if memory was not limited.
        noise_by, time_by: What noise and time are computed from.
        found: The plans that fit; none if the unchanged model does.
        uniform: The plan with the least noise that has one setting for all layers, at no more bytes
            and no less speed than that of least noise; None if there is none.
        without: What no plan was found for that fits.
        warnings: On the predictions.
        seconds: That planning took.
    """

    case: Case
    exact: Memory
    limit_bytes: int | None
    noise_by: str
    time_by: str
    found: tuple[Sought, ...] = ()
    uniform: Sought | None = None
    without: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def best(self) -> Sought | None:
        """The plan with the most throughput ÷ noise inflation; None if no plan is needed."""
        return max(self.found, key=lambda each: each.worth, default=None)

    def having(self, found: Sequence[Sought], without: Sequence[str]) -> "Plans":
        """Return these with plans; those that do the same are one."""
        merged: dict[str, Sought] = {}
        for each in found:
            same = merged.get(each.plan.digest)
            if same is not None:
                each = replace(
                    same, names=(*same.names, *each.names), why=f"{same.why}; {each.why}"
                )
                title = " and ".join(each.names)
                each = replace(each, plan=each.plan.model_copy(update={"title": title}))
            merged[each.plan.digest] = each
        return replace(self, found=tuple(merged.values()), without=tuple(without))

    def data(self) -> dict[str, Any]:
        """Return all of it as data for JSON."""
        beside = self.uniform and self.uniform.plan.model_dump(mode="json")
        return {
            "case": self.case.flat(),
            "uniform": beside,
            "limit_bytes": self.limit_bytes,
            "exact": self.exact.model_dump(mode="json"),
            "noise_by": self.noise_by,
            "time_by": self.time_by,
            "without": list(self.without),
            "warnings": list(self.warnings),
            "seconds": self.seconds,
            "plans": [
                {
                    "names": list(each.names),
                    "why": each.why,
                    "is_best": each is self.best,
                    "plan": each.plan.model_dump(mode="json"),
                }
                for each in self.found
            ],
        }

    def __repr__(self) -> str:
        return repr(_Lines(self.found)) if self.found else "Plans([]): the unchanged model fits"

    def _repr_html_(self) -> str:
        return _Lines(self.found)._repr_html_()


class _Lines(Listing[Sought]):
    def cells(self, item: Sought) -> Mapping[str, str]:
        told = item.predicted
        return {
            "plan": ", ".join(item.names),
            "needs": format_bytes(told.peak_bytes),
            "saved": format_percent(1 - told.peak_bytes / told.exact_peak_bytes),
            "noise": f"{told.noise:.3g}",
            "throughput": f"{told.relative_throughput:.3f}×",
            "does": item.plan.words,
        }


def plan_of(
    case: Case, shapes: Mapping[str, str], costs: Costs, chosen: Chosen, sketch: str
) -> SavingPlan:
    """Return the plan of what was chosen for a case's model."""
    names: dict[Way, list[str]] = {}
    for unit, choice in chosen.layers.items():
        names.setdefault(Way(choice.rho, choice.bits), []).extend(costs.units[unit].layers)
    layers = [
        LayerChoice(names=tuple(joined(some)), sketch=sketch, rho=way.rho, bits=way.bits)  # type: ignore[arg-type]
        for way, some in sorted(names.items(), key=lambda pair: (-pair[0].rho, pair[0].bits or 99))
    ]
    same = ["model", "task", "batch_size", "seq_len", "dtype", "optimizer", "attention", "gpu"]
    same += ["ranks", "parallel"] if case.ranks > 1 else []
    shaped: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        shaped.setdefault(shape, []).append(name)
    return SavingPlan(
        **{name: getattr(case, name) for name in same},
        checkpoint=tuple(joined(costs.blocks[b].name for b in chosen.again)),
        checkpoint_attention=tuple(joined(_blocks(costs, chosen, "attention"))),
        checkpoint_operators=tuple(joined(_blocks(costs, chosen, "operators"))),
        checkpoint_products=tuple(joined(_products(costs, chosen))),
        layers=tuple(layers),
        shapes={text: shape for shape, some in shaped.items() for text in joined(some)},
    )


def _blocks(costs: Costs, chosen: Chosen, what: str) -> list[str]:
    return [costs.blocks[b].name for b, part in chosen.parts.items() if getattr(part, what)]


def _products(costs: Costs, chosen: Chosen) -> list[str]:
    return [
        f"{costs.blocks[b].name}.{product}"
        for b, part in chosen.parts.items()
        for product in part.products
    ]
