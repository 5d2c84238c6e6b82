"""Several GPUs of one machine: each case sees one of them, and those of a cell are of one kind."""

import pytest

from rmmbench.errors import UsageError
from rmmbench.running.events import Finished, Started
from rmmbench.running.launchers import local
from rmmbench.running.launchers.launcher import Launch
from rmmbench.running.launchers.local import VISIBLE, LocalLauncher, Place, ThisMachine
from rmmbench.spec.case import Case

SEEN = """
import os
from pathlib import Path

def factory(batch_size, seq_len):
    Path(f"seen-{batch_size}").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    raise OSError("that is all")
"""


def on_gpu(number, **settings):
    """Return a case on a GPU."""
    about = {"model": "import:sees:factory", "batch_size": number, "memory_device": "cuda"}
    return Case.model_validate(about | settings)


@pytest.fixture
def machine(monkeypatch):
    """Return what makes a machine whose torch sees three GPUs, as they would be found."""

    def made(devices, found=(("A100", 80), ("A100", 80), ("V100", 16))):
        monkeypatch.setattr(local, "gpus_here", lambda: list(found))
        return ThisMachine(Launch.of(devices=devices))

    return made


def test_a_case_sees_the_gpu_that_it_was_given(machine, environment, tmp_path, monkeypatch):
    """Before it does anything, one of two devices is all that its process sees."""
    (tmp_path / "sees.py").write_text(SEEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VISIBLE, "GPU-c,GPU-b,GPU-a")  # what torch calls 1 is then the second
    places = machine("1,2")._places(environment)
    assert [place.environment.gpu for place in places] == ["A100", "V100"]
    launcher = LocalLauncher(environment, 60.0, 1, tmp_path, places)
    events = list(launcher.run([on_gpu(1), on_gpu(2)]))
    assert [type(event) for event in events[:2]] == [Started, Started]  # side by side
    seen = {(tmp_path / f"seen-{number}").read_text() for number in (1, 2)}
    assert seen == {"GPU-b", "GPU-a"}
    gpus = {event.record.environment.gpu for event in events if isinstance(event, Finished)}
    assert gpus == {"A100", "V100"}


def test_the_cases_of_a_cell_run_on_one_kind_of_gpu(environment, tmp_path):
    """A case waits for its kind though another is free; what is of another cell takes that."""
    kinds = [environment.model_copy(update={"gpu": name}) for name in ("A100", "V100")]
    launcher = LocalLauncher(environment, 60.0, 1, tmp_path, list(map(Place, kinds)))
    exact, sketched = on_gpu(1), on_gpu(1, method="rmm", rho=0.5)
    waiting, free = [exact, sketched, on_gpu(2)], list(map(Place, kinds))
    taken = list(launcher._next(waiting, free))
    assert [case.batch_size for case, _ in taken] == [1, 2]
    assert waiting == [sketched]
    free = [Place(kinds[1])]
    assert list(launcher._next(waiting, free)) == []
    free = [Place(kinds[0])]
    ((case, place),) = launcher._next(waiting, free)
    assert (case, place.environment.gpu) == (sketched, "A100")


def test_a_case_of_several_ranks_has_a_gpu_for_each(machine, environment, tmp_path):
    """Of three GPUs two go to a case of two ranks; where there are fewer, it sees all."""
    launcher = LocalLauncher(environment, 60.0, 1, tmp_path, machine("0,1,2")._places(environment))
    for ranks, seen in ((1, ["0", "1", "2"]), (2, ["0,1"]), (4, ["0,1,2"])):
        parallel = {"ranks": ranks, "parallel": "ddp"} if ranks > 1 else {}
        places = launcher._places(on_gpu(1, **parallel))
        assert [place.variables[VISIBLE] for place in places] == seen


def test_more_gpus_than_there_are_is_refused(machine, environment):
    """The message says how many torch sees, and their numbers."""
    with pytest.raises(UsageError) as refused:
        machine("0,3")._places(environment)
    said = "--devices has 3, and torch sees 3 GPUs here; number them from 0 to 2"
    assert str(refused.value) == said
    with pytest.raises(
        UsageError, match=r"--devices has 0, and torch sees no GPU here; leave it out$"
    ):
        machine("0", found=())._places(environment)
