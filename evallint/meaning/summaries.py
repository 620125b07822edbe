"""Function summaries: what a call that no rule could notice leaves behind is kept, and put in place when a call like it comes again.

Such a call runs no forward, trains nothing, switches nothing that it has not made itself. What it returns and what it writes
into the objects that it was handed is told again in the names of the objects at hand; what it has made is made anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import is_
from typing import Any

from evallint.events import Call, Class, Function
from evallint.meaning import names
from evallint.meaning.annotations import Annotations
from evallint.meaning.machine import CHAIN, MOST_FRAMES, PLAIN, Args, Thing, objects_in, top_of
from evallint.meaning.values import Atom, GradAt, Loc, Modes, V, World

MOST_ATTRIBUTES = 80
CALLS_BELOW = 6
"""How many calls may still nest where the end of the stack is taken to be out of reach."""
BEFORE = -1, 0


@dataclass(slots=True)
class Made:
    """An object that a call has made: what it is, the mode that it was left in, and how many calls below it was made."""

    thing: Thing | None
    modes: Modes | None
    below: int


@dataclass(slots=True)
class Summary:
    """What a call returned, wrote and made, in the names of the objects that it was handed when it ran."""

    value: V
    returned: bool
    handed: tuple[Loc, ...]
    written: tuple[tuple[Loc, str, V], ...]
    made: dict[Loc, Made]
    tags: tuple[Any, ...]
    visited: frozenset[int]
    asked: dict[tuple[Any, ...], bool | None]
    """The conditions that it met, and how its run answered them."""


@dataclass(slots=True, eq=False)
class Record:
    """A call that is running: what it depends on, the state that it has met, and what it has written and run so far."""

    key: tuple[Any, ...] | None
    handed: tuple[Loc, ...]
    depth: int
    tick: int
    frozen: frozenset[Loc]
    grad: tuple[frozenset[str], GradAt]
    tags: tuple[Any, ...]
    written: dict[tuple[Loc, str], None] = field(default_factory=dict)
    visited: set[int] = field(default_factory=set)
    asked: dict[tuple[Any, ...], bool | None] = field(default_factory=dict)
    noticed: bool = False


class Summaries(Annotations):
    """Keeps and replays summaries."""

    # What a call depends on

    def summary_key(self, fn: Function, act: int, given: Iterable[V], args: Args, cls: Class | None, w: World) -> Any:
        """What the outcome of a call depends on, and the objects that it is handed, in order; None where it cannot be told."""
        if act and act != self.module_acts.get(fn.path):
            return None  # a closure
        handed: dict[Loc, int] = {}
        sorts: list[Any] = [id(fn), id(cls), args.open, tuple(args.kw), w.grad, min(MOST_FRAMES - len(self.frames), CALLS_BELOW)]
        for value in given:
            sort = self.sort_of(value, handed, w, True)
            if sort is None:
                return None
            sorts.append(sort)
        return tuple(sorts), tuple(handed)

    def sort_of(self, value: V, handed: dict[Loc, int], w: World, whole: bool) -> Any:
        """What a value is apart from the names of its objects, with their attributes if `whole`; None where a forward flowed into it."""
        if value.data:
            return None
        if not value.atoms:
            return ""
        if len(value.atoms) == 1:
            return self.sort_of_atom(value.atoms[0], handed, w, whole)
        return all_of(self.sort_of_atom(atom, handed, w, whole) for atom in value.atoms)

    def sort_of_atom(self, atom: Atom, handed: dict[Loc, int], w: World, whole: bool) -> Any:
        kind = atom[0]
        if kind == "o":
            return self.sort_of_object(atom[1], handed, w, whole)
        if kind == "q":
            inner = all_of(self.sort_of(v, handed, w, whole) for v in atom[1])
        elif kind == "l":
            inner = self.sort_of(atom[1], handed, w, whole)
        elif kind == "d":
            inner = all_of(self.sort_of(v, handed, w, whole) for _, v in atom[1])
            kind = tuple(k for k, _ in atom[1])
        else:
            return atom
        return None if inner is None else (kind, inner)

    def sort_of_object(self, loc: Loc, handed: dict[Loc, int], w: World, whole: bool) -> Any:
        """An object by its class and attributes; a model as the one that it is, in its mode."""
        place = handed.setdefault(loc, len(handed))
        thing = self.things.get(loc)
        name = thing.name if thing is not None else loc[2] if loc[0] == "child" else ""
        if (thing is not None and thing.kind in ("model", "optimizer")) or (name and names.is_model_name(name)):
            return "model", loc, w.modes.get(loc)
        row = w.attrs.rows.get(loc) if whole else None
        if thing is None or (thing.cls is None and not thing.kind):
            settings = [(at, value.atoms) for at, value in row.items() if value.atoms and value.atoms[0][0] == "c"] if row else ()
            return (place, loc[0] == "new", frozenset(settings)) if settings else (place, loc[0] == "new")
        if not row:
            return place, loc[0] == "new", id(thing.cls), thing.kind
        if len(row) > MOST_ATTRIBUTES:
            return None
        parts = all_of(self.sort_of(value, handed, w, False) for value in row.values())
        return None if parts is None else (place, loc[0] == "new", id(thing.cls), thing.kind, frozenset(zip(row, parts, strict=True)))

    # Recording

    def begin_record(self, key: Any, w: World) -> Record:
        """Begin to note what a call does; `key` may be None."""
        wanted, handed = key or (None, ())
        record = Record(wanted, handed, len(self.frames), self.tick, w.frozen, (w.grad, w.grad_at), tuple(self.tags), noticed=key is None)
        self.records.append(record)
        self.tick += 1  # what is made from here on is the call's own
        return record

    def notice(self) -> None:
        """Note that something happens that a rule may ask for, in every call that is running."""
        for record in self.records:
            record.noticed = True

    def touch(self, loc: Loc) -> None:
        """The same for a switch: it is nothing to the calls that have made the object themselves."""
        made, _ = self.made_at.get(top_of(loc), BEFORE)
        for record in reversed(self.records):
            if made > record.tick:
                break
            record.noticed = True

    def cut(self, fn: Function, act: int) -> None:
        """Note that a call was not followed because of the calls around it: elsewhere it would be."""
        home = act or self.owner(fn.path)
        full = len(self.frames) >= MOST_FRAMES
        again = [n for n, f in enumerate(self.frames) if f.function is fn and self.parents.get(f.act) == home]
        for record in self.records:
            record.noticed |= MOST_FRAMES - record.depth >= CALLS_BELOW if full else any(n < record.depth for n in again)

    def end_record(self, value: V, w: World) -> None:
        """Keep what the call that ends has left behind, if nothing else came of it."""
        record = self.records.pop()
        if self.records:
            self.records[-1].written.update(record.written)
            self.records[-1].visited |= record.visited
            self.records[-1].asked.update(record.asked)
        if record.key is None or record.noticed or value.data or w.frozen != record.frozen or (w.grad, w.grad_at) != record.grad:
            return
        written = [(loc, name, now) for loc, name in record.written if (now := w.attrs.get((loc, name))) is not None]
        if any(now.data for _, _, now in written):
            return
        made: dict[Loc, Made] = {}
        mentioned: dict[Loc, None] = {}
        if self.last_made > record.tick:
            mentioned = dict.fromkeys(w.modes)
            objects_in(value, mentioned)
            for loc, _, now in written:
                mentioned[loc] = None
                objects_in(now, mentioned)
        for loc in mentioned:
            tick, depth = self.made_at.get(top_of(loc), BEFORE)
            if tick > record.tick:
                made[loc] = Made(
                    thing.copy() if (thing := self.things.get(loc)) is not None else None, w.modes.get(loc), depth - record.depth
                )
        self.summaries[record.key] = Summary(
            value, self.returned, record.handed, tuple(written), made, record.tags, frozenset(record.visited), record.asked
        )

    # Replaying

    def recalled(self, key: tuple[Any, ...], handed: tuple[Loc, ...]) -> Summary | None:
        """The summary of a call like this one, if this run answers the conditions that it met in the same way."""
        known: Summary | None = self.summaries.get(key)
        if known is None or not known.asked:
            return known
        names_of = dict(zip(known.handed, handed, strict=True))
        here = {renamed_part(condition, names_of): answer for condition, answer in known.asked.items()}
        if any(self.answer(condition) != answer for condition, answer in here.items()):
            return None
        if self.records:
            self.records[-1].asked.update(here)
        return known

    def replay(self, known: Summary, handed: tuple[Loc, ...], node: Call | None, w: World) -> V:
        """Leave behind what a call like this one did."""
        self.step()
        self.returned, self.wrapping = known.returned, False
        self.visited |= known.visited
        if self.records:
            self.records[-1].visited |= known.visited
        names_of: dict[Loc, Loc] = dict(zip(known.handed, handed, strict=True))
        calls = (*(frame.stop.span for frame in self.frames), node.span if node is not None else None)
        for loc, made in known.made.items():
            if loc[0] in ("new", "ret") and loc not in names_of:
                names_of[loc] = self.made_here(loc, made.below, known.tags, calls)
                w.attrs.drop(names_of[loc])
        self.tick += 1
        if known.made:
            self.last_made = self.tick
        for loc, made in known.made.items():
            here = renamed_object(loc, names_of)
            if made.thing is not None:
                self.things[here] = replace(made.thing, trains=tuple(renamed_object(x, names_of) for x in made.thing.trains))
            if here[0] != "child":
                self.made_at[here] = self.tick, len(self.frames) + made.below
            if made.modes is not None:
                w.modes[here] = made.modes
        for loc, name, value in known.written:
            self.set_attr(w, renamed_object(loc, names_of), name, renamed(value, names_of))
        return renamed(known.value, names_of)

    def made_here(self, loc: Loc, below: int, tags: tuple[Any, ...], calls: tuple[Any, ...]) -> Loc:
        """The name that an object made by a call would have if the call were made from here: its last calls are others."""
        kind, path, span, chain, *rest = loc
        last = (*calls, *chain[max(len(chain) - below + 1, 0) :])[-CHAIN:]
        if kind == "new":
            rest = [*self.tags, *(rest[len(tags) :] if tuple(rest[: len(tags)]) == tags else rest)]
        return kind, path, span, last, *rest


def all_of(sorts: Iterable[Any]) -> tuple[Any, ...] | None:
    """All of them, or None if one is."""
    found = tuple(sorts)
    return None if None in found else found


def renamed(value: V, names_of: dict[Loc, Loc]) -> V:
    """A value that speaks of other objects."""
    if not value.atoms:
        return value
    atoms = tuple(renamed_atom(atom, names_of) for atom in value.atoms)
    return value if all(map(is_, atoms, value.atoms)) else V(atoms, value.data, value.graph)


def renamed_atom(atom: Atom, names_of: dict[Loc, Loc]) -> Atom:
    kind = atom[0]
    if kind in PLAIN:
        return atom
    if kind == "o":
        loc = renamed_object(atom[1], names_of)
        return atom if loc is atom[1] else ("o", loc)
    parts = tuple(renamed_part(part, names_of) for part in atom)
    return atom if all(map(is_, parts, atom)) else parts


def renamed_part(part: Any, names_of: dict[Loc, Loc]) -> Any:
    if isinstance(part, V):
        return renamed(part, names_of)
    if not isinstance(part, tuple):
        return part
    found = names_of.get(part)
    if found is not None:
        return found
    parts = tuple(renamed_part(inner, names_of) for inner in part)
    return part if all(map(is_, parts, part)) else parts


def renamed_object(loc: Loc, names_of: dict[Loc, Loc]) -> Loc:
    """The object that stands for another one, or the same part of it."""
    found = names_of.get(loc)
    if found is not None:
        return found
    if loc[0] == "child" and (whole := renamed_object(loc[1], names_of)) is not loc[1]:
        return ("child", whole, loc[2])
    return loc
