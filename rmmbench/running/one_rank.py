"""The unchanged step of one rank alone, to look at what each layer and block of it keeps.

What layers keep is the same on every rank.
"""

from rmmbench.errors import UsageError
from rmmbench.measures.step import TrainingStep, placed
from rmmbench.measures.whole_step import WholeStep
from rmmbench.nn.spreading import gathered_dtype
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.case import Case


def step_alone(case: Case, device: str, what: str) -> TrainingStep:
    """Return the step with whole parameters of their own dtype.

    Args:
        case: Perhaps of several ranks, and with methods, which are left out.
        device: The type that it runs on.
        what: What needs it, in words.

    Raises:
        UsageError: If the model's factory returns a step of its own.
    """
    step = prepare(Draft(case.as_exact().alone(), lambda stage: None), device, foreach=True)
    if isinstance(step, WholeStep):
        need = f"{what} needs a factory that returns (model, make_batch)"
        raise UsageError(f"{need}, got a step from {case.model}")
    return step


def gather(step: TrainingStep, case: Case, device: str) -> None:
    """Let a step alone compute in the dtype that ranks of the case gather parameters in."""
    gathered = gathered_dtype(case)
    if gathered is not None:
        step.model.to(gathered)
        step.batch, step.autocast = placed(step.batch, device, gathered), None
