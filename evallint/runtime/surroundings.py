"""What a forward may touch outside of its module: containers, counters and generators that its code names. Put back after a probe."""

from __future__ import annotations

import dis
import io
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import nn

from evallint.runtime.modules import reachable
from evallint.runtime.twins import DEEPEST, NotCopied

MOST_FUNCTIONS = 300
MOST_ENTRIES = 10_000
"""Of one container: a bigger one is not copied, and what a forward does to it would be done twice."""
_WEIGHTS = frozenset(("data", "parameters", "named_parameters", "weight"))
_IN_PLACE = frozenset(("data", "copy_", "lerp_", "mul_", "add_", "sub_", "div_", "clamp_", "fill_", "zero_", "normal_"))
_PLAIN = (int, float, str, bool, type(None))


class Surroundings:
    """The state of what the code of a module's own classes names, and of generators among the arguments. Raises NotCopied."""

    def __init__(self, module: nn.Module, arguments: Any, is_users: Callable[[CodeType], bool]) -> None:
        self.is_users = is_users
        self.touches_weights = False
        """Whether its code may change weights in place, as a momentum encoder's does."""
        self._undo: list[Any] = []
        self._seen: set[int] = set()
        for generator in _generators_in(arguments):
            self._keep(generator)
        for cls in {type(one) for one in reachable(module)}:
            for base in cls.__mro__:
                functions = [f for f in map(_function, vars(base).values()) if f is not None and is_users(f.__code__)]
                if functions:
                    self._keep_attributes(base)
                for function in functions:
                    self._visit(function)

    def restore(self) -> None:
        """Put everything back as it was."""
        for undo in self._undo:
            undo()

    def _visit(self, function: FunctionType, depth: int = 2) -> None:
        if id(function) in self._seen or len(self._seen) > MOST_FUNCTIONS:
            return
        self._seen.add(id(function))
        for value in _named(function):
            if depth and isinstance(value, FunctionType) and value.__globals__ is function.__globals__:
                self._visit(value, depth - 1)
            else:
                self._keep(value)
        names = set(_names(function.__code__))
        self.touches_weights |= bool(names & _WEIGHTS and names & _IN_PLACE)
        for name in _written(function.__code__):
            if name in function.__globals__:
                value = function.__globals__[name]
                self._undo.append(lambda name=name, value=value: function.__globals__.__setitem__(name, value))

    def _keep(self, value: Any, depth: int = 2) -> None:
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, io.IOBase):
            raise NotCopied("its code names an open file, which it may write to")
        undo = _undo_of(value)
        if undo is None:
            return
        self._undo.append(undo)
        if depth and isinstance(value, (list, dict, deque)):
            for item in list(value.values() if isinstance(value, dict) else value):
                self._keep(item, depth - 1)

    def _keep_attributes(self, cls: type) -> None:
        """A class's own counters and containers."""
        kept = {name: value for name, value in vars(cls).items() if not name.startswith("__") and type(value) in _PLAIN}
        for value in vars(cls).values():
            if isinstance(value, (list, dict, set, deque)):
                self._keep(value)

        def undo() -> None:
            for name, value in kept.items():
                if vars(cls).get(name) is not value:
                    setattr(cls, name, value)

        self._undo.append(undo)


def _function(value: Any) -> FunctionType | None:
    function = getattr(value, "__func__", getattr(value, "fget", value))
    function = getattr(function, "__wrapped__", function)
    return function if isinstance(function, FunctionType) else None


def _named(function: FunctionType) -> Iterator[Any]:
    """What the code's global names and free variables stand for now."""
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield function.__globals__[name]
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


@lru_cache(maxsize=1024)
def _written(code: CodeType) -> frozenset[str]:
    """The global names that the code assigns."""
    return frozenset({str(one.argval) for one in dis.get_instructions(code) if one.opname == "STORE_GLOBAL"})


def _undo_of(value: Any) -> Any:
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: value.set_state(state)
    if isinstance(value, random.Random):
        python = value.getstate()
        return lambda: value.setstate(python)
    if isinstance(value, nn.Module):
        return buffers_undo(value)
    numpy = sys.modules.get("numpy.random")
    if numpy is not None and isinstance(value, numpy.Generator):
        bits = value.bit_generator.state
        return lambda: setattr(value.bit_generator, "state", bits)
    if numpy is not None and isinstance(value, numpy.RandomState):
        legacy = value.get_state()
        return lambda: value.set_state(legacy)
    if isinstance(value, (list, deque)) and len(value) <= MOST_ENTRIES:
        items = list(value)
        return lambda: _refill(value, items)
    if type(value) is dict and len(value) <= MOST_ENTRIES:
        entries = dict(value)
        return lambda: _put_back(value, entries)
    if type(value) is set and len(value) <= MOST_ENTRIES:
        members = set(value)
        return lambda: value.intersection_update(members) if len(value) > len(members) else value.update(members)
    return None


def buffers_undo(module: nn.Module) -> Callable[[], None]:
    """What puts a module's buffers back as they are now."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]

    def undo() -> None:
        with torch.no_grad():
            for buffer, kept in buffers:
                if not torch.equal(buffer, kept):
                    buffer.copy_(kept)

    return undo


def _refill(value: Any, items: list[Any]) -> None:
    if len(value) != len(items) or any(a is not b for a, b in zip(value, items, strict=True)):
        value.clear()
        value.extend(items)


def _put_back(value: dict[Any, Any], entries: dict[Any, Any]) -> None:
    if value.keys() != entries.keys() or any(value[key] is not entries[key] for key in entries):
        value.clear()
        value.update(entries)


def _generators_in(value: Any, depth: int = DEEPEST) -> Iterator[Any]:
    if isinstance(value, torch.Generator):
        yield value
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _generators_in(item, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from _generators_in(item, depth - 1)
