"""Slices: which variables of one body flow into which, told from its text alone, in whatever order its statements run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass

from evallint import events as ev
from evallint.events import Event, Value
from evallint.meaning import names
from evallint.meaning.walk import deep, every, last_name, text_of

ADDING = frozenset(("append", "extend", "insert", "add", "update", "put", "push"))
"""Methods by which something flows into the object that they are called on."""
ITSELF = frozenset(("self", "cls"))


def reads(*values: object) -> Iterator[str]:
    """Every name and dotted name in values, as it is written: `out.loss` gives `out.loss` and `out`."""
    stack = list(values)
    while stack:
        at = stack.pop()
        if isinstance(at, (ev.Name, ev.Attr)):
            text = text_of(at)
            if text not in ITSELF:
                yield text
        if isinstance(at, tuple):
            stack += at
        elif isinstance(at, Value) and is_dataclass(at):
            stack += [getattr(at, field.name) for field in fields(at)]


def flows(body: Sequence[Event]) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """For each statement of a body what it writes, and what flows into that."""
    for event in every(body):
        if isinstance(event, ev.Assign):
            yield frozenset(written(*event.targets)), frozenset(reads(event.value))
        elif isinstance(event, ev.Loop) and event.target is not None:
            yield frozenset(written(event.target)), frozenset(reads(event.source))
        elif isinstance(event, ev.With):
            for item, target in event.items:
                if target is not None:
                    yield frozenset(written(target)), frozenset(reads(item))
        elif isinstance(event, ev.Do) and isinstance(call := event.value, ev.Call) and isinstance(call.func, ev.Attr):
            if call.func.name in ADDING or call.func.name.endswith("_"):
                yield frozenset(written(call.func.base)), frozenset(reads(call.args, call.keywords))


def written(*targets: Value) -> Iterator[str]:
    """What an assignment to targets changes: names, attributes, or what holds an item."""
    for target in targets:
        if isinstance(target, ev.Seq):
            yield from written(*target.items)
        elif isinstance(target, (ev.Sub, ev.Star)):
            yield from written(target.base if isinstance(target, ev.Sub) else target.item)
        elif isinstance(target, (ev.Name, ev.Attr)):
            yield text_of(target)


def sources(wanted: Iterable[str], body: Sequence[Event]) -> frozenset[str]:
    """Names, and all that flows into them in a body, through however many statements."""
    found = frozenset(wanted)
    steps = list(flows(body))
    while True:
        grown = found.union(*(read for targets, read in steps if targets & found))
        if grown == found:
            return found
        found = grown


def differentiated(body: Sequence[Event]) -> frozenset[str]:
    """What a body back-propagates, or hands to what does or to an optimizer, and all that flows into it."""
    wanted: set[str] = set()
    for _, node in deep(body):
        if not isinstance(node, ev.Call):
            continue
        name = last_name(node.func)
        handed = [last_name(arg) for arg in (*node.args, *(v for _, v in node.keywords))]
        if "backward" in name or name in ("grad", "step") or any(names.is_optimizer_name(h) for h in handed):
            wanted.update(reads(node.args, node.keywords))
            if "backward" in name and isinstance(node.func, ev.Attr):
                wanted.update(reads(node.func.base))
    return sources(wanted, body)


def resets(body: Sequence[Event], text: str) -> bool:
    """Whether a body gives a name a new value that does not come from its old one, or empties it."""
    for event in every(body):
        if isinstance(event, ev.Assign) and not event.augmented and any(text in whole(t) for t in event.targets):
            if text not in reads(event.value):
                return True
        elif isinstance(event, ev.Loop) and event.target is not None and text in written(event.target):
            return True
        elif isinstance(event, ev.Do) and isinstance(call := event.value, ev.Call) and isinstance(call.func, ev.Attr):
            if call.func.name == "clear" and text_of(call.func.base) == text:
                return True
    return False


def whole(target: Value) -> Iterator[str]:
    """The names and attributes that an assignment replaces as a whole."""
    if isinstance(target, ev.Seq):
        for item in target.items:
            yield from whole(item)
    elif isinstance(target, ev.Star):
        yield from whole(target.item)
    elif isinstance(target, (ev.Name, ev.Attr)):
        yield text_of(target)
