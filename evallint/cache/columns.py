"""Graphs of dataclasses as JSON columns: a table for each class, a column for each field, and objects named by number.

What a warm run pays for is reading, so whole columns are read by `map` and `zip`, without a step of Python for each object, and
nothing recurses, however deep the graph. Two references to one object stay references to one object.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import Field, fields
from hashlib import blake2b
from itertools import chain, islice, repeat
from operator import attrgetter
from sys import intern
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

SCALARS = frozenset({bool, str, int, float, NoneType})
SMALL = 1 << 63
"""Integers beyond are written in hexadecimal: Python refuses to read, or write, decimals of many thousand digits."""


class Writing:
    """The numbers of the objects and strings of a graph that is being written."""

    def __init__(self, numbers: dict[int, int]) -> None:
        self.numbers = numbers
        self.strings: dict[str, int] = {}


class Reading:
    """The objects, not yet filled, and the strings of a graph that is being read; `ranges` says which numbers a class has."""

    def __init__(self, objects: list[Any], strings: list[str], ranges: dict[type, tuple[int, int]]) -> None:
        self.objects, self.strings, self.ranges = objects, strings, ranges


class Kind:
    """How the values of one type are written and read, a column at a time."""

    leads = False
    """Objects can be reached through a value."""

    def children(self, value: Any) -> Iterable[Any]:
        """The objects in a value."""
        return ()

    def write(self, values: Sequence[Any], writing: Writing) -> Any:
        """The column of `values`."""
        raise NotImplementedError

    def read(self, column: Any, count: int, reading: Reading) -> Iterable[Any]:
        """The `count` values of a column. Raises ValueError (or what `Tables.load` makes one of) if it holds anything else."""
        raise NotImplementedError


class Scalar(Kind):
    """JSON's own values, of some types or (`choices`) of a few."""

    def __init__(self, types: frozenset[type], choices: frozenset[Any] | None = None) -> None:
        self.types, self.choices = types, choices

    def write(self, values: Sequence[Any], writing: Writing) -> Any:
        check(self.types.issuperset(map(type, values)))
        if int not in self.types:
            return values
        return [[hex(v)] if type(v) is int and not -SMALL < v < SMALL else v for v in values]

    def read(self, column: Any, count: int, reading: Reading) -> Iterable[Any]:
        check(type(column) is list and len(column) == count)
        values: list[Any] = column
        if int in self.types and list in map(type, column):
            values = [int(v[0], 16) if type(v) is list else v for v in column]
        check(self.types.issuperset(map(type, values)))
        check(self.choices is None or self.choices.issuperset(values))
        return values


class Text(Kind):
    """Strings, each written once and named by number: names come again and again."""

    def write(self, values: Sequence[Any], writing: Writing) -> Any:
        check({str}.issuperset(map(type, values)))
        strings = writing.strings
        return [strings.setdefault(v, len(strings)) for v in values]

    def read(self, column: Any, count: int, reading: Reading) -> Iterable[Any]:
        check_numbers(column, count, 0, len(reading.strings))
        return map(reading.strings.__getitem__, column)


class Reference(Kind):
    """Objects of a class or its subclasses; `optional`: or None, which is number 0."""

    leads = True

    def __init__(self, cls: type, optional: bool) -> None:
        self.cls, self.optional = cls, optional

    def children(self, value: Any) -> Iterable[Any]:
        return (value,)

    def write(self, values: Sequence[Any], writing: Writing) -> Any:
        check(all(isinstance(v, self.cls) or (v is None and self.optional) for v in values))
        return [writing.numbers[id(v)] for v in values]

    def read(self, column: Any, count: int, reading: Reading) -> Iterable[Any]:
        low, high = reading.ranges[self.cls]
        if self.optional and type(column) is list:
            check_numbers([n for n in column if n != 0], len(column) - column.count(0), low, high)
            check({int}.issuperset(map(type, column)) and len(column) == count)
        else:
            check_numbers(column, count, low, high)
        return map(reading.objects.__getitem__, column)


