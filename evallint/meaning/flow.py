"""Statements: how the abstract state goes through assignments, branches, loops, with-blocks, tries and exits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evallint import events as ev
from evallint.events import Event, Value, blocks
from evallint.meaning import names
from evallint.meaning.facts import LoopFact
from evallint.meaning.machine import Frame, Machine, last_name
from evallint.meaning.slices import outgrown
from evallint.meaning.values import NO_IDS, ON, UNKNOWN, Mode, Modes, V, World, const, constants, is_constant, join, meet, of, phases_of
from evallint.meaning.vocabulary import FLAGS, GRADIENT_FLAGS, PHASES, SETTING_UP
from evallint.meaning.walk import (
    TELLING,
    is_last_round,
    is_made_of_itself,
    mode_calls,
    modes_put_back,
    names_in,
    names_other_framework,
    switches_modes,
    tells,
    trains,
    updates_by_hand,
)

MOST_PASSES = 3
MOST_UNROLLED = 10


class Flow(Machine):
    """Runs events."""

    _matters: dict[int, tuple[bool, bool]]
    _guards: dict[int, bool]

    def run(self, events: Sequence[Event], w: World) -> World | None:
        for event in events:
            self.step()
            after = RUN[type(event)](self, event, w)
            if after is None:
                return None
            w = after
        return w

    def do(self, event: ev.Do, w: World) -> World | None:
        value = self.value(event.value, w)
        if value.data and isinstance(event.value, ev.Call):
            self.dropped(value, event.value)
        if isinstance(event.value, ev.Call) and last_name(event.value.func) in ("exit", "_exit") and len(event.value.args) <= 1:
            if not isinstance(event.value.func, ev.Attr) or last_name(event.value.func.base) in ("sys", "os"):
                return None
        return w

    def dropped(self, value: V, call: ev.Call) -> None:
        """Note a forward whose output is thrown away on the spot."""
        for number in value.data:
            forward = self.forwards[number]
            if forward.span == call.span and forward.method == "__call__":
                forward.uses.add("dropped")

    def assign(self, event: ev.Assign, w: World) -> World | None:
        if is_made_of_itself(event):
            self.makers.add(id(event.value))
        value = added = self.value(event.value, w)
        if event.augmented:
            value = self.added(self.value(event.targets[0], w), value, w.grad == ON)
        if not value.atoms and not value.data and isinstance(event.value, (ev.Compare, ev.Bool, ev.Not)) and not self.loops:
            value = of(("b", ("said", id(event), self.chain()), True))
        if not value.atoms and event.annotation is not None and isinstance(event.targets[0], (ev.Name, ev.Attr)):
            value = self.annotated(event, value)
        for target in event.targets:
            self.bind(target, value, w)
        if added.graph or (self.loops and not added.data):
            self.grows(event, added, w)
        return w

    def added(self, before: V, value: V, recorded: bool = False) -> V:
        """What `before += value` leaves."""
        items = [v for v in (before, value) for a in v.atoms if a[0] in ("q", "l")]
        atoms = before.atoms if items else ()
        if items:
            inner = UNKNOWN
            for v in items:
                for a in v.atoms:
                    for x in a[1] if a[0] == "q" else (a[1],) if a[0] == "l" else ():
                        inner = join(inner, x)
            atoms = (("l", inner),)
        live = before.live | value.live if recorded and not items else NO_IDS
        return V(atoms, before.data | value.data, before.graph | value.graph, live)

    def annotated(self, event: ev.Assign, value: V) -> V:
        return value

    def assert_(self, event: ev.Assert, w: World) -> World | None:
        if self.truth(event.test, w, id(event), False) is None:
            self.suppose(event.test, True, w)
        return w

    def suppose(self, test: Value, holds: bool, w: World) -> bool:
        """Narrow the state by a condition; False where it cannot hold."""
        if isinstance(test, ev.Not):
            return self.suppose(test.item, not holds, w)
        if isinstance(test, ev.Bool):
            if (test.op == "and") == holds:
                return self.suppose(test.left, holds, w) and self.suppose(test.right, holds, w)
            return True
        if isinstance(test, (ev.Name, ev.Attr)):
            value = self.value(test, w)
            if value.atoms and all(atom[0] == "s" for atom in value.atoms):
                possible = [self.suppose_mode(atom[1], atom[2], holds, isinstance(test, ev.Attr), w) for atom in value.atoms]
                return any(possible)
        return True

    def suppose_mode(self, loc: Any, snapshot: Modes, holds: bool, read_now: bool, w: World) -> bool:
        """Narrow an object's mode to what its `training`, as it was read, says of it; False where that cannot be."""
        fits = frozenset(m for m in snapshot if m.mode == "unknown" or (m.mode in ("train", "fresh")) == holds)
        if not holds:
            fits = frozenset(Mode("given") if m.mode == "unknown" else m for m in fits or (Mode("given"),))
        if read_now and snapshot == self.mode_of(w, loc):
            w.modes[loc] = fits or snapshot
        elif not read_now and not holds:
            self.set_mode(w, loc, fits)
        return any(m.mode == "unknown" or (m.mode in ("train", "fresh")) == holds for m in snapshot)

    def branch(self, event: ev.Branch, w: World) -> World | None:
        if event.test is None:
            spare = w.copy()
            return self.either(self.run(event.then, w), self.run(event.other, spare))
        matters, switches = self.matters(event)
        self.supposed = False
        either_way = switches and bool(event.other) and self.in_own_loop()  # each round goes the way of the one before
        truth = self.truth(event.test, w, id(event), matters, switches, either_way or self.guards_training(event))
        if switches:
            self.mark_chosen(event, truth is None or self.supposed)
        certain = truth and not self.supposed
        last = event.then[-1] if certain and event.then and self.frame.function.name != "__init__" else None
        if isinstance(last, ev.Exit) and last.kind == "raise":
            truth = False  # a guard against what was left out: users see to it that it passes
        if truth is False:
            return self.run(event.other, w)
        other: World | None = w.copy() if truth is None else None
        snapshot = self.value(event.test, w) if isinstance(event.test, ev.Attr) and event.test.name == "training" else UNKNOWN
        foreign = names_other_framework(event.test) or self.project.asks_for_other_library(self.path, event.test)
        asked = any(names.has_words(name, GRADIENT_FLAGS) for name in names_in(event.test))
        self.muted += foreign
        self.asked_for_grad += asked
        then = self.run(event.then, w) if truth or self.suppose(event.test, True, w) else None
        self.muted -= foreign
        self.asked_for_grad -= asked
        if other is None:
            return then
        after = self.run(event.other, other) if self.suppose(event.test, False, other) else None
        told = self.told_apart(snapshot, then, after)
        was = self.value(event.test, w) if isinstance(event.test, ev.Name) and switches and not event.other else UNKNOWN
        back = modes_put_back(was, then, event.then)
        joined = self.either(then, after)
        for loc, modes in back.items():
            if joined is not None:
                self.set_mode(joined, loc, modes)
        if joined is not None:
            for name in told:
                joined.vars[self.frame.act, name] = snapshot
        return joined

    def in_own_loop(self) -> bool:
        """Whether what runs is in a loop of the running function."""
        return bool(self.loops) and self.loops[-1][1] == len(self.frames) - 1

    def told_apart(self, snapshot: V, then: World | None, other: World | None) -> list[str]:
        """The flags that remember which arm of `if model.training:` ran: each stands for what the mode was."""
        if then is None or other is None or not snapshot.atoms or any(atom[0] != "s" for atom in snapshot.atoms):
            return []
        yes, no = (world.vars.rows.get(self.frame.act, {}) for world in (then, other))
        return [name for name, value in yes.items() if value == const(True) and no.get(name) == const(False)]

    def mark_chosen(self, event: ev.Branch, open_: bool) -> None:
        """Note the mode calls of one arm whose object the other arm puts in the other mode: the code chooses, nobody forgot.

        Of `train()` that says something only where it is open which arm is taken.
        """
        arms = [set(mode_calls(event.then)), set(mode_calls(event.other))]
        if not SETTING_UP.isdisjoint(names.words(self.frame.function.name)[:1]):
            said = {word for name in names_in(event.test) for word in names.words(name)}
            if said & PHASES:  # `if self.mode == "test": net.eval()` in a constructor: who trains says so as well
                self.chosen.update(call for arm in arms for _, name, call in arm if name == "eval")
        if isinstance(test := event.test, ev.Compare) and test.op == "is" and isinstance(test.right, ev.Const) and test.right.value is None:
            if FLAGS & {word for name in names_in(test.left) for word in names.words(name)}:  # no optimizer trains it: it is frozen
                self.chosen.update(call for _, name, call in arms[0] if name == "eval")
        for one, other in (arms, arms[::-1]):
            for text, name, call in one:
                if name == "eval" and any((t, n) == (text, "train") for t, n, _ in other):
                    self.chosen.add(call)
                elif name == "train" and any((t, n) == (text, "eval") for t, n, _ in other):
                    (self.chosen.add if open_ else self.chosen.discard)(call)

    def either(self, a: World | None, b: World | None) -> World | None:
        if a is None or b is None:
            return b if a is None else a
        return meet(a, b, self.defaults)

    def matters(self, event: Event) -> tuple[bool, bool]:
        """Whether a branch switches modes or grad mode, trains, or leaves the function: then its condition is worth remembering.

        And whether it switches modes: then it is worth remembering wherever it is tested again.
        """
        found = self._matters.get(id(event))
        if found is None:
            switches = any(switches_modes(b) for b in blocks(event))
            leaving = tells(self.frame.function.called)  # elsewhere a way out changes nothing that a rule asks
            found = self._matters[id(event)] = switches or any(self.telling(b, leaving) for b in blocks(event)), switches
        return found

    def guards_training(self, event: ev.Branch) -> bool:
        """Whether a flag alone decides that a loop trains: `if training: loss.backward()`, in code that runs either way."""
        found = self._guards.get(id(event))
        if found is None:
            said = {word for name in names_in(event.test) for word in names.words(name)}
            flagged = bool(said & FLAGS) and said <= FLAGS | {"self", "is", "mode", "phase", "args", "config"}
            found = self._guards[id(event)] = flagged and trains(event.then) and not trains(event.other)
        return found

    def telling(self, body: Sequence[Event], leaving: bool) -> bool:
        for event in body:
            if isinstance(event, (ev.Return, ev.Exit)) and leaving:
                return True
            if isinstance(event, ev.Do) and isinstance(event.value, ev.Call):
                if tells((last_name(event.value.func),)):
                    return True
            elif isinstance(event, ev.Assign) and isinstance(event.value, ev.Call):
                name = last_name(event.value.func)
                if name in TELLING or "loader" in name:
                    return True
            elif any(self.telling(b, leaving) for b in blocks(event)):
                return True
        return False

    # Loops

    def loop(self, event: ev.Loop, w: World) -> World | None:
        source = self.value(event.source, w)
        fact = self.loop_fact(event)
        rounds = self.rounds(source) if event.target is not None else None
        forever = event.target is None and isinstance(event.source, ev.Const) and bool(event.source.value)
        for changed in outgrown(event.body):  # after the first round it is no longer what it was before the loop
            if is_constant(self.value(changed, w), "int", "float", "bool", "NoneType"):
                self.bind(changed, UNKNOWN, w)
        self.loops.append((fact, len(self.frames) - 1))
        frame = self.frame
        frame.breaks.append([])
        grad, silent = (w.grad, w.grad_at), self.yields_silently(event.source)
        if silent:
            self.set_grad(w, "off")
        try:
            after = self.unrolled(event, rounds, w) if rounds is not None else self.repeated(event, source, w, forever)
        finally:
            self.loops.pop()
            left = frame.breaks.pop()
        if silent and after is not None:
            after.grad, after.grad_at = grad
        if after is not None and event.other:
            after = self.run(event.other, after)
        for world in left:
            after = world if after is None else meet(after, world, self.defaults)
        return after

    def loop_fact(self, event: ev.Loop) -> LoopFact:
        key = (id(event), self.context())
        fact = self.loop_facts.get(key)
        if fact is None:
            target = " ".join(sorted(names_in(event.target))) if event.target is not None else ""
            fact = LoopFact(
                self.path,
                event.span,
                self.frame.stop.function,
                " ".join(sorted(names_in(event.source))),
                target,
                updates_by_hand(self.frame.function),
                endless=event.target is None,
            )
            self.loop_facts[key] = fact
            self.loop_events[id(fact)] = event
        return fact

    def rounds(self, source: V) -> list[V] | None:
        """The items of a loop over a short display, when they tell rounds apart (phases, models)."""
        if 1 < len(phases := phases_of(source)) <= MOST_UNROLLED:
            return phases
        if len(source.atoms) != 1:
            return None
        (atom,) = source.atoms
        if atom[0] == "q" and 0 < len(atom[1]) <= MOST_UNROLLED:
            items: list[V] = list(atom[1])
            return items if any(v.atoms for v in items) else None
        if atom[0] == "d" and 0 < len(atom[1]) <= MOST_UNROLLED and any(a[0] == "o" for _, v in atom[1] for a in v.atoms):
            return [of(("c", "str", k)) for k, _ in atom[1]]
        return None

    def round(self, event: ev.Loop, item: V | None, w: World) -> World | None:
        """One pass through a loop's body; the state at its end, `continue` included."""
        frame = self.frame
        frame.continues.append([])
        if event.target is not None and item is not None:
            self.bind(event.target, item, w)
        last = event.body[-1] if event.body else None
        if isinstance(last, ev.Branch) and last.test is not None and is_last_round(last.test):
            after = self.run(event.body[:-1], w)
            if after is not None:  # what it does then, no further round will see
                ended = self.run(last.then, after.copy())
                if ended is not None:
                    frame.breaks[-1].append(ended)
                after = self.run(last.other, after)
        else:
            after = self.run(event.body, w)
        for world in frame.continues.pop():
            after = world if after is None else meet(after, world, self.defaults)
        return after

    def unrolled(self, event: ev.Loop, rounds: list[V], w: World) -> World | None:
        after: World | None = w
        for number, item in enumerate(rounds):
            if after is None:
                break
            self.tags.append((id(event), number))
            try:
                after = self.round(event, item, after)
            finally:
                self.tags.pop()
        return after

    def repeated(self, event: ev.Loop, source: V, w: World, forever: bool) -> World | None:
        after: World | None = None
        for _ in range(MOST_PASSES):
            before = w.copy()
            item = self.item(event, source) if event.target is not None else None
            after = self.round(event, item, w)
            if after is None:
                w = before
                break
            if after.modes == before.modes and after.grad == before.grad:
                break
            w = meet(before, after.copy(), self.defaults)
        if forever:
            return None
        if event.target is None and after is not None:
            self.value(event.source, after)
        if after is None:
            return w if not self.frame.breaks[-1] else None
        return after

    def item(self, event: ev.Loop, source: V) -> V:
        """An item of what a loop runs over."""
        return self.item_of(source, ("item", self.path, event.span, self.chain()))

    def item_of(self, source: V, loc: tuple[Any, ...]) -> V:
        """An item of a container; of an unknown one, a new object."""
        found: V | None = None
        for atom in source.atoms:
            items: tuple[V, ...] = ()
            if atom[0] == "q":
                items = atom[1]
            elif atom[0] == "l":
                items = (atom[1],)
            elif atom[0] == "d":
                items = tuple(of(("c", "str", k)) for k, _ in atom[1])
            elif atom[0] == "o":
                items = tuple(of(("o", loc)) for loc in self.held(atom[1]))
            for v in items:
                found = v if found is None else join(found, v)
        if found is None or not found.atoms:
            return V((("o", loc),), source.data, source.graph, source.live)
        return V(found.atoms, found.data | source.data, found.graph | source.graph, found.live | source.live)

    def held(self, loc: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The modules that a container module was built from."""
        return [self.child(loc, "[]")] if self.thing(loc).kind == "model" else []

    # With, try, exits

    def with_(self, event: ev.With, w: World) -> World | None:
        values = [(self.unseen_context(item, self.value(item, w), w), target) for item, target in event.items]
        return self.with_values(values, lambda inner: self.run(event.body, inner), w)

    def try_(self, event: ev.Try, w: World) -> World | None:
        frame = self.frame
        marks = (len(frame.returns), [len(b) for b in frame.breaks], [len(c) for c in frame.continues])
        troubled, known, last = w.copy(), frozenset(w.modes), w.modes
        frame.raised.append([])
        after: World | None = w
        for inner in event.body:
            after = self.run((inner,), after) if after is not None else None
            if after is None:
                break
            last = after.modes
            if event.handlers and after.modes != troubled.modes:
                troubled = meet(troubled, after.copy(), self.defaults)
        for loc in troubled.modes.keys() - known & last.keys():  # a constructor and the switch after it fail together, or not at all
            troubled.modes[loc] = last[loc]
        for world in frame.raised.pop():
            troubled = meet(troubled, world, self.defaults)
        if after is not None and event.other:
            after = self.run(event.other, after)
        for handler in event.handlers:
            after = self.either(after, self.run(handler, troubled.copy()))
        if event.final:
            if after is not None:
                after = self.run(event.final, after)
            self.finally_(event.final, marks, frame)
        return after

    def finally_(self, final: tuple[Event, ...], marks: tuple[int, list[int], list[int]], frame: Frame) -> None:
        """Run a finally block on the paths that leave its try early."""
        for at in range(marks[0], len(frame.returns)):
            world, value = frame.returns[at]
            after = self.run(final, world)
            if after is not None and at < len(frame.returns):
                frame.returns[at] = (after, value)
        for stacks, lengths in ((frame.breaks, marks[1]), (frame.continues, marks[2])):
            for stack, length in zip(stacks, lengths, strict=False):
                for at in range(length, len(stack)):
                    stack[at] = self.run(final, stack[at]) or stack[at]

    def return_(self, event: ev.Return, w: World) -> World | None:
        value = self.value(event.value, w) if event.value is not None else UNKNOWN
        self.frame.returns.append((w, value))
        return None

    def exit(self, event: ev.Exit, w: World) -> World | None:
        if event.value is not None:
            self.value(event.value, w)
        frame = self.frame
        if event.kind == "break" and frame.breaks:
            frame.breaks[-1].append(w)
        elif event.kind == "continue" and frame.continues:
            frame.continues[-1].append(w)
        elif event.kind == "raise" and frame.raised:
            frame.raised[-1].append(w)
        return None

    # Definitions

    def define(self, event: ev.Define, w: World) -> World | None:
        frame = self.frame
        if frame.function.name != "<module>":
            if all(f is not event.function for f, _ in frame.nested):
                frame.nested.append((event.function, frame.act))
            self.bind(ev.Name(event.function.name), of(("f", event.function, frame.act, None)), w)
            outside = [d for d in event.function.decorators if isinstance(d, (ev.Call, ev.Attr))]
            before = w.grad, w.grad_at
            for decorator in outside:
                self.value(decorator, w)
            w.grad, w.grad_at = before
        elif self.project.is_defined_anew(self.path, event.function.name):
            self.bind(ev.Name(event.function.name), of(("f", event.function, 0, None)), w)
        return w

    def define_class(self, event: ev.DefineClass, w: World) -> World | None:
        if self.frame.function.name != "<module>" or self.project.is_defined_anew(self.path, event.cls.name):
            self.bind(ev.Name(event.cls.name), of(("k", event.cls)), w)
        return w

    def import_(self, event: ev.Import, w: World) -> World | None:
        if self.frame.function.name != "<module>" and event.name != "*":
            atom = self.project.imported(self.path, event)
            bound = event.bound if event.name is not None or "." not in event.bound else event.bound.split(".")[0]
            if atom is not None:
                value = self.attribute(of(("m", atom[1])), atom[2], w) if atom[0] == "v" else of(atom)
                self.bind(ev.Name(bound), value, w)
        elif self.frame.function.name == "<module>" and (spot := self.project.silenced_by(self.path, event)) is not None:
            self.set_grad(w, "off", spot, "call")
        return w

    def outer(self, event: ev.Outer, w: World) -> World | None:
        (self.frame.globals if event.is_global else self.frame.nonlocals).update(event.names)
        return w


RUN: dict[type, Callable[[Any, Any, World], World | None]] = {
    ev.Do: Flow.do,
    ev.Assign: Flow.assign,
    ev.Assert: Flow.assert_,
    ev.Branch: Flow.branch,
    ev.Loop: Flow.loop,
    ev.With: Flow.with_,
    ev.Try: Flow.try_,
    ev.Return: Flow.return_,
    ev.Exit: Flow.exit,
    ev.Define: Flow.define,
    ev.DefineClass: Flow.define_class,
    ev.Import: Flow.import_,
    ev.Outer: Flow.outer,
}

__all__ = ["Flow", "constants"]
