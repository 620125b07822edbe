"""Keepers: functions that add what they are handed to what outlives the call, `self.sum += value * n`, told from their text alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evallint import events as ev
from evallint.events import Function, Value
from evallint.meaning.slices import adds_to, resets
from evallint.meaning.walk import every, text_of

CAREFUL = frozenset(
    "item detach detach_ tolist numpy float int isinstance is_tensor torch_is_tensor hasattr no_grad inference_mode"
    " pop popleft deque".split()
)
"""What a function calls that takes numbers, tells tensors apart, or forgets what is old."""
REDUCING = frozenset(("mean", "sum", "cpu", "clone"))
"""Methods of tensors by which a graph goes on."""
COLLECTING = frozenset(("append", "insert"))


@dataclass(frozen=True, slots=True)
class Keeping:
    """A parameter that a function adds to something."""

    param: str
    holder: str
    """The parameter that what it is added to hangs on: `self`, or a dict of sums."""
    rest: str
    """How that is reached from there, as written: `.sum`, `[…]`."""
    how: str
    """"sum" or "list"."""


def keepings(fn: Function) -> tuple[Keeping, ...]:
    """What a function keeps of what it is handed."""
    if fn.decorators or fn.is_generator or not CAREFUL.isdisjoint(fn.called):
        return ()
    given = tensors(fn)
    return tuple(k for k in kept_in(fn, given) if not resets(fn.body, (k.holder + k.rest).split("[")[0]))


def tensors(fn: Function) -> dict[str, str]:
    """The names in a function that stand for parameters as they were handed over, or for their items."""
    found = {p.name: p.name for p in fn.params if p.kind != "*"}
    for event in every(fn.body):
        if isinstance(event, ev.Loop) and isinstance(call := event.source, ev.Call) and isinstance(call.func, ev.Attr):
            target = event.target
            if call.func.name == "items" and isinstance(target, ev.Seq) and len(target.items) == 2:
                target = target.items[1]
            elif call.func.name != "values":
                continue
            if isinstance(target, ev.Name) and (source := text_of(call.func.base)) in found:
                found[target.id] = found[source]
    for event in every(fn.body):
        for changed in event.targets if isinstance(event, ev.Assign) else ():
            found.pop(text_of(changed), None)
    return found


def kept_in(fn: Function, given: dict[str, str]) -> Iterator[Keeping]:
    """Each statement that adds one of the given values to what hangs on a parameter."""
    holders = {p.name for p in fn.params}
    for event in every(fn.body):
        target, value, how = added_by(event)
        param = carried(value, given) if value is not None else None
        root = target
        while isinstance(root, (ev.Attr, ev.Sub)):
            root = root.base
        if param is not None and target is not root and isinstance(root, ev.Name) and root.id in holders - {param}:
            yield Keeping(param, root.id, text_of(target).removeprefix(root.id), how)  # type: ignore[arg-type]


def added_by(event: ev.Event) -> tuple[Value | None, Value | None, str]:
    """What a statement adds to, what it adds, and whether that is summed or collected."""
    if isinstance(event, ev.Assign) and len(event.targets) == 1:
        target = event.targets[0]
        if event.augmented or adds_to(event.value, text_of(target)):
            return target, event.value, "sum"
    elif isinstance(event, ev.Do) and isinstance(call := event.value, ev.Call) and isinstance(call.func, ev.Attr) and call.args:
        if call.func.name in COLLECTING:
            return call.func.base, call.args[-1], "list"
    return None, None, ""


def carried(value: Value, given: dict[str, str]) -> str | None:
    """The parameter whose graph a value carries on, through nothing but arithmetic."""
    if isinstance(value, ev.Name):
        return given.get(value.id)
    if isinstance(value, ev.Sub):
        return carried(value.base, given)
    if isinstance(value, ev.Call) and isinstance(value.func, ev.Attr) and value.func.name in REDUCING:
        return carried(value.func.base, given)
    if type(value) is ev.Mix:
        return next((found for item in value.items if (found := carried(item, given)) is not None), None)
    return None
