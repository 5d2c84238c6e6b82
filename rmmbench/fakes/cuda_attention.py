"""Which kernel CUDA's scaled dot-product attention runs on, and what it is called with.

C++ takes a fused kernel only for tensors of its own device, so on the fake one it would take the
math path, which keeps every probability. The rules are those of sdp_utils.cpp and attention.cpp in
ATen/native/transformers (torch 2.11 to 2.13), for training on dense tensors.
"""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor

from rmmbench.spec.gpus import GPU

aten = torch.ops.aten

HALF: Final = (torch.float16, torch.bfloat16)
_PADDED_TO: Final = {"flash": 8, "efficient": 16}
"""Multiples to which flash attention pads the heads, and memory-efficient attention the mask."""


class Call(NamedTuple):
    """A call of `torch.nn.functional.scaled_dot_product_attention`; see there."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    @property
    def is_grouped(self) -> bool:
        """Whether several heads of the query share one of the key."""
        return self.enable_gqa and self.query.shape[-3] != self.key.shape[-3]

    @property
    def trains(self) -> bool:
        """Whether there will be a backward pass."""
        inputs = (self.query, self.key, self.value)
        return torch.is_grad_enabled() and any(each.requires_grad for each in inputs)

    @property
    def trains_mask(self) -> bool:
        """Whether the mask has a gradient too."""
        return self.attn_mask is not None and self.attn_mask.requires_grad


class Attention:
    """Runs attention on the kernel that CUDA would take."""

    def __init__(self, gpu: GPU) -> None:
        """Choose among the kernels that a GPU has."""
        self.gpu = gpu

    def run(self, kind: str, call: Call) -> Tensor:
        """Return what attention gives on a kernel that `choose` named."""
        return _RUN[kind](call)

    def choose(self, call: Call) -> str:
        """Return the name of the kernel that takes a call.

        Raises:
            ValueError: If none of those that are turned on can.
        """
        usual = ("flash", "efficient", "math")
        # From 9.15.1 on, which wheels for CUDA 13 have, cuDNN comes first on these.
        order = ("cudnn", *usual) if self.gpu.capability[0] in (9, 10) else (*usual, "cudnn")
        turned_on = [kind for kind in order if _is_on(kind)]
        for kind in turned_on:
            if self._can(kind, call):
                return kind
        dtype = str(call.query.dtype).removeprefix("torch.")
        mask = "a mask" if call.attn_mask is not None else "no mask"
        given = f"{dtype}, heads of {call.query.shape[-1]} and {mask} on {self.gpu.name}"
        need = f"a kernel of attention must be one that takes {given}"
        raise ValueError(f"{need}, got {' or '.join(turned_on)}; leave the choice to PyTorch")

    def _can(self, kind: str, call: Call) -> bool:
        rules = {"flash": self._flash, "efficient": self._efficient, "cudnn": self._cudnn}
        return kind == "math" or (call.query.dim() == 4 and rules[kind](call))

    def _flash(self, call: Call) -> bool:
        query, key, value = call.query, call.key, call.value
        width = query.shape[-1]
        is_square = query.shape[-2] == key.shape[-2]
        return (
            self.gpu.capability >= (8, 0)
            and query.dtype in HALF
            and call.attn_mask is None
            and width == key.shape[-1] == value.shape[-1]
            and width <= 256
            and (is_square or not call.is_causal)
            and not (call.trains and self._lacks_wide_heads(width, call.dropout_p))
        )

    def _lacks_wide_heads(self, width: int, dropout: float) -> bool:
        is_consumer = (8, 6) <= self.gpu.capability <= (8, 9) or self.gpu.capability[0] == 12
        return is_consumer and width > 192 and (width <= 224 or dropout > 0)

    def _efficient(self, call: Call) -> bool:
        dtypes = {torch.float32, *HALF}
        if self.gpu.capability < (8, 0):
            dtypes.remove(torch.bfloat16)
        query, key, value = call.query, call.key, call.value
        aligned = self._alignment(query.dtype)
        return (
            query.dtype in dtypes
            and not call.is_grouped
            and not call.trains_mask
            and query.shape[-1] == key.shape[-1]
            and query.shape[-1] % aligned == value.shape[-1] % aligned == 0
        )

    def _alignment(self, dtype: torch.dtype) -> int:
        """Return of what the heads must be a multiple for memory-efficient attention."""
        capability = self.gpu.capability
        least = 4 if capability >= (8, 0) else 1
        has_tensor_cores = capability >= (8, 0) or (capability >= (7, 0) and dtype in HALF)
        return max(least, 16 // dtype.itemsize) if has_tensor_cores else least

    def _cudnn(self, call: Call) -> bool:
        query, key, value = call.query, call.key, call.value
        return (
            self.gpu.capability >= (8, 0)
            and query.dtype in HALF
            and not call.trains_mask
            and query.shape[-1] % 8 == value.shape[-1] % 8 == 0
            and max(query.shape[-1], value.shape[-1]) <= 128
            and key.shape[-2] > 1
            and (call.dropout_p * 16).is_integer()
            and (query.shape[-2] > 1 or not call.dropout_p)
        )


def _is_on(kind: str) -> bool:
    """Tell whether a kernel is turned on, as by `torch.nn.attention.sdpa_kernel`."""
    name = {"efficient": "mem_efficient"}.get(kind, kind)
    return bool(getattr(torch.backends.cuda, f"{name}_sdp_enabled")())


def _flash(call: Call) -> Tensor:
    width = call.query.shape[-1]
    scale = width**-0.5 if call.scale is None else call.scale
    q, k, v = (_padded(each, _PADDED_TO["flash"]) for each in call[:3])
    how = (call.dropout_p, call.is_causal, False)
    output: Tensor = aten._scaled_dot_product_flash_attention(q, k, v, *how, scale=scale)[0]
    return output[..., :width]


def _efficient(call: Call) -> Tensor:
    bias = _bias(call)
    if bias is not None:
        length = bias.shape[-1]
        bias = _padded(bias, _PADDED_TO["efficient"])[..., :length]
        bias = bias.expand(*call.query.shape[:-1], call.key.shape[-2])
    inputs = (call.query, call.key, call.value, bias, call.trains, call.dropout_p, call.is_causal)
    output: Tensor = aten._scaled_dot_product_efficient_attention(*inputs, scale=call.scale)[0]
    return output


def _cudnn(call: Call) -> Tensor:
    bias = _bias(call)
    if bias is not None:
        bias = bias.expand(*call.query.shape[:-1], call.key.shape[-2])
    how = (bias, call.trains, call.dropout_p, call.is_causal, False)
    inputs = (call.query, call.key, call.value, *how)
    output: Tensor = aten._scaled_dot_product_cudnn_attention(*inputs, scale=call.scale)[0]
    return output


def _math(call: Call) -> Tensor:
    how = {"scale": call.scale, "enable_gqa": call.enable_gqa}
    output: Tensor = aten._scaled_dot_product_attention_math(*call[:6], None, **how)[0]
    return output


def _bias(call: Call) -> Tensor | None:
    """Return the mask as numbers that are added."""
    mask = call.attn_mask
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=call.query.dtype).masked_fill_(~mask, -math.inf)


def _padded(tensor: Tensor, multiple: int) -> Tensor:
    """Return a tensor whose last dimension is a multiple of a number, with zeros at its end."""
    rest = tensor.shape[-1] % multiple
    return torch.nn.functional.pad(tensor, (0, multiple - rest)) if rest else tensor


_RUN: Final = {"flash": _flash, "efficient": _efficient, "cudnn": _cudnn, "math": _math}
