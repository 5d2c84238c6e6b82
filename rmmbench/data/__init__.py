"""Data to train on: one file for each kind of data, one name for each of `rmmbench.spec.tasks`.

To add one: add its file, its line here, and its shape in `rmmbench.spec.tasks`.
"""

from rmmbench.data._installed import checkpoint_of as checkpoint_of
from rmmbench.data.data import Loader
from rmmbench.data.data import Scoring as Scoring
from rmmbench.data.data import TrainingData as TrainingData
from rmmbench.registry import Entry, Registry
from rmmbench.spec.case import Case

DATA: Registry[Loader] = Registry(
    "task",
    __name__,
    {
        "cola": Entry("glue:load", "GLUE: is a sentence grammatical"),
        "mnli": Entry("glue:load", "GLUE: does one sentence follow from another, in three classes"),
        "mrpc": Entry("glue:load", "GLUE: do two sentences of the news mean the same"),
        "qnli": Entry("glue:load", "GLUE: does a sentence answer a question"),
        "qqp": Entry("glue:load", "GLUE: do two questions ask the same"),
        "rte": Entry("glue:load", "GLUE: does one sentence follow from another"),
        "sst2": Entry("glue:load", "GLUE: does a sentence of a film review praise"),
        "stsb": Entry("glue:load", "GLUE: how alike two sentences are, a regression"),
        "wnli": Entry("glue:load", "GLUE: what does a pronoun stand for"),
        "reviews": Entry("reviews:load", "does a sentence praise a film, from a Python package"),
        "digits": Entry("digits:load", "handwritten digits of 8×8 pixels, from scikit-learn"),
        "text": Entry("text:load", "bytes of the documentation that comes with Python"),
        "sbm": Entry("graph:block_model", "a stochastic block model graph, made"),
        "arxiv": Entry("graph:arxiv", "OGBN-arxiv from a local directory"),
    },
)


def names() -> list[str]:
    """Return the names of all tasks that have data."""
    return DATA.names()


def hub_answers() -> bool:
    """Return whether the Hugging Face hub can be reached, within some seconds."""
    from rmmbench.data._hub import answers

    return answers()


def load(case: Case) -> TrainingData:
    """Return the data that the case's model is trained on, the same for every seed.

    Raises:
        ValueError: If the case has no task, or (UnknownNameError) one without data.
        DataError: If the data is missing, not valid, or does not suit the model.
    """
    if case.task is None:
        raise ValueError(
            f"task must be given to train, got none; choose from: {', '.join(names())}"
        )
    return DATA.get(case.task)(case)
