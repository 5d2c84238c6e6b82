"""What Python is offered: names, their examples, and what is said of a name that is none."""

import doctest
import inspect
import subprocess
import sys

import pytest

import rmmbench
from rmmbench.spec import profile

CALLABLES = [name for name in rmmbench.__all__ if name not in ("__version__", "sketches")]


@pytest.mark.parametrize("name", CALLABLES)
def test_the_example_of_each_name_runs(name, tmp_path, monkeypatch, one_thread):
    """Each public name has an example in its docstring, which prints what it says."""
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(
        inspect.getdoc(getattr(rmmbench, name)), {}, name, None, 0
    )
    assert test.examples
    said = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("name", CALLABLES)
def test_each_name_is_typed(name):
    """Every parameter and result of a public function has a type."""
    function = getattr(rmmbench, name)
    function = function.__init__ if inspect.isclass(function) else function
    signature = inspect.signature(function)
    assert all(
        each.annotation is not each.empty
        for each in list(signature.parameters.values())
        if each.name != "self"
    )
    assert signature.return_annotation is not signature.empty


def test_a_name_that_is_none_is_answered_with_the_nearest():
    """A misspelt name raises AttributeError, with the one that was probably meant."""
    with pytest.raises(AttributeError, match="no attribute 'covert'; did you mean 'convert'"):
        rmmbench.covert  # noqa: B018
    assert not hasattr(rmmbench, "nope")
    assert set(rmmbench.__all__) == set(dir(rmmbench))


def test_import_is_light_and_names_resolve_on_demand():
    """`import rmmbench` loads no torch; every name of __all__ is there when it is used."""
    program = "import rmmbench, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=rmmbench.__path__[0] + "/..")
    assert all(getattr(rmmbench, name) is not None for name in rmmbench.__all__)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: rmmbench.predict("mlp:8-8", rhoo=0.5),
            "no argument named 'rhoo'; did you mean 'rho'",
        ),
        (
            lambda: rmmbench.measure("mlp:8-8", tim_ing={}),
            "no argument named 'tim_ing'; did you mean 'timing'",
        ),
        (lambda: rmmbench.predict(3), "model must be a name .* got int"),
        (lambda: rmmbench.predict(rmmbench.RMMLinear(4, 4, rho=0.5)), "got a model itself"),
        (lambda: rmmbench.compare("ci", "ci", alow=[]), "'alow'; did you mean 'allow'"),
        (lambda: rmmbench.load(pth="ci"), "no argument named 'pth'; did you mean 'path'"),
        (lambda: rmmbench.inspect(None, exmple=1), "'exmple'; did you mean 'example'"),
        (lambda: rmmbench.unconvert(mdl=None), "no argument named 'mdl'"),
        (lambda: rmmbench.plot("ci", figur="x"), "'figur'; did you mean 'figure'"),
        (lambda: rmmbench.frontier(runs="ci"), "'runs'; did you mean 'run'"),
        (lambda: rmmbench.names(knd="models"), "'knd'; did you mean 'kind'"),
        (lambda: rmmbench.verify(nmes="work"), "'nmes'; did you mean 'names'"),
        (lambda: rmmbench.variance("mlp:64-10", stps=3), "'stps'; did you mean 'steps'"),
        (lambda: rmmbench.run("ci", devce="cpu"), "'devce'; did you mean 'device'"),
        (lambda: rmmbench.advise(None, None, sktch="x"), "'sktch'; did you mean 'sketch'"),
    ],
)
def test_wrong_arguments_are_told_in_a_line(call, said):
    """An argument that is none is refused with the nearest that is."""
    with pytest.raises(TypeError, match=said):
        call()


def test_a_kind_of_names_that_is_none_is_told():
    """What has no names is refused with the nearest kind that has."""
    with pytest.raises(ValueError, match="no kind named 'sketchs'; did you mean 'sketches'"):
        rmmbench.names("sketchs")
    assert set(rmmbench.names("profiles")) == set(profile.names())
