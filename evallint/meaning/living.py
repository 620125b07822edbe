"""Graphs that live: through which operations a recorded graph goes on for certain, and what is left of it for a backward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from evallint import events as ev
from evallint.events import Call, Class, Event, Function, Value
from evallint.meaning import names
from evallint.meaning.facts import Backward, LoopFact
from evallint.meaning.machine import Args, last_name, text_of
from evallint.meaning.methods import is_abstract
from evallint.meaning.objects import Objects
from evallint.meaning.passing import passes_on, says_loss
from evallint.meaning.slices import (
    BACKWARD,
    gives_number,
    handed_back,
    is_loss,
    items_taken,
    losses_left,
    numbers_returned,
    reads,
    sources,
    started,
    summands,
    takes_off,
    written,
)
from evallint.meaning.tensors import CHOOSING, ENGINES, OPERATIONS, OUTPUTS, PAIRED, is_other, returns_loss
from evallint.meaning.torch_calls import CHOSEN
from evallint.meaning.values import NO_IDS, ON, Hush, Ids, V, World, alive, const, flowed
from evallint.meaning.walk import asked_of_self, deep, every, is_static, parts


class Living(Objects):
    """Follows what certainly carries a graph."""

    # Operations

    def call_external(self, dotted: str, args: Args, node: Call, w: World) -> V:
        value = super().call_external(dotted, args, node, w)
        if value.graph and w.grad == ON:
            tail = tail_of(dotted)
            known = (tail in OPERATIONS or tail == CHOSEN) and not (tail in PAIRED and len(args.all()) > 1)
            functional = dotted.startswith("torch.nn.functional.") and tail != "one_hot"
            if functional or (known and dotted.startswith("torch.")) or dotted in CHOOSING:
                return enlivened(value, args.all())
            if not dotted.startswith(("torch.", "builtins.")) and returns_loss(names.words(tail), ("loss",)):
                return enlivened(value, [*args.all(), *map(self.handed_out, args.all())])
        elif value.data and dotted.startswith("torch.nn.functional.") and says_loss(tail_of(dotted)):
            self.lose(value, w)
        return value

    def lose(self, loss: V, w: World) -> None:
        """Note of what a loss without a graph is made."""
        if w.grad == ON and not loss.graph:
            for number in loss.data:
                self.forwards[number].lost = True

    def call_object(self, loc: Any, base: V, method: str, args: Args, node: Call, w: World) -> V:
        value = super().call_object(loc, base, method, args, node, w)
        if (base.data or args.pos) and value.graph and w.grad == ON:
            made_by = self.thing(loc).made_by
            if self.is_loss_call(loc, method, node):
                if method != "__call__" and self.gives_numbers(method):
                    return V(value.atoms, value.data)
                if not flowed(args.all()).data:
                    return V(value.atoms, value.data, value.graph, value.graph)  # it has run a model that it was handed
                return enlivened(value, [*args.all(), *map(self.handed_out, args.all())])
            own = self.project.method(made, "forward") if (made := self.thing(loc).cls) is not None and method == "__call__" else None
            if own is not None and self.thing(loc).kind == "loss":
                return self.passed_on(value, own[1], args)
            if method in OPERATIONS and base.live and not is_other(method, args, node) and not made_by.startswith("numpy"):
                return enlivened(value, [base, *args.all()])
        elif value.data and self.is_loss_call(loc, method, node):
            self.lose(value, w)
        return value

    def gives_numbers(self, method: str) -> bool:
        """Whether all methods of this name that the program defines give numbers."""
        found = self.number_methods.get(method)
        if found is None:
            defined = [fn for _, fn in self.project.methods.get(method, ()) if not is_abstract(fn)]
            found = self.number_methods[method] = bool(defined) and all(map(gives_number, defined))
        return found

    def is_loss_call(self, loc: Any, method: str, node: Call) -> bool:
        """`criterion(x, y)`, `self.loss_fn(x, y)`: what a loss makes of an output can be back-propagated."""
        if method == "__call__" and self.thing(loc).kind == "loss" and self.thing(loc).made_by.startswith("torch.nn."):
            return True
        return says_loss(last_name(node.func))

    def handed_out(self, value: V) -> V:
        """A part of what a forward returns, under whatever name: where a loss is taken of it, it is a tensor with its graph."""
        found = set[int]()
        for atom in value.atoms:
            root = atom[1] if atom[0] == "o" else ()
            while root and root[0] == "child":
                root = root[1]
            found.update(n for n in value.graph if root[:3] == ("ret", self.forwards[n].path, self.forwards[n].span))
        return V((), NO_IDS, NO_IDS, frozenset(found))

    def skipped(self, fn: Function, args: Args, node: Call | None, w: World, cls: Class | None) -> V:
        value = super().skipped(fn, args, node, w, cls)
        if value.graph and w.grad == ON and node is not None:
            if returns_loss(names.words(fn.name), ("loss",)):
                value = enlivened(value, args.all())
            return self.passed_on(value, fn, args)
        return value

    def passed_on(self, value: V, fn: Function, args: Args) -> V:
        """What a function that was not run returns: numbers, and what carries on the graphs of what it is handed."""
        known = self.passes.get(id(fn))
        if known is None:
            known = self.passes[id(fn)] = passes_on(fn), numbers_returned(fn)
        carried, numbers = known
        given = [p.name for p in fn.params if p.kind == "pos"]
        given = given[1:] if id(fn) in self.project.class_of_method and not is_static(self.project.class_of_method[id(fn)], fn) else given
        graphs = {name: alive(arg) & value.graph for name, arg in (*zip(given, args.pos, strict=False), *args.kw.items())}
        live = [NO_IDS.union(*(graphs.get(name, NO_IDS) for name in each)) for each in carried]
        if len(live) == 1:
            return V(value.atoms, value.data, value.graph, value.live | live[0])
        if not (any(numbers) or any(live)) or not value.atoms or value.atoms[0][0] != "o":
            return value
        live = live or [NO_IDS] * len(numbers)
        made = [V((("o", self.child(value.atoms[0][1], f"#{i}")),), value.data, value.graph, at) for i, at in enumerate(live)]
        items = tuple(const(0.0) if numbers and numbers[i] else item for i, item in enumerate(made))
        return V((("q", items),), *flows_of(value))

    # What a forward leaves on its module

    def forward_own(self, loc: Any, fn: Function, owner: Class, method: str, args: Args, node: Call, w: World, shown: Value) -> V:
        value = super().forward_own(loc, fn, owner, method, args, node, w, shown)
        if value.graph and w.grad == ON:
            known = self.left_behind_by.get(id(fn))
            if known is None:
                known = self.left_behind_by[id(fn)] = losses_left(fn), takes_off(fn), items_taken(fn)
            losses, is_taken_off, items = known
            for name in losses:
                self.set_attr(w, loc, name, V((), value.data, value.graph, value.graph))
            if value.live and is_taken_off:
                return V(value.atoms, value.data, value.graph)
            for place in (n for n, taken in enumerate(items) if taken):
                root = value.atoms[0][1]
                for slot in (f"#{place}", f"[{place}]"):
                    self.set_attr(w, root, slot, V((("o", self.child(root, slot)),), value.data))
        return value

    # What is back-propagated has a graph, however it was computed

    def bind(self, target: Value, value: V, w: World) -> None:
        if isinstance(target, ev.Seq) and any(text_of(item) != "_" for item in target.items):
            before = self.thrown, self.unpacking
            self.unpacking = value.live | (self.handed_out(value).live if value.graph and w.grad == ON else NO_IDS)
            super().bind(target, value, w)
            self.thrown, self.unpacking = before  # somebody takes a part of the output
            return
        if value.graph and self.unpacking and isinstance(target, ev.Name):
            if is_loss(target.id) or not OUTPUTS.isdisjoint(names.words(target.id)[-1:]):
                value = V(value.atoms, value.data, value.graph, value.live | (self.unpacking & value.graph))
        if isinstance(target, ev.Name) and target.id == "_":
            self.thrown |= value.graph
        elif w.grad == ON and isinstance(target, (ev.Name, ev.Attr)) and (value.graph or self.thrown):
            begun, summed = self.begun_here()
            if text_of(target) in begun:
                left = self.left_behind() if not value.data and not any(atom[0] == "c" for atom in value.atoms) else NO_IDS
                value = V(value.atoms, value.data | left, value.graph | left, value.graph | left)
            elif value.graph and text_of(target) in summed:
                value = V(value.atoms, value.data, value.graph, value.graph)
        super().bind(target, value, w)

    def left_behind(self) -> Ids:
        """The forwards of this round whose output nobody takes: `_ = net(x)`. A loss is then made of what they leave on the model."""
        loop = self.loops[-1][0] if self.in_own_loop() else None
        return frozenset(n for n in self.thrown if self.forwards[n].loops and self.forwards[n].loops[-1] is loop)

    def started_here(self) -> frozenset[str]:
        """What the innermost loop of the running function back-propagates, or the function where no loop of its own is around."""
        return self.begun_here()[0]

    def begun_here(self) -> tuple[frozenset[str], frozenset[str]]:
        """What is back-propagated here, and all that it is the sum of."""
        return self.begun_in(next(self.loops_here(), self.frame.function))

    def loops_here(self) -> Iterator[ev.Loop]:
        """The loops of the running function around what runs, the innermost first."""
        events = (self.loop_events.get(id(fact)) for fact, depth in reversed(self.loops) if depth == len(self.frames) - 1)
        return (event for event in events if event is not None)

    def begun_in(self, place: ev.Loop | Function) -> tuple[frozenset[str], frozenset[str]]:
        """What is back-propagated in a loop or function, and all that it is the sum of."""
        found = self.started_names.get(id(place))
        if found is None:
            begun = started(place.body) | frozenset(self.given_back(place.body))
            found = self.started_names[id(place)] = begun, summands(place.body, begun)
        return found

    # Losses that functions back-propagate

    def given_back(self, body: Sequence[Event]) -> Iterator[str]:
        """The names that a body gives to losses which the functions that it calls have back-propagated."""
        for event in every(body):
            if isinstance(event, ev.Assign) and isinstance(event.value, Call) and any(losses := self.losses_of(event.value)):
                for target in event.targets:
                    items = target.items if isinstance(target, ev.Seq) else (target,)
                    yield from (text_of(item) for item, is_loss in zip(items, losses, strict=False) if is_loss)

    def handed_to_trainers(self, fn: Function) -> frozenset[str]:
        """What a function hands to functions that back-propagate themselves, and all that flows into that."""
        found = self.handed_names.get(id(fn))
        if found is None:
            calls = [node for _, node in deep(fn.body) if isinstance(node, Call) and (node.args or node.keywords) and self.trainers(node)]
            given = {name for node in calls for name in reads(node.args, node.keywords)}
            found = self.handed_names[id(fn)] = sources(given, fn.body) if given else frozenset()
        return found

    def trainers_in(self, body: Sequence[Event]) -> Iterator[Function]:
        """The functions that a body calls and that back-propagate themselves."""
        for node in (node for _, node in deep(body) if isinstance(node, Call)):
            yield from self.trainers(node)

    def losses_of(self, call: Call) -> tuple[bool, ...]:
        """For each value that a call returns, whether it is a loss that the called function, whichever it may be, has back-propagated."""
        found = set[tuple[bool, ...]]()
        for fn in self.trainers(call):
            if id(fn) not in self.losses_back:
                self.losses_back[id(fn)] = handed_back(fn)
            found.add(self.losses_back[id(fn)])
        return found.pop() if len(found) == 1 else ()

    def trainers(self, call: Call) -> list[Function]:
        """The functions that a call may mean, if they can be told and all back-propagate something themselves."""
        name, found = asked_of_self(call.func), list[Function]()
        if name:
            own = self.project.method(self.frame.cls, name) if self.frame.cls is not None else None
            found = [own[1]] if own is not None else []
        elif isinstance(call.func, ev.Name):
            atom = None if self.project.is_defined_anew(self.path, call.func.id) else self.project.dotted(self.path, call.func)
            found = [atom[1]] if atom is not None and atom[0] == "f" else []
        elif isinstance(call.func, ev.Attr) and isinstance(call.func.base, (ev.Name, ev.Attr)):
            found = [fn for _, fn in self.project.methods.get(call.func.name, ()) if self.project.reaches(self.path, fn)]
        return found if not any(BACKWARD.isdisjoint(fn.called) for fn in found) else []

    def call_closure(self, closure: Any, node: Call, w: World) -> None:
        fn = closure[1] if closure[0] == "f" else None
        if fn is None:
            return super().call_closure(closure, node, w)
        with self.repeating(fn, fn.body, "the optimizer"):
            super().call_closure(closure, node, w)

    @contextmanager
    def repeating(self, fn: Function, body: Sequence[Event], repeater: str) -> Iterator[None]:
        """Run a function as the loop of somebody out of sight does, who trains with it."""
        event = ev.Loop(ev.NOTHING, ev.NOTHING, tuple(body), (), fn.span)
        fact = self.loop_facts[id(event), ()] = LoopFact(fn.path, fn.span, fn.qualname, "", trains=True, repeater=repeater)
        self.loop_events[id(fact)] = event
        self.loops.append((fact, len(self.frames)))
        try:
            yield
        finally:
            self.loops.pop()

    # What is left for a backward

    def call_special(self, loc: Any, base: V, method: str, args: Args, node: Call, w: World) -> V | None:
        if method in BACKWARD and not self.muted:
            flow = flowed([base, *args.all()])
            start = node.func.base if isinstance(node.func, ev.Attr) and base.data else node.args[0] if node.args else None
            named = base.data or last_name(node.func.base if isinstance(node.func, ev.Attr) else node.func) in ENGINES
            if flow.data and start is not None and named:
                self.note_backward(flow, start, node, w)
        return super().call_special(loc, base, method, args, node, w)

    def note_backward(self, flow: V, start: Value, node: Call, w: World) -> None:
        """Keep a backward through forwards that some path runs without recording."""
        hushed = {n for n in flow.data if self.forwards[n].hushed}
        if not hushed:
            return
        key = (id(node), self.context())
        fact = self.backwards.get(key)
        if fact is None:
            here = all(self.forwards[n].stops[-1] is self.frame.stop for n in flow.data)
            pure = here and not flow.graph and self.is_pure(start, {self.forwards[n].text for n in flow.data})
            fact = Backward(self.path, node.span, text_of(node.func), self.frame.stop.function, w.grad, NO_HUSH, pure, bool(flow.graph))
            self.backwards[key] = fact
        fact.recorded |= bool(flow.graph)
        fact.hushed |= w.grad_at[1] if "off" in w.grad else NO_HUSH
        fact.grad |= w.grad
        fact.numbers |= hushed

    def is_pure(self, start: Value, models: set[str]) -> bool:
        """Whether nothing flows into a loss but these models' outputs, data, and known operations on tensors."""
        into, values, grown = set[str](), [start], True
        while grown:
            into.update(name for value in values for name in reads(without(value, models)) if name not in models)
            flowing = [e for e in every(self.frame.function.body) if isinstance(e, ev.Assign) and into & {*written(*e.targets)}]
            grown = len(flowing) + 1 > len(values)
            values = [start, *(event.value for event in flowing)]
        made = [call for value in values for _, call in parts(without(value, models), "") if isinstance(call, ev.Call)]
        if not all(self.is_plain_call(call, models) for call in made):
            return False
        given = {p.name for p in self.frame.function.params} | {name for name in into if name.startswith("self.")}
        return all(names.is_loss_name(name) or names.has_words(name, DATA) for name in into & given if name not in HANDY)

    def is_plain_call(self, call: Call, models: set[str]) -> bool:
        """One of the models, a loss, or an operation on tensors: no recorded forward hides in it."""
        text, name = text_of(call.func), last_name(call.func)
        if text in models or names.is_loss_name(name):
            return True
        if name == "Parameter" or (any(key == "requires_grad" for key, _ in call.keywords) and not is_told(call)):
            return False
        atom = self.project.dotted(self.path, call.func)
        if atom is not None:
            return bool(atom[0] == "x" and atom[1].startswith(("torch.", "builtins.")))
        return isinstance(call.func, ev.Attr) and name in OPERATIONS | HARMLESS


