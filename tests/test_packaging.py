"""The wheel has all that the package needs and nothing else, and says what it is."""

import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import rmmbench

ROOT = Path(rmmbench.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel as an installer does, and open it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    program = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    run = [sys.executable, "-c", program]
    name = subprocess.check_output(run, cwd=ROOT, text=True).split()[-1]
    with zipfile.ZipFile(folder / name) as opened:
        yield opened


def inside(wheel, ending):
    """Return the text of the one file whose name ends so."""
    (name,) = [each for each in wheel.namelist() if each.endswith(ending)]
    return wheel.read(name).decode()


def test_the_wheel_has_the_package_and_profiles(wheel):
    """Every file of the package is in it, profiles and records; no page, picture or test."""
    listed = ["git", "ls-files", "rmmbench", "profiles"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        pytest.skip("this is not a git checkout")
    names = [each for each in done.stdout.split() if not each.endswith(("README.md", ".png"))]
    expected = {each if each.startswith("rmmbench/") else f"rmmbench/{each}" for each in names}
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert expected <= found
    assert {name.split("/")[0] for name in found} == {"rmmbench"}
    assert {"rmmbench/py.typed", "rmmbench/docs/pytest.md"} <= found
    assert not [name for name in found if name.endswith((".png", ".pyc", ".lock"))]


def test_the_wheel_says_what_it_is(wheel):
    """Metadata has licence, readme and entry points; what it requires can be read."""
    told = message_from_string(inside(wheel, ".dist-info/METADATA"))
    assert (told["Name"], told["License-Expression"]) == ("rmmbench", "MIT")
    assert told["Requires-Python"] == ">=3.11"
    assert told.get_payload().startswith("# rmmbench")
    assert "MIT License" in inside(wheel, ".dist-info/licenses/rmmbench/LICENSE.txt")
    points = inside(wheel, ".dist-info/entry_points.txt").split("\n")
    assert {"rmmbench = rmmbench.cli:main", "rmmbench = rmmbench.pytest_plugin"} < set(points)
