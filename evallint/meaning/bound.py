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
