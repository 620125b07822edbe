"""Walks over event trees: how values are written, and the calls inside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from evallint import events as ev
from evallint.events import Attr, Call, Class, Event, Function, Name, Sub, Value, blocks
from evallint.meaning import names
from evallint.meaning.values import Modes, V, World


def text_of(node: Value) -> str:
    """A value as the user wrote it, for names, attributes and subscripts."""
    if isinstance(node, Name):
        return node.id
    if isinstance(node, Attr):
        return f"{text_of(node.base)}.{node.name}"
    if isinstance(node, Sub):
        return f"{text_of(node.base)}[…]"
    if isinstance(node, Call):
        return f"{text_of(node.func)}(…)"
    return "…"


def last_name(node: Value) -> str:
    """The last name of a dotted or subscripted value, or an empty string."""
    while isinstance(node, Sub):
        node = node.base
    if isinstance(node, Name):
        return node.id
    return node.name if isinstance(node, Attr) else ""


def asked_of_self(func: Value) -> str:
    """The name in `self.name`; empty for anything else."""
    own = isinstance(func, Attr) and isinstance(func.base, Name) and func.base.id == "self"
    return last_name(func) if own else ""


def decorator_names(owner: Function | Class) -> set[str]:
    """The last names of the decorators of a function or class, called or not."""
    return {last_name(d.func if isinstance(d, Call) else d) for d in owner.decorators}


def is_static(cls: Class | None, fn: Function) -> bool:
    """Whether a method is handed no object: it says so, or no method of its class has a `self`, which is there for its name alone."""
    if "staticmethod" in decorator_names(fn):
        return True
    if cls is None or "__init__" in cls.methods or decorator_names(fn):
        return False
    return OBJECTS.isdisjoint(m.params[0].name for m in cls.methods.values() if m.params)


OBJECTS = frozenset("self cls mcs mcls this me _ __ _self _cls klass".split())
"""How methods call their own object or class."""


def every(body: Sequence[Event]) -> Iterator[Event]:
    """All events of a body, those of its blocks too, in the order of the text."""
    for event in body:
        yield event
        for block in blocks(event):
            yield from every(block)


def deep(body: Sequence[Event]) -> Iterator[tuple[str, Value]]:
    """Calls and `.training` reads in events, with the assignment's target."""
    for event in every(body):
        if isinstance(event, ev.Assign):
            yield from parts(event.value, text_of(event.targets[0]))
        elif isinstance(event, (ev.Do, ev.Return)):
            yield from parts(event.value, "")
        elif isinstance(event, ev.Branch):
            yield from parts(event.test, "")
        elif isinstance(event, ev.Loop):
            yield from parts(event.source, "")


def parts(node: Any, target: str) -> Iterator[tuple[str, Value]]:
    """The calls and attribute reads inside a value."""
    if isinstance(node, ev.Call):
        yield target, node
        for item in (node.func, *node.args, *(v for _, v in node.keywords)):
            yield from parts(item, target)
    elif isinstance(node, ev.Attr):
        if node.name == "training":
            yield target, node
        yield from parts(node.base, target)
    elif isinstance(node, (ev.Seq, ev.Mix)):
        for item in node.items:
            yield from parts(item, target)
    elif isinstance(node, ev.Map):
        for _, item in node.items:
            yield from parts(item, target)
    elif isinstance(node, (ev.Not, ev.Star)):
        yield from parts(node.item, target)
    elif isinstance(node, (ev.Bool, ev.Compare)):
        yield from parts(node.left, target)
        yield from parts(node.right, target)
    elif isinstance(node, ev.IfValue):
        for item in (node.test, node.then, node.other):
            yield from parts(item, target)
    elif isinstance(node, ev.Comprehension):
        yield from parts(node.item, target)
    elif isinstance(node, ev.Sub):
        yield from parts(node.base, target)


def trains(body: Sequence[Event]) -> bool:
    """Whether a block itself back-propagates."""
    values = (event.value for event in every(body) if isinstance(event, (ev.Do, ev.Assign)))
    return any(isinstance(value, Call) and last_name(value.func) == "backward" for value in values)


def attributes_set(fn: Function) -> Iterator[str]:
    """The attributes of `self` that a function assigns."""
    if fn.glance is not None:
        yield from fn.glance.assigned
        return
    for event in every(fn.body):
        for target in event.targets if isinstance(event, ev.Assign) else ():
            if isinstance(target, Attr) and isinstance(target.base, Name) and target.base.id == "self":
                yield target.name


