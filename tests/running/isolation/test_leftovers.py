"""What a killed sweep leaves goes at the next start; what lives, or is no sweep's, stays."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rmmbench.running.isolation.leftovers import MARK, Folder, remove_left

OWNER = """
import subprocess, sys
from rmmbench.running.isolation.leftovers import MARK, Folder
folder = Folder()
child = subprocess.Popen(
    ["sleep", "600"], env={MARK: str(folder.path)}, start_new_session=True,
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
print(folder.path, child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Have temporary files in a directory of this test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def is_alive(number):
    """Tell whether a process runs, and does not just wait to be buried."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_what_a_killed_owner_left_goes_and_what_lives_stays(place):
    """While its owner lives a folder and its processes stay; then the next start ends both."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        path, child = owner.stdout.readline().split()
        remove_left()
        assert [str(each) for each in place.iterdir()] == [path]
        assert is_alive(child)
        owner.kill()
    own = Folder()
    assert list(place.iterdir()) == [own.path]
    assert not is_alive(child)
    own.remove()
    assert list(place.iterdir()) == []


def test_what_is_no_sweeps_is_left_alone(place):
    """A folder or file of another's that happens to have such a name stays as it is."""
    (place / "rmmbench-results").mkdir()
    (place / "rmmbench-abcdefgh").mkdir()
    (place / "rmmbench-abcdefgh" / "thesis.txt").write_text("all of it")
    (place / "rmmbench-12345678").write_text("a file")
    (place / "elsewhere").mkdir()
    (place / "elsewhere" / ".rmmbench-owner").touch()
    (place / "rmmbench-00000000").symlink_to(place / "elsewhere")
    before = sorted(place.rglob("*"))
    remove_left()
    assert sorted(place.rglob("*")) == before


def test_what_was_killed_before_it_was_owned_goes(place):
    """An empty folder of such a name holds nothing that could be lost."""
    (place / "rmmbench-abcdefgh").mkdir()
    remove_left()
    assert list(place.iterdir()) == []


def test_processes_go_with_the_folder(place):
    """Whatever carries the folder's name in its environment is ended with it."""
    own = Folder()
    child = subprocess.Popen(["sleep", "600"], env={MARK: str(own.path)})
    own.remove()
    assert child.wait(10) < 0
