"""Abstract values and the abstract state ("world") of the flow analysis.

An atom is a hashable tuple whose first item is its kind:

    ("c", type, value)        a constant
    ("o", loc)                an object at an abstract location
    ("f", function, act, self) a function of the project, its closure's activation, and its bound object
    ("k", cls)                a class of the project
    ("x", dotted)             something outside the project, by dotted name
    ("m", path)               a module of the project
    ("g", setting, before, at)    a grad-mode context: setting "on", "off" or "both"; where it is in force already, what was before
                                  and who set that, else () and where it is written
    ("w", setting, value)     a function wrapped by such a context
    ("s", loc, modes)         what `loc.training` was when it was read
    ("b", key, polarity)      a truth value that is not known but always the same
    ("q", values)             a list or tuple with known items
    ("l", value)              a list of unknown length, and what its items can be
    ("d", ((key, value), …))  a dict with constant keys
    ("p", value, args, kws)   functools.partial
    ("y", function, args, kws, act, self)  a context manager made by a generator function
    ("super", cls, loc)       super() in a method of cls

A location is a tuple: ("new", site, chain), ("param", function, name), ("child", parent, name), …
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Atom = tuple[Any, ...]
Atoms = tuple[Atom, ...]
"""Each once, in the order in which they were met: what a run finds must not depend on hashes."""
Loc = tuple[Any, ...]
Ids = frozenset[int]
Hush = tuple[str, tuple[int, int, int, int], str, str]
"""What turned recording off: file, span, function, and "call" (until it is undone) or "context" (for a while)."""
Spot = tuple[str, tuple[int, int, int, int]]
"""A file and a span."""
GradAt = tuple[int, frozenset[Hush]]
"""Which of the running functions set the grad mode (its index), and with what, if that turned recording off for certain."""
AT_START: GradAt = (-1, frozenset())
NO_IDS: Ids = frozenset()
PARAMETERS = ("<parameters>", "<parameter>")
"""What stands for a module's parameters among its parts."""
MOST_ATOMS = 6
MOST_ADOPTED = 100


@dataclass(slots=True, unsafe_hash=True)
class V:
    """An abstract value: what it can be (nothing known when empty), and which forwards' outputs flowed into it. Never changed.

    `data` are forwards whose numbers reach this value; `graph` those whose autograd graph may, `live` those whose graph does for
    certain: through nothing but operations on tensors that are known, with recording on.
    """

    atoms: Atoms = ()
    data: Ids = NO_IDS
    graph: Ids = NO_IDS
    live: Ids = NO_IDS


UNKNOWN = V()


def united(a: Atoms, b: Atoms) -> Atoms:
    """Both, each atom once."""
    if not b or a == b:
        return a
    return (*a, *(x for x in b if x not in a)) if a else b


def of(*atoms: Atom) -> V:
    """A value that is one of `atoms`."""
    return V(atoms if len(atoms) == 1 else tuple(dict.fromkeys(atoms)))


@lru_cache(maxsize=20000, typed=True)
def const(value: Any) -> V:
    """A constant's value."""
    return V((("c", type(value).__name__, value),))


NONE = const(None)


def join(a: V, b: V) -> V:
    """A value that is one or the other."""
    if a is b or a == b:
        return a
    atoms = united(a.atoms, b.atoms)
    if len(atoms) > 1 and sum(x[0] == "d" for x in atoms) > 1:
        atoms = (*(x for x in atoms if x[0] != "d"), ("d", merged([x[1] for x in atoms if x[0] == "d"])))
    if len(atoms) > MOST_ATOMS:
        atoms = tuple(x for x in atoms if x[0] == "o")
        if len(atoms) > MOST_ATOMS:
            atoms = ()
    return V(atoms, a.data | b.data, a.graph | b.graph, a.live | b.live)


def merged(dicts: list[tuple[tuple[Any, V], ...]]) -> tuple[tuple[Any, V], ...]:
    """One dict that is any of several."""
    table: dict[Any, V] = {}
    for items in dicts:
        for key, value in items:
            table[key] = join(table[key], value) if key in table else value
    return tuple(table.items())


def flowed(values: Any) -> V:
    """A new value into which all `values` flowed."""
    data: Ids = NO_IDS
    graph: Ids = NO_IDS
    for v in values:
        if v.data:
            data |= v.data
            graph |= v.graph
    return V((), data, graph) if data else UNKNOWN


def alive(v: V) -> Ids:
    """The forwards whose graph a value holds for certain, or what is in a container."""
    found = v.live
    for atom in v.atoms if v.data else ():
        inner = atom[1] if atom[0] == "q" else (atom[1],) if atom[0] == "l" else [x for _, x in atom[1]] if atom[0] == "d" else ()
        for item in inner:
            found |= alive(item)
    return found


