"""Models of the user's own: found by their factory, and told where they cannot be."""

import sys

import pytest

from rmmbench import models

FACTORY = """
import torch
from torch import nn

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(x).square().mean()

def model(batch_size, seq_len):
    return Scaled(), lambda: {"x": torch.randn(batch_size, seq_len, 3)}

def a_pair(batch_size, seq_len):
    return Scaled(), lambda: (torch.randn(batch_size, 3), 1)

def nothing(batch_size, seq_len):
    return None

def no_maker(batch_size, seq_len):
    return Scaled(), {"x": torch.randn(batch_size, 3)}

number = 3
"""


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """Write a module of the user's own where the command runs; return the start of its names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "of_my_own", raising=False)
    (tmp_path / "of_my_own.py").write_text(FACTORY)
    return "import:of_my_own"


def test_the_working_directory_comes_last_once_a_factory_is_found(
    factory, tmp_path, monkeypatch, case
):
    """A user's module is found before an installed one; a library's own later imports are not."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "of_my_own.py").write_text("raise OSError('another one')")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    models.build(case(f"{factory}:model", seq_len=5))
    assert sys.path.index("") == len(sys.path) - 1


def test_a_model_of_the_users_own(factory, case, check_trains):
    """A factory in the working directory gives the model, in the case's shape."""
    built = models.build(case(f"{factory}:model", seq_len=5))
    assert built.make_batch()["x"].shape == (2, 5, 3)
    assert built.synthetic != models.build(case("linear")).synthetic
    check_trains(built)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "of_my_own:nothing",
            "must return (model, make_batch), a step (a function without arguments), or "
            "(step, model), got NoneType",
        ),
        ("of_my_own:no_maker", "must return make_batch as a function, got {"),
    ],
)
def test_a_factory_that_gives_something_else_is_told(factory, name, message, case):
    """What a factory must return is said beside what it did."""
    with pytest.raises(ValueError, match=r".") as caught:
        models.build(case(f"import:{name}"))
    assert str(caught.value).startswith(f"import:{name} {message}")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("of_my_own:modle", "AttributeError: module 'of_my_own' has no attribute 'modle'"),
        ("of_my_ownn:model", "ModuleNotFoundError: No module named 'of_my_ownn'"),
        ("broken:model", "ZeroDivisionError: division by zero"),
        ("not_python:model", "SyntaxError: "),
    ],
)
def test_a_factory_that_cannot_be_imported_is_told(factory, tmp_path, name, why, fault):
    """Whatever keeps a factory from being imported is told in one line with what to do."""
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "not_python.py").write_text("model =")
    told = fault(f"import:{name}")
    assert told.startswith(f"import:{name} cannot be imported: {why}")
    assert told.endswith("; check the name, or run where the module can be imported")


def test_a_batch_without_names_is_told(factory, case):
    """A batch is the model's keyword arguments; anything else is told with what it is."""
    with pytest.raises(ValueError, match=r"must return the model's keyword .* by name, got tuple"):
        models.build(case("import:of_my_own:a_pair")).make_batch()


def test_a_factory_must_be_a_function(factory, fault):
    """A name that is something else is told with what it is."""
    assert fault("import:of_my_own:number") == "import:of_my_own:number must be a function, got 3"


def test_checking_runs_no_factory(factory, case):
    """A factory may take long or much memory: only the case's own process calls it."""
    models.check(case(f"{factory}:nothing"))
