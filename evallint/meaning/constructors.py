"""Constructors of the project's classes: the objects that they make, and what these own."""

from __future__ import annotations

from typing import Any

from evallint import events as ev
from evallint.events import Call, Class, Function
from evallint.meaning import names
from evallint.meaning.decorators import Decorators
from evallint.meaning.machine import MOST_STEPS_OF_CONSTRUCTOR, Args, Thing, TooLong, made
from evallint.meaning.methods import fits
from evallint.meaning.values import V, World, of
from evallint.meaning.walk import decorator_names


class Constructors(Decorators):
    """Makes objects."""

    def construct(self, cls: Class, args: Args, node: Call, w: World, mode: str = "fresh") -> V:
        """`Class(...)`."""
        if "Lazy" in cls.name and node.args and isinstance(first := node.args[0], ev.Const) and isinstance(first.value, str):
            return of(("x", first.value))  # a module that is imported when it is first used
        loc: Any = ("new", self.path, node.span, self.chain(), *self.tags)
        if loc in self.things and self.things[loc].cls not in (cls, None):
            loc = (*loc, cls.name)  # one call may make objects of several classes
        thing = Thing(cls, cls.name, name=self.things[loc].name if loc in self.things else "")
        self.tick += 1
        self.make(loc, thing)
        w.attrs.drop(loc)
        value = of(("o", loc))
        if self.project.is_module(cls):
            thing.kind = "loss" if self.is_loss(cls) or self.is_empty(cls) else "model"
            for key in [k for k in w.modes if k[0] == "child" and k[1] == loc]:
                del w.modes[key]
            w.modes[loc] = made(mode, self.path, node.span, self.frame.stop.function, f"{cls.name}(…)")
        else:
            thing.kind = "instance"
        init = self.project.method(cls, "__init__")
        if init is not None and not init[1].decorators and self.project.method(cls, "__new__") is None and not fits(init[1], args):
            thing.misfit = thing.kind == "model"  # perhaps the file of its class has gone on since
            if not thing.misfit:
                self.things[loc] = Thing(None, cls.name, "data", thing.name)  # no such object can be made
        elif init is not None:
            self.note_given(init[1], args, w)
            if not self.built_alike(loc, cls, args, w):
                self.build_in_time(init, value, args, node, w)
            if mode == "given":  # … and so are the parts that it has made
                self.set_mode(w, loc, made(mode, self.path, node.span, self.frame.stop.function, f"{cls.name}(…)"))
        else:
            for number, arg in enumerate(args.all()):
                if arg.atoms:
                    self.set_attr(w, loc, f"#{number}", arg)
            fields = self.fields_of(cls)
            if fields or self.project.is_a(cls, "framework_classes"):
                for keyword, arg in {**dict(zip(fields, args.pos, strict=False)), **args.kw}.items():
                    self.set_attr(w, loc, keyword, arg)
        return value

    def built_alike(self, loc: Any, cls: Class, args: Args, w: World) -> bool:
        """Inside a module's constructor: whether a part like one that was built there before has been given the same parts.

        A network has many blocks of one class, and what they own differs in nothing that a rule asks for.
        """
        inside = any(f.function.name == "__init__" and f.cls is not None and self.project.is_module(f.cls) for f in self.frames)
        if not inside or not self.project.is_module(cls) or any(self.may_own(a) for v in args.all() for a in v.atoms):
            return False
        twin = self.twins.setdefault(id(cls), loc)
        if twin == loc or not self.children.get(twin):
            return False
        for name in self.children[twin]:
            if (held := w.attrs.get((twin, name))) is not None:
                self.set_attr(w, loc, name, held)
        return True

    def may_own(self, atom: Any) -> bool:
        """Whether an argument may be a module, or make one."""
        if atom[0] != "o":
            return atom[0] in ("f", "k", "p", "q", "l", "d")
        thing = self.thing(atom[1])
        return thing.kind != "loss" and (bool(thing.kind or thing.cls) or names.is_model_name(thing.name))

    def build_in_time(self, init: tuple[Class, Function], value: V, args: Args, node: Call, w: World) -> None:
        """Run a constructor, with those inside it, for no more than its share of a run: what follows matters more than every part."""
        limit, depth, records, muted = self.most_steps, len(self.frames), len(self.records), self.muted
        share = self.steps + MOST_STEPS_OF_CONSTRUCTOR
        self.most_steps = min(limit, share)
        try:
            self.call_function(init[1], 0, value, args, node, w, init[0])
        except TooLong:
            if self.most_steps < share:
                raise  # one around it is at its end
            self.notice()
            del self.frames[depth:], self.records[records:]
            self.muted = muted
        finally:
            self.most_steps = limit

    def fields_of(self, cls: Class) -> list[str]:
        """The fields of a data class, in the order in which its constructor takes them; none for any other class."""
        if "dataclass" not in decorator_names(cls):
            return []
        rows = [event for owner in reversed(self.project.mro(cls)) for event in owner.body if isinstance(event, ev.Assign)]
        return list(dict.fromkeys(t.id for event in rows if event.annotation is not None for t in event.targets if isinstance(t, ev.Name)))

    def note_given(self, init: Function, args: Args, w: World) -> None:
        """Remember in which modes models are handed to a constructor: its class's methods find them so."""
        named = dict(zip((p.name for p in init.params[1:]), args.pos, strict=False)) | args.kw
        for name, value in named.items():
            for atom in value.atoms:
                if atom[0] == "o" and (modes := w.modes.get(atom[1])):
                    self.given.setdefault((id(init), name), set()).update(modes)
                elif atom[0] == "o" and self.thing(atom[1]).kind == "model":
                    self.given.setdefault((id(init), name), set()).update(self.mode_of(w, atom[1]))

    def is_loss(self, cls: Class) -> bool:
        """A Module that measures or prepares data, by its name."""
        return names.is_loss_name(cls.name) or names.is_transform_name(cls.name)
