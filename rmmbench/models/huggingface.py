"""Any transformers model, made from its config with random weights; nothing is downloaded."""

import functools
import logging
from typing import Any

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensor
from transformers.initialization import no_init_weights

from rmmbench.models import _configs
from rmmbench.models._heads import CLASSES, Head, head_of
from rmmbench.models.model import Built
from rmmbench.spec.case import Case
from rmmbench.spec.tasks import TASKS

_DTYPES = {"bfloat16-true": torch.bfloat16, "float16-true": torch.float16}
"""The dtype of parameters for a case's dtype, if it is not float32."""


def from_name(argument: str, case: Case) -> Built:
    """Build "hf:DIRECTORY" (with a config.json) or "hf:CONFIG-NAME" (a model type, such as "gpt2").

    ":key=value,key=value" after it changes the config: "hf:llama:num_hidden_layers=28". The head
    is the one that the config's `architectures` name; else a language model for decoders and
    encoder-decoders, and a classifier for encoders.

    Raises:
        ValueError: If there is no such config or key, it names quantised weights, the model has no
            head that can be trained here, or seq_len is missing or too long.
    """
    config = _configs.named(argument)
    _refuse_quantised(config, case)
    return from_config(config, head_of(config), case)


def from_config(config: Any, head: Head, case: Case) -> Built:
    """Build the model of `config` with the given head, and batches of random inputs."""
    text_config = config.get_text_config()
    text_config.use_cache = False  # only generation needs cached keys and values
    if head is CLASSES and text_config.pad_token_id is None:
        # Classifiers look for padding, though no batch here has any.
        text_config.pad_token_id = 0
    if head is CLASSES and case.task:
        config.num_labels, config.problem_type = TASKS[case.task].num_labels, None
    _name_problem(config)
    if head.reads_tokens and case.seq_len is None:
        raise ValueError(f"{case.model} reads tokens: it needs seq_len, or a task")
    model = _with_head(config, head.automatic, case)
    longest = _longest(text_config, model) if head.reads_tokens else None
    if longest is not None and case.seq_len is not None and case.seq_len > longest:
        raise ValueError(f"seq_len must be at most {longest} for {case.model}, got {case.seq_len}")
    make_batch = functools.partial(head.make_batch, config, case)
    return Built(model, make_batch, warnings=_other_head(config, model))


def _other_head(config: Any, model: Any) -> tuple[str, ...]:
    """Return a warning if the config names another model than the one built."""
    asked, built = list(config.architectures or ()), type(model).__name__
    if not asked or built in asked:
        return ()
    remedy = f'set "architectures": ["{built}"] in its config.json to have it so'
    return (f"the config names {asked[0]}, and {built} is trained; {remedy}",)


def _refuse_quantised(config: Any, case: Case) -> None:
    """Raise ValueError if a config names quantised weights, which only a checkpoint has."""
    for part in (config, config.get_text_config()):
        quantised = getattr(part, "quantization_config", None)
        if quantised:
            given = quantised if isinstance(quantised, dict) else vars(quantised)
            how = given.get("quant_method", "some way")
            need = (
                f"{case.model} must have a config without quantization_config, got one of '{how}'"
            )
            remedy = "take it out to measure float32 weights, or build the model with import:"
            raise ValueError(f"{need}; {remedy}")


def _name_problem(config: Any) -> None:
    """Set the problem type, which classifiers would otherwise guess from their first batch."""
    if config.problem_type is None:
        is_number = config.num_labels == 1
        config.problem_type = "regression" if is_number else "single_label_classification"


def _longest(config: Any, model: Any) -> int | None:
    longest: int | None = getattr(config, "max_position_embeddings", None)
    # Whisper's text has a limit of its own; XLNet has -1 for none.
    longest = getattr(config, "max_target_positions", longest)
    if longest is None or longest < 1:
        return None
    # RoBERTa and similar models count positions from the one after the padding token's.
    reserved = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    return longest - max(reserved, default=0)


def _with_head(config: Any, head: Any, case: Case) -> Any:
    # Configs may name another dtype than the case.
    dtype = _DTYPES.get(case.dtype, torch.float32)
    settings = {"attn_implementation": case.attention, "dtype": dtype}
    if not isinstance(torch.empty(0), FakeTensor):
        checkpoint = case.training.checkpoint if case.training else None
        if checkpoint is not None:
            return _pretrained(checkpoint, config, head, settings)
        return head.from_config(config, **settings)
    # Some initialisations read values, which fake tensors do not have.
    with no_init_weights():
        model = head.from_config(config, **settings)
    model.tie_weights()
    return model


def _pretrained(checkpoint: str, config: Any, head: Any, settings: dict[str, Any]) -> Any:
    """Return the model with the checkpoint's weights; a head that it lacks is random."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)  # it warns of every random head
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
