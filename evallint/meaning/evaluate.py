"""Values: what an expression can be in an abstract state."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from evallint import events as ev
from evallint.events import Value
from evallint.meaning import names
from evallint.meaning.bound import given_to
from evallint.meaning.conditions import Conditions
from evallint.meaning.facts import LoopFact
from evallint.meaning.machine import last_name
from evallint.meaning.values import NO_IDS, NONE, ON, UNKNOWN, V, World, alive, const, constants, flowed, is_constant, join, of, united
from evallint.meaning.walk import attributes_set, is_slice, names_in

CUTS = frozenset(("data", "grad", "indices"))
SHAPES = frozenset(("shape", "dtype", "device", "ndim", "is_cuda", "requires_grad"))
"""What is read of a tensor without looking at its numbers."""
PHASE = frozenset(("train", "training"))
SELF_ATTRIBUTES = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module"))


class Evaluate(Conditions):
    """Evaluates values."""

    def value(self, node: Value | None, w: World) -> V:
        if node is None:
            return UNKNOWN
        return VALUES[type(node)](self, node, w)

    def name(self, node: ev.Name, w: World) -> V:
        found = self.variable(node, w)
        if node.id == "torch" and all(atom[0] == "o" for atom in found.atoms):
            return of(("x", "torch"))  # it came with a star, or from a helper that imports it
        return found

    def variable(self, node: ev.Name, w: World) -> V:
        """What a name stands for where it is read."""
        frame, name, rows = self.frames[-1], node.id, w.vars.rows
        act = self.owner(self.path) if name in frame.globals else frame.act
        while act:
            row = rows.get(act)
            found = row.get(name) if row is not None else None
            if found is not None and not (
                found.atoms == NONE.atoms and act == self.module_acts.get(self.path) and frame.function.name != "<module>"
            ):
                if not found.atoms:
                    found = self.placed(found, ("var", act, name), name)
                return self.stained(found, w) if w.stained else found
            act = self.parents.get(act, 0)
        return self.global_value(self.path, name, w)

    def placed(self, value: V, loc: tuple[Any, ...], name: str) -> V:
        """A value of which nothing is known, as an object with a place of its own."""
        if not value.data:
            self.thing(loc).name = name
        return V((("o", loc),), value.data, value.graph, value.live)

    def global_value(self, path: str, name: str, w: World) -> V:
        """A module's global as its own code left it."""
        found = w.vars.get((self.owner(path), name))
        if found is not None and found.atoms != NONE.atoms:
            return found
        atom = self.project.lookup(path, name)
        if atom is not None:
            if atom[0] == "v":
                return self.module_global(atom[1], atom[2], w)
            return of(atom)
        if name in ("True", "False", "None"):
            return UNKNOWN
        event = self.project.global_event(path, name)
        if event is not None:
            return self.module_global(path, name, w)
        return of(("o", ("global", path, name))) if name not in BUILTINS else of(("x", f"builtins.{name}"))

    def module_global(self, path: str, name: str, w: World) -> V:
        """A variable of another module's body: a constant as it is, anything else as an object of unknown mode."""
        found = w.vars.get((self.owner(path), name))
        if found is not None and found.atoms != NONE.atoms:
            return found
        event = self.project.global_event(path, name)
        if isinstance(event, ev.Assign) and isinstance(event.value, ev.Const) and event.value.value is not None:
            return const(event.value.value)
        there = self.worlds.get(path)
        left = there.vars.get((self.owner(path), name)) if there is not None else None
        if there is not None and left is not None and any(a[0] == "o" for a in left.atoms):
            w.adopt(there, left)
            return left
        if isinstance(event, ev.Assign) and isinstance(event.value, ev.Map):
            table = self.builders(path, event.value)
            if table is not None:
                return table
        if isinstance(event, ev.Assign) and isinstance(event.value, (ev.Name, ev.Attr)):
            atom = self.project.dotted(path, event.value)
            if atom is not None and atom[0] != "v":
                return of(atom)
        loc = ("global", path, name)
        self.thing(loc).name = name
        return of(("o", loc))

    def builders(self, path: str, node: ev.Map) -> V | None:
        """A table of functions or classes in another module's body: `registry = {"small": build_small}`; None for any other."""
        rows: list[tuple[Any, V]] = []
        for key, value in node.items:
            atom = self.project.dotted(path, value)
            if not isinstance(key, ev.Const) or atom is None or atom[0] not in ("f", "k"):
                return None
            rows.append((key.value, of(atom)))
        return of(("d", tuple(rows))) if rows else None

    def stained(self, value: V, w: World) -> V:
        """A value together with what was stored into its object."""
        if w.stained:
            for atom in value.atoms:
                if atom[0] == "o" and atom[1] in w.stained:
                    stain = w.stained[atom[1]]
                    value = V(value.atoms, value.data | stain.data, value.graph | stain.graph, value.live)
        return value

    def constant(self, node: ev.Const, w: World) -> V:
        return const(node.value)

    def attr(self, node: ev.Attr, w: World) -> V:
        return self.attribute(self.value(node.base, w), node.name, w)

    def attribute(self, base: V, name: str, w: World) -> V:
        found: V | None = None
        for atom in base.atoms:
            value = self.attribute_of(atom, name, w)
            found = value if found is None else join(found, value)
        if found is None:
            found = UNKNOWN
        if base.data and name not in SHAPES:
            graph, live = (base.graph, base.live) if name not in CUTS else (NO_IDS, NO_IDS)
            found = V(found.atoms, found.data | base.data, found.graph | graph, found.live | live)
            if name == "data" and base.graph:
                self.used(base, "detach")
            if name == "grad":
                for number in base.data:
                    self.forwards[number].grad_used = True
        elif name == "grad" and not any(a[0] == "o" and a[1][-1] == "<parameter>" for a in base.atoms):
            self.frame.stop.wants_grad = True
        return found

    def attribute_of(self, atom: tuple[Any, ...], name: str, w: World) -> V:
        kind = atom[0]
        if kind == "x":
            return of(("x", f"{atom[1]}.{name}"))
        if kind == "m":
            return self.global_value(atom[1], name, w)
        if kind == "o":
            return self.attribute_of_object(atom[1], name, w)
        if kind == "k":
            method = self.project.method(atom[1], name)
            if method is not None:
                return of(("f", method[1], 0, None))
            return self.class_constant(atom[1], name, w)
        return UNKNOWN

    def class_constant(self, cls: ev.Class, name: str, w: World) -> V:
        for owner in self.project.mro(cls):
            for event in owner.body:
                if isinstance(event, ev.DefineClass) and event.cls.name == name:
                    return of(("k", event.cls))
                if isinstance(event, ev.Assign) and any(isinstance(t, ev.Name) and t.id == name for t in event.targets):
                    if isinstance(event.value, ev.Const) and (event.value.value is not None or not names.is_model_name(name)):
                        return const(event.value.value)
                    atom = self.project.dotted(owner.path, event.value)
                    return of(atom) if atom is not None and atom[0] != "v" else of(("o", ("class", owner.path, owner.qualname, name)))
        return of(("o", ("class", cls.path, cls.qualname, name)))

    def attribute_of_object(self, loc: tuple[Any, ...], name: str, w: World) -> V:
        found = w.attrs.get((loc, name))
        if found is not None and (is_setting(self.thing(loc).cls, found) or self.is_set_by_others(self.thing(loc).cls, name, found)):
            return of(("o", self.child(loc, name)))
        if found is not None:
            if not found.atoms:
                found = self.placed(found, self.child(loc, name), name)
            return self.stained(found, w)
        if name == "training":
            return of(("s", loc, self.mode_of(w, loc)))
        thing = self.thing(loc)
        if name in SELF_ATTRIBUTES and (thing.cls is None or thing.kind == "model"):
            return of(("o", loc))
        cls = thing.cls
        if cls is None and self.frames and self.frame.self_loc == loc:
            cls = self.frame.cls  # one of several that it may be
        if cls is not None:
            method = self.project.method(cls, name)
            if method is not None:
                if any(last_name(d) in ("property", "cached_property", "lazy_property") for d in method[1].decorators):
                    return self.call_function(method[1], 0, of(("o", loc)), self.no_args(), None, w, method[0])
                return of(("f", method[1], 0, of(("o", loc))))
            constant = self.project.constants_of(cls).get(name)
            if constant is not None:
                value = const(constant.value)
                return of(("o", self.child(loc, name))) if is_setting(cls, value) else value
            helper = self.project.helper_kept(cls, name)
            if helper is not None and (part := self.thing(self.child(loc, name))).cls is None:
                part.cls, part.kind = helper, "instance"
        return of(("o", self.child(loc, name)))

    def is_set_by_others(self, cls: ev.Class | None, name: str, value: V) -> bool:
        """Whether `self.in_train = False`, in a constructor, is but where callbacks begin: the class itself never changes it."""
        if cls is None or not is_constant(value, "bool") or not names.has_words(name, PHASE) or self.project.is_module(cls):
            return False
        setting = [m for owner in self.project.mro(cls) for m in owner.methods.values() if name in attributes_set(m)]
        return [m.name for m in setting] == ["__init__"] and all(isinstance(v, ev.Const) for v in given_to(setting[0], f"self.{name}"))

    def no_args(self) -> Any:
        from evallint.meaning.machine import Args

        return Args([], {})

    def sub(self, node: ev.Sub, w: World) -> V:
        base = self.value(node.base, w)
        index = self.value(node.index, w)
        if isinstance(node.base, ev.Attr) and node.base.name in ("_modules", "__dict__"):
            return self.part_by_name(base, constants(index), w, modules=node.base.name == "_modules")
        found: V | None = None
        slices = is_slice(node.index)
        for atom in base.atoms:
            value = of(atom) if slices and atom[0] in ("q", "l") else self.item_at(atom, index, id(node), w)
            found = value if found is None else join(found, value)
        found = found if found is not None else UNKNOWN
        flow = base.data | index.data
        if found.data and len(base.atoms) == 1 and base.atoms[0][0] == "q" and constants(index):
            return V(found.atoms, found.data | flow, found.graph, found.live)  # this item, and no other
        return V(found.atoms, found.data | flow, found.graph | base.graph, found.live | base.live) if flow else found

    def part_by_name(self, table: V, keys: list[Any] | None, w: World, modules: bool) -> V:
        """`self._modules[key]`, `self.__dict__[key]`: the attribute of that name, or a part that is not known."""
        found = UNKNOWN
        for loc in (a[1] for a in table.atoms if a[0] == "o"):
            if keys and all(isinstance(key, str) for key in keys):
                found = reduce(join, (self.attribute_of_object(loc[1], key, w) for key in keys), found)
            else:
                found = join(found, of(("o", self.child(loc, "[]"))))
        for atom in found.atoms if modules else ():
            if atom[0] == "o" and self.thing(atom[1]).cls is None:
                self.thing(atom[1]).kind = "model"
        return found

    def seq(self, node: ev.Seq, w: World) -> V:
        values: list[V] = []
        loose = False
        for item in node.items:
            if isinstance(item, ev.Star):
                inner = self.value(item.item, w)
                parts = next((a[1] for a in inner.atoms if a[0] == "q"), None)
                if parts is None or len(inner.atoms) != 1:
                    values.append(self.item_of(inner, ("item", self.path, id(item))))
                    loose = True
                else:
                    values += parts
            else:
                values.append(self.value(item, w))
        flow = flowed(values)
        if loose or len(values) > 12:
            inner = UNKNOWN
            for v in values:
                inner = join(inner, v)
            return V((("l", inner),), flow.data, flow.graph)
        return V((("q", tuple(values)),), flow.data, flow.graph)

    def map(self, node: ev.Map, w: World) -> V:
        items: list[tuple[Any, V]] = []
        values: list[V] = []
        for key, item in node.items:
            value = self.value(item, w)
            values.append(value)
            keys = constants(self.value(key, w)) if key is not None else None
            if keys and len(keys) == 1:
                items.append((keys[0], value))
            elif key is None:
                for atom in value.atoms:
                    if atom[0] == "d":
                        items += atom[1]
        flow = flowed(values)
        return V((("d", tuple(items[:40])),), flow.data, flow.graph)

    def compare(self, node: ev.Compare, w: World) -> V:
        left, right = self.value(node.left, w), self.value(node.right, w)
        found = self.compared(node, left, right)
        if found is not None:
            return const(found)
        key = self.comparison_key(node, left, right)
        atoms = (("b", *key),) if key is not None else ()
        return V(atoms, left.data | right.data)

    def compared(self, node: ev.Compare, left: V, right: V) -> bool | None:
        a, b = constants(left), constants(right)
        if node.op in ("is", "is not") and b == [None]:
            if left.atoms and a is None and all(self.is_something(x) for x in left.atoms):
                return node.op == "is not"
            if a is not None and len({x is None for x in a}) == 1:
                return (a[0] is None) == (node.op == "is")
            if any(x[0] == "o" and self.thing(x[1]).kind == "model" for x in left.atoms):
                return node.op == "is not"  # where there is none, nothing runs
            return None
        if a is not None and b is not None and node.op in ("==", "!=", "is", "is not"):
            answers = {(x == y) == (node.op in ("==", "is")) for x in a for y in b}
            return answers.pop() if len(answers) == 1 else None
        if a is not None and node.op in ("in", "not in"):
            pool = [constants(v) for atom in right.atoms if atom[0] == "q" for v in atom[1]]
            if pool and all(p is not None and len(p) == 1 for p in pool):
                answers = {(x in [p[0] for p in pool if p]) == (node.op == "in") for x in a}
                return answers.pop() if len(answers) == 1 else None
        return None

    def comparison_key(self, node: ev.Compare, left: V, right: V) -> tuple[Any, bool] | None:
        """A name for the truth of a comparison with a constant, and its polarity."""
        locs = [a[1] for a in left.atoms if a[0] == "o"]
        fixed = constants(right)
        if len(left.atoms) == 1 and locs and fixed is not None and len(fixed) == 1 and not left.data:
            polarity = node.op in ("==", "is")
            if node.op in ("==", "!=", "is", "is not"):
                return ("is", locs[0], fixed[0]), polarity
        return None

    def not_(self, node: ev.Not, w: World) -> V:
        value = self.value(node.item, w)
        values = constants(value)
        if values is not None and len({bool(v) for v in values}) == 1:
            return const(not values[0])
        key = self.key_of(value)
        return V((("b", key[0], not key[1]),) if key else (), value.data)

    def bool_(self, node: ev.Bool, w: World) -> V:
        left = self.value(node.left, w)
        known = self.known(left)
        if known is not None:
            return left if known == (node.op == "or") else self.value(node.right, w)
        right = self.value(node.right, w)
        if self.known(right) is (node.op == "and") and any(a[0] == "b" for a in left.atoms):
            return left
        atoms = tuple(a for a in united(left.atoms, right.atoms) if a[0] != "b" and a != ("c", "NoneType", None))
        return V(atoms if len(atoms) <= 4 else (), left.data | right.data, left.graph | right.graph)

    def if_value(self, node: ev.IfValue, w: World) -> V:
        then, other = node.then, node.other
        if isinstance(then, ev.Const) and isinstance(other, ev.Const) and then.value is True and other.value is False:
            return self.value(node.test, w)  # `True if self.training else False`
        truth = self.truth(node.test, w, id(node), True)
        if truth is not None:
            return self.value(then if truth else other, w)
        spare = w.copy()
        found = self.value(then, w)
        value = self.value(other, spare)
        merged = self.either(w, spare)
        if merged is not None:
            w.become(merged)
        return join(found, value)

    def lambda_(self, node: ev.Lambda, w: World) -> V:
        return of(("f", node.function, self.frame.act, None))

    def comprehension(self, node: ev.Comprehension, w: World) -> V:
        self.step()
        fact = self.comprehension_fact(node)
        source = self.value(node.loops[0][1], w) if node.loops else UNKNOWN  # evaluated once, before the first round
        self.loops.append((fact, len(self.frames) - 1))
        try:
            return self.comprehended(node, source, w)
        finally:
            self.loops.pop()

    def comprehension_fact(self, node: ev.Comprehension) -> LoopFact:
        """The loop that a comprehension is."""
        key = (id(node), self.context())
        found = self.loop_facts.get(key)
        if found is None:
            sources = {n for _, over, _ in node.loops for n in names_in(over)}
            fact = LoopFact(self.path, (1, 1, 1, 1), self.frame.stop.function, " ".join(sorted(sources)), inline=True)
            found = self.loop_facts[key] = fact
        return found

    def comprehended(self, node: ev.Comprehension, source: V, w: World) -> V:
        """A comprehension's value."""
        for number, (target, over, tests) in enumerate(node.loops):
            source = self.value(over, w) if number else source
            rounds = self.rounds(source) if number == 0 and len(node.loops) == 1 else None
            if rounds is not None:
                values: list[V] = []
                for at, item in enumerate(rounds):
                    self.tags.append((id(node), at))
                    self.bind(target, item, w)
                    for test in tests:
                        self.value(test, w)
                    values.append(self.value(node.item, w))
                    self.tags.pop()
                flow = flowed(values)
                if node.kind == "DictComp":
                    pairs = [(constants(k), v) for a in values for k, v in (a.atoms[0][1],)]
                    if all(k and len(k) == 1 for k, _ in pairs):
                        return V((("d", tuple((k[0], v) for k, v in pairs if k)),), flow.data, flow.graph)
                    break
                return V((("q", tuple(values)),), flow.data, flow.graph)
            self.bind(target, self.item_of(source, ("item", self.path, id(node), number, self.chain())), w)
            for test in tests:
                self.value(test, w)
        value = self.value(node.item, w)
        if value.data:
            self.used(value, "append")
        if node.kind == "DictComp":
            kept: V = value.atoms[0][1][1]
            holds = any(a[0] in ("o", "f", "k", "s") for a in kept.atoms)
            return self.box(id(node), V(kept.atoms), w, value) if holds else V((), value.data, value.graph)
        return V((("l", value),), value.data, value.graph)

    def star(self, node: ev.Star, w: World) -> V:
        return self.value(node.item, w)

    def walrus(self, node: ev.Walrus, w: World) -> V:
        value = self.value(node.item, w)
        self.bind(node.target, value, w)
        return value

    def yield_(self, node: ev.Yield, w: World) -> V:
        value = self.value(node.item, w)
        frame = self.frame
        frame.yielded = join(frame.yielded, value)
        if frame.on_yield is not None:
            after = frame.on_yield(w, value)
            if after is not None:
                w.become(after)
        return UNKNOWN

    def mix(self, node: ev.Mix, w: World) -> V:
        if not node.items:
            return UNKNOWN
        values = [self.value(item, w) for item in node.items]
        if len(values) == 2 and all(any(a[0] in ("q", "l") for a in v.atoms) for v in values):
            return self.added(values[0], values[1])
        if len(values) == 2 and any(isinstance(item, ev.Seq) for item in node.items):  # `[a, b] * n`
            return next(v for v, item in zip(values, node.items, strict=True) if isinstance(item, ev.Seq))
        flow = flowed(values)
        live = NO_IDS.union(*map(alive, values)) if flow.graph and w.grad == ON and type(node) is ev.Mix else NO_IDS
        return V((), flow.data, flow.graph, live) if live else flow


