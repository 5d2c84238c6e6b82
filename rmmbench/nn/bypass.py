"""Finds linear layers that are never called, because their parent module reads their weight itself.

Changing such a layer has no effect. Mamba's mixers, for example, pass the weights of their
projections to a fused kernel, and WavLM and `torch.nn.MultiheadAttention` to a function.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from torch import nn

_ASKS_ONLY = ("isinstance", "hasattr", "id")


def bypassed_layers(model: nn.Module) -> dict[nn.Module, str]:
    """Return the layers whose parent reads their weight, with the name of the parent's class."""
    found: dict[nn.Module, str] = {}
    for module in model.modules():
        kind: Any = type(module)
        names = _read_past(kind)
        found |= {layer: kind.__name__ for name, layer in module.named_children() if name in names}
    return found


@functools.cache
def _read_past(kind: type[nn.Module]) -> frozenset[str]:
    """Return the names of the children whose weight a class passes on or multiplies by."""
    if issubclass(kind, nn.MultiheadAttention):
        return frozenset({"out_proj"})
    # torch's own modules do so only in eval mode.
    ours = [base for base in kind.__mro__ if not base.__module__.startswith(("torch.", "builtins"))]
    functions = [value for base in ours for value in vars(base).values()]
    return frozenset(name for function in functions for name in _weights_read(function))


def _weights_read(function: object) -> Iterator[str]:
    function = inspect.unwrap(function) if callable(function) else function
    code = getattr(function, "__code__", None)
    # Code that initialises weights does not compute with them.
    if code is None or "weight" not in code.co_names or "init" in code.co_name:
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, SyntaxError):
        return  # there is no source file
    for node in ast.walk(tree):
        for operand in _operands(node):
            match operand:
                case ast.Attribute(ast.Attribute(ast.Name("self"), name), "weight"):
                    yield name


def _operands(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Call(func=ast.Name(name)) if name in _ASKS_ONLY:
            return
        case ast.Call(args=args, keywords=keywords):
            given = [*args, *(keyword.value for keyword in keywords)]
        case ast.BinOp(left, ast.MatMult(), right):
            given = [left, right]
        case _:
            return
    for one in given:
        # A transposed weight counts as the weight.
        yield one.value if isinstance(one, ast.Attribute) and one.attr in ("T", "mT") else one
