"""Follows a model's training step on fake tensors, for what every choice in it saves and costs.

Runs in a process of its own; see `rmmbench.fakes.device`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import transformers  # noqa: F401 -- before fake tensors, which change how it makes masks
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from rmmbench.errors import UsageError
from rmmbench.measures.memory.counting import CountedWork
from rmmbench.measures.memory.predict import followed
from rmmbench.measures.step import TrainingStep, autocast
from rmmbench.nn.blocks import named_blocks
from rmmbench.nn.candidates import linear_layers
from rmmbench.nn.planned import shapes_of
from rmmbench.nn.recomputed_attention import keep_attention, recompute_attention
from rmmbench.running.draft import Draft, prepare
from rmmbench.running.planning.layer_survey import counting_layers, gaining, work_of
from rmmbench.running.planning.surveyed import Survey, SurveyedBlock, Work
from rmmbench.running.predicting import gpu_of
from rmmbench.spec.case import Case


def survey(case: Case, sketch: str) -> Survey:
    """Return what there is to choose from in the model of a case without steps.

    Raises:
        UsageError: If the model's factory returns a step of its own.
        CannotPredictError: If the step asks for the value of a tensor.
    """
    with followed(gpu_of(case)) as fake:
        with CountedWork(gpu=fake) as count:
            draft = Draft(case, lambda stage: None)
            step = prepare(draft, fake.device_type if fake else "cpu", foreach=True)
            if not isinstance(step, TrainingStep):
                need = "a plan needs a factory that returns (model, make_batch)"
                raise UsageError(f"{need}, got a step from {case.model}")
            model, layers = step.model, linear_layers(step.model)
            blocks, whole = _blocks(step, count, named_blocks(model))
            attention, attention_work = _attention(step, count, blocks, whole)
            with autocast(model, step.autocast):
                units = gaining(model, list(layers), step.batch, sketch)
        counted = counting_layers(model)
        surveyed = tuple(unit.surveyed(sketch, counted) for unit in units)
    trained = [name for name, layer in layers.items() if layer.weight.requires_grad]
    found = (blocks, attention, attention_work, surveyed)
    return Survey(*found, shapes_of(layers), tuple(trained))


@dataclass
class _Passage:
    """What one forward pass of a block left and did."""

    kept_bytes: int = 0
    output_bytes: int = 0
    work: Work = field(default_factory=Work)


def _blocks(
    step: TrainingStep, count: CountedWork, blocks: Mapping[str, nn.Module]
) -> tuple[tuple[SurveyedBlock, ...], Work]:
    """Return the blocks that ran once, in order, and the work of a whole step."""
    passages, whole = _passages(step, count, blocks)
    found = []
    for name, passage in passages.items():
        gradients = sum(p.nbytes for p in blocks[name].parameters() if p.requires_grad)
        kept = passage.kept_bytes, passage.output_bytes
        found.append(SurveyedBlock(name, *kept, passage.work, gradients))
    return tuple(found), whole


def _passages(
    step: TrainingStep, count: CountedWork, blocks: Mapping[str, nn.Module]
) -> tuple[dict[str, _Passage], Work]:
    found: dict[str, list[_Passage]] = {}
    with _hooked(blocks, found, count):
        count.begin()
        step()
        whole = work_of(count)
        count.counts()
    # What runs several times a step, or in one that is computed again, has no one place in it.
    return {name: each[0] for name, each in found.items() if len(each) == 1}, whole


@contextmanager
def _hooked(
    blocks: Mapping[str, nn.Module], found: dict[str, list[_Passage]], count: CountedWork
) -> Iterator[None]:
    handles = []
    for name, block in blocks.items():
        begun: list[tuple[int, Work]] = []

        def enter(*_: Any, begun: list[tuple[int, Work]] = begun) -> None:
            begun.append((count.live, work_of(count)))

        def leave(
            _: nn.Module, __: Any, output: Any, begun: list[Any] = begun, name: str = name
        ) -> None:
            live, work = begun.pop()
            sizes = {
                each.untyped_storage()._cdata: each.untyped_storage().nbytes()
                for each in tree_leaves(output)
                if isinstance(each, Tensor)
            }
            passage = _Passage(count.live - live, sum(sizes.values()), work_of(count).less(work))
            found.setdefault(name, []).append(passage)

        handles += [block.register_forward_pre_hook(enter), block.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attention(
    step: TrainingStep,
    count: CountedWork,
    blocks: Sequence[SurveyedBlock],
    whole: Work,
) -> tuple[tuple[int, ...], Work]:
    """Return what each block keeps less without attention's probabilities, and the work of all."""
    try:
        recompute_attention(step.model)
    except ValueError:
        return (0,) * len(blocks), Work()
    watched = {block.name: step.model.get_submodule(block.name) for block in blocks}
    passages, again = _passages(step, count, watched)
    keep_attention(step.model)
    saved = [block.kept_bytes - passages[block.name].kept_bytes for block in blocks]
    return tuple(max(0, each) for each in saved), again.less(whole)
