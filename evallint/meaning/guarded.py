"""The calls of a function, each with the conditions under which it runs, and what an expression says of the mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evallint import events as ev
from evallint.events import Event, Function, Value
from evallint.meaning import names

MODE_WORDS = frozenset(
    "train training eval evaluate evaluation evaluating evaluator infer inference predict test testing validation phase deterministic"
    " stochastic mc mcd sample sampling enabled augment augmentation perturb noisy".split()
)
"""Words of conditions and rates that tell one mode from the other, or a pass in which noise is wanted."""
Tests = tuple[Value, ...]


@dataclass(slots=True, eq=False)
class Met:
    """A call, the conditions around it (or passed on the way to it), the functions it is in, the innermost last, and its statement."""

    call: ev.Call
    tests: Tests
    functions: tuple[Function, ...]
    event: Event


def calls_under(function: Function) -> Iterator[Met]:
    """Every call of a function and of those that it defines, in the order of the text."""
    yield from _in_block(function.body, (), (function,))


def _in_block(body: Sequence[Event], tests: Tests, functions: tuple[Function, ...]) -> Iterator[Met]:
    for event in body:
        for value in values_in(event):
            yield from _in_value(value, tests, functions, event)
        if isinstance(event, ev.Branch):
            inner = (*tests, event.test) if event.test is not None else tests
            yield from _in_block(event.then, inner, functions)
            yield from _in_block(event.other, inner, functions)
            if leaves(event.then) or leaves(event.other):
                tests = inner
        elif isinstance(event, ev.Assert):
            tests = (*tests, event.test)
        elif isinstance(event, ev.Define):
            yield from _in_block(event.function.body, tests, (*functions, event.function))
        else:
            for block in ev.blocks(event):
                yield from _in_block(block, tests, functions)


def _in_value(value: Value, tests: Tests, functions: tuple[Function, ...], event: Event) -> Iterator[Met]:
    if isinstance(value, ev.IfValue):
        yield from _in_value(value.test, tests, functions, event)
        for arm in (value.then, value.other):
            yield from _in_value(arm, (*tests, value.test), functions, event)
        return
    if isinstance(value, ev.Bool):
        yield from _in_value(value.left, tests, functions, event)
        yield from _in_value(value.right, (*tests, value.left), functions, event)
        return
    if isinstance(value, ev.Lambda):
        yield from _in_block(value.function.body, tests, (*functions, value.function))
    if isinstance(value, ev.Call):
        yield Met(value, tests, functions, event)
    for item in items_of(value):
        yield from _in_value(item, tests, functions, event)


def leaves(body: Sequence[Event]) -> bool:
    """Whether a block ends by leaving: `return`, `raise`, `break`, `continue`."""
    return bool(body) and isinstance(body[-1], (ev.Return, ev.Exit))


def values_in(event: Event) -> Iterator[Value]:
    """The values of a statement itself, those of its blocks left out."""
    if isinstance(event, ev.Assign):
        yield from (t for t in event.targets if not isinstance(t, ev.Name))
        yield event.value
    elif isinstance(event, (ev.Do, ev.Return, ev.Exit)):
        if event.value is not None:
            yield event.value
    elif isinstance(event, (ev.Assert, ev.Branch)):
        if event.test is not None:
            yield event.test
    elif isinstance(event, ev.Loop):
        yield event.source
    elif isinstance(event, ev.With):
        yield from (item for item, _ in event.items)


def items_of(value: Value) -> Iterator[Value]:
    """The values directly inside a value; a lambda's body is none."""
    if isinstance(value, ev.Call):
        yield value.func
        yield from value.args
        yield from (item for _, item in value.keywords)
    elif isinstance(value, ev.Attr):
        yield value.base
    elif isinstance(value, ev.Sub):
        yield value.base
        yield value.index
    elif isinstance(value, (ev.Seq, ev.Mix)):
        yield from value.items
    elif isinstance(value, ev.Map):
        for key, item in value.items:
            yield from (key, item) if key is not None else (item,)
    elif isinstance(value, (ev.Not, ev.Star, ev.Walrus)):
        yield value.item
    elif isinstance(value, (ev.Compare, ev.Bool)):
        yield value.left
        yield value.right
    elif isinstance(value, ev.IfValue):
        yield from (value.test, value.then, value.other)
    elif isinstance(value, ev.Comprehension):
        yield value.item
        for _, source, tests in value.loops:
            yield source
            yield from tests
    elif isinstance(value, ev.Yield) and value.item is not None:
        yield value.item


def inside(value: Value) -> Iterator[Value]:
    """A value, and all values in it."""
    yield value
    for item in items_of(value):
        yield from inside(item)


def named(value: Value) -> Iterator[str]:
    """The names, attributes and short texts in a value."""
    for item in inside(value):
        if isinstance(item, ev.Name):
            yield item.id
        elif isinstance(item, ev.Attr):
            yield item.name
        elif isinstance(item, ev.Const) and isinstance(item.value, str):
            yield item.value


def speaks_of_mode(value: Value) -> bool:
    """Whether an expression depends on the mode, as far as its names tell: `self.training`, `phase == "train"`, `not deterministic`."""
    return any(names.has_words(name, MODE_WORDS) for name in named(value))


def values_of_name(functions: Sequence[Function], name: str) -> Iterator[tuple[Value, Tests]]:
    """What is assigned to a local name, and under which conditions."""
    for function in functions:
        yield from _assigned(function.body, name, ())


def _assigned(body: Sequence[Event], name: str, tests: Tests) -> Iterator[tuple[Value, Tests]]:
    for event in body:
        if isinstance(event, ev.Assign) and any(isinstance(t, ev.Name) and t.id == name for t in event.targets):
            yield event.value, tests
        inner = (*tests, event.test) if isinstance(event, ev.Branch) and event.test is not None else tests
        for block in ev.blocks(event):
            yield from _assigned(block, name, inner)


def paired(target: Value, value: Value) -> Iterator[tuple[Value, Value]]:
    """A target with its value, or each of several with its own: `self.p, self.q = p, 0.0`."""
    if isinstance(target, ev.Seq) and isinstance(value, ev.Seq) and len(target.items) == len(value.items):
        yield from zip(target.items, value.items, strict=True)
    else:
        yield from ((item, value) for item in (target.items if isinstance(target, ev.Seq) else (target,)))
