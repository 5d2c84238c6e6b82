"""RoBERTa with a sequence classification head, as the paper fine-tunes it; random weights."""

from typing import Any

import transformers
import transformers.models.roberta.modeling_roberta  # else transformers loads it only at first use

from rmmbench.models._heads import CLASSES
from rmmbench.models.huggingface import from_config
from rmmbench.models.model import Built
from rmmbench.spec.case import Case
from rmmbench.spec.tasks import TASKS


def base(argument: str, case: Case) -> Built:
    """Build RoBERTa-base: 12 blocks of width 768."""
    return _roberta(argument, case)


def large(argument: str, case: Case) -> Built:
    """Build RoBERTa-large: 24 blocks of width 1024."""
    size = {"num_hidden_layers": 24, "hidden_size": 1024, "intermediate_size": 4096}
    return _roberta(argument, case, num_attention_heads=16, **size)


def tiny(argument: str, case: Case) -> Built:
    """Build a RoBERTa of 2 blocks of width 128 and 1000 tokens, for quick runs."""
    size = {"num_hidden_layers": 2, "hidden_size": 128, "intermediate_size": 512}
    return _roberta(argument, case, num_attention_heads=2, vocab_size=1000, **size)


def _roberta(argument: str, case: Case, **changes: Any) -> Built:
    if argument:
        raise ValueError(f"{case.model.partition(':')[0]} takes no argument, got '{argument}'")
    published = {
        "vocab_size": 50265,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "num_labels": TASKS[case.task].num_labels if case.task else 2,
    }
    config = transformers.RobertaConfig(**(published | changes))
    return from_config(config, CLASSES, case)
