"""Turns texts into tokens, with the tokenizer of pretrained weights or as bytes."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from rmmbench.data import _hub, _installed
from rmmbench.data.data import Example
from rmmbench.errors import DataError
from rmmbench.spec.case import Case

_SPECIAL = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}


def of_case(case: Case) -> tuple[Any, str]:
    """Return the tokenizer of a case's weights, or of bytes if they are random, and a note of it.

    Raises:
        DataError: If the weights have no tokenizer, or are to come from a package and do not.
    """
    checkpoint = _installed.checkpoint_of(case)
    if checkpoint is not None:
        return pretrained(checkpoint), ""
    return of_bytes(), f"bytes as tokens, at most {case.seq_len} of an example"


def pretrained(checkpoint: str) -> Any:
    """Return the tokenizer of pretrained weights, given by directory or by name.

    Raises:
        DataError: If there is none, or it cannot pad short texts.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            checkpoint, local_files_only=Path(checkpoint).is_dir() or not _hub.answers()
        )
    except Exception as error:  # each kind of tokenizer raises its own for a bad file
        why = str(error).strip().splitlines()[0].rstrip(".")
        raise DataError(f"checkpoint '{checkpoint}' must have a tokenizer: {why}") from None
    # From a directory without a tokenizer, transformers makes one with no words.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise DataError(
            f"checkpoint '{checkpoint}' must have a tokenizer, found none; "
            "save it beside the weights, or leave checkpoint out"
        )
    if tokenizer.pad_token is None:
        raise DataError(
            f"the tokenizer of checkpoint '{checkpoint}' must have a padding token, has none; "
            "give it one, or choose another checkpoint"
        )
    return tokenizer


def of_bytes() -> Any:
    """Return a tokenizer of bytes in RoBERTa's format: <s> a </s>, or <s> a </s></s> b </s>.

    Its ids are 0 for <s>, 1 for padding, 2 for </s> and 5 to 260 for bytes.
    """
    ids = {token: index for index, token in enumerate(_SPECIAL.values())}
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = ids | {letter: len(ids) + index for index, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    end, start = ((token, ids[token]) for token in (_SPECIAL["eos"], _SPECIAL["bos"]))
    tokenizer.post_processor = processors.RobertaProcessing(end, start, add_prefix_space=False)
    wrapped: Any = transformers.PreTrainedTokenizerFast
    return wrapped(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        split_special_tokens=True,  # "<pad>" within a text is text
        **{f"{name}_token": token for name, token in _SPECIAL.items()},
    )


def tokenised(
    texts: Sequence[Sequence[str]], labels: np.ndarray, tokenizer: Any, seq_len: int
) -> datasets.Dataset:
    """Return examples of one text or two, cut to seq_len tokens, the longer text first.

    Args:
        texts: One column or two.
        labels: One for each example.
        tokenizer: From transformers.
        seq_len: The limit, special tokens included.

    Raises:
        DataError: If seq_len leaves no room for a text.
    """
    fewest = tokenizer.num_special_tokens_to_add(pair=len(texts) == 2) + len(texts)
    if seq_len < fewest:
        raise DataError(
            f"seq_len must be at least {fewest} with this tokenizer, a token a text and its "
            f"special tokens, got {seq_len}; raise it"
        )
    columns = {f"text{index}": column for index, column in enumerate(texts)}
    table = datasets.Dataset.from_dict({**columns, "labels": labels})
    datasets.disable_progress_bars()
    return table.map(
        partial(_tokenise, tokenizer=tokenizer, seq_len=seq_len, names=list(columns)),
        batched=True,
        remove_columns=list(columns),
        keep_in_memory=True,
    )


def padded(examples: Sequence[Example], tokenizer: Any) -> dict[str, Tensor]:
    """Return a batch of tokenised examples, padded to the longest of them."""
    collate = transformers.DataCollatorWithPadding(tokenizer)
    return dict(collate([dict(example) for example in examples]))


def _tokenise(
    batch: Mapping[str, list[str]], tokenizer: Any, seq_len: int, names: Sequence[str]
) -> dict[str, Any]:
    texts = [batch[name] for name in names]
    return dict(tokenizer(*texts, truncation=True, max_length=seq_len))
