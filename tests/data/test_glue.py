"""GLUE's files are read as people have them; what is wrong with one is told in a line."""

import datasets
import pytest
import torch
import transformers
from huggingface_hub import constants
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from rmmbench import data
from rmmbench import models as families
from rmmbench.data import _hub, _tokens, glue
from rmmbench.errors import DataError, Exit
from rmmbench.spec.case import Case
from rmmbench.spec.tasks import TASKS

TASK_NAMES = list(glue.LAYOUTS)

each_task = pytest.mark.parametrize("task", TASK_NAMES)


def load(task, directory=None, *, seq_len=64, checkpoint=None):
    """Return a task's data from a directory."""
    training = {"data": directory and str(directory), "checkpoint": checkpoint and str(checkpoint)}
    case = {"model": "roberta-tiny", "task": task, "batch_size": 2, "seq_len": seq_len}
    return data.load(Case.model_validate(case | {"training": training}))


def refused(task, directory=None, **settings):
    """Return the one line that says why a task's data is refused."""
    with pytest.raises(DataError) as caught:
        load(task, directory, **settings)
    assert caught.value.exit_code == Exit.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


def examples_of(loaded):
    """Return all the examples of both sets."""
    return [list(loaded.train), list(loaded.evaluation)]


def ids_of(*texts):
    """Return the byte tokens of a text, or of two."""
    return _tokens.of_bytes()(*texts)["input_ids"]


@pytest.fixture
def checkpoint(tmp_path):
    """Save a tokenizer of words that marks the second text, as BERT's does."""
    words = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "a", "with", "its", "pair", "third", "one", "and"]
    ids = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    wrapped.save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@each_task
def test_both_kinds_of_files_are_one_data_set(glue_data, task):
    """GLUE's TSV files and the hub's Parquet files give the same examples in the same order."""
    assert examples_of(load(task, glue_data(task))) == examples_of(
        load(task, glue_data(task, "parquet"))
    )


@each_task
def test_texts_keep_their_labels(glue_data, task):
    """Each example has the texts and the label of its row; quotes, NA and null are texts."""
    loaded = load(task, glue_data(task))
    pair = len(glue.LAYOUTS[task].texts) == 2
    rows = [('"a quoted word', "NA"), ("null", "ünïcode"), ("none of the above", "and")]
    labels = {"mnli": [2, 0, 0], "stsb": [2.7, 0.2, 0.2]}.get(task, [1, 0, 0])
    for example, row, label in zip(
        [loaded.train[0], loaded.train[1], loaded.evaluation[0]], rows, labels, strict=True
    ):
        assert example["input_ids"] == ids_of(*(row if pair else row[:1]))
        assert example["labels"] == pytest.approx(label)


def test_layouts_have_the_classes_that_models_are_built_with():
    """A task's labels are as many as its model gives logits for."""
    for task, layout in glue.LAYOUTS.items():
        assert (len(layout.classes) or 1) == TASKS[task].num_labels


@pytest.mark.parametrize("folder", ["SST-2", "sst2", "SST2", "sst-2", ""])
def test_folders_are_called_as_people_call_them(glue_data, folder):
    """A task's folder is found in whatever spelling; so is a directory that is the task's own."""
    assert len(load("sst2", glue_data("sst2", folder=folder)).train) == 3


def test_files_of_several_parts_are_read_together(glue_data):
    """Parquet files in parts give all their rows, and a part that is missing is told."""
    folder = glue_data("rte", "parquet") / "RTE"
    whole = folder / "train-00000-of-00001.parquet"
    whole.rename(folder / "train-00000-of-00002.parquet")
    assert "must have all 2 parts that train-00000-of-00002.parquet names, found 1" in refused(
        "rte", folder
    )
    (folder / "train-00001-of-00002.parquet").write_bytes(
        (folder / "train-00000-of-00002.parquet").read_bytes()
    )
    assert len(load("rte", folder).train) == 6


