"""States: in which state the methods of a class can be entered, after its constructor and what else its users call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from evallint.events import Class, Const, Function, Param
from evallint.meaning import names
from evallint.meaning.holding import Holding
from evallint.meaning.machine import MOST_STEPS, Args, Fork, TooLong
from evallint.meaning.project import Project
from evallint.meaning.values import UNKNOWN_MODE, Mode, Modes, World, const, is_constant, join, meet, of
from evallint.meaning.walk import attributes_set

MOST_METHODS = 30
SWITCHED_OUTSIDE = frozenset((Mode("unknown", left="<outside>"),))
"""The mode of an attribute that others than its class switch."""
MEASURING = frozenset("data target targets label labels metric metrics score scores evaluate evaluating".split())


class States(Holding):
    """Runs constructors and methods for the state that they leave."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self.class_worlds: dict[int, World] = {}
        self.may_fork = True

    def meet_key(self, key: Any, site: int) -> None:
        if self.may_fork:
            super().meet_key(key, site)

    def class_world(self, cls: Class) -> World:
        """The state in which a method of a class can be entered: after its constructor and any of its public methods."""
        found = self.class_worlds.get(id(cls))
        if found is not None:
            return found
        self.perform(("class", cls), lambda: self.enter_class(cls))
        return self.class_worlds[id(cls)]

    def perform(self, key: tuple[Any, ...], step: Callable[[], None]) -> None:
        """Take a step of the analysis: `key`, and the flags that roots are run with, tell it from others."""
        step()

    def enter_class(self, cls: Class) -> None:
        """Work out the state that the methods of a class can be entered in."""
        world = self.worlds[cls.path].copy()
        self.class_worlds[id(cls)] = world
        loc = self_loc(cls)
        thing = self.thing(loc)
        is_module = self.project.is_module(cls)
        owned = "loss" if is_module and self.is_empty(cls) and not self.project.subclasses.get(id(cls)) else "model"
        thing.cls, thing.kind, thing.name = cls, owned if is_module else "instance", "self"
        visited, self.may_fork = self.visited, False
        self.visited = visited.copy()
        try:
            self.build(cls, loc, world, is_module)
        finally:
            self.visited, self.may_fork = visited, True
        if not is_module:
            inherits = any(self.project.libraries.matches("switching_libraries", base) for base in self.project.outside_bases(cls))
            by_library: Modes = frozenset((Mode("given"),)) if inherits else frozenset()
            for name, value in world.attrs.rows.get(loc, {}).items():
                models = [a[1] for a in value.atoms if a[0] == "o" and a[1] in world.modes]
                outside = SWITCHED_OUTSIDE if self.project.is_switched_from_outside(cls, name) else by_library
                for model in models if outside else ():
                    self.set_mode(world, model, outside)
        strip(world)
        if id(cls) in self.frozen_classes:
            world.frozen |= self.modules_in(world, loc)

    def build(self, cls: Class, loc: Any, world: World, is_module: bool) -> None:
        init = self.project.method(cls, "__init__")
        if init is not None:
            for param in init[1].params[1:]:
                if known := self.given.get((id(init[1]), param.name)):
                    handed = frozenset(replace(mode, left="__init__") for mode in known)  # perhaps after its users trained it
                    world.modes["param", init[1].path, init[1].qualname, param.name] = handed
            built = world.copy()
            if not self.quietly(init[1], init[0], loc, built):  # it demands one of its optional arguments
                built = world.copy()
                self.quietly(init[1], init[0], loc, built, all_given=True)
            world.become(built)
            strip(world)
        if is_module:
            if any(m.mode != "eval" for m in self.mode_of(world, loc)):  # its constructor does not switch it
                self.set_mode(world, loc, UNKNOWN_MODE)
            return
        for owner in self.project.mro(cls):
            for method in owner.methods.values():
                if method.name != "__init__" and id(method) not in self.project.relevant:
                    self.open_settings(method, loc, world)
        inner = {n for c in self.project.mro(cls) for m in c.methods.values() for r, n in m.receivers if r == "self"}
        before = world.copy()
        count = 0
        for owner in self.project.mro(cls):
            for name, method in owner.methods.items():
                if name in ("__init__",) or name in inner or id(method) not in self.project.relevant or count >= MOST_METHODS:
                    continue
                if self.framework_hook(cls, method) or self.project.method(cls, name) != (owner, method):
                    continue
                count += 1
                after = before.copy()
                self.quietly(method, owner, loc, after)
                strip(after)
                for at, modes in list(after.modes.items()):
                    after.modes[at] = frozenset(
                        m if m.mode == "unknown" or m in before.modes.get(at, ()) else replace(m, left=name) for m in modes
                    )
                world.become(meet(world.copy(), after, self.defaults))

    def open_settings(self, method: Function, loc: Any, world: World) -> None:
        """Forget what the constructor made of the settings that a method changes: nobody knows whether it has been called."""
        for name in attributes_set(method):
            value = world.attrs.get((loc, name))
            if value is not None and is_constant(value, "NoneType", "bool"):
                self.set_attr(world, loc, name, of(("o", self.child(loc, name))))

    def quietly(self, fn: Function, cls: Class, loc: Any, w: World, all_given: bool = False) -> bool:
        """Run a method for the state that it leaves, and say whether it returns; its facts are dropped.

        Arguments with a default are left out, but for what turns an evaluation on; or (`all_given`) those whose default is None
        may be anything.
        """
        self.begin({})
        self.most_steps = 2 * MOST_STEPS
        params = [p for p in fn.params[1:] if p.kind in ("pos", "kw")]
        args = Args([], {p.name: self.parameter(fn, p) for p in params if p.default is None or turns_on_evaluation(p)})
        if all_given:
            optional = [p for p in params if isinstance(p.default, Const) and p.default.value is None]
            args.kw.update({p.name: join(const(None), self.parameter(fn, p)) for p in optional})
        self.returned = True
        try:
            self.call_function(fn, 0, of(("o", loc)), args, None, w, cls)
        except (TooLong, Fork):
            self.frames.clear()
            return True
        return self.returned


def turns_on_evaluation(param: Param) -> bool:
    """`val_loader=None`, `has_targets=False`: an option without which a class may never evaluate."""
    default = param.default.value if isinstance(param.default, Const) else ""
    if default is False and names.has_words(param.name, MEASURING):
        return True
    return (default is None or default is False) and names.has_words(param.name, names.LOADER_EVAL_WORDS)


def self_loc(cls: Class) -> tuple[Any, ...]:
    """The location of a root's object."""
    return ("self", cls.path, cls.qualname)


def strip(w: World) -> None:
    """Forget which forwards' outputs are where: their run is over."""
    w.vars.strip()
    w.attrs.strip()
    w.stained = {}
