"""Runs of several commits: one a commit, or several."""

import subprocess

import pytest

RMM = {"method": "rmm", "sketch": "dct", "rho": 0.1}


def commit(index):
    """The hash of the commit number `index`."""
    return f"{index:x}".rjust(2, "0") * 20


def timed(make_record, seconds, **more):
    """A record whose steps take so long, beside exact's, which take a second."""
    steps = tuple(seconds * (1 + 0.001 * place) for place in range(7))
    return make_record(step_seconds=steps, reference_step_seconds=(1.0,) * 7, **RMM, **more)


@pytest.fixture
def make_history(make_record, make_run):
    """Write a run directory for each peak, or time of a step, of consecutive commits."""

    def make(peaks=(), seconds=(), commits=None, **environments):
        count = max(len(peaks), len(seconds))
        for index in range(count):
            changes = {"commit": commit(index if commits is None else commits[index])}
            changes |= {name: values[index] for name, values in environments.items()}
            of = make_record().environment.model_copy(update=changes)
            if seconds:
                record = timed(make_record, seconds[index], peak=None, environment=of)
            else:
                record = make_record(peak=peaks[index], environment=of, **RMM)
            record = record.model_copy(update={"wall_seconds": float(index)})
            name = f"runs/{index:02}"
            made = make_run(record, name=name, environment=of)
            file = made.path / "run.json"
            text = file.read_text().replace("T12:00:00", f"T12:{index:02}:00")
            file.write_text(text)
        return made.path.parent

    return make


@pytest.fixture
def git(tmp_path):
    """Run git in a new repository."""

    def run(*words):
        about = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *about, *words], cwd=tmp_path, check=True, capture_output=True)

    run("init", "-q", "-b", "main")
    return run
