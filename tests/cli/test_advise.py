"""`rmmbench advise`: what it says of a model's layers, and what it refuses."""

import json
import sys
from contextlib import nullcontext

import pytest

from rmmbench.cli import main
from rmmbench.report.tables.advice_tables import _company
from rmmbench.running.display import Nothing

MINE = """
import torch
from torch import nn

class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)

class Net(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.unused = Doubling(2, 2)
        self.first, self.activation = nn.Linear(8, 16), activation
        self.second = nn.Linear(16, 4)

    def forward(self, x):
        loss = self.second(self.activation(self.first(x * 2))).sum()
        return loss + torch.zeros(2**20).sum()  # where memory is highest

def after_relu(batch_size, seq_len):
    return Net(nn.ReLU()), lambda: {"x": torch.randn(batch_size, 8)}

def after_gelu(batch_size, seq_len):
    return Net(nn.GELU()), lambda: {"x": torch.randn(batch_size, 8)}

class Choosy(Net):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else self.second.bias.sum()

def choosy(batch_size, seq_len):
    return Choosy(nn.GELU()), lambda: {"x": torch.randn(batch_size, 8)}
"""


@pytest.fixture
def advise(monkeypatch, capsys, tmp_path):
    """Run `rmmbench advise` with arguments; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rmmbench", "advise", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        return raised.value.code, *capsys.readouterr()

    return run


def test_a_line_for_all_layers_alike(advise):
    """Layers that differ in a number share a line, which adds up their bytes; Q names K and V."""
    code, out, _ = advise("roberta-tiny", "--batch-size", 8, "--seq-len", 64, "--rho", 0.25)
    assert code == 0
    lines = {line.split()[0]: line.split() for line in out.splitlines() if ".self." in line}
    # 2 blocks of 8 · 64 rows of 128 floats; a quarter of that, and an 8-byte seed.
    query = lines["roberta.encoder.layer.*.attention.self.query"]
    assert query[1:] == [
        "×2",
        "512.0",
        "KiB",
        "128.0",
        "KiB",
        "sketch,",
        "with",
        "key,",
        "value",
    ]
    key = lines["roberta.encoder.layer.*.attention.self.key"]
    assert key[1:] == ["×2", "sketch,", "with", "query,", "value"]
    assert "the least that any ρ reaches" in out
    assert "peak of a training step" in out
    assert all(len(line) <= 120 for line in out.splitlines())


def test_every_layer(advise):
    """Asked for, each layer has its line."""
    _, out, _ = advise("mlp:64-64-64-10", "--batch-size", 8, "--every-layer")
    assert "layers.0" in out
    assert "layers.1" in out
    assert "×" not in out.partition("kept for")[0]


def test_who_keeps_the_input(advise):
    """The verdict names the operation that keeps an input, and the module that it is in."""
    _, out, _ = advise("import:mine:after_relu")
    (line,) = [line for line in out.splitlines() if line.startswith("second")]
    assert line.rstrip().endswith("leave: kept by relu in activation")
    assert "Left out: 1, as Doubling has a forward pass of its own." in out


def test_json_has_bytes(advise):
    """For machines there is every number, and the case that it is of."""
    code, out, _ = advise("import:mine:after_gelu", "--rho", 0.25, "--json", "--batch-size", 8192)
    assert code == 0
    told = json.loads(out)
    second = told["layers"][1]
    assert second["layer"] == "second"
    assert second["kept_bytes"] == 8192 * 16 * 4
    assert second["sketched_bytes"] == 2048 * 16 * 4 + 8
    assert told["left_out"] == {"Doubling has a forward pass of its own": 1}
    assert told["case"]["rho"] == 0.25
    exact, sketched, least = (told[name]["saved_bytes"] for name in ("exact", "sketched", "least"))
    # The first layer's input is a tensor of its own, 8192 · 8 floats.
    assert exact - sketched == 8192 * 24 * 4 - (2048 * 24 * 4 + 2 * 8)
    assert exact - least == 8192 * 24 * 4 - (24 * 4 + 2 * 8)


def test_how_far_it_is_is_shown(advise, monkeypatch):
    """Each part of the work is told while it is done, and all are counted."""
    seen = []

    class Seen(Nothing):
        def show(self, state):
            seen.append(state)

    monkeypatch.setattr("rmmbench.running.progress.display", lambda **_: nullcontext(Seen()))
    code, *_ = advise("import:mine:after_gelu", "--rho", 0.25, "--batch-size", 8192)
    assert code == 0
    assert seen[-1].counted() == "4 of 4 steps"
    assert list(dict.fromkeys(state.doing for state in seen)) == [
        "starting",
        "looking at the layers",
        "following a step of the unchanged model",
        "following a step with sketches",
        "following a step that keeps one row of each input",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["roberta-tin"], "no model named 'roberta-tin'; did you mean 'roberta-tiny'?"),
        (["mlp", "--rho", "1.5"], "rho must be in (0, 1], got 1.5"),
        (["mlp", "--sketch", "fft"], "no sketch named 'fft'"),
        (["mlp", "--task", "mrpk"], "no task named 'mrpk'"),
        (["mlp", "--batch-size", "0"], "batch_size must be at least 1, got 0"),
        (["mlp:8-4", "--sketch", "kronecker"], "sketch 'kronecker' needs block_rows"),
        (["import:mine:choosy"], "fake tensors cannot follow"),
    ],
)
def test_bad_input_is_one_line(advise, arguments, message):
    """What cannot be is told in one line, with exit code 2."""
    code, out, err = advise(*arguments)
    assert code == 2
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("layer", "shares", "others", "told"),
    [
        ("a.q", (), (), ""),
        ("a.q", ("a.k", "a.v"), ("a.k", "a.v"), ", with k, v"),
        ("h.*.q.A.d", ("h.0.k.A.d", "h.0.v.A.d"), ("h.0.k.A.d", "h.0.v.A.d"), ", with k, v"),
        ("a.q", (), ("a.k",), ", beside k"),
    ],
)
def test_with_whom_a_layer_shares(layer, shares, others, told):
    """Layers that share are named by the part of the name that differs, wrappers left out."""
    line = {"layer": layer, "shares_with": shares, "together_with": others}
    assert _company(line) == told