def is_setting(cls: ev.Class | None, value: V) -> bool:
    """Whether a value is a default of a class of settings: users change those."""
    return cls is not None and is_constant(value, "NoneType", "bool") and names.has_words(cls.name, SETTINGS)


SETTINGS = frozenset("config configuration cfg args arguments options opt params parameters settings hparams hyperparameters".split())


BUILTINS = frozenset(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)

VALUES: dict[type, Callable[[Any, Any, World], V]] = {
    ev.Name: Evaluate.name,
    ev.Const: Evaluate.constant,
    ev.Attr: Evaluate.attr,
    ev.Call: lambda machine, node, w: machine.call(node, w),
    ev.Sub: Evaluate.sub,
    ev.Seq: Evaluate.seq,
    ev.Map: Evaluate.map,
    ev.Compare: Evaluate.compare,
    ev.Not: Evaluate.not_,
    ev.Bool: Evaluate.bool_,
    ev.IfValue: Evaluate.if_value,
    ev.Lambda: Evaluate.lambda_,
    ev.Comprehension: Evaluate.comprehension,
    ev.Star: Evaluate.star,
    ev.Walrus: Evaluate.walrus,
    ev.Yield: Evaluate.yield_,
    ev.Mix: Evaluate.mix,
    ev.Text: Evaluate.mix,
}
