"""Any transformers model, made from its config with random weights; nothing is fetched."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from transformers.initialization import no_init_weights

from rmmbench.case import Case
from rmmbench.errors import did_you_mean
from rmmbench.models.model import Built
from rmmbench.tasks import TASKS

# Of the heads that can be trained on a config, the first that its kind has.
_HEADS: tuple[Any, ...] = (
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
        ValueError: If there is no such config, the model has no head that this can train, or
            seq_len is missing or too long for it.
    """
    config = _config(argument)
    return from_config(config, _head(config), case)


def from_config(config: Any, head: Any, case: Case) -> Built:
    """Build the model of `config` with the given automatic head, and batches of random inputs."""
    text_config = config.get_text_config()
    text_config.use_cache = False  # keys and values are kept for generating, not for training
    if head is transformers.AutoModelForSequenceClassification and text_config.pad_token_id is None:
        # Classifiers look for the padding after a text, though no batch here has any.
        text_config.pad_token_id = 0
    if head is transformers.AutoModelForSequenceClassification and case.task:
        config.num_labels = TASKS[case.task].num_labels
    model = _with_head(config, head, case)
    if head is transformers.AutoModelForImageClassification:
        return Built(model, _image_batches(config, case))
    if case.seq_len is None:
        raise ValueError(f"{case.model} reads tokens: it needs seq_len, or a task")
    longest = _longest(text_config, model)
    if longest is not None and case.seq_len > longest:
        raise ValueError(f"seq_len must be at most {longest} for {case.model}, got {case.seq_len}")
    return Built(model, _token_batches(config, head, case))


def _config(argument: str) -> Any:
    file = Path(argument) / "config.json"
    if argument and file.is_file():
        try:
            return transformers.AutoConfig.from_pretrained(
                argument, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            why = str(error).strip().splitlines()[0]
            raise ValueError(f"{file} must be a config that transformers knows: {why}") from error
    if argument in transformers.CONFIG_MAPPING:
        return transformers.AutoConfig.for_model(argument)
    hint = "a directory with a config.json, or a config name of transformers such as 'gpt2'"
    if not argument or "/" in argument or Path(argument).is_dir():
        raise ValueError(f"hf: must be followed by {hint}, got '{argument}'")
    nearest = did_you_mean(argument, transformers.CONFIG_MAPPING)
    raise ValueError(f"no transformers config named '{argument}'{nearest}; give {hint}")


def _head(config: Any) -> Any:
    heads: list[Any] = [
        head
        for architecture in config.architectures or ()
        for ending, head in _HEAD_OF_ENDING.items()
        if architecture.endswith(ending)
    ]
    masked: Any = transformers.AutoModelForMaskedLM
    if config.is_encoder_decoder:
        heads.append(transformers.AutoModelForSeq2SeqLM)
    elif type(config) in masked._model_mapping:
        heads += _HEADS
    else:
        # Decoders have classification heads too, but are made to predict the next token.
        heads += _HEADS[1:]
    for head in heads:
        if type(config) in head._model_mapping:
            return head
    raise ValueError(f"transformers has no head to train a '{config.model_type}' with")


def _longest(config: Any, model: Any) -> int | None:
    longest: int | None = getattr(config, "max_position_embeddings", None)
    if longest is None:
        return None
    # RoBERTa and its kin count positions from the one after the padding token's.
    reserved = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    return longest - max(reserved, default=0)


def _with_head(config: Any, head: Any, case: Case) -> Any:
    # Configs may name another dtype; the case's is float32, or autocast from it.
    settings = {"attn_implementation": case.attention, "dtype": torch.float32}
    if not isinstance(torch.empty(0), FakeTensor):
        checkpoint = case.training.checkpoint if case.training else None
        if checkpoint is not None:
            return _pretrained(checkpoint, config, head, settings)
        return head.from_config(config, **settings)
    # Some initialisations ask for values, which fake tensors do not have.
    with no_init_weights():
        model = head.from_config(config, **settings)
    model.tie_weights()
    return model


def _pretrained(checkpoint: str, config: Any, head: Any, settings: dict[str, Any]) -> Any:
    """Return the model with the checkpoint's weights; a head that it does not have is random."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)  # it warns of every head that is made anew
    settings |= {"trust_remote_code": False, "output_loading_info": True}
    try:
        model, loaded = head.from_pretrained(checkpoint, config=config, **settings)
        body = f"{model.base_model_prefix}."
        missing = sorted(name for name in loaded["missing_keys"] if name.startswith(body))
        if missing:
            raise ValueError(f"it has no {missing[0]}")
        return model
    except (OSError, ValueError, RuntimeError) as error:
        why = str(error).strip().splitlines()[0]
        need = "a name on the hub that can be reached, or a directory of transformers"
        raise ValueError(
            f"checkpoint must be {need}, of the model's own sizes, got '{checkpoint}': {why}"
        ) from error
    finally:
        transformers.logging.set_verbosity(verbosity)


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
    config_of_images = getattr(config, "vision_config", config)
    # Convolutional networks take any size.
    size = getattr(config_of_images, "image_size", 224)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    channels = config_of_images.num_channels

    def make_batch() -> dict[str, Tensor]:
        return {
            "pixel_values": torch.randn(case.batch_size, channels, height, width),
            "labels": _class_labels(config, case.batch_size),
        }

    return make_batch


def _class_labels(config: Any, batch_size: int) -> Tensor:
    if config.num_labels == 1:
        return torch.rand(batch_size)
    return torch.randint(0, config.num_labels, (batch_size,))
