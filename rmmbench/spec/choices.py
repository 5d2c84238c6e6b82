"""What a training step may be made of: the choices that cases, profiles and options share."""

from typing import Final, Literal, get_args

Dtype = Literal["float32", "bfloat16", "float16", "bfloat16-true", "float16-true"]
"""What is computed in: "bfloat16" and "float16" by autocast, "-true" with such parameters too."""

Optimizer = Literal["adam", "adamw", "sgd", "adafactor"]
Attention = Literal["eager", "sdpa"]

Kernel = Literal["flash", "efficient", "cudnn", "math"]
"""A kernel of PyTorch's scaled_dot_product_attention."""

Dropping = Literal["after-step", "before-forward", "before-backward"]
"""When a step drops the gradients of its parameters."""

Update = Literal["foreach", "fused", "single", "in-backward"]
"""How an optimizer updates: all parameters together, in one kernel, one by one, or each one as soon
as the backward pass has its gradient."""

Parallel = Literal["ddp", "fsdp2", "tensor"]
"""How a step is spread over ranks: each has the whole model and its own batch; each has a shard of
every parameter and its own batch; or linear layers are split, and all have one batch."""

DTYPES: Final[tuple[str, ...]] = get_args(Dtype)
