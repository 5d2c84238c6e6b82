"""The GitHub workflow of `rmmbench docs ci` is valid, and its steps run one after another."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from rmmbench.cli.docs_command import page

PROFILE = """
version = 1
title = "Two small cases"
device = "predict"
[[grid]]
model = ["mlp:8-8"]
batch_size = [8]
rho = [0.5]
measure = ["memory"]
"""


@pytest.fixture
def workflow():
    """The workflow, read as GitHub reads it."""
    (text,) = re.findall(r"```yaml\n(name: .*?)\n```", page("ci"), re.DOTALL)
    return yaml.safe_load(text)


def run_steps(job):
    """The commands of a job's steps, without what installs packages."""
    steps = [(step["name"], step["run"]) for step in job["steps"] if "run" in step]
    assert steps[0][0] == "Install"
    return steps[1:]


def test_workflow_is_valid(workflow):
    """It has triggers, least permissions and a job, whose steps each use an action or run."""
    assert set(workflow) == {"name", True, "permissions", "jobs"}  # YAML reads "on" as true
    assert set(workflow[True]) == {"push", "pull_request"}
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="steps are run by bash")
def test_steps_run(workflow, tmp_path):
    """For two commits each step ends well: the second is compared, and the history has both."""
    (job,) = workflow["jobs"].values()
    (tmp_path / "small.toml").write_text(PROFILE)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "rmmbench"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m rmmbench "$@"\n')
    command.chmod(0o755)
    for sha in ("a" * 40, "b" * 40):
        own = {name: value.replace("${{ github.sha }}", sha) for name, value in job["env"].items()}
        own |= {"PROFILE": "small.toml", "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        for name, commands in run_steps(job):
            assert "${{" not in commands
            own["GITHUB_STEP_SUMMARY"] = str(tmp_path / f"{sha[0]} {name}.md")
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", commands],
                cwd=tmp_path,
                env=os.environ | own | {"GITHUB_ACTIONS": "true"},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, (name, done.stdout, done.stderr)
    assert "2 cases: 2 same" in (tmp_path / "b Compare with the baseline.md").read_text()
    assert "2 runs of 2 commits, none of" in (tmp_path / "b Show the history.md").read_text()
    assert (tmp_path / "b Show the run.md").read_text().startswith("# Two small cases")
    entries = json.loads((tmp_path / "smaller.json").read_text())
    assert {"name", "unit", "value"} <= set(entries[0])
