"""Passing on: whose graphs the values that a function returns carry on for certain, told from its text alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evallint import events as ev
from evallint.events import Call, Event, Function, Value, blocks
from evallint.meaning import names
from evallint.meaning.slices import LOSSES, written
from evallint.meaning.tensors import OPERATIONS, PAIRED, returns_loss
from evallint.meaning.walk import every, last_name, text_of

Names = frozenset[str]
Known = dict[str, Names]
"""Whose graphs each variable carries on."""
NONE: Names = frozenset()
HUSHING = frozenset(("no_grad", "inference_mode"))
TURNED = frozenset(("T", "mT", "H", "mH"))
"""Attributes of a tensor that are the same tensor in another shape."""
WHOLE = frozenset("sum max min list tuple zip enumerate reversed".split())
"""Functions of Python that hand on what they are handed."""


def passes_on(fn: Function) -> tuple[Names, ...]:
    """For each value that a function returns, the parameters whose graphs it carries on whichever way is taken.

    Ways that return a number, or raise, do not count. Empty if the function returns nothing, or not always as many values.
    """
    if fn.decorators or fn.is_generator:
        return ()
    rows: list[tuple[Names, ...]] = []
    follow(fn.body, {p.name: frozenset((p.name,)) for p in fn.params if p.kind in ("pos", "kw")}, rows)
    if len({len(row) for row in rows}) != 1:
        return ()
    return tuple(column[0].intersection(*column) for column in zip(*rows, strict=True))


def follow(body: Sequence[Event], known: Known, rows: list[tuple[Names, ...]]) -> bool:
    """Go through a body: what its variables carry on, and, in `rows`, what it returns; whether its end is reached."""
    for event in body:
        if isinstance(event, ev.Assign):
            for target in event.targets:
                bind(target, event.value, known, adds=event.augmented)
        elif isinstance(event, ev.Do) and isinstance(event.value, Call) and isinstance(func := event.value.func, ev.Attr):
            if func.name in ("append", "extend") and isinstance(func.base, ev.Name):
                known[func.base.id] = known.get(func.base.id, NONE).union(*(carried_on(arg, known) for arg in event.value.args))
        elif isinstance(event, ev.Return):
            if event.value is not None and not isinstance(event.value, ev.Const):
                items = event.value.items if isinstance(event.value, ev.Seq) else (event.value,)
                rows.append(tuple(carried_on(item, known) for item in items))
            return False
        elif isinstance(event, ev.Exit):
            return False
        elif isinstance(event, ev.Branch):
            ways = [dict(known), dict(known)]
            open_ends = [way for way, arm in zip(ways, (event.then, event.other), strict=True) if follow(arm, way, rows)]
            if not open_ends:
                return False
            common = {name: open_ends[0][name].intersection(*(way.get(name, NONE) for way in open_ends)) for name in open_ends[0]}
            known.clear()
            known.update(common)
        elif isinstance(event, ev.Loop):
            if event.target is not None:
                bind(event.target, event.source, known)
            follow(event.body, known, rows)
        elif isinstance(event, ev.With) and any(last_name(of_call(item)) in HUSHING for item, _ in event.items):
            for inner in every(event.body):
                if isinstance(inner, ev.Assign):
                    known.update(dict.fromkeys(written(*inner.targets), NONE))
                elif isinstance(inner, ev.Return) and inner.value is not None:
                    rows.append((NONE,) * (len(inner.value.items) if isinstance(inner.value, ev.Seq) else 1))
        else:
            for block in blocks(event):
                if not follow(block, known, rows):
                    break
    return True


def of_call(value: Value) -> Value:
    """What is called, or the value itself."""
    return value.func if isinstance(value, Call) else value


def bind(target: Value, value: Value, known: Known, *, adds: bool = False) -> None:
    """Note what a variable carries on from now on; each item of a tuple, where both sides are written out."""
    if isinstance(target, ev.Seq):
        parts = parts_of(value)
        parts = parts if len(parts) == len(target.items) else (ev.NOTHING,) * len(target.items)  # one may be a number
        for item, part in zip(target.items, parts, strict=True):
            bind(item, part, known)
    elif isinstance(target, ev.Name):
        known[target.id] = carried_on(value, known) | (known.get(target.id, NONE) if adds else NONE)


def parts_of(value: Value) -> tuple[Value, ...]:
    """What the items of a tuple are, or come from: those of one that is written out, of `zip(preds, targets)`, of `enumerate(preds)`."""
    if isinstance(value, ev.Seq):
        return value.items
    if isinstance(value, Call) and text_of(value.func) in ("zip", "enumerate"):
        return (ev.NOTHING, *value.args[:1]) if text_of(value.func) == "enumerate" else value.args
    return ()


def carried_on(value: Value, known: Known) -> Names:
    """Whose graphs a value carries on."""
    if isinstance(value, ev.Name):
        return known.get(value.id, NONE)
    if isinstance(value, ev.Attr):
        return carried_on(value.base, known) if value.name in TURNED else NONE
    if isinstance(value, ev.Sub):
        return carried_on(value.base, known)
    if isinstance(value, (ev.Star, ev.Walrus)):
        return carried_on(value.item, known)
    if isinstance(value, ev.IfValue):
        return carried_on(value.then, known) & carried_on(value.other, known)
    if isinstance(value, ev.Comprehension):
        inner = dict(known)
        for target, source, _ in value.loops:
            bind(target, source, inner)
        return carried_on(value.item, inner)
    if isinstance(value, ev.Map) and value.items:
        found = [carried_on(item, known) for _, item in value.items]
        return found[0].intersection(*found)  # whichever item is taken
    if type(value) is ev.Mix or isinstance(value, ev.Seq):
        return NONE.union(*(carried_on(item, known) for item in value.items))
    if isinstance(value, Call):
        return NONE.union(*(carried_on(part, known) for part in carriers(value)))
    return NONE


def carriers(call: Call) -> Iterator[Value]:
    """What a call hands on with its graph: all that a loss or a function is handed, or the tensor whose method it is."""
    name = last_name(of_call(call.func))
    base = call.func.base if isinstance(call.func, ev.Attr) else None
    given = (*call.args, *(v for _, v in call.keywords))
    if base is None:
        if name in WHOLE or says_loss(name):
            yield from given
    elif text_of(base) in ("F", "nn.functional", "torch.nn.functional"):
        yield from given if name != "one_hot" else ()
    elif name in OPERATIONS and not (name in PAIRED and len(given) > (text_of(base) == "torch")):
        yield from given if text_of(base) == "torch" else (base,)
    elif says_loss(name):
        yield from given


def says_loss(name: str) -> bool:
    """Whether a function or module of this name makes a loss: `self.mse`, `criterion`, `loss_fn`."""
    return returns_loss(names.words_of_function(name), LOSSES)
