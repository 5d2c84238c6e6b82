"""A case's training step predicted: its memory on a GPU that is not there, and its work.

Only in a process of the case's own; see `rmmbench.fakes.device`.
"""

import functools
from typing import Final

import transformers  # noqa: F401 -- before fake tensors, which change how it makes masks

from rmmbench.fakes.device import why_no_fake_gpu
from rmmbench.measures.memory.predict import predict_memory, predict_step
from rmmbench.results.record import Memory
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.case import Case
from rmmbench.spec.gpus import GPU, find_gpu

_OFF: Final = (
    "on a GPU a step took 11 % less where a model has dropout, in float32, and 30 to 45 % less "
    "with attention sdpa and dropout; autocast is the CPU's"
)
"""By how much a prediction of the CPU's memory was wrong; measured with torch 2.13."""

_ONE_RANK: Final = "only the first rank is predicted; no other has larger shards or parts"


def predict(draft: Draft) -> None:
    """Predict the memory of the draft's case and count its work; both go into the draft.

    Raises:
        CannotPredictError: If the step asks for the value of a tensor.
    """
    case = draft.case
    build = functools.partial(prepare, draft, foreach=True)
    gpu = gpu_of(case)
    if gpu is None:
        draft.memory = predict_memory(functools.partial(build, "cpu"), case.ranks)
    else:
        draft.memory, draft.counts = predict_step(build, gpu, case.ranks)
    if case.ranks > 1:
        draft.missing["memory.rank_peak_bytes"] = _ONE_RANK
    if case.gpu is not None and gpu is None:
        draft.warnings.append(
            f"there is no fake GPU here ({why_no_fake_gpu()}), so memory is predicted as the CPU "
            f"would hold it: {_OFF}; use a torch that the release was tested with"
        )


def predicted_memory(case: Case) -> Memory:
    """Return the memory that a case's step would take."""
    draft = Draft(case, lambda stage: None)
    predict(draft)
    assert draft.memory is not None
    return draft.memory


def gpu_of(case: Case) -> GPU | None:
    """Return the GPU that a case's memory is predicted for; None for the CPU's memory.

    Raises:
        UnknownNameError: If there is no such GPU.
    """
    if case.gpu is None or why_no_fake_gpu() is not None:
        return None
    return find_gpu(case.gpu)
