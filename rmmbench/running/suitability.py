"""Checks, on fake tensors and before anything is measured, that a model can do what a case asks.

A user's own factory is not called for this.
"""

from rmmbench import methods, models, sketches
from rmmbench.fakes.mode import fake_tensors
from rmmbench.nn.spreading import check_spread
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.case import Case
from rmmbench.spec.steps import chosen


def check_sketch(case: Case) -> None:
    """Raise if the case's sketch cannot take the inputs of the model's layers.

    Blocks must fit the input of every layer; a forward pass shows whether they do.

    Raises:
        ValueError: If the sketch has no such setting, or no S for an input of the model.
    """
    kinds = [
        sketches.get(each.name, **dict(each.settings)) for each in chosen(case.steps, "sketches")
    ]
    if all(kind.takes_any_rows for kind in kinds) or case.model.startswith("import:"):
        return
    read: list[str] = []
    with fake_tensors():
        step = prepare(Draft(case, lambda stage: None), "cpu", foreach=True, spreads=False)
        for name, layer in step.model.named_modules():
            layer.register_forward_pre_hook(lambda *_, name=name: read.append(name))
        try:
            step.forward()
        except ValueError as error:
            hint = f"(layer '{read[-1]}' of {case.model}; `exclude` can leave it out)"
            raise ValueError(f"{error} {hint}") from error


def check_ranks(case: Case) -> None:
    """Raise if the case's model cannot be spread over its ranks.

    Raises:
        ValueError: If it has no blocks to shard, or heads that the ranks do not divide.
    """
    if case.model.startswith("import:"):
        return
    with fake_tensors():
        model = models.build(case).model
    try:
        check_spread(model, case.parallel, case.ranks)
    except ValueError as error:
        raise ValueError(f"{case.model}: {error}") from error


def check_method(case: Case) -> None:
    """Raise if the case's methods cannot be combined, or the model cannot take one of them.

    Raises:
        UsageError: If two methods of the stack decide about the same thing.
        ValueError: If the model has nothing that a method could change.
    """
    methods.stack(case.steps)
    # Whether rmm fits takes a whole step to find out; its case will report it.
    rest = tuple(step for step in case.steps if step.name != "rmm")
    if not rest or case.model.startswith("import:"):
        return
    alone = case.model_copy(update={"steps": rest})
    try:
        with fake_tensors():
            prepare(Draft(alone, lambda stage: None), "cpu", foreach=True, spreads=False)
    except ValueError as error:
        raise ValueError(f"{case.model}: {error}") from error
