"""The heads of transformers that can be trained on random inputs, and the batches of each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

from rmmbench.spec.case import Case

Batch = dict[str, Tensor]
_CHOICES = 4


@dataclass(frozen=True)
class Head:
    """One kind of head.

    Attributes:
        automatic: transformers' class that makes a model with this head from a config.
        endings: Endings of the names of such models.
        make_batch: Makes the keyword arguments of one step, for a config and a case.
        reads_tokens: Whether a sample is a sequence of tokens, so that the case must give seq_len.
    """

    automatic: Any
    endings: tuple[str, ...]
    make_batch: Callable[[Any, Case], Batch]
    reads_tokens: bool = True

    def suits(self, config: Any) -> bool:
        """Return whether there is a model with this head for a config's kind."""
        return type(config) in self.automatic._model_mapping


def head_of(config: Any) -> Head:
    """Return the head that a config's `architectures` name, or else the usual one of its kind.

    The usual head is a language model for decoders and encoder-decoders, and a classifier for
    encoders.

    Raises:
        ValueError: If the config's kind has none of these heads, or names another.
    """
    for architecture in config.architectures or ():
        for head in HEADS:
            if architecture.endswith(head.endings) and head.suits(config):
                return head
        # A model under its pre-training head is trained with the usual head of its kind.
        if "For" in architecture and not architecture.endswith("ForPreTraining"):
            raise ValueError(_no_head(f"'{architecture}' is none of these"))
    for head in _usual(config):
        if head.suits(config):
            return head
    raise ValueError(_no_head(f"'{config.model_type}' has none of these"))


def _usual(config: Any) -> tuple[Head, ...]:
    if config.is_encoder_decoder:
        return _SEQ2SEQ, _SPEECH, *HEADS
    if _MASKED.suits(config):
        return HEADS
    # Decoders have classification heads too, but are made to predict the next token.
    return CAUSAL, _IMAGES, _SOUND, *HEADS


def _no_head(fact: str) -> str:
    kinds = ", ".join(dict.fromkeys(head.endings[0] for head in HEADS))
    remedy = "write a factory that makes model and batches: import:package.module:factory"
    return f"hf: trains heads of these kinds: {kinds}; {fact}; {remedy}"


def _tokens(config: Any, case: Case, *more: int) -> Tensor:
    vocabulary = config.get_text_config().vocab_size
    # The first tokens are special (padding, end) and would change the computation.
    first = min(10, vocabulary // 2)
    return torch.randint(first, vocabulary, (case.batch_size, *more, case.seq_len or 0))


def _class_labels(config: Any, batch_size: int) -> Tensor:
    if config.problem_type == "multi_label_classification":
        return torch.randint(0, 2, (batch_size, config.num_labels)).float()
    if config.problem_type == "regression" and config.num_labels > 1:
        return torch.rand(batch_size, config.num_labels)
    if config.num_labels == 1:
        return torch.rand(batch_size)
    return torch.randint(0, config.num_labels, (batch_size,))


def _classified(config: Any, case: Case) -> Batch:
    labels = _class_labels(config, case.batch_size)
    return {"input_ids": _tokens(config, case), "labels": labels}


def _continued(config: Any, case: Case) -> Batch:
    return {"input_ids": _tokens(config, case), "labels": _tokens(config, case)}


def _translated(config: Any, case: Case) -> Batch:
    return _continued(config, case) | {"decoder_input_ids": _tokens(config, case)}


def _tagged(config: Any, case: Case) -> Batch:
    tokens = _tokens(config, case)
    return {"input_ids": tokens, "labels": torch.randint(0, config.num_labels, tokens.shape)}


def _asked(config: Any, case: Case) -> Batch:
    ends = {
        name: torch.randint(0, case.seq_len or 1, (case.batch_size,))
        for name in ("start_positions", "end_positions")
    }
    return {"input_ids": _tokens(config, case)} | ends


def _chosen(config: Any, case: Case) -> Batch:
    labels = torch.randint(0, _CHOICES, (case.batch_size,))
    return {"input_ids": _tokens(config, case, _CHOICES), "labels": labels}


def _seen(config: Any, case: Case) -> Batch:
    config_of_images = getattr(config, "vision_config", config)
    # Convolutional networks take any size.
    size = getattr(config_of_images, "image_size", 224)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    pixels = torch.randn(case.batch_size, config_of_images.num_channels, height, width)
    return {"pixel_values": pixels, "labels": _class_labels(config, case.batch_size)}


def _heard(config: Any, case: Case) -> Batch:
    # Raw sound at 16 kHz, of seq_len numbers or one second.
    sound = torch.randn(case.batch_size, case.seq_len or 16_000)
    return {"input_values": sound, "labels": _class_labels(config, case.batch_size)}


def _transcribed(config: Any, case: Case) -> Batch:
    # Two frames of a spectrogram make one position of the encoder.
    shape = (case.batch_size, config.num_mel_bins, 2 * config.max_source_positions)
    return {"input_features": torch.randn(shape), "labels": _tokens(config, case)}


CAUSAL = Head(transformers.AutoModelForCausalLM, ("ForCausalLM", "LMHeadModel"), _continued)
_MASKED = Head(transformers.AutoModelForMaskedLM, ("ForMaskedLM",), _continued)
_SEQ2SEQ = Head(transformers.AutoModelForSeq2SeqLM, ("ForConditionalGeneration",), _translated)
_IMAGES = Head(
    transformers.AutoModelForImageClassification, ("ForImageClassification",), _seen, False
)
_SPEECH = Head(transformers.AutoModelForSpeechSeq2Seq, ("ForConditionalGeneration",), _transcribed)
_SOUND = Head(
    transformers.AutoModelForAudioClassification, ("ForSequenceClassification",), _heard, False
)
CLASSES = Head(
    transformers.AutoModelForSequenceClassification, ("ForSequenceClassification",), _classified
)
HEADS = (
    CLASSES,
    CAUSAL,
    _MASKED,
    _SEQ2SEQ,
    _IMAGES,
    _SPEECH,
    _SOUND,
    Head(transformers.AutoModelForQuestionAnswering, ("ForQuestionAnswering",), _asked),
    Head(transformers.AutoModelForTokenClassification, ("ForTokenClassification",), _tagged),
    Head(transformers.AutoModelForMultipleChoice, ("ForMultipleChoice",), _chosen),
)
"""In the order in which they are tried for an encoder."""
