"""Follows a model's training step on fake tensors, for what every choice in it saves and costs.

Runs in a process of its own; see `rmmbench.fakes.device`.
"""

import transformers  # noqa: F401 -- before fake tensors, which change how it makes masks
from torch import nn

from rmmbench.measures.memory.counting import CountedWork
from rmmbench.measures.memory.predict import followed
from rmmbench.measures.step import autocast
from rmmbench.nn.blocks import named_blocks
from rmmbench.nn.candidates import linear_layers
from rmmbench.nn.planned import shapes_of
from rmmbench.nn.spreading import gathered_dtype
from rmmbench.running.one_rank import gather, step_alone
from rmmbench.running.planning.layer_survey import counting_layers, gaining
from rmmbench.running.planning.part_survey import made_again_inputs, surveyed_parts
from rmmbench.running.planning.passages import Passed, passages
from rmmbench.running.planning.surveyed import Survey, SurveyedBlock
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
            device = fake.device_type if fake else "cpu"
            step = step_alone(case, device, "a plan")
            gather(step, case, device)
            model, layers = step.model, linear_layers(step.model)
            passed = passages(step, count, named_blocks(model))
            blocks = _blocks(model, passed, case)
            parts = surveyed_parts(step, count, blocks, passed, layers)
            inputs = made_again_inputs(step, blocks, layers)
            with autocast(model, step.autocast):
                units = gaining(model, list(layers), step.batch, sketch)
        counted = counting_layers(model)
        surveyed = tuple(unit.surveyed(sketch, counted, inputs) for unit in units)
    trained = [name for name, layer in layers.items() if layer.weight.requires_grad]
    return Survey(blocks, parts, surveyed, shapes_of(layers), tuple(trained))


def _blocks(model: nn.Module, passed: Passed, case: Case) -> tuple[SurveyedBlock, ...]:
    """Return the blocks that ran once, in order; of gradients the share of a rank of the case."""
    found = []
    for name, passage in passed.blocks.items():
        parameters = model.get_submodule(name).parameters()
        gradients = sum(_gradient_bytes(each, case) for each in parameters if each.requires_grad)
        kept = passage.kept_bytes, passage.output_bytes
        found.append(SurveyedBlock(name, *kept, passage.work, gradients))
    return tuple(found)


def _gradient_bytes(parameter: nn.Parameter, case: Case) -> int:
    """Return what a rank holds of a gradient: of a shard, in float32 where others are gathered."""
    if case.parallel != "fsdp2":
        return parameter.nbytes
    item = parameter.itemsize if gathered_dtype(case) is None else 4
    return -(-parameter.numel() // case.ranks) * item
