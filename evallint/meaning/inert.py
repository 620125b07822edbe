"""Calls that do nothing that a rule could see: once met, they are not run again for arguments of the same kind."""

from __future__ import annotations

from typing import Any

from evallint.events import Class, Function
from evallint.meaning import names
from evallint.meaning.annotations import Annotations
from evallint.meaning.machine import Args
from evallint.meaning.values import V

Key = tuple[Any, ...]


class Inert(Annotations):
    """Knows which functions, handed which kinds of arguments, run no forward, switch nothing and return plain data."""

    def inert_key(self, fn: Function, act: int, self_value: V | None, args: Args, cls: Class | None) -> Key | None:
        """What a call is told apart by; None where its outcome may depend on more than that."""
        if act and act != self.module_acts.get(fn.path):
            return None  # a closure
        kinds: list[Any] = [id(fn), id(cls), args.open]
        for value in (*args.pos, *args.kw.values(), *((self_value,) if self_value is not None else ())):
            if value.data or len(value.atoms) > 1:
                return None
            kind = self.kind_of(value)
            if kind is None:
                return None
            kinds.append(kind)
        kinds.append(tuple(args.kw))
        return tuple(kinds)

    def kind_of(self, value: V) -> Any:
        """A constant as it is, an object by its class; None for what can run or hold a model."""
        if not value.atoms:
            return ""
        (atom,) = value.atoms
        if atom[0] in ("c", "x", "k", "m"):
            return atom
        if atom[0] == "o":
            thing = self.things.get(atom[1])
            if thing is None:
                return None if atom[1][0] == "child" and names.is_model_name(atom[1][2]) else ""
            if thing.kind in ("model", "optimizer") or names.is_model_name(thing.name):
                return None
            return (id(thing.cls), thing.kind, atom[1] if thing.cls is not None else "")
        return None

    def is_plain(self, value: V) -> bool:
        """Whether nothing is lost when a fresh unknown object stands for the value."""
        for atom in value.atoms:
            if atom[0] != "o" or value.data:
                return False
            thing = self.things.get(atom[1])
            if thing is not None and (thing.cls is not None or thing.kind):
                return False
        return True
