"""Which of the things that rmmbench can use are here, what that allows, and how to get the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rmmbench.results.listing import Listing


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        found: Its version or name; None if it is absent or broken.
        note: What that means and what to do, if something can or must be done.
    """

    name: str
    found: str | None
    note: str = ""


class Findings(Listing[Finding]):
    """What was looked for, a row each."""

    def cells(self, item: Finding) -> Mapping[str, str]:
        """Return the text of each column by its heading."""
        return {"what": item.name, "found": item.found or "–", "what to know": item.note}


def doctor() -> Findings:
    """Look for everything that rmmbench can use, and return what was found.

    Examples:
        >>> import rmmbench
        >>> found = {finding.name: finding.found for finding in rmmbench.doctor()}
        >>> found["rmmbench"] == rmmbench.__version__
        True
    """
    return Findings(_examined(name, probe) for name, probe in _PROBES.items())


def _examined(name: str, probe: Callable[[], tuple[str | None, str]]) -> Finding:
    """Return what a probe finds; if it raises, the thing is broken."""
    try:
        return Finding(name, *probe())
    except Exception as error:
        reason = " ".join(str(error).split())
        return Finding(name, None, f"broken: {type(error).__name__}: {reason}; install it again")


def _python() -> tuple[str | None, str]:
    import platform

    return platform.python_version(), ""


def _rmmbench() -> tuple[str | None, str]:
    import rmmbench

    return rmmbench.__version__, ""


def _torch() -> tuple[str | None, str]:
    import torch

    return torch.__version__, ""


def _transformers() -> tuple[str | None, str]:
    note = "no RoBERTa and no hf: models; pip install transformers"
    return _distribution("transformers", note)


def _triton() -> tuple[str | None, str]:
    note = "on a GPU no kernels for sketches and no torch.compile; pip install triton"
    return _distribution("triton", note)


def _cuda() -> tuple[str | None, str]:
    import torch

    if torch.version.cuda is None:
        return None, "this torch is built without CUDA; for --device cuda install one that has it"
    return torch.version.cuda, ""


def _gpu() -> tuple[str | None, str]:
    import warnings

    import torch

    from rmmbench.units import format_bytes

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        reasons = "; ".join(" ".join(str(warning.message).split()) for warning in caught)
        return None, reasons or "no GPU that torch can use; memory is predicted, time is the CPU's"
    properties = torch.cuda.get_device_properties()
    name = f"{properties.name}, {format_bytes(properties.total_memory)}"
    try:
        torch.zeros(1, device="cuda")
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        return None, f"{name} is there and cannot be used: {reason}"
    return name, ""


def _driver() -> tuple[str | None, str]:
    from rmmbench.measures.nvml import driver_version

    version, reason = driver_version()
    return version, f"{reason}; --device cuda needs NVIDIA's driver" if reason else ""


def _nvml() -> tuple[str | None, str]:
    from rmmbench.measures.environment import installed
    from rmmbench.measures.nvml import open_gpu

    with open_gpu() as gpu:
        reason = gpu.absent
    if reason:
        return None, f"clocks, throttle reasons, power and energy stay null ({reason})"
    return f"nvidia-ml-py {installed('nvidia-ml-py')}", ""


def _processor() -> tuple[str | None, str]:
    from rmmbench.measures.environment import cpu_count, processor

    count = cpu_count()
    return f"{processor()}, {count} usable CPU{'s' * (count != 1)}", ""


def _memory() -> tuple[str | None, str]:
    from rmmbench.measures.environment import memory_bytes
    from rmmbench.units import format_bytes

    size = memory_bytes()
    return (None, "the system does not tell") if size is None else (format_bytes(size), "")


def _kaleido() -> tuple[str | None, str]:
    note = "no PNG, SVG or PDF; HTML figures work; pip install 'rmmbench[images]'"
    version, note = _distribution("kaleido", note)
    if version and int(version.partition(".")[0]) < 1:
        return None, f"static images need kaleido 1 or later, this is {version}; upgrade it"
    return version, note


def _chrome() -> tuple[str | None, str]:
    import shutil

    try:
        from choreographer.browsers.chromium import Chromium
    except ImportError:
        names = ("google-chrome", "google-chrome-stable", "chrome", "chromium", "chromium-browser")
        path = next(filter(None, map(shutil.which, names)), None)
    else:  # the search that kaleido will do
        path = Chromium.find_browser(skip_local=False)
    if path and not shutil.which(path):
        return None, f"{path} is no program; correct or unset BROWSER_PATH"
    note = "no PNG, SVG or PDF; `rmmbench plot --format html` works; install chromium for the rest"
    return path, "" if path else note


def _pyarrow() -> tuple[str | None, str]:
    note = "no `rmmbench export --format parquet`; pip install 'rmmbench[parquet]'"
    return _distribution("pyarrow", note)


def _devices() -> tuple[str | None, str]:
    import torch

    if _examined("GPU", _gpu).found and torch.version.cuda:
        return "cuda, cpu, predict", "auto measures memory and time on the GPU"
    return "cpu, predict", "auto predicts memory and measures time on the CPU"


def _distribution(name: str, note: str) -> tuple[str | None, str]:
    from rmmbench.measures.environment import installed

    version = installed(name)
    return version, "" if version else note


_PROBES: dict[str, Callable[[], tuple[str | None, str]]] = {
    "Python": _python,
    "rmmbench": _rmmbench,
    "torch": _torch,
    "transformers": _transformers,
    "Triton": _triton,
    "CUDA": _cuda,
    "GPU": _gpu,
    "driver": _driver,
    "NVML": _nvml,
    "processor": _processor,
    "memory": _memory,
    "kaleido": _kaleido,
    "Chrome": _chrome,
    "pyarrow": _pyarrow,
    "devices": _devices,
}
