"""A model of the user's own is predicted and advised on as it is measured, however it is made."""

import functools
import sys

import pytest

from rmmbench.measures.memory.cpu import measure_cpu_memory
from rmmbench.measures.memory.predict import predict_memory
from rmmbench.running.advising import _advise
from rmmbench.running.draft import Draft, prepare
from rmmbench.spec.case import Case

FACTORIES = """
import torch
from torch import nn
from torch.utils.data import DataLoader

TABLE = torch.ones(128)

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(128, 256), nn.Linear(256, 128)

    def forward(self, x, mask=None, flag=True, more=(), rest=None):
        x = self.second(nn.functional.gelu(self.first(x * TABLE.to(x.dtype))))
        return (x if mask is None else x * mask).square().mean() + more[0] if more else x.mean()

def made(dtype=torch.float32, **more):
    return lambda: {"x": torch.randn(512, 128, dtype=dtype)} | more

def odd(batch_size, seq_len):
    held = [torch.ones(()), 2, None]
    return Model(), made(mask=None, flag=True, more=held, rest={"a": torch.ones(3)})

def half(batch_size, seq_len):
    return Model().bfloat16(), made(torch.bfloat16)

def moved(batch_size, seq_len):
    return Model().half().to("cpu").float(), made()

def loaded(batch_size, seq_len):
    batches = iter(DataLoader(torch.randn(1024, 128), batch_size=512, shuffle=True))
    return Model(), lambda: {"x": next(batches)}
"""


@pytest.fixture
def case(tmp_path, monkeypatch):
    """Return what gives the case of one of the factories."""
    (tmp_path / "owned.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "owned", raising=False)

    def made(name):
        settings = {"method": "rmm", "sketch": "oporp", "rho": 0.5, "where": "beneficial"}
        return Case.model_validate({"model": f"import:owned:{name}", "batch_size": 512} | settings)

    return made


@pytest.mark.parametrize("name", ["odd", "half", "moved", "loaded"])
def test_a_prediction_is_what_is_measured(case, name):
    """Conversions, a module's own tensors, loaders and odd batches are predicted to the byte."""
    exact = case(name).as_exact()
    build = functools.partial(prepare, Draft(exact, lambda stage: None), "cpu", foreach=False)
    predicted, (measured, _) = predict_memory(build), measure_cpu_memory(build)
    assert predicted.saved_bytes == measured.saved_bytes
    assert predicted.resting_bytes == pytest.approx(measured.resting_bytes, abs=512)


def test_advice_is_given(case):
    """Advice takes several looks at one model, whose module keeps a tensor of its own."""
    for name in ("odd", "loaded"):
        advice = _advise(lambda found: None, case(name))
        gains = {layer["layer"]: layer["is_beneficial"] for layer in advice["layers"]}
        assert gains == {"first": True, "second": True}
        assert advice["sketched"].saved_bytes < advice["exact"].saved_bytes