class Row(Kind):
    """Tuples of a fixed length, as a column for each place."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = kinds
        self.leads = any(kind.leads for kind in kinds)

    def children(self, value: Any) -> Iterable[Any]:
        return chain.from_iterable(kind.children(v) for kind, v in zip(self.kinds, value, strict=True) if kind.leads)

    def write(self, values: Sequence[Any], writing: Writing) -> Any:
        check(all(type(v) is tuple and len(v) == len(self.kinds) for v in values))
        return [kind.write([v[place] for v in values], writing) for place, kind in enumerate(self.kinds)]

    def read(self, column: Any, count: int, reading: Reading) -> Iterable[Any]:
        check(type(column) is list and len(column) == len(self.kinds))
        return zip(*(kind.read(c, count, reading) for kind, c in zip(self.kinds, column, strict=True)), strict=True)


class Many(Kind):
    """Tuples, frozensets or dicts of any length, as a column of lengths and one of all items."""

    def __init__(self, make: type, item: Kind) -> None:
        self.make, self.item = make, item
        self.leads = item.leads

    def children(self, value: Any) -> Iterable[Any]:
        items = value.items() if self.make is dict else value
        return items if isinstance(self.item, Reference) else chain.from_iterable(map(self.item.children, items))

    def write(self, values: Sequence[Any], writing: Writing) -> Any:
        check({self.make}.issuperset(map(type, values)))
        if self.make is dict:
            values = [v.items() for v in values]
        elif self.make is frozenset:
            values = [sorted(v) for v in values]  # the same bytes in every process
        return [[len(v) for v in values], self.item.write([item for v in values for item in v], writing)]

    def read(self, column: Any, count: int, reading: Reading) -> Iterable[Any]:
        lengths, items = column
        check_numbers(lengths, count, 0, SMALL)
        rest = iter(self.item.read(items, sum(lengths), reading))
        return map(self.make, map(islice, repeat(rest), lengths))


def check(holds: bool) -> None:
    """Raise ValueError unless `holds`."""
    if not holds:
        raise ValueError("not as written by this version")


def check_numbers(column: Any, count: int, low: int, high: int) -> None:
    """Raise ValueError unless `column` is a list of `count` integers from `low` to below `high`."""
    check(type(column) is list and len(column) == count and {int}.issuperset(map(type, column)))
    check(not column or (min(column) >= low and max(column) < high))


def kind_of(hint: Any) -> Kind:
    """How values of an annotated type are written."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is str:
        return Text()
    if hint in SCALARS:
        return Scalar(frozenset({hint}))
    if origin is Literal:
        return Scalar(frozenset(map(type, inner)), frozenset(inner))
    if origin in (Union, UnionType):
        if SCALARS.issuperset(inner):
            return Scalar(frozenset(inner))
        (cls,) = (t for t in inner if t is not NoneType)
        return Reference(cls, True)
    if origin is tuple and inner[1:] == (Ellipsis,):
        return Many(tuple, kind_of(inner[0]))
    if origin is tuple:
        return Row([kind_of(t) for t in inner])
    if origin is frozenset:
        return Many(frozenset, kind_of(inner[0]))
    if origin is dict:
        return Many(dict, Row([kind_of(t) for t in inner]))
    return Reference(hint, False)


def kept(cls: Any) -> list[Field[Any]]:
    """The fields of a class that are written; the others are None when it is read."""
    return [f for f in fields(cls) if f.metadata.get("kept", True)]


