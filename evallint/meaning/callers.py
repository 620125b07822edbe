"""Who calls a function in sight, and under which conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evallint import events as ev
from evallint.events import Class, Function, Value
from evallint.meaning import names
from evallint.meaning.guarded import Met, calls_under, paired, speaks_of_mode
from evallint.meaning.project import Project
from evallint.meaning.walk import asked_of_self, every, last_name, text_of

FLAGS = frozenset("drop dropout switch noise noisy flag".split())
"""Words of flags that say whether to drop."""


class Callers:
    """The calls of the functions of one program."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def calls_of(self, f: Function) -> list[tuple[Met, Class | None]]:
        """The calls of a function in sight, each with the class whose method it is in."""
        cls = self.project.class_of_method.get(id(f))
        if cls is None:
            return list(self.plain_calls(f))
        return [*self.own_calls(cls, f), *(self.calls_of_part(cls) if f.name == "forward" else ())]

    def calls_of_part(self, cls: Class) -> Iterator[tuple[Met, Class | None]]:
        """The calls of objects of a class where another class keeps one as an attribute: `self.attend(q, k, v, self.rate)`."""
        for init in self.project.called_names.get(cls.name, ()):
            owner = self.project.class_of_method.get(id(init)) if init.name == "__init__" else None
            given = (e for e in every(init.body) if isinstance(e, ev.Assign)) if owner is not None else ()
            pairs = (pair for event in given for target in event.targets for pair in paired(target, event.value))
            kept = {asked_of_self(target) for target, value in pairs if makes(value, cls.name)} - {""}
            for method in owner.methods.values() if owner is not None and kept else ():
                yield from ((met, owner) for met in calls_under(method) if asked_of_self(met.call.func) in kept)

    def own_calls(self, cls: Class, f: Function) -> Iterator[tuple[Met, Class]]:
        """The calls of a method on the object itself, or on its class, in the class's methods and those of its family."""
        on = {"self", "cls", *(owner.name for owner in self.project.family(cls))}
        for method in (m for owner in self.project.family(cls) for m in owner.methods.values() if f.name in m.called):
            for met in calls_under(method):
                func = met.call.func
                if isinstance(func, ev.Attr) and func.name == f.name and text_of(func.base) in on:
                    yield met, cls

    def plain_calls(self, f: Function) -> Iterator[tuple[Met, Class | None]]:
        """The calls of a plain function in the program."""
        for caller in (c for c in self.project.called_names.get(f.name, ()) if c is not f):
            for met in calls_under(caller):
                atom = self.project.dotted(caller.path, met.call.func) if last_name(met.call.func) == f.name else None
                if atom is not None and atom[1] is f:
                    yield met, self.project.class_of_method.get(id(caller))

    def is_run_by_mode(self, f: Function) -> bool:
        """Whether all calls of a function in sight stand under conditions that ask for the mode, or for a flag that is handed in."""
        calls = self.calls_of(f)
        return bool(calls) and all(any(speaks_of_mode(t) or is_handed_flag(t, met.functions) for t in met.tests) for met, _ in calls)


def makes(value: Value, name: str) -> bool:
    """Whether a value is an object of the class of this name."""
    return isinstance(value, ev.Call) and last_name(value.func) == name


def is_handed_flag(test: Value, functions: Sequence[Function]) -> bool:
    """Whether a condition is a parameter that says whether to drop: `if mess_dropout`, `if node_flag`."""
    return isinstance(test, ev.Name) and names.has_words(test.id, FLAGS) and any(p.name == test.id for f in functions for p in f.params)
