"""Mode-dependent layers that are built where the forward runs: fresh, and so in training mode, each time.

Sorts of lapses: "called" (`nn.Dropout(0.5)(x)`), "local" (kept in a name, and called), "kept" (assigned to an attribute of the module).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evallint import events as ev
from evallint.events import Class, Event, Function, Value
from evallint.meaning import names
from evallint.meaning.bound import called_with, chosen, kinds_called
from evallint.meaning.callers import Callers, is_handed_flag
from evallint.meaning.facts import Lapse
from evallint.meaning.functional import is_meant, is_training, runs_in_forwards
from evallint.meaning.guarded import Met, calls_under, named, speaks_of_mode, values_of_name
from evallint.meaning.layers import CONTAINERS, DEPENDENT, WITH_DROPOUT, Layers, is_false
from evallint.meaning.slices import reads, written
from evallint.meaning.walk import asked_of_self, every, last_name, text_of

BUILDING = frozenset("build make create init initialize setup set configure reset get new replace convert add lazy".split())
"""First words of methods that build parts, whoever calls them."""
PASSING = frozenset(("to", "cuda", "cpu", "half", "float", "double", "type", "requires_grad_"))
"""Methods of a new layer that hand it on as it is."""
STATISTICS = ("BatchNorm", "SyncBatchNorm", "LazyBatchNorm")


class BuiltInside:
    """Looks for layers that are built inside forwards."""

    def __init__(self, layers: Layers, own: frozenset[str]) -> None:
        self.layers = layers
        self.project, self.callers = layers.project, Callers(layers.project)
        self.own = own
        """The names of the program's own module classes."""

    def lapses_in(self, functions: Sequence[Function]) -> Iterator[Lapse]:
        """The lapses in functions that are in no other function."""
        for f in functions:
            builds = bool(f.called & (DEPENDENT | WITH_DROPOUT))
            if f.name == "__init__":
                builds = builds and f.has_closures  # what it builds itself is built once
            elif not builds:
                builds = self.may_build(f)
            if builds:
                yield from self.lapses_of(f)

    def may_build(self, f: Function) -> bool:
        """Whether a method that the forward runs calls classes of the program by their names."""
        cls = self.project.class_of_method.get(id(f)) if f.called & self.own else None
        return cls is not None and self.project.is_module(cls) and self.is_run_by_forward(cls, f)

    def lapses_of(self, f: Function) -> Iterator[Lapse]:
        """The lapses in one function."""
        cls = self.project.class_of_method.get(id(f))
        begins = f.name == "__init__"
        builds = not begins and bool(set(names.words(f.name)[:1]) & BUILDING)
        if is_meant(f.name) or is_training(f) or (cls is not None and is_meant(cls.name)) or builds:
            return
        module = cls is not None and self.project.is_module(cls)
        inside = module and cls is not None and self.is_run_by_forward(cls, f)
        mets = list(calls_under(f))
        called = {id(value): met for met in mets for value in chosen(met.call.func)}
        for met in mets:
            layer = self.dependent_layer(f, met.call)
            if not layer or any(speaks_of_mode(test) or is_handed_flag(test, met.functions) for test in met.tests):
                continue
            nested = met.functions[1:]
            if begins and not nested:  # of a constructor, what a function that it makes builds each time
                continue
            if any(is_meant(inner.name) or is_training(inner) for inner in nested):
                continue
            sort = self.sort_of(f, met, mets, called, inside)
            if nested and sort != "called":  # who calls a function of the forward's own, and how often, is not looked into
                continue
            if not sort or not (inside or (sort == "called" and (module or runs_in_forwards(self.project, f)))):
                continue
            if self.callers.is_run_by_mode(f):
                return
            text = text_of(met.call.func)
            sure = inside and cls is not None and self.project.is_known_module(cls)
            steps = ((f.path, met.call.span, f"a new `{text}` is in training mode, and `.eval()` has been called before it was there"),)
            yield Lapse("built", sort, f.path, met.call.span, f.qualname, text, sure, steps, layer)

    def dependent_layer(self, f: Function, call: ev.Call) -> str:
        """The layer that a call builds, if what it does depends on the mode; of a class of the program, the layer in it that does."""
        name = last_name(call.func)
        if name not in DEPENDENT | WITH_DROPOUT | self.own or isinstance(call.func, ev.Sub):
            kinds = kinds_called(f, name) if isinstance(call.func, ev.Name) else ()
            made = [called_with(kind, call) for kind in kinds if isinstance(kind, ev.Call) and last_name(kind.func) in DEPENDENT]
            return next(filter(None, (self.dependent_layer(f, each) for each in made)), "")
        atom = self.project.dotted(f.path, call.func)
        if atom is not None and atom[0] == "k":
            off = any("drop" in key and is_false(value) for key, value in call.keywords)
            says, layer = self.layers.class_layers(atom[1], set()) if not off and self.project.is_module(atom[1]) else ("none", "")
            return layer if says == "some" else ""
        if atom is None or atom[0] != "x" or not atom[1].startswith(("torch.nn.", "nn.")) or name not in DEPENDENT | WITH_DROPOUT:
            return ""
        if name in WITH_DROPOUT:
            return name if self.layers.called_layer(f.path, call, set())[0] == "some" else ""
        if name.startswith(STATISTICS):
            kept = next((v for k, v in call.keywords if k == "track_running_stats"), None)
            return "" if kept is not None and is_false(kept) else name
        if name == "MultiheadAttention":
            rate = next((v for k, v in call.keywords if k == "dropout"), call.args[2] if len(call.args) > 2 else None)
            return "" if rate is None or is_false(rate) else name
        if "Drop" in name:
            rate = next((v for k, v in call.keywords if k == "p"), call.args[0] if call.args else None)
            return "" if rate is not None and (is_false(rate) or speaks_of_mode(rate) or self.is_gated(rate, f)) else name
        return "" if any(k == "dropout" and is_false(v) for k, v in call.keywords) else name

    def is_gated(self, rate: Value, f: Function) -> bool:
        """Whether a rate that has a local name is computed from the mode."""
        if not isinstance(rate, ev.Name):
            return False
        return any(speaks_of_mode(value) or any(map(speaks_of_mode, tests)) for value, tests in values_of_name((f,), rate.id))

    def sort_of(self, f: Function, met: Met, mets: Sequence[Met], called: dict[int, Met], inside: bool) -> str:
        """The sort of lapse that a new layer is; empty where it is none, or where that cannot be told."""
        outer: Value = met.call
        parents = {id(child): m.call for m in mets for child in children(m.call)}
        while True:
            parent = parents.get(id(outer))
            if id(outer) in called:
                return "called"
            if parent is None:
                break
            func = parent.func
            if isinstance(func, ev.Attr) and func.base is outer:
                if func.name == "forward":
                    return "called"
                if func.name not in PASSING:
                    return ""  # `.eval()`, `.train(self.training)`
                outer = parent
            elif last_name(func) in CONTAINERS:
                outer = parent
            elif isinstance(func, ev.Attr) and func.name in ("append", "insert") and isinstance(func.base, ev.Name):
                return "local" if self.runs_each(f, func.base.id, mets, called) else ""
            else:
                return ""
        event = met.event
        target = target_of(event, outer)
        if target is None:
            if not isinstance(event, ev.Assign) or not isinstance(event.value, ev.Seq) or not isinstance(event.targets[0], ev.Name):
                return ""
            among = any(item is outer for item in spread(event.value))
            return "local" if among and self.runs_each(f, event.targets[0].id, mets, called) else ""
        text = text_of(target)
        spelled = aliases(f, text)
        if any(self.is_switched(f, name) for name in spelled):
            return ""
        if isinstance(target, ev.Name):
            return "local" if any(text_of(m.call.func) in spelled for m in mets) else ""
        name = asked_of_self(target)
        lazily = any(name in named(test) or asks_for_presence(test) for test in met.tests)
        return "kept" if name and inside and not lazily else ""

    def runs_each(self, f: Function, name: str, mets: Sequence[Met], called: dict[int, Met]) -> bool:
        """Whether a function runs what is in a list of its own, one by one or as an `nn.Sequential`."""
        spelled = aliases(f, name)
        if any(self.is_switched(f, text) for text in spelled):
            return False
        made = [m for m in mets if any(isinstance(a, ev.Star) and text_of(a.item) in spelled for a in m.call.args)]
        if any(last_name(m.call.func) in CONTAINERS and self.sort_of(f, m, mets, called, False) for m in made):
            return True
        loops = [event for event in every(f.body) if isinstance(event, ev.Loop) and not spelled.isdisjoint(reads(event.source))]
        each = {one for loop in loops if loop.target is not None for one in written(loop.target)}
        return any(text_of(m.call.func) in each and not self.is_switched(f, text_of(m.call.func)) for m in mets)

    def is_switched(self, f: Function, text: str) -> bool:
        """Whether a function sets the mode of what it calls `text` by hand."""
        for event in every(f.body):
            if isinstance(event, ev.Assign) and any(text_of(t) == f"{text}.training" for t in event.targets):
                return True
        return any(
            isinstance(m.call.func, ev.Attr) and m.call.func.name in ("eval", "train") and text_of(m.call.func.base) == text
            for m in calls_under(f)
        )

    def is_run_by_forward(self, cls: Class, f: Function) -> bool:
        """Whether a method is a module's forward, or one that it calls, on any object of the class."""
        methods = [m for c in self.project.family(cls) for m in c.methods.values()]
        reached = {"forward", "__call__", "training_step", "validation_step"}
        queue = list(reached)
        while queue:
            name = queue.pop()
            for method in methods:
                if method.name == name:
                    new = {called for receiver, called in method.receivers if receiver == "self"} - reached
                    reached |= new
                    queue += new
        return f.name in reached