def is_constant(v: V, *kinds: str) -> bool:
    """Whether a value is for certain a constant of these types ("bool", "NoneType", …)."""
    return bool(v.atoms) and all(a[0] == "c" and a[1] in kinds for a in v.atoms)


def phases_of(source: V) -> list[V]:
    """The constants that a loop takes one by one (`["train", "val"]`), where it takes nothing else."""
    values = [v for a in source.atoms for v in (a[1] if a[0] == "q" else (a[1],) if a[0] == "l" else (UNKNOWN,))]
    atoms = dict.fromkeys(atom for v in values for atom in v.atoms)
    return [of(atom) for atom in atoms] if all(is_constant(v, "str", "bool") for v in values) else []


def constants(v: V) -> list[Any] | None:
    """The values `v` can have when all of them are constants, else None."""
    if not v.atoms or any(a[0] != "c" for a in v.atoms):
        return None
    return [a[2] for a in v.atoms]


@dataclass(frozen=True, slots=True)
class Mode:
    """One mode that a module can be in, and what put it there.

    `mode`: "train" (by a call), "fresh" (training mode by construction), "eval", "given" (eval mode by a factory), or
    "unknown" (the caller's). `where` is the span of the call, `path` its file, `over` tells whether a `train()` or a
    construction preceded an "eval", `function` the function that holds the call, `chosen` that a branch chooses between the two modes,
    `left` names the method that left it, if that was called at all; an "unknown" one that has it is set by who holds the owner.
    """

    mode: str
    path: str = ""
    where: tuple[int, int, int, int] | None = None
    function: str = ""
    text: str = ""
    over: bool = False
    chosen: bool = False
    left: str = ""


Modes = frozenset[Mode]
UNKNOWN_MODE: Modes = frozenset((Mode("unknown"),))
ON = frozenset(("on",))
OFF = frozenset(("off",))


class Store:
    """A map of two-part keys whose copies share what neither has changed since."""

    __slots__ = ("own", "rows")

    def __init__(self) -> None:
        self.rows: dict[Any, dict[str, V]] = {}
        self.own: set[Any] = set()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and self.rows == other.rows

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Store:
        """A copy; the cost is that of the first parts of the keys."""
        other = Store.__new__(Store)
        other.rows = dict(self.rows)
        other.own = set()
        self.own = set()
        return other

    def get(self, key: tuple[Any, str]) -> V | None:
        """The value of a key, or None."""
        row = self.rows.get(key[0])
        return None if row is None else row.get(key[1])

    def __contains__(self, key: tuple[Any, str]) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: tuple[Any, str]) -> V:
        return self.rows[key[0]][key[1]]

    def __setitem__(self, key: tuple[Any, str], value: V) -> None:
        self.row(key[0])[key[1]] = value

    def row(self, first: Any) -> dict[str, V]:
        """The row of a first part, to be written to."""
        row = self.rows.get(first)
        if first not in self.own:
            row = dict(row) if row is not None else {}
            self.rows[first] = row
            self.own.add(first)
        assert row is not None
        return row

    def drop(self, first: Any) -> None:
        """Forget a row."""
        self.rows.pop(first, None)
        self.own.discard(first)

    def meet(self, other: Store) -> None:
        """Take in the values of another path."""
        rows = self.rows
        for first, theirs in other.rows.items():
            mine = rows.get(first)
            if mine is theirs:
                continue
            if mine is None:
                rows[first] = theirs
                other.own.discard(first)
                continue
            for name, value in theirs.items():
                before = mine.get(name)
                if before is not value:
                    joined = value if before is None else join(before, value)
                    if joined is not before:
                        mine = self.row(first)
                        mine[name] = joined

    def strip(self) -> None:
        """Forget what flowed into the values."""
        for first, row in list(self.rows.items()):
            cleaned = {k: clean(v) for k, v in row.items()}
            if any(cleaned[k] is not v for k, v in row.items()):
                self.rows[first] = cleaned
                self.own.add(first)


def clean(value: V) -> V:
    """A value without what flowed into it, or into the values inside it."""
    atoms = tuple(clean_part(a) if a[0] in ("q", "l", "d", "p", "w", "y") else a for a in value.atoms)
    return value if not value.data and atoms == value.atoms else V(atoms)


def clean_part(part: Any) -> Any:
    """`clean` for the values inside an atom."""
    if isinstance(part, V):
        return clean(part)
    return tuple(clean_part(p) for p in part) if isinstance(part, tuple) else part


