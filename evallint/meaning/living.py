"""Graphs that live: through which operations a recorded graph goes on for certain, what keeps it, and what is left of it for a backward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from evallint import events as ev
from evallint.events import Call, Class, Event, Function, Span, Value
from evallint.meaning import names
from evallint.meaning.facts import Backward, Kept, LoopFact
from evallint.meaning.keepers import Keeping, keepings
from evallint.meaning.machine import Args, last_name, text_of
from evallint.meaning.objects import Objects
from evallint.meaning.slices import (
    BACKWARD,
    LOSSES,
    adds_to,
    back_propagated,
    detached,
    differentiated,
    handed_back,
    is_loss,
    numbers_returned,
    reads,
    resets,
    sources,
    started,
    steps,
    summands,
    takes_number,
    terms,
    written,
)
from evallint.meaning.tensors import CHOOSING, ENGINES, FLEETING, GROWING, OPERATIONS, OUTPUTS, PAIRED, PLAIN_BASES, is_other, returns_loss
from evallint.meaning.torch_calls import CHOSEN
from evallint.meaning.values import NO_IDS, ON, Hush, Ids, V, World, alive, const, flowed
from evallint.meaning.walk import asked_of_self, deep, every, names_in, parts


class Living(Objects):
    """Follows what certainly carries a graph."""

    # Operations

    def call_external(self, dotted: str, args: Args, node: Call, w: World) -> V:
        value = super().call_external(dotted, args, node, w)
        if value.graph and w.grad == ON:
            tail = dotted.rsplit(".", 1)[-1]
            known = (tail in OPERATIONS or tail == CHOSEN) and not (tail in PAIRED and len(args.all()) > 1)
            functional = dotted.startswith("torch.nn.functional.") and tail != "one_hot"
            summed = node.args[0] if dotted == "builtins.sum" and node.args else None
            if isinstance(summed, ev.Comprehension) and summed.kind == "GeneratorExp":
                self.gathers(summed, args.pos[0])
            if functional or (known and dotted.startswith("torch.")) or dotted in CHOOSING:
                return enlivened(value, args.all())
            if not dotted.startswith(("torch.", "builtins.")) and returns_loss(names.words(tail), ("loss",)):
                return enlivened(value, [*args.all(), *map(self.handed_out, args.all())])
        return value

    def call_object(self, loc: Any, base: V, method: str, args: Args, node: Call, w: World) -> V:
        value = super().call_object(loc, base, method, args, node, w)
        if base.data or args.pos:
            grows = method in GROWING
            if (grows or method == "add_") and not base.live and args.pos and alive(args.pos[-1]):
                self.keep(base_text(node), "list" if grows else "sum", node.span, node, alive(args.pos[-1]), w)
            elif value.graph and w.grad == ON:
                made_by = self.thing(loc).made_by
                if self.is_loss_call(loc, method, node):
                    if not flowed(args.all()).data:
                        return V(value.atoms, value.data, value.graph, value.graph)  # it has run a model that it was handed
                    return enlivened(value, [*args.all(), *map(self.handed_out, args.all())])
                if method in OPERATIONS and base.live and not is_other(method, args, node) and not made_by.startswith("numpy"):
                    return enlivened(value, [base, *args.all()])
        return value

    def is_loss_call(self, loc: Any, method: str, node: Call) -> bool:
        """`criterion(x, y)`, `self.loss_fn(x, y)`: what a loss makes of an output can be back-propagated."""
        if method == "__call__" and self.thing(loc).kind == "loss" and self.thing(loc).made_by.startswith("torch.nn."):
            return True
        said = list(names.words(last_name(node.func)))
        while said and said[-1] in ("fn", "func", "function", "f"):
            said.pop()
        return returns_loss(said, LOSSES)

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
            numbers = numbers_returned(fn)
            if any(numbers):
                made = [V((("o", self.child(value.atoms[0][1], f"#{i}")),), *flows_of(value)) for i in range(len(numbers))]
                items = tuple(const(0.0) if number else item for number, item in zip(numbers, made, strict=True))
                return V((("q", items),), *flows_of(value))
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
        loop = self.loops[-1][0] if self.loops and self.loops[-1][1] == len(self.frames) - 1 else None
        return frozenset(n for n in self.thrown if self.forwards[n].loops and self.forwards[n].loops[-1] is loop)

    def started_here(self) -> frozenset[str]:
        """What the innermost loop of the running function back-propagates, or the function where no loop of its own is around."""
        return self.begun_here()[0]

    def begun_here(self) -> tuple[frozenset[str], frozenset[str]]:
        """What is back-propagated here, and all that it is the sum of."""
        events = (self.loop_events.get(id(fact)) for fact, depth in reversed(self.loops) if depth == len(self.frames) - 1)
        event = next((e for e in events if e is not None), None)
        place = event if event is not None else self.frame.function
        found = self.started_names.get(id(place))
        if found is None:
            begun = started(place.body) | frozenset(self.given_back(place.body))
            found = self.started_names[id(place)] = begun, summands(place.body, begun)
        return found

    # What keeps graphs

    def call_container(self, atom: Any, base: V, func: ev.Attr, args: Args, node: Call, w: World) -> V:
        if func.name in GROWING and args.pos:
            added, text = args.pos[-1], base_text(node)
            live = alive(added) or (added.graph if added.graph and self.is_detached_later(text) else NO_IDS)
            if live or self.is_bare(added, node.args[-1]):
                self.keep(text, "list", node.span, node, live, w)
        return super().call_container(atom, base, func, args, node, w)

    def is_detached_later(self, name: str) -> bool:
        """Whether the running function takes what becomes of a list off its graph, so that what is collected there has one."""
        fn = self.frame.function
        found = self.detached_names.get(id(fn))
        if found is None:
            found = self.detached_names[id(fn)] = detached(fn.body)
        return name in found

    def grows(self, event: ev.Assign, added: V, w: World) -> None:
        live = alive(added)
        target = event.targets[0]
        if len(event.targets) > 1 or not (live or self.is_bare(added, event.value)):
            return
        if event.augmented or adds_to(event.value, text_of(target)):
            listed = any(atom[0] in ("q", "l") for atom in added.atoms)
            if listed or w.grad == ON:
                self.keep(text_of(target), "list" if listed else "sum", event.span, event, live, w)
        elif isinstance(target, ev.Sub) and self.is_numbered(target.index):
            self.keep(text_of(target.base), "item", event.span, event, live, w)

    def is_bare(self, value: V, node: Value) -> bool:
        """Whether the innermost loop trains on what is added, as it is written, though no forward was seen that made it."""
        returned = isinstance(node, Call) and self.losses_of(node) == (True,)
        if value.data or not self.loops or (not returned and any(atom[0] == "c" for atom in value.atoms)):
            return False
        begun = self.started_here()
        found = {name for name in terms(node) if name in begun or f"{name}[…]" in begun}  # the loss, or what it is an item of
        event = self.loop_events.get(id(self.loops[-1][0])) if found or returned else None
        if event is None or any(takes_number(event.body, name) for name in found):
            return False
        around = (self.loop_events.get(id(fact)) for fact, depth in self.loops if depth == len(self.frames) - 1)
        if self.loops[-1][0].repeater or any(steps(each.body) for each in around if each is not None):
            return True  # perhaps once for several batches
        return any("step" in fn.called for fn in self.trainers_in(event.body))

    def given_back(self, body: Sequence[Event]) -> Iterator[str]:
        """The names that a body gives to losses which the functions that it calls have back-propagated."""
        for event in every(body):
            if isinstance(event, ev.Assign) and isinstance(event.value, Call) and any(losses := self.losses_of(event.value)):
                for target in event.targets:
                    items = target.items if isinstance(target, ev.Seq) else (target,)
                    yield from (text_of(item) for item, is_loss in zip(items, losses, strict=False) if is_loss)

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
            atom = self.project.dotted(self.path, call.func)
            found = [atom[1]] if atom is not None and atom[0] == "f" else []
        elif isinstance(call.func, ev.Attr) and isinstance(call.func.base, (ev.Name, ev.Attr)):
            found = [fn for _, fn in self.project.methods.get(call.func.name, ()) if self.project.reaches(self.path, fn)]
        return found if not any(BACKWARD.isdisjoint(fn.called) for fn in found) else []

    def is_numbered(self, index: Value) -> bool:
        """Whether an index is another in each round of the innermost loop."""
        return bool(self.loops) and not names_in(index).isdisjoint(self.loops[-1][0].target.split())

    def call_function(
        self, fn: Function, act: int, self_value: V | None, args: Args, node: Call | None, w: World, cls: Class | None = None
    ) -> V:
        if node is not None and self.loops and (any(v.graph for v in args.all()) or self.started_here()):
            for keeping in self.keepings_of(fn):
                self.hands_over(fn, keeping, self_value is not None and id(fn) in self.project.class_of_method, args, node, w)
        return super().call_function(fn, act, self_value, args, node, w, cls)

    def keepings_of(self, fn: Function) -> tuple[Keeping, ...]:
        """What a function keeps of what it is handed; none of a class whose base, out of sight, may run it without recording."""
        found = self.keepers.get(id(fn))
        if found is None:
            cls = self.project.class_of_method.get(id(fn))
            plain = cls is None or all(base.endswith(PLAIN_BASES) for base in self.project.outside_bases(cls))
            found = self.keepers[id(fn)] = keepings(fn) if plain else ()
        return found

    def comprehended(self, node: ev.Comprehension, source: V, w: World) -> V:
        value = super().comprehended(node, source, w)
        if value.graph and node.kind != "GeneratorExp":
            self.gathers(node, value)
        return value

    def gathers(self, node: ev.Comprehension, value: V) -> None:
        """Note a comprehension that holds what a forward in it has recorded; whether training uses it is not asked."""
        fact = self.comprehension_fact(node)
        live = frozenset(n for n in alive(value) if any(loop is fact for loop in self.forwards[n].loops))
        call = next((part for _, part in parts(node.item, "") if isinstance(part, Call)), None)
        if live and call is not None and not self.muted:
            fresh = Kept(self.path, call.span, "", "gather", self.frame.stop.function, fact, True)
            self.kept.setdefault((id(node), self.context()), fresh).numbers |= live

    def repeated(self, event: ev.Loop, source: V, w: World, forever: bool) -> World | None:
        if self.streamed and isinstance(event.source, Call) and last_name(event.source.func) not in ("list", "tuple", "sorted"):
            yielded = source.graph & self.streamed
            if yielded:
                self.streams[id(self.loop_fact(event))] = yielded
        return super().repeated(event, source, w, forever)

    def starts_from(self, text: str) -> bool:
        """Whether the innermost loop back-propagates a variable, or an item of it."""
        return any(name.split("[")[0] == text for name in self.started_here())

    def hands_over(self, fn: Function, keeping: Keeping, bound: bool, args: Args, node: Call, w: World) -> None:
        """Note that a call hands a recorded output to a function that keeps it."""
        names_given = [p.name for p in fn.params if p.kind == "pos"]
        own = names_given.pop(0) if bound and names_given else ""
        shown = dict(zip(names_given, node.args, strict=False)) | dict(node.keywords)
        if bound and isinstance(node.func, ev.Attr):
            shown[own] = node.func.base
        value = (dict(zip(names_given, args.pos, strict=False)) | args.kw).get(keeping.param)
        if value is None or not {keeping.param, keeping.holder} <= shown.keys() or not (keeping.how == "list" or w.grad == ON):
            return
        text, holder = text_of(shown[keeping.param]), text_of(shown[keeping.holder])
        live = value.graph if self.starts_from(text) else alive(value)
        if live or self.is_bare(value, shown[keeping.param]):
            table = f"{text}[…]" in self.started_here() or any(atom[0] == "d" for atom in value.atoms)
            self.keep(holder + keeping.rest, keeping.how, node.span, node, live, w, f"{text}[…]" if table else text)

    def keep(self, text: str, how: str, span: Span, node: ev.Assign | Call, live: Ids, w: World, given: str = "") -> None:
        """Note that a statement adds recorded outputs to what outlives a round of a loop around it, or a function that it hands `given`."""
        if self.muted or "…" in text.split("[")[0] or self.is_fleeting(text.split("[")[0]):
            return
        key = (id(node), self.context())
        fact = self.kept.get(key)
        if fact is None:
            name = text.split("[")[0]
            loop = self.carrying(name, live, how == "sum")
            if loop is None or self.is_state(name, node, loop) or is_deque(name, self.frame.function):
                return
            if given:
                fed = given not in self.begun_here()[1] and not self.starts_from(given.split("[")[0])
            else:
                fed = name in differentiated(self.whole_body())
            fact = self.kept[key] = Kept(
                self.path, span, text, how, self.frame.stop.function, loop, fed, given, id(loop) in self.streams, not live
            )
        fact.numbers |= live

    def whole_body(self) -> Sequence[Event]:
        """What the running function does, and what is done with what a framework's step returns."""
        body = self.frame.function.body
        return (*body, *back_propagated(body)) if any(fact.repeater for fact, _ in self.loops) else body

    def is_fleeting(self, name: str) -> bool:
        """Whether what has this name forgets what is old, or is what training draws on: not a history that a function or class begins."""
        said = FLEETING.intersection(names.words(name))
        if said != {"history"}:
            return bool(said)
        cls = self.frame.cls if name.startswith("self.") else None
        bodies = (self.frame.function.body, *(m.body for m in (cls.methods.values() if cls is not None else ())))
        return not any(name in targets for body in bodies for targets in made_empty(body))

    def carrying(self, text: str, live: Ids, summed: bool) -> LoopFact | None:
        """The innermost loop of the function that runs these forwards in every round and does not begin anew with `text`."""
        holders = [text[:at] for at, sign in enumerate(text) if sign == "." and text[:at] not in ("self", "cls")]
        for fact, depth in reversed(self.loops):
            event = self.loop_events.get(id(fact))
            if fact.repeater and event is not None and self.outlives(text, depth):
                if resets(self.frame.function.body, text, summed):
                    return None
            elif event is None or depth != len(self.frames) - 1 or fact.repeater:
                return None
            if resets(event.body, text, summed) or any(resets(event.body, holder) for holder in holders):
                return None
            within = any(loop is fact for number in live for loop in self.forwards[number].loops)
            if within or live & self.streams.get(id(fact), NO_IDS) or not live:
                return fact
        return None

    def outlives(self, text: str, depth: int) -> bool:
        """Whether what is written so is still there when a function that is run again and again is run the next time."""
        if text.startswith("self."):
            return self.frame.self_loc == self.frames[depth].self_loc  # by a step of a framework, or a method that it calls
        fn = self.frames[depth].function
        own = {name for event in every(fn.body) if isinstance(event, ev.Assign) and not event.augmented for name in written(*event.targets)}
        return depth == len(self.frames) - 1 and text.split(".")[0] not in own | {p.name for p in fn.params}

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

    def is_state(self, text: str, node: ev.Assign | Call, loop: LoopFact) -> bool:
        """Whether what is added comes from the sum itself: the state of a solver or a recurrent network."""
        added = reads(node.value if isinstance(node, ev.Assign) else node.args)
        return text in sources((name for name in added if name != text), self.loop_events[id(loop)].body)

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


