"""The laws of the house: what may import what, where each thing is, and how large it may get."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import rmmbench

PACKAGE = Path(rmmbench.__file__).parent
REPOSITORY = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))

# From the bottom up. The package's own __init__ and __main__ lead in from above and have no place.
ORDER = [
    *("errors", "units", "registry", "spec", "results", "kernels", "sketches", "fakes", "nn"),
    *("claims", "data", "methods", "models", "measures", "running", "report", "cli"),
    "pytest_plugin",
]
APART = ({"methods", "models", "measures"}, {"cli", "pytest_plugin"})
REGISTRIES = {
    "sketches": "SKETCHES",
    "claims": "CLAIMS",
    "data": "DATA",
    "methods": "METHODS",
    "models": "MODELS",
    "running.launchers": "LAUNCHERS",
    "report.figures": "FIGURES",
}
HOMES = {
    "typer": "cli",
    "plotly": "report/figures",
    "jinja2": "report/page",
    "markdown_it": "report/page",
    "triton": "kernels",
    "pynvml": "measures",
    "pytest": "pytest_plugin",
    "ray": "running/launchers",
    "submitit": "running/launchers",
}
TORCH_FREE = ("spec", "results", "report")


def part_of(file: Path) -> str:
    """Return the folder or file below rmmbench/ that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                yield "a relative import"
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def parts_imported(source: str) -> set[str]:
    """Return the parts of rmmbench that a file imports."""
    names = [name.split(".") for name in imports(source)]
    return {name[1] for name in names if name[0] == "rmmbench" and name[1:]} & set(ORDER)


def by_path(file: Path) -> str:
    """Return a file's name in a test's id."""
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize(
    "source",
    [
        "import rmmbench.results.store",
        "import rmmbench.results.store as kept",
        "from rmmbench import results",
        "from rmmbench.results.store import Run",
        "def inner():\n    from rmmbench.results.store import Run",
        "if TYPE_CHECKING:\n    from rmmbench.results.store import Run",
        "import_module('rmmbench.results.store')",
        "importlib.import_module('rmmbench.results.store')",
    ],
)
def test_every_way_to_import_is_seen(source):
    """The walk misses no form of import, so that the laws below can be broken."""
    assert parts_imported(source) == {"results"}


def test_every_part_has_its_place():
    """A new file or folder below rmmbench/ is given a place in the order before it is used."""
    assert {part_of(file) for file in FILES} - {"__init__", "__main__"} <= set(ORDER)


@pytest.mark.parametrize("file", FILES, ids=by_path)
def test_imports_go_down_only(file):
    """A part imports itself and what is below it; those that stand side by side not each other."""
    assert "a relative import" not in imports(file.read_text())
    part = part_of(file)
    if part in ORDER:
        allowed = set(ORDER[: ORDER.index(part) + 1])
        for side_by_side in APART:
            allowed -= side_by_side - {part} if part in side_by_side else set()
        assert parts_imported(file.read_text()) <= allowed


@pytest.mark.parametrize("file", FILES, ids=by_path)
def test_heavy_libraries_stay_at_home(file):
    """Each heavy library is imported in one folder only."""
    libraries = {name.split(".")[0] for name in imports(file.read_text())} & set(HOMES)
    assert all(by_path(file).startswith(HOMES[library] + "/") for library in libraries)


@pytest.mark.parametrize("folder", REGISTRIES)
def test_every_file_of_an_open_set_is_registered(folder):
    """A file that is neither private nor the folder's contract has a line in its registry."""
    registry = getattr(import_module(f"rmmbench.{folder}"), REGISTRIES[folder])
    contract = {"sketches": "sketch", "report.figures": "figure"}.get(
        folder, folder.rpartition(".")[2].removesuffix("s")
    )
    files = {file.stem for file in PACKAGE.joinpath(*folder.split(".")).glob("*.py")}
    files = {stem for stem in files if not stem.startswith("_")} - {contract}
    assert files == {entry.target.split(":")[0] for entry in registry._entries.values()}


@pytest.mark.parametrize("folder", REGISTRIES)
def test_every_line_of_a_registry_resolves(folder):
    """What a registry names can be imported, and has a summary of one line."""
    registry = getattr(import_module(f"rmmbench.{folder}"), REGISTRIES[folder])
    for name, summary in registry.summaries().items():
        assert registry.get(name) is not None
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name)
        assert summary.strip()
        assert "\n" not in summary


def test_no_name_stands_for_two_modules():
    """A module is found by its name alone."""
    names = [file.stem for file in FILES if file.stem != "__init__"]
    assert sorted(names) == sorted(set(names))


def test_nothing_is_named_for_what_has_no_place():
    """A file says what it holds: none is a drawer for the rest."""
    names = {part for file in FILES for part in file.relative_to(PACKAGE).with_suffix("").parts}
    assert not names & {"util", "utils", "helper", "helpers", "common", "misc", "manager"}


def modules_after(statements: str) -> set[str]:
    """Return the top-level modules that a fresh Python has imported after some statements."""
    program = f"import sys\n{statements}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = [sys.executable, "-W", "ignore", "-c", program]
    return set(subprocess.check_output(run, text=True, cwd=REPOSITORY).split())


@pytest.mark.parametrize(
    ("statements", "absent"),
    [
        ("from rmmbench.nn import RMMLinear", {"typer", "rich", "pandas", "plotly", "pydantic"}),
        ("import rmmbench", {"torch", "typer", "pandas", "plotly", "pydantic"}),
        ("import rmmbench.cli", {"torch", "transformers", "pandas", "plotly", "pydantic"}),
        ("import rmmbench.pytest_plugin", {"torch", "transformers", "pydantic", "numpy", "rich"}),
    ],
)
def test_what_starts_at_once_imports_little(statements, absent):
    """The layer brings no tool along, and the command line nothing that takes time."""
    assert not modules_after(statements) & absent


@pytest.mark.parametrize("part", TORCH_FREE)
def test_who_reads_records_needs_no_torch(part):
    """Whatever draws or checks records runs where torch is not installed."""
    names = [
        ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        for file in FILES
        if part_of(file) == part
    ]
    assert "torch" not in modules_after(f"import {', '.join(names)}")


@pytest.mark.parametrize("file", FILES, ids=by_path)
def test_files_and_functions_stay_small(file):
    """A file has at most 300 lines, a function at most 60 below its parameters."""
    source = file.read_text()
    assert len(source.splitlines()) <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.body[0].lineno < 60, node.name


def test_the_top_level_holds_nothing_else():
    """Code, tests, profiles and three documents are all there is beside dot-files."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    listed = subprocess.run([git, "ls-files"], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        pytest.skip("this is not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    top = {name for name in top if not name.startswith(".")}
    allowed = {"rmmbench", "tests", "profiles", "pyproject.toml", "README.md", "CHANGELOG.md"}
    assert top <= allowed