class Table:
    """A class with its fields: how to get, set and write each."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        hints = get_type_hints(cls)
        self.columns = [(attrgetter(f.name), getattr(cls, f.name).__set__, kind_of(hints[f.name])) for f in kept(cls)]
        self.empty = [getattr(cls, f.name).__set__ for f in fields(cls) if f not in kept(cls)]
        self.ways = [(get, kind.children) for get, _, kind in self.columns if kind.leads]


class Tables:
    """Writes and reads graphs of objects of some dataclasses, all with slots. `known` objects are not written: they stay themselves."""

    def __init__(self, classes: Iterable[type], known: Sequence[object] = ()) -> None:
        classes = list(classes)
        roots = [cls.__mro__[-2] for cls in classes]
        # subclasses of one base have neighbouring numbers, so that a glance at the extremes of a column checks its types
        self.tables = [Table(cls) for cls in sorted(classes, key=lambda cls: roots.index(cls.__mro__[-2]))]
        self.known = (None, *known)
        self.spans: dict[type, tuple[int, int, int]] = {}
        """For each class and base: its first table, the one after its last, and how many `known` are of it (they precede)."""
        for place, table in enumerate(self.tables):
            for cls in table.cls.__mro__[:-1]:
                first = self.spans[cls][0] if cls in self.spans else place
                self.spans[cls] = (first, place + 1, sum(isinstance(thing, cls) for thing in known))
        shape = [(cls.__name__, [(f.name, str(f.type)) for f in kept(cls)]) for cls in classes]
        self.mark = blake2b(repr(shape).encode(), digest_size=8).hexdigest()
        """Names the classes and fields: what was written by others is refused."""

    def dump(self, roots: Sequence[object]) -> bytes:
        """The bytes of all that can be reached from `roots`, the same in every process. Raises ValueError for what cannot be written."""
        try:
            members = self._reach(roots)
            numbers = {id(thing): number for number, thing in enumerate(chain(self.known, *members))}
            writing = Writing(numbers)
            columns = [
                [kind.write([get(m) for m in group], writing) for get, _, kind in table.columns]
                for table, group in zip(self.tables, members, strict=True)
            ]
            content = [self.mark, list(writing.strings), [len(group) for group in members], columns, [numbers[id(r)] for r in roots]]
            # surrogates as they are: JSON's escapes would join a lone pair of them
            return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError) as error:
            raise ValueError(f"cannot be written: {error}") from None

    def _reach(self, roots: Sequence[object]) -> list[list[Any]]:
        """Every object that can be reached from `roots`, once, by table."""
        members: dict[type, list[Any]] = {table.cls: [] for table in self.tables}
        ways = {table.cls: table.ways for table in self.tables}
        seen = set(map(id, self.known))
        pending: list[Any] = [*roots]
        while pending:
            thing = pending.pop()
            if id(thing) not in seen:
                seen.add(id(thing))
                members[type(thing)].append(thing)
                for get, children in ways[type(thing)]:
                    pending.extend(children(get(thing)))
        return list(members.values())

    def load(self, data: bytes) -> list[Any]:
        """The roots that `dump` was given. Raises ValueError for bytes that it did not write."""
        try:
            return self._load(json.loads(data.decode("utf-8", "surrogatepass")), len(data))
        except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError) as error:
            raise ValueError(f"not as written by this version: {error}") from None

    def _load(self, content: Any, size: int) -> list[Any]:
        mark, strings, counts, columns, roots = content
        check(mark == self.mark and type(strings) is list and {str}.issuperset(map(type, strings)))
        check_numbers(counts, len(self.tables), 0, size)  # there is no object without a byte: a false count cannot fill the memory
        objects: list[Any] = list(self.known)
        groups: list[list[Any]] = []
        ends = [len(objects)]
        for table, count in zip(self.tables, counts, strict=True):
            groups.append(list(map(object.__new__, repeat(table.cls, count))) if count else [])
            objects += groups[-1]
            ends.append(len(objects))
        ranges = {cls: (ends[first] - known, ends[last]) for cls, (first, last, known) in self.spans.items()}
        reading = Reading(objects, list(map(intern, strings)), ranges)
        for table, group, mine in zip(self.tables, groups, columns, strict=True):
            if group:
                for (_, fill, kind), column in zip(table.columns, mine, strict=True):
                    deque(map(fill, group, kind.read(column, len(group), reading)), maxlen=0)
                for fill in table.empty:
                    deque(map(fill, group, repeat(None)), maxlen=0)
        check_numbers(roots, len(roots), 1, len(objects))
        return [objects[number] for number in roots]
