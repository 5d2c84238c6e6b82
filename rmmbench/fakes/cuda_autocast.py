"""Autocast as CUDA has it, for the device that stands for a GPU.

Each type of device has its own list of operators that autocast casts for, and the fake device has
none by itself. The lists are those of ATen/autocast_mode.h, which torch ships; a test compares
them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet, _ExcludeDispatchKeyGuard
from torch.utils._pytree import tree_iter, tree_map

LOWER_PRECISION: Final = (
    *("_convolution.deprecated", "_convolution", "conv1d", "conv2d", "conv3d", "conv_tbc"),
    *("conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input", "convolution"),
    *("prelu", "addmm", "addmv", "addr", "matmul", "einsum", "mm", "mv", "linalg_vecdot"),
    *("linear", "addbmm", "baddbmm", "bmm", "chain_matmul", "linalg_multi_dot"),
    *("_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "lstm_cell", "gru_cell"),
    *("rnn_tanh_cell", "rnn_relu_cell"),
    *("_scaled_dot_product_flash_attention", "scaled_dot_product_attention"),
)
"""Operators whose inputs are cast to autocast's dtype."""

FLOAT32: Final = (
    *("acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p"),
    *("reciprocal", "rsqrt", "sinh", "tan", "pow.Tensor_Scalar", "pow.Tensor_Tensor"),
    *("pow.Scalar", "softplus", "layer_norm", "native_layer_norm", "rms_norm", "group_norm"),
    *("frobenius_norm.dim", "nuclear_norm", "nuclear_norm.dim", "cosine_similarity"),
    *("poisson_nll_loss", "cosine_embedding_loss", "nll_loss", "nll_loss2d"),
    *("hinge_embedding_loss", "kl_div", "l1_loss", "smooth_l1_loss", "huber_loss", "mse_loss"),
    *("margin_ranking_loss", "multilabel_margin_loss", "soft_margin_loss"),
    *("triplet_margin_loss", "multi_margin_loss", "binary_cross_entropy_with_logits"),
    *("dist", "pdist", "cdist", "renorm", "logsumexp", "upsample_nearest1d"),
    *("_upsample_nearest_exact1d", "upsample_nearest2d", "_upsample_nearest_exact2d"),
    *("upsample_nearest3d", "_upsample_nearest_exact3d", "upsample_linear1d"),
    *("upsample_bilinear2d", "_upsample_bilinear2d_aa", "upsample_trilinear3d"),
    *("upsample_bicubic2d", "_upsample_bicubic2d_aa"),
)
"""Operators whose inputs are cast to float32."""

NOT_IN_2_11: Final = frozenset({"rms_norm"})
"""Operators of these lists that torch 2.11 does not have in them."""

FLOAT32_OUTPUT: Final = (
    *("prod", "prod.dim_int", "softmax.int", "log_softmax.int", "cumprod", "cumsum"),
    *("linalg_vector_norm", "linalg_matrix_norm", "linalg_matrix_norm.str_ord"),
    *("sum", "sum.dim_IntList"),
)
"""Operators that are asked for float32 unless the caller asks for another dtype."""

WIDEST: Final = (
    *("addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler"),
    *("index_put", "tensordot", "scatter_add"),
)
"""Operators whose inputs are cast to the widest dtype among them."""

_KEY: Final = "AutocastPrivateUse1"

Operator = Callable[..., Any]


class Autocast:
    """CUDA's autocast for another type of device.

    Like at::autocast::cached_cast it casts a leaf once and keeps the copy until autocast ends.
    """

    def __init__(self, device_type: str) -> None:
        """Register it, for as long as this object lives."""
        self._device_type = device_type
        self._casts: dict[int, tuple[Tensor, Tensor]] = {}
        self._library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
        self._others = torch.library.Library("_", "IMPL")  # type: ignore[no-untyped-call]
        self._others.fallback(torch.library.fallthrough_kernel, _KEY)  # type: ignore[no-untyped-call]
        policies = {
            LOWER_PRECISION: self._lower_precision,
            FLOAT32: self._float32,
            FLOAT32_OUTPUT: self._float32_output,
            WIDEST: self._widest,
        }
        left_out = NOT_IN_2_11 if torch.__version__ < "2.12" else frozenset()
        for names, policy in policies.items():
            for name in names:
                if name not in left_out:
                    self._put(name, policy)

    @contextmanager
    def cache(self) -> Iterator[None]:
        """Within, forget what was cast when autocast ends, as torch does with its own."""
        clear = torch.clear_autocast_cache

        def clear_both() -> None:
            self._casts.clear()
            clear()

        with mock.patch("torch.clear_autocast_cache", clear_both):
            yield
        self._casts.clear()

    def _put(self, name: str, policy: Operator) -> None:
        packet, _, overload = name.partition(".")
        operator = getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)
        if operator is None:  # in another version of torch
            return
        off = DispatchKeySet(getattr(DispatchKey, _KEY))

        def kernel(*args: Any, **kwargs: Any) -> Any:
            with _ExcludeDispatchKeyGuard(off):
                return policy(operator, args, kwargs)

        self._library.impl(name, kernel, _KEY)  # type: ignore[no-untyped-call]

    def _lower_precision(self, operator: Operator, args: Any, kwargs: Any) -> Any:
        return operator(*self._cast(args, self._low), **self._cast(kwargs, self._low))

    def _float32(self, operator: Operator, args: Any, kwargs: Any) -> Any:
        return operator(*self._cast(args, torch.float32), **self._cast(kwargs, torch.float32))

    def _float32_output(self, operator: Any, args: Any, kwargs: Any) -> Any:
        if not any(self._is_cast(arg) for arg in args):
            return operator(*args, **kwargs)
        at = [argument.name for argument in operator._schema.arguments].index("dtype")
        if len(args) > at:
            args = (*args[:at], args[at] or torch.float32, *args[at + 1 :])
        elif kwargs.get("dtype") is None:
            kwargs = {**kwargs, "dtype": torch.float32}
        return operator(*args, **kwargs)

    def _widest(self, operator: Operator, args: Any, kwargs: Any) -> Any:
        found = [each.dtype for each in tree_iter((args, kwargs)) if self._is_cast(each)]
        widest = torch.float32 if torch.float32 in found else self._low
        return operator(*self._cast(args, widest), **self._cast(kwargs, widest))

    @property
    def _low(self) -> torch.dtype:
        return torch.get_autocast_dtype(self._device_type)

    def _cast(self, values: Any, dtype: torch.dtype) -> Any:
        return tree_map(lambda value: self._cast_one(value, dtype), values)

    def _cast_one(self, value: Any, dtype: torch.dtype) -> Any:
        if not self._is_cast(value) or value.dtype == dtype:
            return value
        is_parameter = value.requires_grad and value.is_leaf and not value._is_view()
        is_kept = is_parameter and value.dtype == torch.float32
        if not (is_kept and torch.is_autocast_cache_enabled()):
            return value.to(dtype)
        kept = self._casts.get(id(value))
        if kept is None:
            kept = self._casts[id(value)] = (value, value.to(dtype))
        return kept[1]

    def _is_cast(self, value: Any) -> bool:
        """Tell whether autocast casts a value: floating-point, but not float64, on the device."""
        return (
            isinstance(value, Tensor)
            and value.device.type == self._device_type
            and value.is_floating_point()
            and value.dtype != torch.float64
        )
