"""The page on integrations is true: its examples run, and what they claim and print comes out."""

import json
import re
from pathlib import Path

import pytest
import torch

import rmmbench
from rmmbench.nn import converted_layers

PAGE = Path(rmmbench.__file__).parent / "docs" / "integrations.md"
NOTEBOOK = PAGE.with_name("first-look.ipynb")

_PIECE = re.compile(r"```python\n(.*?)\n```(?:\n\n```text\n(.*?)\n```)?", re.DOTALL)


def pieces(text):
    """Return the Python of a text in order, each with what it prints."""
    return _PIECE.findall(text)


SECTIONS = PAGE.read_text(encoding="utf-8").split("\n## ")
EXAMPLES = {part.partition("\n")[0]: pieces(part) for part in SECTIONS[1:] if pieces(part)}


@pytest.fixture
def example(one_thread, tmp_path, monkeypatch, capfd):
    """Run the examples of a section after the page's first, and return their names."""
    monkeypatch.chdir(tmp_path)

    def run(section):
        names = {"__name__": "integrations"}
        for code, printed in [*pieces(SECTIONS[0]), *EXAMPLES[section]]:
            capfd.readouterr()
            exec(compile(code, section, "exec"), names)
            said = capfd.readouterr().out.splitlines()
            assert [line for line in printed.splitlines() if line not in said] == [], said
        return names

    return run


def test_every_section_is_tried():
    """A section with an example has a test of its name below."""
    tried = {name for name in globals() if name.startswith("test_")}
    for section in EXAMPLES:
        assert f"test_{re.sub('[^a-z]+', '_', section.lower()).strip('_')}" in tried, section


def recorded(folder, *, learns=True):
    """Return the only record of a run, which has memory, times, and a loss that falls."""
    (record,) = rmmbench.load(folder).records()
    assert record.outcome == "ok"
    assert record.memory.peak_allocated_bytes > record.memory.resting_bytes > 0
    assert record.timing.samples_per_second > 0
    if learns:
        losses = [each.loss for each in record.training.losses]
        assert losses[-1] < 0.95 * losses[0], losses
    return record


def test_a_loop_of_your_own(example):
    """The loop trains, converted and watched."""
    names = example("A loop of your own")
    assert len(converted_layers(names["model"])) == 15
    record = recorded("runs/mine")
    assert {each.layer.rpartition(".")[2] for each in record.training.noise} == {
        "down_proj",
        "gate_proj",
        "up_proj",
    }


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")  # there is no GPU here
def test_transformers_trainer(example):
    """The Trainer trains the converted model, and what it says of noise is a file."""
    names = example("transformers' Trainer")
    record = recorded("runs/trainer")
    assert record.converted == len(converted_layers(names["trainer"].model)) > 0
    assert json.loads(Path("noise.json").read_text(encoding="utf-8"))["layers"]


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # trl 1.16's own
def test_trl(example):
    """SFTTrainer trains the converted model without a hub."""
    names = example("trl")
    record = recorded("runs/trl")
    assert record.converted == len(converted_layers(names["trainer"].model)) > 0
    assert "checkpoint" in record.case.methods


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # peft 0.21's own
def test_peft_s_lora(example):
    """The frozen base keeps nothing, what is trained gains, and its gradients are right."""
    names = example("PEFT's LoRA")
    model, batch = names["model"], names["batch"]
    layers = converted_layers(model)
    assert layers
    assert all(layer.weight.requires_grad for layer in layers.values())
    parameter = next(iter(layers.values())).weight
    for name, each in model.named_parameters():
        if "lora_B" in name:  # begins at 0, and so does the gradient of A
            torch.nn.init.normal_(each, std=0.05)

    def gradient():
        model.zero_grad()
        model(**batch).loss.backward()
        return parameter.grad.clone()

    model.train()
    drawn = torch.stack([gradient() for _ in range(60)])
    rmmbench.unconvert(model)
    exact = gradient()
    shares = (drawn * exact).sum((1, 2)) / exact.square().sum()
    error = shares.std() / len(shares) ** 0.5
    assert abs(shares.mean() - 1) < 4 * error
    assert error < 0.2


@pytest.mark.filterwarnings("ignore:.*does not have many workers")  # data in memory need none
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # lightning 2.6's own
@pytest.mark.filterwarnings("ignore:The `srun` command")  # where there is a Slurm
def test_lightning(example):
    """Lightning's loop trains the converted module."""
    names = example("Lightning")
    record = recorded("runs/lightning")
    assert record.converted == len(converted_layers(names["module"])) == 15


def test_accelerate(example):
    """Accelerate's loop trains the converted model; a step is two micro-batches."""
    names = example("accelerate")
    record = recorded("runs/accelerate")
    assert (record.case.accumulate, record.training.steps) == (2, 8)
    assert len(converted_layers(names["model"])) == 15


def test_torch_compile(example, monkeypatch):
    """A compiled model trains, and the record says that it is compiled.

    The compiler traces and partitions; what it generates is tested elsewhere and takes a minute.
    """
    compiled = torch.nn.Module.compile

    def quickly(self, **settings):
        compiled(self, backend="aot_eager_decomp_partition", **settings)

    monkeypatch.setattr(torch.nn.Module, "compile", quickly)
    example("torch.compile")
    assert recorded("runs/compiled").case.methods == ("rmm", "compile")


def test_the_notebook_runs(one_thread, tmp_path, monkeypatch):
    """Every cell runs, none has an output that nobody made, and all that is claimed comes out."""
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    predicted = names["predicted"]
    assert predicted["4 bits"].saved_bytes < predicted["exact"].saved_bytes
    assert {record.outcome for record in names["run"].records()} == {"ok"}
    trained = rmmbench.load("runs/notebook-training").records()
    assert len(trained) == 3
    for record in trained:
        assert record.training.losses[-1].loss < record.training.losses[0].loss
