"""The documentation is true: its code and commands run, and its lists leave nothing out."""

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import rmmbench
from rmmbench.cli import app, docs_command, main
from rmmbench.methods import METHODS
from rmmbench.models import MODELS
from rmmbench.results.record import Record
from rmmbench.sketches import SKETCHES
from rmmbench.spec import profile as profiles
from rmmbench.spec.grid import grid_class
from rmmbench.spec.measuring import TimelineSettings, TimingSettings, TrainingSettings
from rmmbench.spec.published import Published
from rmmbench.spec.saving_plan import SavingPlan

ROOT = Path(rmmbench.__file__).parents[1]
DOCS = ROOT / "rmmbench" / "docs"
README = ROOT / "README.md"
PAGES = [*sorted(DOCS.glob("*.md")), README]
BASELINES = ROOT / "profiles" / "baselines"

_BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^\n]*?) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)\n```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A piece of code in a page; `note` is the comment above it, which is for this test."""

    place: str
    kind: str
    body: str
    note: str


def blocks(*kinds: str) -> list[Block]:
    """Return the pieces of code of these kinds, of all pages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            if match["kind"] in kinds:
                line = text[: match.start("body")].count("\n")
                where = f"{page.stem}:{line}"
                found.append(Block(where, match["kind"], match["body"], match["note"] or ""))
    return found


def commands() -> Iterator[tuple[Block, str]]:
    """Yield each command line that is to run, with its piece; one that stands twice runs once."""
    seen = set()
    for block in blocks("console"):
        if not block.note.startswith("not run: "):
            for line in (line[2:] for line in block.body.splitlines() if line[:2] == "$ "):
                # Of a piece that shows nothing else there is no more to see the second time.
                is_alone = all(each[:2] == "$ " for each in block.body.splitlines())
                if not (is_alone and (line, block.note) in seen):
                    yield block, line
                seen.add((line, block.note))


COMMANDS = list(commands())


def pieces_of_python() -> list[Block]:
    """Return the pieces that run by themselves: those of integrations have tests of their own."""
    return [block for block in blocks("python") if not block.place.startswith("integrations:")]


@pytest.mark.parametrize("block", pieces_of_python(), ids=lambda block: block.place)
def test_code_runs(block, namespace, tmp_path, monkeypatch):
    """A piece of Python runs by itself, with a model, a batch and a Trainer's needs at hand."""
    monkeypatch.chdir(tmp_path)
    exec(compile(block.body, block.place, "exec"), namespace)


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.place)
def test_profiles_are_valid(block):
    """A profile that is shown can be read, and so can a plan."""
    if "[[layers]]" in block.body:
        assert SavingPlan.model_validate(tomllib.loads(block.body)).layers
        return
    assert profiles.validated(tomllib.loads(block.body), block.place).grid


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=[f"{b.place} {c}" for b, c in COMMANDS])
def test_commands_run(block, line, place, capfd, monkeypatch):
    """A command is one there is, and prints what stands below it; a sweep lists its cases."""
    shown = [each for each in block.body.splitlines() if each[:2] != "$ "]
    words = shlex.split(line)
    assert words[0] == "rmmbench"
    if block.note.startswith("prints as: "):
        words = shlex.split(block.note.removeprefix("prints as: "))
    elif words[1] in ("sweep", "train") and "--dry-run" not in words:
        words.append("--dry-run")
    assert run(words, monkeypatch) == 0, capfd.readouterr().err
    printed = [" ".join(each.split()) for each in capfd.readouterr().out.splitlines()]
    for each in (" ".join(each.split()) for each in shown):
        if each and each != "…":
            assert each in printed, "\n".join(printed)
            printed = printed[printed.index(each) + 1 :]


def run(words, monkeypatch):
    """Return the exit code of a command line."""
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Work where the runs that commands read are there: the committed baselines by their names."""
    runs = tmp_path / "runs"
    runs.mkdir()
    for baseline in BASELINES.iterdir():
        (runs / baseline.name).symlink_to(baseline)
    for name in ("quick-auto", "ci-predict", "ci"):
        if not (runs / name).exists():
            (runs / name).symlink_to(BASELINES / "ci")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def namespace(one_thread):
    """Return what a reader of the documentation has: a model, a batch, a Trainer and its data."""
    import torch
    from transformers import (
        RobertaConfig,
        RobertaForSequenceClassification,
        Trainer,
        TrainingArguments,
    )

    config = RobertaConfig(
        vocab_size=100,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=256,
        hidden_dropout_prob=0.0,
    )
    tokens = torch.ones(64, 64, dtype=torch.long)
    batch = {"input_ids": tokens, "labels": tokens[:, 0]}
    dataset = [{name: tensor[0] for name, tensor in batch.items()}] * 16
    arguments = TrainingArguments(
        output_dir="out",
        max_steps=2,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        per_device_train_batch_size=8,
        dataloader_pin_memory=False,
    )
    model = RobertaForSequenceClassification(config)

    class MyModel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.GELU())

        def forward(self, x):
            return self.layers(x).square().mean()

    return {
        "__name__": "documentation",
        "model": model,
        "batch": batch,
        "dataset": dataset,
        "arguments": arguments,
        "Trainer": Trainer,
        "MyModel": MyModel,
        "rmmbench": rmmbench,
        "torch": torch,
        "x": torch.randn(2, 64, 768),
        "x2d": torch.randn(512, 32),
    }


def page(name: str) -> str:
    """Return the text of a page."""
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def named(text: str) -> set[str]:
    """Return all that a text has in backticks."""
    return set(re.findall(r"`\[*([^`\]\s]+)\]*`", text))


def first_cells(text: str) -> set[str]:
    """Return the names in the first column of every table of a text."""
    lines = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in lines for name in named(cell)}


def test_every_sketch_and_method_has_a_line():
    """The tables of sketches and methods have all that there are, and no other."""
    assert first_cells(page("sketches")) == set(SKETCHES.names())
    assert first_cells(page("methods")) == set(METHODS.names())


@pytest.mark.parametrize("method", METHODS.names())
def test_every_setting_of_a_method_has_a_word(method):
    """A method's row names the settings that its class has, and no other; the list tells each."""
    line = next(each for each in page("methods").splitlines() if each.startswith(f"| `{method}` |"))
    kind = METHODS.settings(method)
    settings = set(kind.declared()) if kind else set()
    assert named(line.rstrip("|").rsplit("|", 1)[1]) == settings
    assert settings - {"sketch"} <= named(page("methods").split("## Settings")[1].split("## ")[0])


def test_every_setting_of_a_sketch_has_a_word():
    """What a sketch can be set to by itself is told on its page."""
    kinds = filter(None, map(SKETCHES.settings, SKETCHES.names()))
    own = {name for kind in kinds for name in kind.declared()}
    assert own <= set(re.findall(r"[*`](\w+)[*`]", page("sketches")))


def test_every_column_has_a_line():
    """The columns of a row, and the fields of a record, are all told, and no other is."""
    columns = set(rmmbench.load("ci").frame().columns)
    of_a_row, of_a_record = page("results").split("## More in a record")
    told = first_cells(of_a_row.split("## Columns of a row")[1])
    assert told == columns
    assert first_cells(of_a_record) == set(Record.model_fields)


def test_every_key_of_a_profile_has_a_line():
    """All keys that a profile may have are told, and no other is."""
    text = page("profiles")
    tables = dict(re.findall(r"## (.*?)\n(.*?)(?=\n## |\Z)", text, re.DOTALL))
    kinds = {"[timing]": TimingSettings, "[training]": TrainingSettings}
    kinds |= {
        "[timeline]": TimelineSettings,
        "[[grid]]": grid_class(),
        "[[published]]": Published,
    }
    for heading, kind in kinds.items():
        assert first_cells(tables[heading]) == set(kind.model_fields), heading
    assert first_cells(tables["Models"]) == set(MODELS.names())
    told = named(tables["The file"])
    assert set(profiles.Profile.model_fields) <= told
    assert set(profiles.DeviceLimit.model_fields) <= told


def test_every_profile_is_named():
    """Each profile that ships stands in the list, and in the page on the paper."""
    assert set(profiles.names()) <= named(page("profiles").split("## What ships")[1])
    assert set(profiles.names()) <= named(page("paper"))


def test_every_page_is_a_topic():
    """A page that is there is a topic of `rmmbench docs`, and begins with a title and a line."""
    assert set(docs_command.TOPICS) == {each.stem for each in DOCS.glob("*.md")}
    for topic in docs_command.TOPICS:
        title, summary, _ = page(topic).split("\n\n", 2)
        assert title.startswith("# ")
        assert len(summary.replace("\n", " ")) < 200


def test_docs_are_shown(capfd, monkeypatch):
    """Without a topic all are listed; a page is printed as it is; an unknown one has a nearest."""
    assert run(["rmmbench", "docs"], monkeypatch) == 0
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()] == list(
        docs_command.TOPICS
    )
    assert run(["rmmbench", "docs", "sketches"], monkeypatch) == 0
    assert capfd.readouterr().out == page("sketches")
    assert run(["rmmbench", "docs", "scetches"], monkeypatch) == 2
    assert "no page named 'scetches'; did you mean 'sketches'" in capfd.readouterr().err


def test_links_lead_somewhere():
    """A file or a page that a page names is there."""
    for each in PAGES:
        text = each.read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        assert all((each.parent / link).exists() for link in links), each
        for topic in re.findall(r"rmmbench docs ([a-z-]+)", text):
            assert topic in docs_command.TOPICS, (each, topic)
        for path in re.findall(r"`(tests/[\w/]+\.py)`", text):
            assert (ROOT / path).is_file(), (each, path)


def test_readme_is_short_and_names_every_command():
    """The README has at most 150 lines, two commands that install, and a line a command."""
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert len(re.findall(r"bin/pip install torch==[\d.]+ ", text)) == 2
    assert text.count("bin/pytest") == 1
    told = set(re.findall(r"`rmmbench ([a-z-]+)`", text))
    assert told == {command.name for command in app.registered_commands}


def test_every_public_name_has_a_line():
    """What `rmmbench` has for Python is all in a table of the first page, and nothing else is."""
    assert first_cells(page("quick-start")) == set(rmmbench.__all__) - {"__version__"}
