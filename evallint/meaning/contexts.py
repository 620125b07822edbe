"""With-blocks: context managers of the project run around their body; those of PyTorch switch the grad mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evallint import events as ev
from evallint.events import Event, Value, blocks
from evallint.meaning.calls import Calls
from evallint.meaning.layers import is_false, switches_off
from evallint.meaning.machine import MOST_FRAMES, Args, last_name, made
from evallint.meaning.project import GRAD_SWITCHES
from evallint.meaning.values import OFF, UNKNOWN, V, World, meet, of
from evallint.meaning.vocabulary import names_evaluation
from evallint.meaning.walk import values_of


class Contexts(Calls):
    """Enters and leaves context managers."""

    def with_values(self, values: list[tuple[V, Value | None]], body: Callable[[World], World | None], w: World) -> World | None:
        if not values:
            return body(w)
        (value, target), rest = values[0], values[1:]

        def inner(world: World) -> World | None:
            return self.with_values(rest, body, world)

        for atom in value.atoms:
            if atom[0] == "y" and len(value.atoms) == 1:
                return self.with_generator(atom, target, inner, w)
        locs = [a[1] for a in value.atoms if a[0] == "o"]
        cls = self.thing(locs[0]).cls if len(locs) == 1 else None
        if cls is not None and (enter := self.project.method(cls, "__enter__")) is not None:
            got = self.call_function(enter[1], 0, of(("o", locs[0])), Args([], {}), None, w, enter[0])
            if target is not None:
                self.bind(target, got if got.atoms else value, w)
            marks = self.marks()
            after = inner(w)
            leave = self.project.method(cls, "__exit__")
            if leave is not None:
                for world in [*self.left(marks), *([after] if after is not None else [])]:
                    self.call_function(leave[1], 0, of(("o", locs[0])), Args([UNKNOWN] * 3, {}), None, world, leave[0])
            return after
        return self.with_atoms(value, target, inner, w)

    def with_generator(self, atom: Any, target: Value | None, inner: Callable[[World], World | None], w: World) -> World | None:
        _, fn, pos, kw, act, self_value = atom
        if len(self.frames) >= MOST_FRAMES or any(f.function is fn for f in self.frames):
            return inner(w)
        self.visited.add(id(fn))
        outer_frames = len(self.frames)
        frame = self.enter(fn, act, self_value, None, self.project.class_of_method.get(id(fn)))
        ran: list[bool] = []
        gone: list[World] = []

        def on_yield(world: World, value: V) -> World | None:
            inside = self.frames[outer_frames:]
            del self.frames[outer_frames:]
            frame.on_yield, again = None, frame.on_yield
            try:
                if target is not None:
                    self.bind(target, value, world)
                marks = self.marks()
                after = inner(world)
                early = self.left(marks)
            finally:
                self.frames.extend(inside)
                frame.on_yield = again
            ran.append(after is not None)
            gone.extend(early)
            for other in early:  # leaving the block early leaves through the manager too
                after = other.copy() if after is None else meet(after, other.copy(), self.defaults)
            return after

        frame.on_yield = on_yield
        self.bind_args(frame, fn, Args(list(pos), dict(kw)), w)
        self.finish(frame, w)
        for world in gone:
            world.modes, world.grad, world.grad_at = dict(w.modes), w.grad, w.grad_at
        return w if not ran or any(ran) else None

    def marks(self) -> list[tuple[list[Any], int]]:
        """How many early exits each list of the innermost function holds."""
        if not self.frames:
            return []
        frame = self.frame
        lists: list[list[Any]] = [frame.returns, *frame.breaks, *frame.continues]
        return [(exits, len(exits)) for exits in lists]

    def left(self, marks: list[tuple[list[Any], int]]) -> list[World]:
        """The states of the exits that came after `marks`."""
        return [e[0] if isinstance(e, tuple) else e for exits, count in marks for e in exits[count:]]

    def with_atoms(self, value: V, target: Value | None, inner: Callable[[World], World | None], w: World) -> World | None:
        """Contexts from outside the project: grad modes, and known names that switch to eval and back."""
        grads = [
            a
            for a in value.atoms
            if a[0] == "g" or (a[0] == "x" and a[1].rsplit(".", 1)[-1] in ("no_grad", "inference_mode", "enable_grad"))
        ]
        before, depth = w.grad, w.grad_at
        if any(a[:3] == ("g", "on", ()) or (a[0] == "x" and a[1].endswith("enable_grad")) for a in grads):
            self.frame.stop.wants_grad = True
        if grads:
            settings = {("off" if not a[1].endswith("enable_grad") else "on") if a[0] == "x" else a[1] for a in grads}
            if len(value.atoms) > len(grads):
                settings |= {"on" if "on" in before else "off"}
            entered = [(frozenset(a[2]), (depth[0], a[3][1])) for a in grads if a[0] == "g" and a[2]]
            spot = next((a[3] for a in grads if a[0] == "g" and not a[2]), None)
            if entered:  # `set_grad_enabled` is in force before the block begins
                spot = next(((path, span) for path, span, _, _ in depth[1]), None)
                before, depth = entered[0]
            self.set_grad(w, settings.pop() if len(settings) == 1 else "both", spot)
        marks = [a for a in value.atoms if a[0] == "e"]
        modes = dict(w.modes) if marks else None
        for mark in marks:
            for loc in mark[1]:
                self.set_mode(w, loc, made("eval", self.path, mark[2], self.frame.stop.function, "eval"))
            if mark[3]:
                w.grad = OFF
        if target is not None:
            self.bind(target, V(tuple(a for a in value.atoms if a[0] not in ("g", "e")), value.data, value.graph), w)
        exits = self.marks()
        after = inner(w)
        stacks = [a[1] for a in value.atoms if a[0] == "o" and a[1] in self.on_exit]
        if grads or marks or stacks:
            for world in [*self.left(exits), *([after] if after is not None else [])]:
                world.grad, world.grad_at = before, depth
                if modes is not None:
                    world.modes = dict(modes)
                for call in (c for loc in stacks for c in reversed(self.on_exit[loc])):
                    self.value(call, world)
        return after

    def unseen_context(self, item: Value, value: V, w: World) -> V:
        """`with in_eval(model):`, `with mode_of(models, train=False):` of a module that cannot be seen: it switches, and puts back."""
        if not isinstance(item, ev.Call) or any(atom[0] in ("e", "g", "y") for atom in value.atoms):
            return value
        told = any(name in ("train", "training", "is_train") and is_false(flag) for name, flag in item.keywords)
        found = self.project.dotted(self.path, item.func)
        if not (told or names_evaluation(last_name(item.func))) or (found is not None and found[0] != "x"):
            return value
        given = [atom for arg in item.args[:1] for atom in self.value(arg, w).atoms]
        held = [inner for atom in given for v in (atom[1] if atom[0] == "q" else (of(atom),)) for inner in v.atoms]
        locs = tuple(atom[1] for atom in held if atom[0] == "o")
        return of(("e", locs, item.span, False)) if locs and (found is not None or told) else value

    def yields_silently(self, source: Value) -> bool:
        """Whether a loop runs over a generator of the project that yields inside `no_grad`: what the loop's body does is not recorded."""
        if not isinstance(source, ev.Call):
            return False
        found = self.project.dotted(self.path, source.func)
        if found is not None and found[0] == "f":
            return found[1].is_generator and yields_inside(found[1].body, GRAD_SWITCHES | self.project.quiet)
        emptied = last_name(source.func) in ("list", "tuple", "sorted")  # by then the generator is over
        return not emptied and any(self.yields_silently(arg) for arg in source.args[:1])  # `enumerate(batches(data))`


def yields_inside(body: Sequence[Event], quiet: frozenset[str], silent: bool = False) -> bool:
    """Whether some `yield` of a generator stands in a block in which recording is off."""
    for event in body:
        if silent and any(isinstance(node, ev.Yield) for node in values_of(event)):
            return True
        off = silent or (isinstance(event, ev.With) and any(switches_off(item, quiet) for item, _ in event.items))
        if any(yields_inside(inner, quiet, off) for inner in blocks(event)):
            return True
    return False