class World:
    """The abstract state: variables, attributes, modes, grad mode."""

    __slots__ = ("attrs", "frozen", "grad", "grad_at", "modes", "stained", "vars")

    def __init__(self) -> None:
        self.vars = Store()
        self.attrs = Store()
        self.modes: dict[Loc, Modes] = {}
        self.grad: frozenset[str] = ON
        self.grad_at = AT_START
        self.frozen: frozenset[Loc] = frozenset()
        self.stained: dict[Loc, V] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, World) and all(getattr(self, name) == getattr(other, name) for name in World.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> World:
        """An independent copy."""
        other = World.__new__(World)
        other.vars = self.vars.copy()
        other.attrs = self.attrs.copy()
        other.modes = dict(self.modes)
        other.grad, other.grad_at = self.grad, self.grad_at
        other.frozen = self.frozen
        other.stained = dict(self.stained)
        return other

    def become(self, other: World) -> None:
        """Take over another world's state."""
        self.vars, self.attrs, self.modes = other.vars, other.attrs, other.modes
        self.grad, self.grad_at, self.frozen, self.stained = other.grad, other.grad_at, other.frozen, other.stained

    def adopt(self, other: World, value: V) -> None:
        """Take over what another world knows of the objects of a value, and of all that they hold."""
        waiting, seen = [a[1] for a in value.atoms if a[0] == "o"], set[Loc]()
        while waiting and len(seen) < MOST_ADOPTED:
            loc = waiting.pop()
            if loc in seen:
                continue
            seen.add(loc)
            if loc in other.modes:
                self.modes.setdefault(loc, other.modes[loc])
            row = other.attrs.rows.get(loc)
            if row is not None:
                other.attrs.own.discard(loc)
                self.attrs.rows.setdefault(loc, row)
                waiting += [a[1] for v in row.values() for a in v.atoms if a[0] == "o"]

    def mode(self, loc: Loc, defaults: dict[Loc, Modes]) -> Modes:
        """The modes that the module at `loc` can be in: its own, or its nearest ancestor's."""
        while True:
            found = self.modes.get(loc)
            if found is None:
                found = defaults.get(loc)
            if found is not None:
                return found
            if loc[0] != "child":
                return UNKNOWN_MODE
            loc = loc[1]

    def lacks(self, loc: Loc) -> bool:
        """Whether an object was not made on this path."""
        return loc[0] in ("new", "ret") and loc not in self.modes

    def is_frozen(self, loc: Loc) -> bool:
        """Whether `requires_grad_(False)` reached all parameters of the module at `loc`."""
        if not self.frozen:
            return False
        while True:
            if loc in self.frozen:
                return True
            if loc[0] != "child":
                return False
            loc = loc[1]


def meet(a: World, b: World, defaults: dict[Loc, Modes]) -> World:
    """The state after either of two paths. Consumes `a`."""
    if a is b:
        return a
    again = made_again(a, b) | made_again(b, a) if a.modes != b.modes else {}
    a.vars.meet(b.vars)
    a.attrs.meet(b.attrs)
    for loc, value in b.stained.items():
        mine = a.stained.get(loc)
        a.stained[loc] = value if mine is None else join(mine, value)
    if a.frozen != b.frozen:
        a.frozen = frozenset(x for x in a.frozen | b.frozen if (x in a.frozen or a.lacks(x)) and (x in b.frozen or b.lacks(x)))
    if a.modes != b.modes:
        both = {}
        for loc in a.modes.keys() | b.modes.keys():
            if loc[0] == "new" and (loc not in a.modes or loc not in b.modes):
                both[loc] = a.modes[loc] if loc in a.modes else b.modes[loc]  # it exists on one path only
            elif loc in again:
                both[loc] = again[loc]
            else:
                both[loc] = a.mode(loc, defaults) | b.mode(loc, defaults)
        a.modes = both
    a.grad = a.grad | b.grad
    if a.grad_at[1] != b.grad_at[1]:
        a.grad_at = a.grad_at[0], a.grad_at[1] | b.grad_at[1]
    return a


def made_again(here: World, there: World) -> dict[Loc, Modes]:
    """The modes of objects that are new on one path, and on the other, where nothing holds them any longer, left from an earlier round."""
    other = there.modes
    new = {loc: mine for loc, mine in here.modes.items() if loc[0] == "new" and other.get(loc, mine) != mine}
    new = {loc: modes for loc, modes in new.items() if all(mode.mode == "fresh" for mode in modes)}
    if new:
        for store in (there.vars, there.attrs):
            for row in store.rows.values():
                for value in row.values():
                    for loc in held(value):
                        new.pop(loc, None)
                if not new:
                    break
    return new


def held(value: V) -> Iterator[Loc]:
    """The objects that a value is or holds, and those that they are parts of; a module's parameters by themselves run nothing."""
    for atom in value.atoms:
        if atom[0] == "o":
            loc = atom[1]
            while loc[0] == "child" and loc[2] not in PARAMETERS:
                loc = loc[1]
            yield loc
        else:
            for part in atom:
                yield from held_in(part)


def held_in(part: Any) -> Iterator[Loc]:
    """`held` for what is inside an atom."""
    if isinstance(part, V):
        yield from held(part)
    elif isinstance(part, tuple):
        for inner in part:
            yield from held_in(inner)
