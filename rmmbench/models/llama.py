"""Llama 3 at the sizes that Meta trained, with random weights.

Grattafiori et al. (2024): The Llama 3 Herd of Models, table 3. arXiv 2407.21783. The sizes of 1b
and 3b are those of the configs that were published with Llama 3.2.
"""

from typing import Final, NamedTuple

import transformers
import transformers.models.llama.modeling_llama  # else transformers loads it only at first use

from rmmbench.errors import did_you_mean
from rmmbench.models._heads import CAUSAL
from rmmbench.models.huggingface import from_config
from rmmbench.models.model import Built
from rmmbench.spec.case import Case

VOCABULARY: Final = 128_256
_LONGEST: Final = 131_072


class Size(NamedTuple):
    """The sizes of one model.

    Attributes:
        layers: Blocks.
        width: Of what goes from block to block.
        feed_forward: The inner width of the feed-forward network.
        heads: Of queries; keys and values have 8.
        is_tied: Whether the embedding is the last layer's weight too.
    """

    layers: int
    width: int
    feed_forward: int
    heads: int
    is_tied: bool = False


SIZES: Final = {
    "1b": Size(16, 2048, 8192, 32, is_tied=True),
    "3b": Size(28, 3072, 8192, 24, is_tied=True),
    "8b": Size(32, 4096, 14_336, 32),
    "70b": Size(80, 8192, 28_672, 64),
    "405b": Size(126, 16_384, 53_248, 128),
}


def llama(argument: str, case: Case) -> Built:
    """Build "llama:SIZE", by default 8b.

    The loss is of logits in float32, as transformers and torchtitan compute it.

    Raises:
        ValueError: If Meta trained none of that size.
    """
    size = SIZES.get((argument or "8b").lower())
    if size is None:
        known = ", ".join(SIZES)
        hint = did_you_mean(argument, SIZES)
        raise ValueError(f"no Llama 3 of size '{argument}'{hint}; choose from: {known}")
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        num_hidden_layers=size.layers,
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_attention_heads=size.heads,
        num_key_value_heads=8,
        head_dim=size.width // size.heads,
        max_position_embeddings=_LONGEST,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        tie_word_embeddings=size.is_tied,
        bos_token_id=None,
        eos_token_id=None,
    )
    return from_config(config, CAUSAL, case)
