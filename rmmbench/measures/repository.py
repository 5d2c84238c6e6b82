"""The state of the git repository that some code is in."""

import os
import subprocess
from pathlib import Path
from typing import Any

# git must change nothing, run no program that the repository names, and not keep a case waiting.
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false")
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


def _ask(folder: Path, *args: str) -> str | None:
    """Return what git prints in a folder; None if it fails or is not installed."""
    # In a hook, git's variables name the repository of the hook, which need not be this one.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            [*_GIT, *args],
            cwd=folder,
            env=plain,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
