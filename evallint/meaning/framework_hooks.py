"""The hooks of frameworks, played as their loops run them: a training step, what comes between two of them, and the step again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from itertools import chain

from evallint import events as ev
from evallint.events import Class, Function
from evallint.meaning.facts import Facts
from evallint.meaning.machine import Args
from evallint.meaning.project import Project
from evallint.meaning.slices import back_propagated
from evallint.meaning.states import States, self_loc
from evallint.meaning.values import UNKNOWN, Mode, V, World, flowed, of
from evallint.meaning.walk import asked_of_self, every

Root = Callable[[World], V]
STEPS = ("training_step", "compute_loss")
"""Hooks that a framework runs for every batch and whose result it back-propagates."""


class FrameworkHooks(States):
    """Runs what frameworks call of a program."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self.facts = Facts()

    def enter_from_outside(self, run: Root, path: str, cls: Class | None) -> None:
        """Run a root in the state in which methods of the class, or functions of the file, can be entered."""
        raise NotImplementedError

    def hooks_of(self, cls: Class) -> None:
        """Play a framework's loop over a class."""
        before = len(self.facts.forwards)
        for played in self.rounds_between(cls) if "training_step" in cls.methods else ():
            self.play(cls, ("hooks", cls, *chain(*played)), partial(self.interrupted, cls, played))
        for fn in (cls.methods[name] for name in STEPS if name in cls.methods):
            called = [m for c in self.project.mro(cls) for m in c.methods.values() if ("self", m.name) in fn.receivers]
            if any(map(collects, (fn, *called))):
                self.play(cls, ("step", cls, fn), partial(self.each_batch, cls, fn))
        for forward in self.facts.forwards[before:]:
            forward.framework = True

    def play(self, cls: Class, key: tuple[object, ...], run: Root) -> None:
        """Run hooks on an object of a class."""
        self.class_world(cls)
        self.perform(key, partial(self.enter_from_outside, run, cls.path, cls))

    def rounds_between(self, cls: Class) -> list[list[tuple[Class, Function]]]:
        """What may come between two training steps and switch modes: hooks of the class, or of each callback."""
        own = [(cls, m) for name, m in cls.methods.items() if name.startswith("on_train")]
        rounds = [own] if any("eval" in m.called or id(m) in self.project.relevant for _, m in own) else []
        return rounds + [[pair] for pair in self.callback_hooks if self.project.connected(cls.path, pair[0].path)]

    def interrupted(self, cls: Class, played: list[tuple[Class, Function]], w: World) -> V:
        """A training step, the hooks after it, and a training step again."""
        self.set_mode(w, self_loc(cls), frozenset((Mode("fresh"),)))
        step = (cls, cls.methods["training_step"])
        for owner, fn in (step, *played, step):
            self.hook(cls, owner, fn, w)
        return UNKNOWN

    def each_batch(self, cls: Class, fn: Function, w: World) -> V:
        """A training step as the framework's loop repeats it: what it adds to its object outlives the batch."""
        self.set_mode(w, self_loc(cls), frozenset((Mode("fresh"),)))
        with self.repeating(fn, (*fn.body, *back_propagated(fn.body)), "the framework"):
            return self.hook(cls, cls, fn, w)

    def hook(self, cls: Class, owner: Class, fn: Function, w: World) -> V:
        """Run one hook; what a step returns is back-propagated."""
        me = of(("o", self_loc(cls)))
        given = {p.name: self.parameter(fn, p) for p in fn.params[1:] if p.kind in ("pos", "kw")}
        given |= {"pl_module": me} if "pl_module" in given else {}
        value = self.run_function(fn, 0, me if owner is cls else of(("o", self_loc(owner))), Args([], given), None, w, owner)
        if fn.name in STEPS:
            parts = [v for atom in value.atoms if atom[0] in ("q", "d") for v in (atom[1] if atom[0] == "q" else dict(atom[1]).values())]
            for number in flowed((value, *parts)).data:
                self.forwards[number].trained = self.forwards[number].stepped = True
        return value

    @cached_property
    def callback_hooks(self) -> list[tuple[Class, Function]]:
        """What callbacks do between two training steps with the module that they are handed."""
        classes = [c for file in self.project.files.values() for c in file.classes if not self.project.is_module(c)]
        found = [(c, m) for c in classes for name, m in c.methods.items() if name.startswith("on_train_batch") and "eval" in m.called]
        return [(c, m) for c, m in found if any(p.name == "pl_module" for p in m.params) and self.project.is_a(c, "framework_classes")]


def collects(fn: Function) -> bool:
    """Whether a method adds to attributes of its object: `self.losses.append(loss)`, `self.total += loss`."""
    if any(method in ("append", "extend") for _, method in fn.receivers):
        return True
    return any(isinstance(event, ev.Assign) and event.augmented and any(map(asked_of_self, event.targets)) for event in every(fn.body))
