"""Methods of objects whose class is the project's own, or may be: they are run where they are called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evallint import events as ev
from evallint.events import Call, Class, Function, Value
from evallint.meaning import names
from evallint.meaning.machine import Args, last_name, made, text_of
from evallint.meaning.methods import NO_FORWARD_PREFIXES, computes, delegated_to, fits, is_abstract, is_mode_method, is_stand_in
from evallint.meaning.torch_calls import TorchCalls
from evallint.meaning.values import UNKNOWN, GradAt, Mode, Modes, V, World, flowed, join, of
from evallint.meaning.vocabulary import COMMON_METHODS, FORWARD_METHODS, MODE_METHODS, NOT_FORWARDS, SAME_OBJECT

MOST_GUESSES = 3


class Owned(TorchCalls):
    """Calls methods that the project defines."""

    def trained_by_library(self, models: Iterable[Any], evaluates: bool, node: Call, w: World) -> V:
        """`trainer.train()` puts models in training mode; where it evaluates after each epoch, in evaluation mode at the end."""
        left: Modes = frozenset((Mode("given"),))
        if not evaluates:
            left = made("train", self.path, node.span, self.frame.stop.function, text_of(node.func), over=True)
        for model in models:
            self.set_mode(w, model, left)
        return UNKNOWN

    def call_own(self, loc: Any, cls: Class, method: str, args: Args, node: Call, w: World) -> V | None:
        """A method that the object's own class defines; None where it defines none."""
        project = self.project
        is_module = project.is_module(cls)
        found = project.method(cls, "forward" if method == "__call__" and is_module else method)
        if method == "__call__" and is_module and (own := project.own_call(cls)) is not None:
            return self.call_function(own[1], 0, of(("o", loc)), args, node, w, own[0])
        if method in MODE_METHODS and is_module:
            override = found
            if len(args.all()) < 2 and (override is None or (is_mode_method(override[1]) and not override[1].is_generator)):
                self.switch(loc, method, args, node, w, text_of(node.func))
                return of(("o", loc))
        if found is None and method == "train" and not is_module and project.is_a(cls, "framework_classes"):
            given = [v for name in ("model", "#0") if (v := w.attrs.get((loc, name))) is not None]
            models = [a[1] for value in given for a in value.atoms if a[0] == "o"]
            return self.trained_by_library(models, w.attrs.get((loc, "eval_dataset")) is not None, node, w)
        if found is None:
            others = self.overrides(cls, method) if loc[0] != "self" and method != "forward" else []
            if is_module:
                return self.any_of(others, loc, args, node, w) if others and method not in NOT_FORWARDS else None
            if not others:
                inner = self.delegate(loc, cls, w)
                return self.call_object(inner[1], of(inner), method, args, node, w) if inner is not None else None
            return self.any_of(others, loc, args, node, w)
        owner, fn = found
        if any(last_name(d) == "classmethod" for d in fn.decorators):
            return self.call_function(fn, 0, of(("k", cls)), args, node, w, owner)
        if is_module and method in ("forward", "__call__"):
            if self.thing(loc).kind == "loss":
                flow = flowed(args.all())
                self.used(flow, "metric")
                return self.result(node, args)
            shown = node.func.base if method == "forward" and isinstance(node.func, ev.Attr) else node.func
            return self.forward_own(loc, fn, owner, method, args, node, w, shown)
        if is_abstract(fn) and loc[0] != "self":
            others = self.overrides(cls, method)
            if others:
                return self.any_of(others, loc, args, node, w)
        if any(last_name(d) in ("property", "cached_property") for d in fn.decorators):
            value = self.call_function(fn, 0, of(("o", loc)), Args([], {}), None, w, owner)
            return self.call_value(value, args, node, w, node.func, method)
        static = any(last_name(d) == "staticmethod" for d in fn.decorators)
        inside = self.frame.self_loc == loc
        if not is_module or static or (inside and (id(fn) in self.project.relevant or not computes(fn, owner))):
            return self.call_function(fn, 0, None if static else of(("o", loc)), args, node, w, owner)
        if method in MODE_METHODS and method in fn.called and "super" not in fn.called:
            value = self.call_function(fn, 0, of(("o", loc)), args, node, w, owner)
            if not args.all():  # a shell around what it runs
                self.touch(loc)
                w.modes[loc] = made(method, self.path, node.span, self.frame.stop.function, text_of(node.func))
            return value
        if method in NOT_FORWARDS or method.startswith(NO_FORWARD_PREFIXES):
            if fn.called & MODE_METHODS or "freeze" in method:
                return self.call_function(fn, 0, of(("o", loc)), args, node, w, owner)
            return of(("o", loc)) if method in SAME_OBJECT else self.result(node, args)
        before = len(self.frame.forwards)
        value = self.call_function(fn, 0, of(("o", loc)), args, node, w, owner)
        if self.thing(loc).kind == "loss":
            return value
        bare = all(self.forwards[n].layers == "bare" for n in self.frame.forwards[before:])
        if bare and computes(fn, owner) and isinstance(node.func, ev.Attr):
            return self.stands_for(value, [fn], loc, method, args, node, w, node.func.base)
        return value

    def stands_for(self, value: V, fns: list[Function], loc: Any, method: str, args: Args, node: Call, w: World, shown: Value) -> V:
        """What a call of one of several methods gives, which stands for the forward, as what they run cannot be seen.

        The grad mode is what the decorators say, unless one is the program's own: that may set the mode as well.
        """
        kinds = {kind for fn in fns for kind, _ in self.decorated(fn, 0, w)}
        silent = kinds == {"grad"} and all(fn.decorators for fn in fns)
        outside = self.enter_decorators(fns[0], w) if silent else (w.grad, w.grad_at)
        ran = self.forward(loc, method, args, node, w, shown, True)
        w.grad, w.grad_at = outside
        return V(value.atoms, value.data | ran.data, value.graph | ran.graph, value.live | ran.live)

    def delegate(self, loc: Any, cls: Class, w: World) -> Any | None:
        """What `__getattr__` asks for what the object lacks, where it is an attribute of the object: `getattr(self.model, name)`."""
        found = self.project.method(cls, "__getattr__")
        name = delegated_to(found[1]) if found is not None else ""
        inner = self.attribute(of(("o", loc)), name, w).atoms if name else ()
        return inner[0] if len(inner) == 1 and inner[0][0] == "o" and inner[0][1] != loc else None

    def forward_own(self, loc: Any, fn: Function, owner: Class, method: str, args: Args, node: Call, w: World, shown: Value) -> V:
        """A forward whose code can be read: it may switch its own mode or carry its own no_grad."""
        touched = fn.called & {"train", "eval"} and any(r == "self" and m in MODE_METHODS for r, m in fn.receivers)
        before = self.enter_decorators(fn, w)
        if touched and sum(f.function is fn for f in self.frames) == 0:
            self.muted += 1  # its parts are no forwards of their own
            try:
                self.call_function(fn, 0, of(("o", loc)), args, node, w, owner)
            finally:
                self.muted -= 1
        value = self.forward(loc, method, args, node, w, shown, True)
        w.grad, w.grad_at = before
        return value

    def enter_decorators(self, fn: Function, w: World) -> tuple[frozenset[str], GradAt]:
        """Set the grad mode that a function's decorators ask for; what it was before."""
        before = w.grad, w.grad_at
        for kind, setting in self.decorated(fn, 0, w):
            if kind == "grad":
                self.set_grad(w, setting)
        return before

    def overrides(self, cls: Class, method: str) -> list[tuple[Class, Function]]:
        """What subclasses make of a method."""
        found = [(c, c.methods[method]) for c in self.project.subclasses.get(id(cls), ()) if method in c.methods and not is_stand_in(c)]
        return [pair for pair in found if id(pair[1]) in self.project.relevant][:3]

    def any_of(self, methods: list[tuple[Class, Function]], loc: Any, args: Args, node: Call, w: World) -> V:
        """One of several methods runs."""
        before = w.copy()
        found: V | None = None
        ends: list[World] = []
        for owner, fn in methods:
            world = before.copy()
            value = self.call_function(fn, 0, of(("o", loc)), args, node, world, owner)
            found = value if found is None else join(found, value)
            ends.append(world)
        after = ends[0]
        for other in ends[1:]:
            joined = self.either(after, other)
            after = joined if joined is not None else after
        w.become(after)
        return found if found is not None else UNKNOWN

    def call_defined(self, loc: Any, method: str, args: Args, node: Call, w: World) -> V | None:
        """A method that modules of the project define, of a model whose class is not known; None where that says too little."""
        if method == "forward" or (method in COMMON_METHODS and method not in FORWARD_METHODS) or method in MODE_METHODS:
            return None
        if method.startswith(("init", "_init")):
            return self.result(node, args)
        found = [
            (c, f)
            for c, f in self.project.methods.get(method, ())
            if self.project.is_module(c)
            and not is_stand_in(c)
            and not is_abstract(f)
            and self.project.reaches(self.path, f)
            and fits(f, args)
        ]
        if len(found) == 1 and not self.overrides(*found[0][:1], method):
            thing = self.thing(loc)
            thing.cls, thing.kind = found[0][0], "model"
            return self.call_own(loc, found[0][0], method, args, node, w)
        if len(found) > MOST_GUESSES and any("eval" in f.called for _, f in found):
            return self.result(node, args)  # they see to the mode themselves
        if not found:
            return self.call_wrapper(loc, method, args, node, w)
        if len(found) > MOST_GUESSES:
            return None
        before = len(self.frame.forwards)
        value = self.any_of(found, loc, args, node, w)
        if len(self.frame.forwards) == before and any(computes(f, c) for c, f in found) and isinstance(node.func, ev.Attr):
            return self.stands_for(value, [fn for _, fn in found], loc, method, args, node, w, node.func.base)
        return value

    def call_wrapper(self, loc: Any, method: str, args: Args, node: Call, w: World) -> V | None:
        """A method that one class of the project alone defines, which is named for a model and holds one."""
        told = names.has_words(method, names.STRONG_EVALUATION_WORDS) or (method in FORWARD_METHODS and len(names.words(method)) > 1)
        if loc[0] not in ("param", "child") or not told:
            return None
        found = [(c, f) for c, f in self.project.methods.get(method, ()) if not is_stand_in(c) and self.project.reaches(self.path, f)]
        if len(found) != 1 or id(found[0][1]) not in self.project.relevant or not fits(found[0][1], args):
            return None
        ((cls, _),) = found
        if self.project.is_module(cls) or not names.is_model_name(cls.name) or self.overrides(cls, method):
            return None
        thing = self.thing(loc)
        thing.cls, thing.kind = cls, "instance"
        return self.call_own(loc, cls, method, args, node, w)

    def name_class(self, loc: Any, name: str) -> None:
        """Give an object that is named like a class of the project (`retrieval_model`: RetrievalModel) that class."""
        cls = self.project.named_like(names.words(name))
        if cls is not None and self.project.connected(self.path, cls.path):
            thing = self.thing(loc)
            thing.cls, thing.kind = cls, "model" if self.project.is_module(cls) else "instance"
