"""What a person asks of a launcher is understood, or refused in one line."""

import pytest

from rmmbench.errors import UsageError
from rmmbench.running.launchers import LAUNCHERS
from rmmbench.running.launchers.launcher import Launch


def test_a_launcher_may_have_an_argument():
    """An address or settings follow a colon; GPUs are numbers between commas."""
    assert Launch.of() == Launch("local")
    assert Launch.of("ray:10.0.0.1:6379", None, 4) == Launch("ray", "10.0.0.1:6379", (), 4)
    assert Launch.of("slurm:partition=gpu,time=60").argument == "partition=gpu,time=60"
    assert Launch.of(devices="1, 0").devices == (1, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"launcher": "rai"}, "no launcher named 'rai'; did you mean 'ray'?"),
        ({"launcher": "local:3"}, "--launcher local takes nothing after a colon, got 'local:3'"),
        ({"devices": "0,one"}, "--devices must be numbers of GPUs such as 0,1, got '0,one'"),
        ({"devices": "0,1,0"}, "--devices must name each GPU once, got 0 twice in '0,1,0'"),
        ({"launcher": "ray", "devices": "0"}, "--devices is for --launcher local; ray finds GPUs"),
        ({"cpus_per_case": 2}, "--cpus-per-case is for a cluster; give --launcher ray or slurm"),
        ({"launcher": "ray", "cpus_per_case": 0}, "--cpus-per-case must be at least 1, got 0"),
    ],
)
def test_what_is_not_possible_is_refused(given, message):
    """The message says what must hold, and what was given."""
    with pytest.raises(UsageError) as refused:
        Launch.of(**given)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_that_is_not_installed_is_named_with_its_extra(name, package, monkeypatch):
    """One line says what is missing and what installs it."""
    module = f"rmmbench.running.launchers.{name}"
    LAUNCHERS.get(name)
    monkeypatch.setattr(f"{module}.find_spec", lambda wanted: None)
    with pytest.raises(UsageError) as refused, Launch(name).machines():
        pass
    need = f"--launcher {name} needs {package}, which is not installed"
    assert str(refused.value) == f"{need}; pip install 'rmmbench[{name}]'"