def attributes_collected(fn: Function) -> Iterator[str]:
    """The attributes of `self` to which a function assigns a list, tuple, set or dict that it writes out."""
    if fn.glance is not None:
        yield from fn.glance.collected
        return
    known: set[str] = set()
    for event in every(fn.body):
        if isinstance(event, ev.Assign) and not event.augmented:
            value = event.value
            if is_collection(value) or (isinstance(value, Name) and value.id in known):
                known |= {t.id for t in event.targets if isinstance(t, Name)}
                yield from (t.name for t in event.targets if isinstance(t, Attr) and isinstance(t.base, Name) and t.base.id == "self")


def is_collection(value: Value) -> bool:
    """Whether a value is a list, tuple, set or dict made in sight."""
    if isinstance(value, ev.Mix):
        return any(is_collection(item) for item in value.items)
    if isinstance(value, ev.IfValue):
        return is_collection(value.then) or is_collection(value.other)
    if isinstance(value, Call):
        return isinstance(value.func, Name) and value.func.id in ev.COLLECTIONS
    if isinstance(value, ev.Sub):
        return is_slice(value.index) and isinstance(value.base, Call) and is_collection(value.base)  # `list(net.children())[:-1]`
    return isinstance(value, (ev.Seq, ev.Map)) or (isinstance(value, ev.Comprehension) and value.kind != "GeneratorExp")


def is_slice(index: Value) -> bool:
    """Whether an index is one that the visitor makes of `a:b`: something else first, then its bounds."""
    first = index.items[0] if type(index) is ev.Mix and index.items else None
    return type(first) is ev.Mix and not first.items


def calls_parameter(fn: Function) -> bool:
    """Whether a function calls what it was handed, `model(x)` for a parameter `model`."""
    given = {p.name for p in fn.params if p.name not in FUNCTIONS}
    if not given & (fn.called if fn.glance is None else fn.glance.named):
        return False
    return any(isinstance(node, Call) and isinstance(node.func, Name) and node.func.id in given for _, node in deep(fn.body))


FUNCTIONS = frozenset(
    "fn func function f callback cls self criterion loss loss_fn loss_func metric metrics transform key callable hook".split()
)
"""Names of parameters that are functions."""


def steps_environment(fn: Function) -> bool:
    """Whether a function calls `env.step(...)` or the like."""
    return any(method == "step" and names.has_words(receiver, names.ENVIRONMENT_WORDS) for receiver, method in fn.receivers)


def updates_by_hand(fn: Function) -> bool:
    """Whether a function computes gradients and writes parameters itself: a natural gradient, a line search."""
    if not any({"grad", "grads", "gradient", "gradients"} & set(names.words(name)) for name in fn.called):
        return False
    return any(name == "vector_to_parameters" or {"set", "params"} <= set(names.words(name)) for name in fn.called)


def has_branch(body: Sequence[Event]) -> bool:
    """Whether anything in a body depends on a condition."""
    return any(isinstance(event, ev.Branch) for event in every(body))


def is_told(name: str, value: Value) -> bool:
    """Whether a keyword argument says that the call is for evaluation: `evaluate=True`, `training=False`."""
    if not isinstance(value, ev.Const) or not isinstance(value.value, bool):
        return False
    said = set(names.words(name))
    return bool(said & TOLD_BY) if value.value else said <= {"is", "train", "training"} and bool(said - {"is"})


TOLD_BY = frozenset("eval evaluate evaluation evaluating test testing validate validation".split())


def mode_calls(arm: Sequence[Event]) -> Iterator[tuple[str, str, int]]:
    """The plain `x.eval()` and `x.train()` of an arm and of the arms that it ends in: receiver, method, id of the call."""
    for event in arm:
        if isinstance(event, ev.Branch):
            yield from mode_calls(event.then)
            yield from mode_calls(event.other)
        elif isinstance(event, ev.Try):
            yield from mode_calls((*event.body, *event.other, *event.final))
        elif isinstance(event, (ev.Do, ev.Assign, ev.Return)) and isinstance(call := event.value, ev.Call):
            if isinstance(call.func, ev.Attr) and call.func.name in ("eval", "train") and not call.args and not call.keywords:
                yield text_of(call.func.base), call.func.name, id(call)


def switches_modes(body: Sequence[Event]) -> bool:
    """Whether statements, or those inside them, put anything in a mode."""
    for event in body:
        if isinstance(event, (ev.Do, ev.Assign, ev.Return)) and isinstance(event.value, ev.Call):
            if isinstance(event.value.func, ev.Attr) and event.value.func.name in ("eval", "train"):
                return True
        elif any(switches_modes(b) for b in blocks(event)):
            return True
    return False