NO_HUSH: frozenset[Hush] = frozenset()
HARMLESS = frozenset("item detach size long scale type requires_grad_".split())
"""Further methods of tensors in which nothing is recorded that was not before."""
HANDY = frozenset(("self.device", "self.optimizer", "self.scaler", "self.args", "self.config", "self.cfg"))
DATA = frozenset(
    "x y z input inputs image images img imgs target targets label labels data batch features feature gt mask masks src tgt text"
    " device args config cfg opt weight weights alpha beta gamma lam lambda idx index step epoch".split()
)


def tail_of(dotted: str) -> str:
    """The last name of a dotted one."""
    return dotted.rsplit(".", 1)[-1]


def without(value: Value, models: set[str]) -> Value:
    """A value whose calls of models stand without what the models are handed: it goes through a forward that records nothing."""
    if isinstance(value, Call):
        func = replace(value.func, base=without(value.func.base, models)) if isinstance(value.func, ev.Attr) else value.func
        handed = text_of(value.func) not in models
        args = tuple(without(arg, models) for arg in value.args) if handed else ()
        return Call(func, args, tuple((k, without(v, models)) for k, v in value.keywords) if handed else (), value.span)
    return value


def enlivened(value: V, into: list[V]) -> V:
    """A value that carries on the graphs of what went into it."""
    live = NO_IDS.union(*map(alive, into)) & value.graph
    return V(value.atoms, value.data, value.graph, value.live | live) if live - value.live else value


def flows_of(value: V) -> tuple[Ids, Ids, Ids]:
    """The forwards whose outputs, and whose graphs, went into a value, and those whose graphs certainly did."""
    return value.data, value.graph, value.live


def is_told(call: Call) -> bool:
    """`Variable(loss, requires_grad=True)`: a loss without a graph is told to require a gradient, so that its backward does not fail."""
    first = call.args[0] if call.args else None
    return first is not None and names.is_loss_name(last_name(first.func if isinstance(first, Call) else first))