def aliases(f: Function, name: str) -> set[str]:
    """A name, and those that it is assigned to if it is a local one."""
    found = {name}
    for event in every(f.body):
        if isinstance(event, ev.Assign) and isinstance(event.value, ev.Name) and event.value.id in found:
            found |= {text_of(target) for target in event.targets}
    return found


def children(call: ev.Call) -> Iterator[Value]:
    """What a call is made of: the object of its method, its arguments, starred or in a list or dict."""
    if isinstance(call.func, ev.Attr):
        yield call.func.base
    for value in (*call.args, *(v for _, v in call.keywords)):
        yield from spread(value)


def spread(value: Value) -> Iterator[Value]:
    """A value, and those in the list or dict that it is."""
    yield value
    if isinstance(value, ev.Seq):
        for item in value.items:
            yield from spread(item)
    elif isinstance(value, ev.Map):
        for _, item in value.items:
            yield from spread(item)
    elif isinstance(value, ev.Star):
        yield from spread(value.item)


def holds(value: Value, wanted: Value) -> bool:
    """Whether a value is this one, or chooses it under a condition."""
    return any(item is wanted for item in chosen(value))


def target_of(event: Event, wanted: Value) -> Value | None:
    """What a statement assigns a value to, by itself or as one of several: `first, second = nn.Dropout(0.1), nn.Dropout(0.2)`."""
    if not isinstance(event, ev.Assign) or len(event.targets) != 1:
        return None
    target, value = event.targets[0], event.value
    if isinstance(target, ev.Seq) and isinstance(value, ev.Seq) and len(target.items) == len(value.items):
        return next((t for t, v in zip(target.items, value.items, strict=True) if holds(v, wanted)), None)
    return target if holds(value, wanted) else None


def asks_for_presence(test: Value) -> bool:
    """Whether a condition asks if something has been built yet: `self.norm is None`, `hasattr(self, "norm")`, `not self.built`."""
    if isinstance(test, ev.Compare) and asked_of_self(test.left):
        return True
    said = {word for name in named(test) for word in names.words(name)}
    return bool(said & {"hasattr", "getattr", "built", "initialized", "initialised", "init", "ready", "len", "first"})
