"""Whether a model can take what a case asks for, told on fake tensors before anything is measured.

A user's own factory is not called for it.
"""

from rmmbench import methods, sketches
from rmmbench.nn.fakes import fake_tensors
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.case import Case
from rmmbench.spec.steps import chosen


def check_sketch(case: Case) -> None:
    """Raise what the case's sketch has to say of the shapes that it would meet.

    Blocks must fit the input of every layer: a forward pass tells.

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
        step = prepare(Draft(case, lambda stage: None), "cpu", foreach=True)
        for name, layer in step.model.named_modules():
            layer.register_forward_pre_hook(lambda *_, name=name: read.append(name))
        try:
            step.forward()
        except ValueError as error:
            hint = f"(layer '{read[-1]}' of {case.model}; `exclude` can leave it out)"
            raise ValueError(f"{error} {hint}") from error


def check_method(case: Case) -> None:
    """Raise why the case's methods cannot be combined, or the model cannot take one of them.

    Raises:
        UsageError: If two methods of the stack decide about the same.
        ValueError: If the model has nothing that a method could change.
    """
    methods.stack(case.steps)
    # What rmm has to say takes a step to find out; its own case will tell.
    rest = tuple(step for step in case.steps if step.name != "rmm")
    if not rest or case.model.startswith("import:"):
        return
    alone = case.model_copy(update={"steps": rest})
    try:
        with fake_tensors():
            prepare(Draft(alone, lambda stage: None), "cpu", foreach=True)
    except ValueError as error:
        raise ValueError(f"{case.model}: {error}") from error