def test_rows_that_break_off_are_left_out(glue_data):
    """Rows without a label or any text are not trained on, and the note counts them."""
    base = glue_data("qqp")
    with (base / "QQP" / "train.tsv").open("a", encoding="utf-8") as stream:
        stream.write("8\t3\t4\tbroken\n8\t3\t4\t\t\t1\n8\t3\t4\t\tthe second\t0\n")
    loaded = load("qqp", base)
    assert len(loaded.train) == 4
    assert loaded.train[3]["input_ids"] == ids_of("", "the second")
    assert loaded.note.endswith("; 2 rows without label or text left out")


def test_texts_are_cut_and_filled_up(glue_data):
    """Texts have at most seq_len tokens; a batch is as long as its longest, the rest is masked."""
    loaded = load("mrpc", glue_data("mrpc"), seq_len=16)
    batch = loaded.collate([loaded.train[1], loaded.train[2]])
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, 16)
    batch = loaded.collate([loaded.evaluation[1]])
    assert batch["input_ids"].shape == (1, 16)
    loaded = load("cola", glue_data("cola"))
    batch = loaded.collate([loaded.train[0], loaded.train[1]])
    assert batch["attention_mask"].sum(1).tolist() == [16, 6]
    assert batch["input_ids"][1, 6:].tolist() == [1] * 10


def test_a_checkpoint_brings_its_tokenizer(glue_data, checkpoint):
    """With pretrained weights their own tokens are used, with what else their model reads."""
    loaded = load("mrpc", glue_data("mrpc"), checkpoint=checkpoint)
    example = loaded.train[2]
    assert example["input_ids"][:4] == [1, 4, 8, 9]
    assert example["input_ids"][-5:] == [2, 5, 6, 7, 2]
    batch = loaded.collate([loaded.train[2], loaded.train[1]])
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "labels"}
    assert batch["input_ids"][1, -1] == 3
    assert batch["token_type_ids"][0].tolist() == [0] * 10 + [1] * 4
    assert loaded.note == ""


def test_the_note_says_what_was_made_of_texts(glue_data):
    """Without pretrained weights a record tells that tokens are bytes, and where texts were cut."""
    note = load("cola", glue_data("cola"), seq_len=47).note
    assert note == "bytes as tokens, at most 47 of an example"


@pytest.mark.parametrize("task", ["cola", "mnli", "stsb"])
def test_roberta_trains_on_it(glue_data, task):
    """The paper's kind of model has a loss for one text, for pairs, and for numbers."""
    torch.manual_seed(0)
    loaded = load(task, glue_data(task))
    case = Case(model="roberta-tiny", task=task, batch_size=3, seq_len=64)
    loss = families.build(case).model(**loaded.collate(list(loaded.train))).loss
    assert torch.isfinite(loss)