def modes_put_back(was: V, then: World | None, arm: Sequence[Event]) -> dict[Any, Modes]:
    """What `if was_training: model.train()` leaves objects in whose mode was kept in `was`: that mode."""
    kept = bool(was.atoms) and all(atom[0] == "s" for atom in was.atoms)
    if then is None or not kept or not any(name == "train" for _, name, _ in mode_calls(arm)):
        return {}
    return {atom[1]: atom[2] for atom in was.atoms if all(m.mode == "train" for m in then.modes.get(atom[1], ()))}


OTHER_FRAMEWORKS = frozenset("keras tf tensorflow tf2 jax flax mxnet paddle sklearn onnx onnxruntime tensorrt trt openvino chainer".split())


def names_other_framework(test: Value) -> bool:
    """`framework == "keras"`: the branch is for models that are none of PyTorch's."""
    if not isinstance(test, ev.Compare) or test.op not in ("==", "in"):
        return False
    said = test.right.items if isinstance(test.right, ev.Seq) else (test.right,)
    return bool(said) and all(isinstance(s, ev.Const) and str(s.value).lower() in OTHER_FRAMEWORKS for s in said)


def names_in(node: Value | None) -> set[str]:
    """All names and attribute names in a value."""
    found: set[str] = set()
    stack: list[Any] = [node]
    while stack:
        at = stack.pop()
        if isinstance(at, ev.Name):
            found.add(at.id)
        elif isinstance(at, ev.Attr):
            found.add(at.name)
            stack.append(at.base)
        elif isinstance(at, ev.Call):
            stack += [at.func, *at.args]
        elif isinstance(at, (ev.Sub, ev.Star, ev.Not)):
            stack.append(at.base if isinstance(at, ev.Sub) else at.item)
            if isinstance(at, ev.Sub) and isinstance(at.index, ev.Const) and isinstance(at.index.value, str):
                found.add(at.index.value)
        elif isinstance(at, (ev.Seq, ev.Mix)):
            stack += at.items
        elif isinstance(at, ev.Const) and isinstance(at.value, str) and at.value.isidentifier():
            found.add(at.value)
        elif isinstance(at, ev.IfValue):
            stack += [at.then, at.other]
        elif isinstance(at, (ev.Compare, ev.Bool)):
            stack += [at.left, at.right]
    return found


TELLING = frozenset("eval train backward step no_grad inference_mode set_grad_enabled enable_grad zero_grad set_training_mode".split())


def tells(called: Iterable[str]) -> bool:
    """Whether a mode or grad mode is set, or something trains, by the names of what is called."""
    return any(name in TELLING or "backward" in name or "step" in name or "train" in name for name in called)


def is_last_round(test: Value) -> bool:
    """`number == len(loader) - 1`: the last round of a loop."""
    if not isinstance(test, ev.Compare) or test.op != "==":
        return False
    sides = (test.left, test.right)
    return any(is_length(one) and bool(names_in(other)) and "len" not in names_in(other) for one, other in (sides, sides[::-1]))


def is_length(node: Value) -> bool:
    """`len(x)`, `len(x) - 1`."""
    items = [i for i in node.items if not isinstance(i, ev.Const)] if isinstance(node, ev.Mix) else [node]
    return len(items) == 1 and isinstance(items[0], Call) and last_name(items[0].func) == "len"


def is_made_of_itself(event: ev.Assign) -> bool:
    """`model = model(**options)`: no tensor goes in, and what comes out takes its maker's name."""
    call = event.value
    if not isinstance(call, ev.Call) or not isinstance(call.func, ev.Name) or call.args or not call.keywords:
        return False
    return len(event.targets) == 1 and isinstance(target := event.targets[0], ev.Name) and target.id == call.func.id


GRAPH_FLAGS = frozenset("backprop differentiable".split())


def is_told_to_record(fn: Function) -> bool:
    """Whether a flag decides if the function's graph is kept: `if not self.enable_backprop: out = out.detach()`."""
    tests = [event.test for event in every(fn.body) if isinstance(event, ev.Branch) and event.test is not None]
    tests += [test for event in every(fn.body) for value in values_of(event) for test in choices(value)]
    return any(names.has_words(name, GRAPH_FLAGS) for test in tests for name in names_in(test))


def choices(node: Any) -> Iterator[Value]:
    """The conditions of the `a if test else b` inside a value."""
    if isinstance(node, ev.IfValue):
        yield node.test
    inner = (*node.args, *(v for _, v in node.keywords)) if isinstance(node, ev.Call) else getattr(node, "items", ())
    for item in inner if not isinstance(node, ev.Map) else ():
        yield from choices(item)


def values_of(event: Event) -> tuple[Value, ...]:
    """The value of a plain statement."""
    return (event.value,) if isinstance(event, (ev.Assign, ev.Do, ev.Return)) and event.value is not None else ()
