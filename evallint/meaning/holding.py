"""Graphs that are kept: what adds recorded outputs, round by round, to something that outlives the round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evallint import events as ev
from evallint.events import Call, Class, Event, Function, Span, Value
from evallint.meaning import names
from evallint.meaning.facts import Kept, LoopFact
from evallint.meaning.guarded import items_of
from evallint.meaning.keepers import Keeping, keepings
from evallint.meaning.living import Living
from evallint.meaning.machine import Args, last_name, text_of
from evallint.meaning.slices import (
    adds_to,
    back_propagated,
    detached,
    differentiated,
    drawn_from,
    reads,
    resets,
    sources,
    started,
    steps,
    summed_up,
    takes_number,
    terms,
    written,
)
from evallint.meaning.tensors import FLEETING, GROWING, PLAIN_BASES
from evallint.meaning.values import NO_IDS, ON, Ids, V, World, alive
from evallint.meaning.walk import deep, every, names_in, parts


class Holding(Living):
    """Follows what keeps graphs."""

    # What adds to something

    def call_external(self, dotted: str, args: Args, node: Call, w: World) -> V:
        value = super().call_external(dotted, args, node, w)
        summed = node.args[0] if dotted == "builtins.sum" and node.args else None
        if value.graph and w.grad == ON and isinstance(summed, ev.Comprehension) and summed.kind == "GeneratorExp":
            self.gathers(summed, args.pos[0])
        return value

    def call_object(self, loc: Any, base: V, method: str, args: Args, node: Call, w: World) -> V:
        grows = method in GROWING
        if (grows or method == "add_") and not base.live and args.pos and alive(args.pos[-1]):
            self.keep(base_text(node), "list" if grows else "sum", node.span, node, alive(args.pos[-1]), w)
        return super().call_object(loc, base, method, args, node, w)

    def call_container(self, atom: Any, base: V, func: ev.Attr, args: Args, node: Call, w: World) -> V:
        if func.name in GROWING and args.pos:
            added, text = args.pos[-1], base_text(node)
            live = self.living(added, node.args[-1]) or (added.graph if added.graph and self.is_detached_later(text) else NO_IDS)
            if live or self.is_bare(added, node.args[-1]):
                self.keep(text, "list", node.span, node, live, w)
        return super().call_container(atom, base, func, args, node, w)

    def living(self, value: V, node: Value) -> Ids:
        """The forwards whose graph a value has, also as an item of a table of losses that a loop around it back-propagates."""
        if not value.graph or alive(value):
            return alive(value)
        around = list(self.loops_here())
        drawn = dict(pair for loop in around if loop.target is not None for pair in drawn_from(loop.target, loop.source))
        items = {text for name in terms(node) if (text := drawn.get(name, name)).endswith("[…]")}
        return value.graph if items and any(items & names for loop in around for names in self.begun_in(loop)) else NO_IDS

    def is_detached_later(self, name: str) -> bool:
        """Whether the running function takes what becomes of a list off its graph, so that what is collected there has one."""
        fn = self.frame.function
        found = self.detached_names.get(id(fn))
        if found is None:
            found = self.detached_names[id(fn)] = detached(fn.body)
        return name in found

    def grows(self, event: ev.Assign, added: V, w: World) -> None:
        live = self.living(added, event.value)
        target = event.targets[0]
        if len(event.targets) > 1 or not (live or self.is_bare(added, event.value)):
            return
        if event.augmented or adds_to(event.value, text_of(target)):
            listed = any(atom[0] in ("q", "l") for atom in added.atoms)
            if listed or w.grad == ON:
                self.keep(text_of(target), "list" if listed else "sum", event.span, event, live, w)
        elif isinstance(target, ev.Sub) and self.is_numbered(target.index) and not self.is_array(text_of(target.base)):
            self.keep(text_of(target.base), "item", event.span, event, live, w)

    def is_bare(self, value: V, node: Value) -> bool:
        """Whether the innermost loop trains on what is added, as it is written, though no forward was seen that made it."""
        returned = isinstance(node, Call) and self.losses_of(node) == (True,)
        if value.data or not self.loops or (not returned and any(atom[0] == "c" for atom in value.atoms)):
            return False
        begun = self.started_here()
        found = {name for name in terms(node) if name in begun or f"{name}[…]" in begun}  # the loss, or what it is an item of
        event = self.loop_events.get(id(self.loops[-1][0])) if found or returned else None
        if event is None or any(takes_number(event.body, name) or self.gets_number(event.body, name) for name in found):
            return False
        if self.loops[-1][0].repeater or any(steps(each.body) for each in self.loops_here()):
            return True  # perhaps once for several batches
        return any("step" in fn.called for fn in self.trainers_in(event.body))

    def gets_number(self, body: Sequence[Event], name: str) -> bool:
        """Whether a body binds a name to what a method gives that the program defines, and that is a number: `loss = loss.get()`."""
        given = (e.value for e in every(body) if isinstance(e, ev.Assign) and name in written(*e.targets))
        return any(isinstance(v, Call) and isinstance(v.func, ev.Attr) and self.gives_numbers(v.func.name) for v in given)

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

    # Whether it is kept, and by which loop

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
        handed = dict(zip(names_given, args.pos, strict=False)) | args.kw
        if keeping.holder not in shown or not (keeping.how == "list" or w.grad == ON):
            return
        named = {p.name for p in fn.params}
        several = any(p.name == keeping.param and p.kind == "**" for p in fn.params)  # `meter.update(loss=loss, n=8)`
        for name in (key for key, _ in node.keywords if key not in named) if several else (keeping.param,):
            if name in handed and name in shown:
                self.hands_one(handed[name], shown[name], text_of(shown[keeping.holder]) + keeping.rest, keeping.how, node, w)

    def hands_one(self, value: V, shown: Value, holder: str, how: str, node: Call, w: World) -> None:
        """Note that a call hands this output to what keeps it in `holder`."""
        text = text_of(shown)
        live = value.graph if self.starts_from(text) else alive(value)
        if live or self.is_bare(value, shown):
            table = f"{text}[…]" in self.started_here() or any(atom[0] == "d" for atom in value.atoms)
            self.keep(holder, how, node.span, node, live, w, f"{text}[…]" if table else text)

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
                fed = name in differentiated(self.whole_body()) or name in self.handed_to_trainers(self.frame.function)
            fact = self.kept[key] = Kept(
                self.path, span, text, how, self.frame.stop.function, loop, fed, given, id(loop) in self.streams, not live,
                updates(self.loop_events[id(loop)].body),
            )  # fmt: skip
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
        return not any(name in targets for body in self.bodies_of(name) for targets in made_empty(body))

    def is_array(self, name: str) -> bool:
        """Whether what has this name is an array of NumPy, which takes the number of a tensor alone."""
        given = (e for body in self.bodies_of(name) for e in every(body) if isinstance(e, ev.Assign) and name in map(text_of, e.targets))
        return any(isinstance(e.value, Call) and text_of(e.value.func).split(".")[0] in ("np", "numpy") for e in given)

    def bodies_of(self, name: str) -> Iterator[Sequence[Event]]:
        """Where what has this name may be made: the running function, and for an attribute all methods of its class."""
        yield self.frame.function.body
        if name.startswith("self.") and self.frame.cls is not None:
            yield from (method.body for method in self.frame.cls.methods.values())

    def carrying(self, text: str, live: Ids, summed: bool) -> LoopFact | None:
        """The innermost loop of the function that runs these forwards in every round and does not begin anew with `text`.

        Or the one around it, if that does neither and trains on another sum of the rounds: its batches go through the network one by one.
        """
        holders = [text[:at] for at, sign in enumerate(text) if sign == "." and text[:at] not in ("self", "cls")]
        found: LoopFact | None = None
        for fact, depth in reversed(self.loops):
            event = self.loop_events.get(id(fact))
            if fact.repeater and event is not None and self.outlives(text, depth):
                if resets(self.frame.function.body, text, summed):
                    return found
            elif event is None or fact.repeater or (depth != len(self.frames) - 1 and not self.stays(text, event)):
                return found
            if resets(event.body, text, summed) or any(resets(event.body, holder) for holder in holders):
                return found
            if names.are_models(fact.source) and next(around for around, at in self.loops if at == depth) is not fact:
                continue  # the outputs of all models on one batch
            within = any(loop is fact for number in live for loop in self.forwards[number].loops)
            if found is not None:
                return fact if summed_up(self.loop_events[id(found)].body) & started(event.body) else found
            if within or live & self.streams.get(id(fact), NO_IDS) or not live:
                found = fact
        return found

    def stays(self, text: str, loop: ev.Loop) -> bool:
        """Whether the attribute of an object, no module, outlives the rounds of a loop that calls the running method for a batch."""
        cls, loc = self.frame.cls, self.frame.self_loc
        if not text.startswith("self.") or cls is None or loc is None or self.project.is_module(cls):
            return False
        if any(each.holder + each.rest == text for each in self.keepings_of(self.frame.function)):
            return False  # a meter: who hands it the tensor is told
        called = {last_name(node.func): node.span for _, node in deep(loop.body) if isinstance(node, Call)}
        if loc[0] == "new" and loc[2] in called.values():
            return False  # another object in each round
        methods = {name: m for owner in reversed(self.project.mro(cls)) for name, m in owner.methods.items()}
        running = {f.function.name for f in self.frames} | called.keys()
        fresh = any(resets(m.body, text) for name, m in methods.items() if name in running)
        return not fresh and not any(text in differentiated(m.body) for m in methods.values())

    def outlives(self, text: str, depth: int) -> bool:
        """Whether what is written so is still there when a function that is run again and again is run the next time."""
        if text.startswith("self."):
            return self.frame.self_loc == self.frames[depth].self_loc  # by a step of a framework, or a method that it calls
        fn = self.frames[depth].function
        own = {name for event in every(fn.body) if isinstance(event, ev.Assign) and not event.augmented for name in written(*event.targets)}
        return depth == len(self.frames) - 1 and text.split(".")[0] not in own | {p.name for p in fn.params}

    def is_state(self, text: str, node: ev.Assign | Call, loop: LoopFact) -> bool:
        """Whether what is added comes from the sum itself: the state of a solver or a recurrent network."""
        added = reads(*without_keys(node.value if isinstance(node, ev.Assign) else ev.Seq(tuple(node.args))))
        return text in sources((name for name in added if name != text), self.loop_events[id(loop)].body)


def without_keys(value: Value) -> Iterator[Value]:
    """The variables in a value, without those by which it takes items: `losses` in `losses[name]`."""
    for part in [value.base] if isinstance(value, ev.Sub) else items_of(value):
        yield from without_keys(part)
    if isinstance(value, (ev.Name, ev.Attr)):
        yield value


def made_empty(body: Sequence[Event]) -> Iterator[set[str]]:
    """The names of the lists and dicts that a body begins."""
    for event in every(body):
        if isinstance(event, ev.Assign) and not event.augmented and is_empty(event.value):
            yield {text_of(target) for target in event.targets if not isinstance(target, ev.Seq)}


def updates(body: Sequence[Event]) -> bool:
    """Whether a body has an optimizer take a step: not `logits, state = self.step(token, state)`."""
    calls = (node.func for _, node in deep(body) if isinstance(node, Call) and isinstance(node.func, ev.Attr))
    return any(func.name == "step" and names.is_optimizer_name(last_name(func.base)) for func in calls)


def is_empty(value: Value) -> bool:
    """A list or dict that is written out, or a tensor of nothing: `torch.Tensor()`, `torch.tensor([])`."""
    if isinstance(value, Call) and last_name(value.func) in ("Tensor", "FloatTensor", "tensor"):
        return all(isinstance(arg, ev.Seq) and not arg.items for arg in value.args)
    return isinstance(value, (ev.Seq, ev.Map))


def is_deque(name: str, fn: Function) -> bool:
    """Whether a function makes a deque of that name, which forgets what is old."""
    made = [e for e in every(fn.body) if isinstance(e, ev.Assign) and isinstance(e.value, Call) and last_name(e.value.func) == "deque"]
    return any(name in written(*event.targets) for event in made)


def base_text(node: Call) -> str:
    """What a method is called on, as written; `rows[…]` for `rows.setdefault(key, [])`."""
    base = node.func.base if isinstance(node.func, ev.Attr) else ev.NOTHING
    if isinstance(base, Call) and isinstance(base.func, ev.Attr) and base.func.name == "setdefault":
        return f"{text_of(base.func.base)}[…]"
    return text_of(base)
