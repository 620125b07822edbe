"""Calls of the project's own code: functions are run where they are called, in the state of the caller."""

from __future__ import annotations

from typing import Any

from evallint import events as ev
from evallint.events import ANY_METHOD, Call, Class, Function, Value
from evallint.meaning import names
from evallint.meaning.constructors import Constructors
from evallint.meaning.facts import Stop
from evallint.meaning.machine import MOST_FRAMES, Args, Frame, last_name, text_of
from evallint.meaning.signs import is_check
from evallint.meaning.values import OFF, ON, UNKNOWN, Spot, V, World, flowed, join, meet, of
from evallint.meaning.vocabulary import SAME_OBJECT
from evallint.meaning.walk import decorator_names, is_static, is_told, is_told_to_record, steps_environment, updates_by_hand


class Calls(Constructors):
    """Calls, constructors, decorators, context managers."""

    def call(self, node: Call, w: World) -> V:
        func = node.func
        if self.project.restores(self.path, func):
            return self.restoring(node, w)
        if isinstance(func, ev.Attr):
            base = self.value(func.base, w)
            args = self.args(node, w)
            return self.call_method(base, func, args, node, w)
        if isinstance(func, ev.Name) and func.id == "super" and not node.args:
            frame = self.frame
            if frame.cls is not None and frame.self_loc is not None:
                return of(("super", frame.cls, frame.self_loc))
        value = self.value(func, w)
        args = self.args(node, w)
        if isinstance(func, ev.Name) and func.id == "super" and len(args.pos) == 2:
            first = next((a[1] for a in args.pos[0].atoms if a[0] == "k"), None)
            loc = next((a[1] for a in args.pos[1].atoms if a[0] == "o"), None)
            if first is not None and loc is not None:
                return of(("super", first, loc))
        return self.call_value(value, args, node, w, func, last_name(func))

    def restoring(self, node: Call, w: World) -> V:
        """A context manager of which the user says that it puts models in evaluation mode: those at hand, or all."""
        given = self.args(node, w).all()
        if isinstance(node.func, ev.Attr):
            given.append(self.value(node.func.base, w))
        held = [atom for value in given for atom in value.atoms]
        held += [inner for atom in held if atom[0] == "q" for value in atom[1] for inner in value.atoms]
        return of(("e", tuple(atom[1] for atom in held if atom[0] == "o") or tuple(w.modes), node.span, False))

    def args(self, node: Call, w: World) -> Args:
        """Evaluate a call's arguments."""
        args = Args([], {})
        for item in node.args:
            value = self.value(item, w)
            if isinstance(item, ev.Star):
                parts = next((a[1] for a in value.atoms if a[0] == "q"), None)
                if parts is not None and len(value.atoms) == 1:
                    args.pos += parts
                else:
                    args.open = True
                    if value.data or any(a[0] == "l" for a in value.atoms):
                        args.kw.setdefault(f"*{len(args.kw)}", value)
            elif args.open:
                args.kw.setdefault(f"*{len(args.kw)}", value)
            else:
                args.pos.append(value)
        for key, item in node.keywords:
            value = self.value(item, w)
            if key == "**":
                table = next((a[1] for a in value.atoms if a[0] == "d"), None)
                if table is not None:
                    args.kw.update({str(k): v for k, v in table})
                else:
                    args.open = True
                    if value.data:
                        args.kw.setdefault(f"**{len(args.kw)}", value)
            else:
                args.kw[key] = value
        return args

    def call_method(self, base: V, func: ev.Attr, args: Args, node: Call, w: World) -> V:
        """`base.name(...)`."""
        name = func.name
        found: V | None = None
        for atom in (a for a in base.atoms if a[0] != "b"):
            kind = atom[0]
            if kind == "x":
                value = self.call_external(f"{atom[1]}.{name}", args, node, w)
            elif kind == "m":
                value = self.call_value(self.global_value(atom[1], name, w), args, node, w, func, name)
            elif kind == "o":
                value = self.call_object(atom[1], base, name, args, node, w)
            elif kind == "k":
                value = self.call_on_class(atom[1], name, args, node, w)
            elif kind == "super":
                value = self.call_super(atom[1], atom[2], name, args, node, w)
            elif kind in ("q", "l", "d"):
                value = self.call_container(atom, base, func, args, node, w)
            elif atom == ("c", "NoneType", None) and isinstance(func.base, ev.Attr):
                owners = [a[1] for a in self.value(func.base.base, w).atoms if a[0] == "o"]
                loc = self.child(owners[0], func.base.name) if owners else ("void", self.path, id(func))
                value = self.call_object(loc, of(("o", loc)), name, args, node, w)
            elif kind == "g" and name in ("__enter__", "__exit__"):
                self.set_grad(w, atom[1] if name == "__enter__" else "on", (self.path, node.span), "call")
                value = UNKNOWN
            elif kind == "f" and name == "__wrapped__":
                value = self.call_value(of(atom), args, node, w, func, name)
            else:
                value = self.call_object(("void", self.path, id(func)), base, name, args, node, w)
            found = value if found is None else join(found, value)
        if found is None:
            loc = ("void", self.path, text_of(func.base), id(self.frame.function))
            self.thing(loc).name = last_name(func.base)
            found = self.call_object(loc, base, name, args, node, w)
        return found

    def call_on_class(self, cls: Class, name: str, args: Args, node: Call, w: World) -> V:
        found = self.project.method(cls, name)
        if found is None:
            if name in ("from_pretrained", "load_from_checkpoint", "from_config"):
                given = args if name == "from_config" else Args([], args.kw, open=True)  # the first is where it was saved; it adds others
                return self.construct(cls, given, node, w, "given" if name == "from_pretrained" else "fresh")
            held = next((a[1] for a in self.class_constant(cls, name, w).atoms if a[0] == "o"), None)
            if held is not None and names.is_model_name(name):
                return self.call_object(held, of(("o", held)), "__call__", args, node, w)
            return self.result(node, args)
        owner, method = found
        decorators = {last_name(d) for d in method.decorators}
        if "classmethod" in decorators:
            return self.call_function(method, 0, of(("k", cls)), args, node, w, owner)
        if not args.pos or is_static(cls, method):
            return self.call_function(method, 0, None, args, node, w, owner)
        return self.call_function(method, 0, args.pos[0], Args(args.pos[1:], args.kw, args.open), node, w, owner)

    def call_super(self, cls: Class, loc: Any, name: str, args: Args, node: Call, w: World) -> V:
        real = self.thing(loc).cls or cls
        found = self.project.method(real if cls in self.project.mro(real) else cls, name, cls)
        if found is not None:
            return self.call_function(found[1], 0, of(("o", loc)), args, node, w, found[0])
        if name in ("train", "eval") and self.project.is_module(cls):
            self.switch(loc, name, args, node, w, "self")
        if name in SAME_OBJECT and self.project.is_module(cls):
            return of(("o", loc))
        return self.result(node, args)

    def switch(self, loc: Any, name: str, args: Args, node: Call, w: World, text: str) -> None:
        """`.eval()` or `.train(flag)` on a module."""
        raise NotImplementedError

    def result(self, node: Call, args: Args | None = None, base: V = UNKNOWN) -> V:
        """The unknown result of a call: a new object into which the arguments flowed."""
        flow = flowed([*args.all(), base]) if args is not None else base
        loc = ("ret", self.path, node.span, self.chain())
        self.made_at[loc] = self.tick, len(self.frames)  # when the call around is told again, it is another one
        self.last_made = self.tick
        return V((("o", loc),), flow.data, flow.graph)

    def with_places(self, node: Call, values: V) -> V:
        """What `torch.max(x, 1)` returns: values, which carry the graph on, and their places, which do not."""
        loc = ("ret", self.path, node.span, self.chain())
        items = V((("o", self.child(loc, "#0")),), values.data, values.graph, values.live), V((("o", self.child(loc, "#1")),), values.data)
        return V((("q", items),), values.data, values.graph)

    def call_value(self, func: V, args: Args, node: Call, w: World, display: Value, name: str) -> V:
        found: V | None = None
        for atom in func.atoms:
            kind = atom[0]
            if kind == "f":
                value = self.call_function(atom[1], atom[2], atom[3], args, node, w)
            elif kind == "k":
                value = self.construct(atom[1], args, node, w)
            elif kind == "x":
                value = self.call_external(atom[1], args, node, w)
            elif kind == "p":
                value = self.call_value(
                    atom[1], Args([*atom[2], *args.pos], {**dict(atom[3]), **args.kw}, args.open), node, w, display, name
                )
            elif kind == "w":
                value = self.wrapped(atom, args, node, w, display, name)
            elif kind == "g" and args.pos:
                value = of(("w", atom[1], args.pos[0]))
            elif kind == "o":
                value = self.call_object(atom[1], func, "__call__", args, node, w)
            else:
                value = self.result(node, args)
            found = value if found is None else join(found, value)
        if found is None:
            loc = ("void", self.path, text_of(display), id(self.frame.function))
            self.thing(loc).name = name
            found = self.call_object(loc, func, "__call__", args, node, w)
        return found

    def wrapped(self, atom: Any, args: Args, node: Call, w: World, display: Value, name: str) -> V:
        before = w.grad, w.grad_at
        self.set_grad(w, atom[1], (self.path, node.span))
        value = self.call_value(atom[2], args, node, w, display, name)
        w.grad, w.grad_at = before
        return value

    def set_grad(self, w: World, setting: str, spot: Spot | None = None, kind: str = "context") -> None:
        """Enter a grad mode; `spot` is what enters it, a "context" or a "call"."""
        w.grad = {"on": ON, "off": OFF}.get(setting, ON | OFF)
        function = self.frame.stop.function if self.frames else ""
        w.grad_at = len(self.frames) - 1, frozenset(((*spot, function, kind),) if spot is not None and setting == "off" else ())

    # Functions

    def call_function(
        self, fn: Function, act: int, self_value: V | None, args: Args, node: Call | None, w: World, cls: Class | None = None
    ) -> V:
        cls = cls or self.project.class_of_method.get(id(fn))
        if self_value is None and cls is not None and args.pos and not is_static(self.project.class_of_method.get(id(fn)), fn):
            self_value, args = args.pos[0], Args(args.pos[1:], args.kw, args.open)
        elif self_value is None:
            self_value = self.owners_of_wrapped.get(id(fn))  # a wrapper that hands on what it was not seen to be handed
        if node is not None and self.is_switched_by_name(fn, args, node, w):
            return UNKNOWN
        decorations = self.decorated(fn, act, w)
        for kind, rows in decorations:
            if kind == "closes over":  # the variables of a decorator's factory
                w.vars.rows.update((a, row) for a, row in rows.items() if a not in w.vars.rows)
        if any(kind == "context" for kind, _ in decorations):
            return of(("y", fn, tuple(args.pos), tuple(sorted(args.kw.items(), key=lambda kv: kv[0])), act, self_value))
        around: list[tuple[V, Value | None]] = [(value, None) for kind, value in decorations if kind == "around"]
        for silent in [silent for kind, silent in decorations if kind == "evaluates"][:1]:
            switched = tuple(a[1] for v in (self_value, *args.all()) if v is not None for a in v.atoms if a[0] == "o")
            around.append((of(("e", switched, fn.span, silent)), None))
        if not around:
            return self.run_decorated(fn, act, self_value, args, node, w, cls, decorations)
        value = UNKNOWN

        def body(world: World) -> World:
            nonlocal value
            value = self.run_decorated(fn, act, self_value, args, node, world, cls, decorations)
            return world

        after = self.with_values(around, body, w)
        if after is not None and after is not w:
            w.become(after)
        return value

    def run_decorated(
        self,
        fn: Function,
        act: int,
        self_value: V | None,
        args: Args,
        node: Call | None,
        w: World,
        cls: Class | None,
        decorations: list[tuple[str, Any]],
    ) -> V:
        """Run a function under what its decorators set, or what they put in its place."""
        settings = [value for kind, value in decorations if kind == "grad"]
        wraps = [value for kind, value in decorations if kind == "wrap"]
        before = w.grad, w.grad_at
        if wraps and node is None:
            node = Call(ev.Name(fn.name), (), (), fn.span)
        if wraps and node is not None and all(id(fn) != id(f.function) for f in self.frames):
            inner, given = of(("f", self.project.undecorated(fn), act, None)), args
            if self_value is not None:
                self.owners_of_wrapped[id(self.project.undecorated(fn))] = self_value
                given = Args([self_value, *args.pos], args.kw, args.open)
            self.visited.add(id(fn))
            outermost = not self.frames
            if outermost:
                self.frames.append(Frame(fn, self.owner(fn.path), None, None, Stop(fn.path, fn.qualname, None, span_of_function=fn.span)))
            try:
                for kind, value in reversed(decorations):
                    if kind == "grad":
                        inner = of(("w", value, inner))
                    elif kind == "wrap":
                        inner = self.call_value(value, Args([inner], {}), node, w, node.func, "")
                if any(a[0] in ("f", "w") for a in inner.atoms):
                    self.wrapping = True
                    return self.call_value(inner, given, node, w, node.func, fn.name)
            finally:
                self.wrapping = False
                if outermost:
                    self.frames.clear()
        for setting in settings:
            self.set_grad(w, setting, (fn.path, fn.span))
            w.grad_at = w.grad_at[0] + 1, frozenset((at, span, fn.qualname, kind) for at, span, _, kind in w.grad_at[1])
        value = self.run_function(fn, act, self_value, args, node, w, cls)
        if settings:
            w.grad, w.grad_at = before
            if all(s == "off" for s in settings):
                value = V(value.atoms, value.data)
        return value

    def is_switched_by_name(self, fn: Function, args: Args, node: Call, w: World) -> bool:
        """Whether a helper calls `train` or `eval` of what it is handed, and is told so by name: `apply_to(model, "train", mode=False)`."""
        if ANY_METHOD not in fn.called or len(args.pos) < 2 or len(args.pos[1].atoms) != 1:
            return False
        (said,) = args.pos[1].atoms
        models = [a[1] for a in args.pos[0].atoms if a[0] == "o"]
        if said[0] != "c" or said[2] not in ("train", "eval") or not models:
            return False
        for loc in models:
            self.switch(loc, said[2], Args(args.pos[2:], args.kw), node, w, text_of(node.func))
        return True

    def framework_hook(self, cls: Class, fn: Function) -> bool:
        """Whether a framework calls this method, in a mode of its choice."""
        return False

    def run_function(self, fn: Function, act: int, self_value: V | None, args: Args, node: Call | None, w: World, cls: Class | None) -> V:
        """Bind the arguments and run the body. Too deep, recursive or irrelevant functions are not entered."""
        if (
            len(self.frames) >= MOST_FRAMES
            or any(f.function is fn and self.parents.get(f.act) == (act or self.owner(fn.path)) for f in self.frames)
            or (
                id(fn) not in self.project.relevant
                and fn.name != "<lambda>"
                and not is_small(fn)
                and not (fn.name == "__init__" and cls is not None and self.project.holds_something(cls))
            )
        ):
            if self.records and id(fn) in self.project.relevant:
                self.cut(fn, act)
            return self.skipped(fn, args, node, w, cls)
        self.visited.add(id(fn))
        given = (*args.pos, *args.kw.values()) if self_value is None else (self_value, *args.pos, *args.kw.values())
        key = self.summary_key(fn, act, given, args, cls, w)
        if key is not None and (known := self.recalled(*key)) is not None:
            return self.replay(known, key[1], node, w)
        self.begin_record(key, w).visited.add(id(fn))
        frame = self.enter(fn, act, self_value, node, cls)
        self.bind_args(frame, fn, args, w)
        value = self.finish(frame, w)
        self.end_record(value, w)
        return value

    def skipped(self, fn: Function, args: Args, node: Call | None, w: World, cls: Class | None) -> V:
        return self.result(node, args) if node is not None else UNKNOWN

    def enter(self, fn: Function, act: int, self_value: V | None, node: Call | None, cls: Class | None) -> Frame:
        """A new frame on the stack."""
        loc = next((a[1] for a in self_value.atoms if a[0] == "o"), None) if self_value is not None else None
        is_module = cls is not None and self.project.is_module(cls)
        receiver = ""
        if node is not None and isinstance(node.func, ev.Attr):
            receiver = text_of(node.func.base)
        stop = Stop(fn.path, fn.qualname, node.span if node is not None else None, receiver, cls.name if cls else "", is_module, fn.span)
        stop.wraps, self.wrapping = self.wrapping, False
        stop.checks = is_check(fn)
        stop.part = is_module and cls is not None and cls.name in self.project.part_classes
        stop.shared = is_module and cls is not None and fn.name in self.called_by_forward(cls)
        stop.told = not self.project.evaluation_functions.isdisjoint((fn.name, fn.qualname))
        stop.told |= node is not None and any(is_told(name, value) for name, value in node.keywords)
        stop.acts, stop.trains = steps_environment(fn), updates_by_hand(fn)
        stop.wants_grad, stop.attacks = self.asks_for_graph(fn), self.makes_attack(fn)
        frame = Frame(fn, self.new_act(act or self.owner(fn.path)), loc, cls, stop)
        frame.globals.clear()
        if cls is not None:
            self.act_owners[frame.act] = (cls.name, is_module)
        elif act in self.act_owners:  # a function inside a method
            self.act_owners[frame.act] = stop.owner, stop.module = self.act_owners[act]
        self.frames.append(frame)
        if self_value is not None and fn.params and cls is not None:
            frame.stop.owner = cls.name
        self._self_value = self_value
        return frame

    _self_value: V | None = None

    def asks_for_graph(self, fn: Function) -> bool:
        """Whether a function says itself that its graph is wanted, or lets a flag decide."""
        found = self.asking.get(id(fn))
        if found is None:
            found = self.asking[id(fn)] = "enable_grad" in decorator_names(fn) or is_told_to_record(fn)
        return found

    def makes_attack(self, fn: Function) -> bool:
        """Whether a function has an attack made on what it evaluates: `pgd_attack(model, x, y)`."""
        found = self.attacking.get(id(fn))
        if found is None:
            found = self.attacking[id(fn)] = any(names.words(name)[-1:] in ATTACKING for name in fn.called)
        return found

    def bind_args(self, frame: Frame, fn: Function, args: Args, w: World) -> None:
        """Bind arguments to parameters as Python does; a missing one gets its default."""
        rest = list(args.pos)
        if self._self_value is not None and frame.cls is not None:
            rest.insert(0, self._self_value)
        kw = {k: v for k, v in args.kw.items() if not k.startswith("*")}
        # which parameters get what `**fields` spreads is not known: all that get nothing else
        spread = flowed([v for k, v in args.kw.items() if k.startswith("**")])
        for param in fn.params:
            key = (frame.act, param.name)
            if param.kind == "pos" and rest:
                w.vars[key] = rest.pop(0)
            elif param.kind in ("pos", "kw") and param.name in kw:
                w.vars[key] = kw.pop(param.name)
            elif param.kind == "*":
                w.vars[key] = of(("q", tuple(rest))) if not args.open else UNKNOWN
                rest = []
            elif param.kind == "**":
                w.vars[key] = of(("d", tuple(sorted(kw.items(), key=lambda kv: kv[0])))) if not args.open else UNKNOWN
            elif param.default is not None and not args.open:
                w.vars[key] = self.value(param.default, w)
            else:
                loc = ("param", fn.path, fn.qualname, param.name, self.chain())
                self.thing(loc).name = param.name
                w.vars[key] = V((("o", loc),), spread.data, spread.graph)
            if self.annotate(w.vars[key], param, fn.path):  # one of several callees, and not the one that is meant
                w.vars[key] = self.parameter(fn, param)

    def finish(self, frame: Frame, w: World) -> V:
        """Run a frame's body and pop it; `w` becomes the joined state of all its exits."""
        before = w.grad, w.grad_at
        try:
            after = self.run(frame.function.body, w)
            self.run_nested(frame, after)
        finally:
            self.frames.pop()
        value: V | None = None
        ends: list[World] = []
        if after is not None:
            ends.append(after)
            value = None if frame.returns else UNKNOWN
        for world, returned in frame.returns:
            if all(world is not e for e in ends):
                ends.append(world)
            value = returned if value is None else join(value, returned)
        if frame.function.is_generator:
            value = V((("l", frame.yielded),), frame.yielded.data, frame.yielded.graph)
            self.streamed |= frame.yielded.graph
        self.returned = bool(ends)
        if ends:
            end = ends[0]
            for other in ends[1:]:
                end = meet(end, other, self.defaults)
            if end is not w:
                w.become(end)
        else:  # a worker that never ends: what comes next runs beside it
            w.grad, w.grad_at = before
        if not frame.function.has_closures:
            w.vars.drop(frame.act)
        return value if value is not None else UNKNOWN

    def run_nested(self, frame: Frame, after: World | None) -> None:
        """Functions defined here that nobody was seen to call (event handlers, callbacks) run at the end."""
        world = after.copy() if after is not None else frame.returns[-1][0].copy() if frame.returns else None
        waiting = [(fn, act) for fn, act in frame.nested if id(fn) not in self.visited and id(fn) in self.project.relevant]
        if world is None:
            return
        for fn, act in waiting * 2 if len(waiting) > 1 else waiting:  # twice: each meets what the others leave
            args = Args([self.parameter(fn, p) for p in fn.params if p.kind == "pos"], {})
            self.call_function(fn, act, None, args, None, world)

    def parameter(self, fn: Function, param: ev.Param) -> V:
        """The unknown value of a root's parameter."""
        loc = ("param", fn.path, fn.qualname, param.name)
        thing = self.thing(loc)
        thing.name = param.name
        thing.required |= param.default is None and fn.name == "__init__"
        value = of(("o", loc))
        self.annotate(value, param, fn.path)
        return value


ATTACKING = frozenset((word,) for word in "attack attacker adversary perturb pgd fgsm deepfool".split())
"""Last words of what computes gradients of the model that it is handed."""


def is_small(fn: Function) -> bool:
    """A getter, a setter or the like: what it returns or keeps may be a model."""
    if fn.glance is not None and fn.glance.statements > 3:
        return False
    if len(fn.body) <= 3 and any(isinstance(e, ev.Assign) for e in fn.body):
        return all(isinstance(e, (ev.Assign, ev.Return)) for e in fn.body)
    return len(fn.body) <= 2 and isinstance(fn.body[-1] if fn.body else None, ev.Return)