def made_empty(body: Sequence[Event]) -> Iterator[set[str]]:
    """The names of the lists and dicts that a body begins."""
    for event in every(body):
        if isinstance(event, ev.Assign) and not event.augmented and isinstance(event.value, (ev.Seq, ev.Map)):
            yield {text_of(target) for target in event.targets if not isinstance(target, ev.Seq)}


def is_deque(name: str, fn: Function) -> bool:
    """Whether a function makes a deque of that name, which forgets what is old."""
    made = [e for e in every(fn.body) if isinstance(e, ev.Assign) and isinstance(e.value, Call) and last_name(e.value.func) == "deque"]
    return any(name in written(*event.targets) for event in made)


def is_told(call: Call) -> bool:
    """`Variable(loss, requires_grad=True)`: a loss without a graph is told to require a gradient, so that its backward does not fail."""
    first = call.args[0] if call.args else None
    return first is not None and names.is_loss_name(last_name(first.func if isinstance(first, Call) else first))


def base_text(node: Call) -> str:
    """What a method is called on, as written; `rows[…]` for `rows.setdefault(key, [])`."""
    base = node.func.base if isinstance(node.func, ev.Attr) else ev.NOTHING
    if isinstance(base, Call) and isinstance(base.func, ev.Attr) and base.func.name == "setdefault":
        return f"{text_of(base.func.base)}[…]"
    return text_of(base)
