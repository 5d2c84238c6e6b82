"""Train with less memory: keep a sketch of a linear layer's input, and measure what it costs.

    import rmmbench
    rmmbench.convert(model, sketch="oporp", rho=0.5)
    rmmbench.predict("roberta-base", task="mrpc", rho=0.1)
    rmmbench.run("quick").frame()

Nothing heavy is imported until one of these names is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from rmmbench import sketches as sketches
    from rmmbench.nn import RMMLinear as RMMLinear
    from rmmbench.nn import convert as convert
    from rmmbench.nn import manual_seed as manual_seed
    from rmmbench.nn import rmm_linear as rmm_linear
    from rmmbench.nn.advice import advise as advise
    from rmmbench.nn.inspection import inspect as inspect
    from rmmbench.nn.unconversion import unconvert as unconvert
    from rmmbench.nn.updating import update as update
    from rmmbench.report.check.two_runs import compare as compare
    from rmmbench.report.check.two_runs import load as load
    from rmmbench.report.figures._chosen import plot as plot
    from rmmbench.report.frontier_frame import frontier as frontier
    from rmmbench.report.history.over_commits import history as history
    from rmmbench.report.known_names import names as names
    from rmmbench.report.largest_batches import max_batch as max_batch
    from rmmbench.report.summary import summary as summary
    from rmmbench.running.diagnosis import doctor as doctor
    from rmmbench.running.noise_run import variance as variance
    from rmmbench.running.one_case import measure as measure
    from rmmbench.running.one_case import predict as predict
    from rmmbench.running.one_run import run as run
    from rmmbench.running.own_loop import watch as watch
    from rmmbench.running.planning.planner import plan as plan
    from rmmbench.running.trainer_callback import TrainerCallback as TrainerCallback
    from rmmbench.running.verifying import verify as verify

_HOMES = {
    "RMMLinear": "nn",
    "TrainerCallback": "running.trainer_callback",
    "advise": "nn.advice",
    "compare": "report.check.two_runs",
    "convert": "nn",
    "doctor": "running.diagnosis",
    "frontier": "report.frontier_frame",
    "history": "report.history.over_commits",
    "inspect": "nn.inspection",
    "load": "report.check.two_runs",
    "manual_seed": "nn",
    "max_batch": "report.largest_batches",
    "measure": "running.one_case",
    "names": "report.known_names",
    "plan": "running.planning.planner",
    "plot": "report.figures._chosen",
    "predict": "running.one_case",
    "rmm_linear": "nn",
    "run": "running.one_run",
    "sketches": "",
    "summary": "report.summary",
    "unconvert": "nn.unconversion",
    "update": "nn.updating",
    "variance": "running.noise_run",
    "verify": "running.verifying",
    "watch": "running.own_loop",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name == "sketches":
        return import_module("rmmbench.sketches")
    if name in _HOMES:
        return getattr(import_module(f"rmmbench.{_HOMES[name]}"), name)
    if name.startswith("__"):
        raise AttributeError(f"module 'rmmbench' has no attribute '{name}'")
    from rmmbench.errors import did_you_mean

    raise AttributeError(f"module 'rmmbench' has no attribute '{name}'{did_you_mean(name, _HOMES)}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("rmmbench")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return __all__
