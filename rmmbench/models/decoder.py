"""A decoder with Llama's blocks, for bytes or for a larger vocabulary."""

import re

import transformers
import transformers.models.llama.modeling_llama  # else transformers loads it only at first use

from rmmbench.models._heads import CAUSAL
from rmmbench.models.huggingface import from_config
from rmmbench.models.model import Built
from rmmbench.spec.case import Case

BYTES = 256
_HEAD_WIDTH = 64
_LONGEST = 2048


def decoder(argument: str, case: Case) -> Built:
    """Build "decoder:LAYERSxWIDTH", by default 4x128; "12x768" has 85 M parameters.

    A third size is the vocabulary, by default 256 bytes: "22x2048x32000" has 1.2 billion
    parameters.

    Raises:
        ValueError: If the argument is not two or three sizes, or the width no multiple of 64.
    """
    sizes = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)(?:x([1-9]\d*))?", argument or "4x128")
    if sizes is None or int(sizes[2]) % _HEAD_WIDTH:
        form = f"decoder:LAYERSxWIDTH[xVOCABULARY], the width a multiple of {_HEAD_WIDTH}"
        raise ValueError(f"decoder must be given as {form}, got 'decoder:{argument}'")
    layers, width = int(sizes[1]), int(sizes[2])
    config = transformers.LlamaConfig(
        vocab_size=int(sizes[3] or BYTES),
        num_hidden_layers=layers,
        hidden_size=width,
        # Three matrices of 8/3 of the width have as many parameters as two of 4 times the width.
        intermediate_size=round(8 * width / 3 / _HEAD_WIDTH) * _HEAD_WIDTH,
        num_attention_heads=width // _HEAD_WIDTH,
        num_key_value_heads=width // _HEAD_WIDTH,
        max_position_embeddings=_LONGEST,
        bos_token_id=None,
        eos_token_id=None,
    )
    return from_config(config, CAUSAL, case)
