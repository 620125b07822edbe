"""What a function binds to its names: by assignments, one by one or from a tuple, and by loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evallint import events as ev
from evallint.events import Function, Value
from evallint.meaning.walk import every, last_name, text_of

EACH = -1
"""The place of any element: what a loop goes through."""


@dataclass(slots=True, eq=False)
class Picked(Value):
    """An element of a value: the one at a place, or any."""

    source: Value
    place: int


def given_to(function: Function, text: str) -> Iterator[Value]:
    """What a function binds to a name, or to an attribute of `self`."""
    for event in every(function.body):
        if isinstance(event, ev.Assign):
            for target in event.targets:
                yield from bound_to(target, event.value, text)
        elif isinstance(event, ev.Loop) and event.target is not None:
            yield from bound_to(event.target, Picked(event.source, EACH), text)


def bound_to(target: Value, value: Value, text: str) -> Iterator[Value]:
    """What one target gets that is written so."""
    if isinstance(target, ev.Seq):
        for place, item in enumerate(target.items):
            inner = value.items[place] if isinstance(value, ev.Seq) and len(value.items) == len(target.items) else Picked(value, place)
            yield from bound_to(item, inner, text)
    elif text_of(target) == text:
        yield value


def elements_of(value: Picked) -> Iterator[Value]:
    """Where the element of a value is to be looked for: in an argument of `zip`, in what `enumerate` goes through, in the value itself."""
    source = value.source
    if isinstance(source, Picked) and source.place == EACH and isinstance(source.source, ev.Call):
        call = source.source
        name = last_name(call.func)
        if name == "zip" and value.place < len(call.args):
            yield call.args[value.place]
        elif name == "enumerate" and call.args:
            yield from (call.args[0],) if value.place else ()
        elif name == "items" and isinstance(call.func, ev.Attr):
            yield from (call.func.base,) if value.place else ()
        else:
            yield call
    elif isinstance(source, ev.Seq) and 0 <= value.place < len(source.items):
        yield source.items[value.place]
    else:
        yield source


def chosen(value: Value) -> Iterator[Value]:
    """A value, or those between which a condition chooses."""
    if isinstance(value, ev.IfValue):
        yield from chosen(value.then)
        yield from chosen(value.other)
    else:
        yield value


def kinds_called(method: Function, name: str) -> Iterator[ev.Call | Function]:
    """What a method calls by a local name: a class, as a call of it without its arguments or with those that a `partial` holds; or a
    function that it defines.
    """
    for event in every(method.body):
        if isinstance(event, ev.Define) and event.function.name == name:
            yield event.function
    default = next((p.default for p in method.params if p.name == name and p.default is not None), None)
    for given in (*given_to(method, name), *((default,) if default is not None else ())):
        for value in chosen(given):
            if isinstance(value, ev.Lambda):
                yield value.function
            elif isinstance(value, ev.Attr) or (isinstance(value, ev.Name) and value.id != name):
                yield ev.Call(value, (), (), ev.NOWHERE)
            elif isinstance(value, ev.Call) and last_name(value.func) == "partial" and value.args:
                yield ev.Call(value.args[0], value.args[1:], value.keywords, value.span)


def called_with(kind: ev.Call, call: ev.Call) -> ev.Call:
    """The call of a class that stands for the call of a local name: with the arguments that a `partial` holds, and those of the call."""
    return ev.Call(kind.func, (*kind.args, *call.args), (*kind.keywords, *call.keywords), call.span)
