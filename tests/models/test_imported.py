"""Models of the user's own: found by their factory, and told where they cannot be."""

import sys

import pytest
from torch import Tensor

from rmmbench import models
from rmmbench.spec.case import Case

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


def case(model, **settings):
    """Return a case of two samples."""
    return Case.model_validate({"model": model, "batch_size": 2} | settings)


def loss_of(built):
    """Return the loss of one batch."""
    output = built.model(**built.make_batch())
    return output if isinstance(output, Tensor) else output.loss


# What masks a part of a sound, or tells two texts apart, is not called for by batches of ours.
UNREAD = ("masked_spec_embed", "mask_emb", "seg_embed", "r_s_bias")


def check_trains(built):
    """Assert that a batch gives a scalar loss, and the loss a gradient to every parameter."""
    loss = loss_of(built)
    assert loss.shape == ()
    loss.backward()
    trained = {n: p for n, p in built.model.named_parameters() if p.requires_grad}
    without = [name for name, parameter in trained.items() if parameter.grad is None]
    assert [name for name in without if not name.endswith(UNREAD)] == []


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """Write a module of the user's own where the command runs; return the start of its names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "of_my_own", raising=False)
    (tmp_path / "of_my_own.py").write_text(FACTORY)
    return "import:of_my_own"


def test_the_working_directory_comes_last_once_a_factory_is_found(factory, tmp_path, monkeypatch):
    """A user's module is found before an installed one; a library's own later imports are not."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "of_my_own.py").write_text("raise OSError('another one')")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    models.build(case(f"{factory}:model", seq_len=5))
    assert sys.path.index("") == len(sys.path) - 1


def fault(model, **settings):
    """Return the one line with which a case is refused, by check as by build."""
    wanted = case(model, **settings)
    with pytest.raises(ValueError, match=r".") as by_check:
        models.check(wanted)
    with pytest.raises(ValueError, match=r".") as by_build:
        models.build(wanted)
    assert str(by_check.value) == str(by_build.value)
    assert "\n" not in str(by_build.value)
    return str(by_build.value)


def test_a_model_of_the_users_own(factory):
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
def test_a_factory_that_gives_something_else_is_told(factory, name, message):
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
def test_a_factory_that_cannot_be_imported_is_told(factory, tmp_path, name, why):
    """Whatever keeps a factory from being imported is told in one line with what to do."""
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "not_python.py").write_text("model =")
    told = fault(f"import:{name}")
    assert told.startswith(f"import:{name} cannot be imported: {why}")
    assert told.endswith("; check the name, or run where the module can be imported")


def test_a_batch_without_names_is_told(factory):
    """A batch is the model's keyword arguments; anything else is told with what it is."""
    with pytest.raises(ValueError, match=r"must return the model's keyword .* by name, got tuple"):
        models.build(case("import:of_my_own:a_pair")).make_batch()


def test_a_factory_must_be_a_function(factory):
    """A name that is something else is told with what it is."""
    assert fault("import:of_my_own:number") == "import:of_my_own:number must be a function, got 3"


def test_checking_runs_no_factory(factory):
    """A factory may take long or much memory: only the case's own process calls it."""
    models.check(case(f"{factory}:nothing"))
