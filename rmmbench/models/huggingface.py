"""Any transformers model, made from its config with random weights; nothing is fetched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from transformers.initialization import no_init_weights

from rmmbench.errors import UnknownNameError
from rmmbench.models.model import Built
from rmmbench.record import Case

# Of the heads that can be trained on a config, the first that its kind has.
_HEADS = (
    transformers.AutoModelForSequenceClassification,
    transformers.AutoModelForCausalLM,
    transformers.AutoModelForMaskedLM,
    transformers.AutoModelForImageClassification,
)
_HEAD_OF_ENDING = {
    "ForSequenceClassification": transformers.AutoModelForSequenceClassification,
    "ForCausalLM": transformers.AutoModelForCausalLM,
    "LMHeadModel": transformers.AutoModelForCausalLM,
    "ForMaskedLM": transformers.AutoModelForMaskedLM,
    "ForConditionalGeneration": transformers.AutoModelForSeq2SeqLM,
    "ForImageClassification": transformers.AutoModelForImageClassification,
}


def from_name(argument: str, case: Case) -> Built:
    """Build "hf:DIRECTORY" (one with a config.json) or "hf:CONFIG-NAME" (a model type, "gpt2").

    The head is the one the config's `architectures` names; else a language model for decoders and
    encoder-decoders, and a classifier for encoders.

    Raises:
        ValueError: If there is no such config, or the model has no head that this can train.
    """
    if (Path(argument) / "config.json").is_file():
        config = transformers.AutoConfig.from_pretrained(argument, local_files_only=True)
    elif argument in transformers.CONFIG_MAPPING:
        config = transformers.AutoConfig.for_model(argument)
    elif "/" in argument or not argument:
        need = "a directory with a config.json, or a config name such as 'gpt2'"
        raise ValueError(f"hf: must be followed by {need}, got '{argument}'")
    else:
        raise UnknownNameError("transformers config", argument, transformers.CONFIG_MAPPING)
    return from_config(config, _head(config), case)


def from_config(config: Any, head: Any, case: Case) -> Built:
    """Build the model of `config` with the given automatic head, and batches of random inputs."""
    text_config = config.get_text_config()
    longest = getattr(text_config, "max_position_embeddings", None)
    if case.seq_len and longest and case.seq_len > longest:
        raise ValueError(f"seq_len must be at most the model's {longest}, got {case.seq_len}")
    text_config.use_cache = False  # keys and values are kept for generating, not for training
    model = _with_head(config, head, case.attention)
    if head is transformers.AutoModelForImageClassification:
        return Built(model, _image_batches(config, case))
    if case.seq_len is None:
        raise ValueError(f"{case.model} reads tokens: it needs seq_len, or a task")
    return Built(model, _token_batches(config, head, case))


def _head(config: Any) -> Any:
    for architecture in config.architectures or ():
        for ending, head in _HEAD_OF_ENDING.items():
            if architecture.endswith(ending):
                return head
    if config.is_encoder_decoder:
        return transformers.AutoModelForSeq2SeqLM
    heads = list(_HEADS)
    if type(config) not in transformers.AutoModelForMaskedLM._model_mapping:
        # Decoders have classification heads too, but are made to predict the next token.
        heads.remove(transformers.AutoModelForSequenceClassification)
    for head in heads:
        if type(config) in head._model_mapping:
            return head
    raise ValueError(f"transformers has no head to train a '{config.model_type}' with")


def _with_head(config: Any, head: Any, attention: str) -> Any:
    if not isinstance(torch.empty(0), FakeTensor):
        return head.from_config(config, attn_implementation=attention)
    # Some initialisations ask for values, which fake tensors do not have.
    with no_init_weights():
        model = head.from_config(config, attn_implementation=attention)
    model.tie_weights()
    return model


def _token_batches(config: Any, head: Any, case: Case) -> Callable[[], dict[str, Tensor]]:
    shape = (case.batch_size, case.seq_len or 0)
    vocabulary = config.get_text_config().vocab_size
    # The first tokens have special meanings (padding, end) that would change the computation.
    first = min(10, vocabulary // 2)

    def make_batch() -> dict[str, Tensor]:
        tokens = torch.randint(first, vocabulary, shape)
        batch = {"input_ids": tokens}
        if head is transformers.AutoModelForSequenceClassification:
            return batch | {"labels": _class_labels(config, case.batch_size)}
        if head is transformers.AutoModelForSeq2SeqLM:
            batch["decoder_input_ids"] = torch.randint(first, vocabulary, shape)
        return batch | {"labels": torch.randint(first, vocabulary, shape)}

    return make_batch


def _image_batches(config: Any, case: Case) -> Callable[[], dict[str, Tensor]]:
    size = config.image_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)

    def make_batch() -> dict[str, Tensor]:
        return {
            "pixel_values": torch.randn(case.batch_size, config.num_channels, height, width),
            "labels": _class_labels(config, case.batch_size),
        }

    return make_batch


def _class_labels(config: Any, batch_size: int) -> Tensor:
    if config.num_labels == 1:
        return torch.rand(batch_size)
    return torch.randint(0, config.num_labels, (batch_size,))