def test_what_is_missing_is_told(glue_data, tmp_path):
    """A directory, a split or a seq_len that is not there is named, with what was found."""
    absent = tmp_path / "absent"
    assert refused("rte", absent) == (
        f"'{absent}' must be a directory with GLUE's data, there is none; give another with --data"
    )
    base = glue_data("mnli")
    (base / "MNLI" / "dev_matched.tsv").unlink()
    assert refused("mnli", base) == (
        f"{base / 'MNLI'} must have dev_matched.tsv or validation_matched-*.parquet, "
        "found train.tsv; put it there"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "must have train.tsv or train-*.parquet, found nothing" in refused("rte", empty)
    assert "task 'mnli' is text: give seq_len" in refused("mnli", base, seq_len=None)
    assert "seq_len must be at least 3" in refused("cola", glue_data("cola"), seq_len=2)


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("sst2", b"", "must have examples, found none"),
        ("sst2", b"sentence\tlabel\n", "must have examples, found none"),
        (
            "sst2",
            b"text\tclass\nx\t1\n",
            "must have the columns sentence, label, found text, class",
        ),
        ("sst2", b"sentence\tlabel\nx\t1\ny\t7\n", "row 2: label must be one of 0, 1, got '7'"),
        ("sst2", b"sentence\tlabel\nx\t1\nx\t1\t5\n", "must be a TSV file in UTF-8: Error tokeniz"),
        ("sst2", b"sentence\tlabel\nx\t1\t5\ny\t1\t5\n", "rows have as many fields as its header"),
        ("sst2", b"sentence\tlabel\n\xff\xfe\x00\t1\n", "must be a TSV file in UTF-8"),
        ("sst2", b"PK\x03\x04\x00\x00\xff\x00", "must be a TSV file in UTF-8"),
        ("cola", b"sentence\tlabel\nx\t1\n", "the 4 columns source, label, star, sentence and no"),
        ("cola", b"gj04\tyes\t\tx\n", "row 1: label must be one of 0, 1, got 'yes'"),
        (
            "rte",
            b"index\tsentence1\tsentence2\tlabel\n0\tx\ty\tneutral\n",
            "row 1: label must be one of entailment, not_entailment, got 'neutral'",
        ),
        (
            "stsb",
            b"sentence1\tsentence2\tscore\nx\ty\t2\nx\ty\t5.5\n",
            "row 2: label must be from 0 to 5, got '5.5'",
        ),
        (
            "stsb",
            b"sentence1\tsentence2\tscore\nx\ty\tmuch\n",
            "row 1: label must be from 0 to 5, got 'much'",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told(glue_data, task, content, message):
    """A file that is not what it must be is named, with the row, and nothing is trained on."""
    base = glue_data(task)
    file = next(base.iterdir()) / "train.tsv"
    file.write_bytes(content)
    line = refused(task, base)
    assert line.startswith(str(file))
    assert message in line


def test_a_file_that_is_no_parquet_is_told(glue_data):
    """Text under Parquet's name is refused by name, and so are tests without labels."""
    folder = glue_data("wnli", "parquet") / "WNLI"
    train = folder / "train-00000-of-00001.parquet"
    train.write_text("not this\n")
    line = refused("wnli", folder)
    assert line.startswith(f"{train} must be a Parquet file: ")
    assert line.endswith("; give the hub's own")


def test_labels_of_a_test_set_are_refused(glue_data, tmp_path):
    """The hub's test sets have −1 for a label that nobody gives away."""
    folder = glue_data("wnli", "parquet") / "WNLI"
    train = folder / "train-00000-of-00001.parquet"
    table = datasets.Dataset.from_dict({"sentence1": ["x"], "sentence2": ["y"], "label": [-1]})
    table.to_pandas().to_parquet(train)
    assert "row 1: label must be one of 0, 1, got '-1'" in refused("wnli", folder)


@pytest.mark.parametrize("make", ["absent", "no tokenizer", "no padding"])
def test_a_checkpoint_without_a_tokenizer_is_refused(glue_data, checkpoint, tmp_path, make):
    """Weights whose tokenizer is not there, or cannot fill up a batch, are refused by name."""
    directory = tmp_path / make
    if make == "no tokenizer":
        directory.mkdir()
        (directory / "config.json").write_text('{"model_type": "roberta"}')
    if make == "no padding":
        tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
        tokenizer.pad_token = None
        tokenizer.save_pretrained(directory)
    line = refused("cola", glue_data("cola"), checkpoint=directory)
    assert f"checkpoint '{directory}'" in line
    assert "must have a" in line


def test_a_hub_that_does_not_answer_is_told(monkeypatch, tmp_path):
    """Without a network and a directory, one line says what to put where; no state is left."""
    # Nothing listens on port 9 of this machine.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    before = datasets.config.HF_HUB_OFFLINE
    assert refused("mnli") == (
        "task 'mnli' needs GLUE's data: the hub cannot be reached, and no directory was given; put "
        "train.tsv and dev_matched.tsv (or train-*.parquet and validation_matched-*.parquet) into "
        "DIR/MNLI and give --data DIR"
    )
    assert before == datasets.config.HF_HUB_OFFLINE


@each_task
def test_what_the_hub_gives_is_what_its_files_hold(glue_data, monkeypatch, tmp_path, task):
    """A repository laid out as the hub's gives the same examples as its files in a directory."""
    base = glue_data(task, "parquet", folder=task)
    evaluation = glue.LAYOUTS[task].evaluation
    card = f"""---
configs:
- config_name: {task}
  data_files:
  - split: train
    path: {task}/train-*
  - split: {evaluation}
    path: {task}/{evaluation}-*
---
"""
    (base / "README.md").write_text(card)
    monkeypatch.setattr(glue, "REPOSITORY", str(base))
    monkeypatch.setattr(_hub, "answers", lambda: True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    assert examples_of(load(task)) == examples_of(load(task, base))
