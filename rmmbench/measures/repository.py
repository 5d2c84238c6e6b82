"""The state of the git repository that some code is in."""

import os
import subprocess
from pathlib import Path
from typing import Any

# git must not run programs that the repository names, nor write more than it is asked to.
_SAFE = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
# A case must not wait long for git.
_LIMIT_SECONDS = 10.0


def code_state(folder: Path, file: Path | None = None) -> dict[str, Any]:
    """Return the commit that is checked out around a folder, and whether files differ from it.

    Args:
        folder: Of the code.
        file: A file in it; if the commit does not have it, the state counts as dirty.

    Returns:
        The fields `commit` and `dirty` of an environment; both None without a commit or git.
    """
    status = _ask(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    lines = (status or "").splitlines()
    commits = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    if not commits or commits[0] == "(initial)":
        return {"commit": None, "dirty": None}
    is_changed = any(not line.startswith("#") for line in lines)
    is_new = file is not None and _ask(folder, "ls-files", "--error-unmatch", str(file)) is None
    return {"commit": commits[0], "dirty": is_changed or is_new}


def _ask(folder: Path, *words: str) -> str | None:
    """Return what git prints in a folder; None if it fails or is not installed."""
    try:
        done = git(folder, *words, seconds=_LIMIT_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return None if done.returncode else done.stdout


def git(
    folder: Path, *words: str, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run git in a folder, and return its exit code and what it printed.

    Raises:
        OSError: If git is not installed, or the folder cannot be entered.
        TimeoutExpired: If it takes longer than `seconds`.
    """
    # In a hook, git's variables name the repository of the hook, which may be another.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", *_SAFE, *words],
        cwd=folder,
        env=plain,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
