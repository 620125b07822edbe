"""What a module is: the user's module inside a wrapper, and its layers that depend on the mode."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from torch import nn

from evallint.runtime.records import CUMULATIVE, Layer

_WRAPPED = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "OptimizedModule": "_orig_mod",
    "AveragedModel": "module",
    "FullyShardedDataParallel": "module",
}
"""Wrappers of torch's, and the attribute that holds the user's module."""

MOST_PARTS = 1000
"""Of one collection: a bigger one holds data."""
SHARDED = frozenset({"FullyShardedDataParallel"})


def unwrapped(module: nn.Module) -> nn.Module:
    """The user's module inside torch's wrappers."""
    for _ in range(5):
        attribute = _WRAPPED.get(type(module).__name__)
        inner = getattr(module, attribute, None) if attribute and type(module).__module__.startswith("torch.") else None
        if not isinstance(inner, nn.Module):
            break
        module = inner
    return module


def class_name(module: nn.Module) -> str:
    """The class as its author wrote it; a scripted module hides it in `original_name`."""
    name = getattr(module, "original_name", None)
    return name if isinstance(name, str) else type(module).__name__


def is_model(module: nn.Module, layers: list[tuple[Layer, nn.Module]]) -> bool:
    """Whether it has parameters or layers that depend on the mode; a loss or a metric has neither."""
    return bool(layers) or next(module.parameters(), None) is not None


def layers_of(module: nn.Module) -> list[tuple[Layer, nn.Module]]:
    """The layers (and the module itself) whose forward depends on their `training`, as far as reading their classes tells."""
    found = []
    for name, one in module.named_modules():
        kind = depends_on_mode(one)
        if kind is not None:
            found.append((Layer(name, kind, known=type(one).__module__.startswith("torch.nn")), one))
    return found


def depends_on_mode(layer: nn.Module) -> str | None:
    """What the layer is (`Dropout p=0.5`) if its own forward depends on its mode, else None."""
    name = class_name(layer)
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return f"{name} p={layer.p:g}" if layer.p > 0 else None
    if isinstance(layer, nn.modules.batchnorm._NormBase):
        if layer.running_mean is None:
            return None
        return name if layer.momentum is not None else f"{name} {CUMULATIVE}"
    if isinstance(layer, nn.RReLU):
        return name if layer.lower < layer.upper else None
    if isinstance(layer, nn.MultiheadAttention):
        return f"{name} dropout={layer.dropout:g}" if layer.dropout > 0 else None
    if isinstance(layer, nn.RNNBase):
        return f"{name} dropout={layer.dropout:g}" if layer.dropout > 0 and layer.num_layers > 1 else None
    cls: Any = type(layer)
    return name if _reads_training(cls) else None


@cache
def _reads_training(cls: type[nn.Module]) -> bool:
    for base in cls.__mro__:
        if base.__module__.startswith("torch.nn."):
            continue  # judged above, or containers and wrappers
        for value in vars(base).values():
            function = getattr(value, "__func__", value)
            if isinstance(function, FunctionType) and function.__name__ != "train" and _mentions(function.__code__):
                return True
    return False


def _mentions(code: CodeType) -> bool:
    return "training" in code.co_names or any(_mentions(one) for one in code.co_consts if isinstance(one, CodeType))


def any_parameter(module: nn.Module, ids: set[int]) -> bool:
    """Whether one of its parameters is among `ids`."""
    return any(id(p) in ids for p in module.parameters())


def reachable(module: nn.Module) -> Iterator[nn.Module]:
    """Its modules, and those in the plain lists, tuples and dicts that they hold, which torch does not know of."""
    seen: set[int] = set()
    pending = [module]
    while pending:
        for one in pending.pop().modules():
            if id(one) not in seen:
                seen.add(id(one))
                yield one
                pending += [part for name, value in vars(one).items() if name != "_modules" for _, part in parts_of(value)]


def classes_of(module: nn.Module) -> frozenset[str]:
    """The names of the classes of what is reachable, and of their bases."""
    return frozenset(base.__name__ for one in {type(one) for one in reachable(module)} for base in one.__mro__)


def parts_of(value: Any, name: str = "", depth: int = 3) -> Iterator[tuple[str, nn.Module]]:
    """The modules in a list, tuple or dict, by where they are in it."""
    if not isinstance(value, (dict, list, tuple)) or len(value) > MOST_PARTS:
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        inner = f"{name}.{key}" if name else str(key)
        if isinstance(item, nn.Module):
            yield inner, item
        elif depth:
            yield from parts_of(item, inner, depth - 1)


def is_sharded(module: Any) -> bool:
    """Whether its parameters live in pieces on several processes, so that it cannot be run beside."""
    return type(module).__name__ in SHARDED or any(type(p).__name__ == "DTensor" for p in module.parameters())
