"""Titles of cases beside one another."""

from rmmbench.spec.case import Case
from rmmbench.spec.case_titles import case_titles

PLAIN = {"model": "mlp", "batch_size": 4}


def titles(*changes):
    """The titles of cases with these changes, in their order."""
    return list(case_titles(Case.model_validate(PLAIN | each) for each in changes).values())


def test_a_title_of_its_own_stays():
    """Nothing is added to a case whose title no other has."""
    assert titles({}, {"batch_size": 8}) == ["mlp 4 exact", "mlp 8 exact"]


def test_what_tells_apart_is_added():
    """Cases of one title say all in which they differ, and nothing else."""
    told = titles({}, {"dtype": "bfloat16"}, {"dtype": "bfloat16", "optimizer": "sgd"})
    assert told == [
        "mlp 4 exact dtype=float32 optimizer=adam",
        "mlp 4 exact dtype=bfloat16 optimizer=adam",
        "mlp 4 exact dtype=bfloat16 optimizer=sgd",
    ]


def test_parts_and_missing_values():
    """A field within a part has the part's name; of a field without a value nothing is said."""
    of = {"memory_device": "predict", "gpu": "v100-16gb"}
    told = titles({"timing": {"warmup_steps": 7}}, of)
    assert told[0] == "mlp 4 exact timing.warmup_steps=7"
    assert told[1].startswith("mlp 4 exact memory_device=predict gpu=v100-16gb timing.warmup")
