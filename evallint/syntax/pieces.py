"""A file as the pieces that it is made of, its top-level statements: those whose text has not changed keep their event trees.

A piece is lowered as a file of its own. Its lines are told in the numbers of that piece (`LINES` apart from those of any other), so
that they stay true wherever the piece moves to; `starts` say where it is.
"""

from __future__ import annotations

import ast
from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import count
from typing import Any, Protocol

from evallint import events as ev
from evallint.events import LINES, Event, Span
from evallint.source.nesting import too_many_branches
from evallint.source.parsing import parsed
from evallint.syntax.bodies import Definition, Lower, Unparsable
from evallint.syntax.places import Columns
from evallint.syntax.visitor import lower_body, lower_file

_numbers = count(1)


class Bodies(Protocol):
    """Where the events of bodies are kept, with the line that they begin at."""

    def get(self, key: Hashable) -> tuple[int, tuple[Event, ...]] | None:
        """What was put under `key`, or None."""

    def put(self, key: Hashable, value: tuple[int, tuple[Event, ...]], size: int) -> None:
        """Keep it; `size` are the characters that it was made of."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A top-level statement, or several that share lines: its number, its text, and its tree."""

    number: int
    text: str
    tree: ev.File


Rows = tuple[tuple[int, Piece], ...]
"""Pieces, in order, with the line that each begins at."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """A file's pieces and the whole that they make."""

    text: str
    rows: Rows
    file: ev.File

    @property
    def starts(self) -> dict[int, int]:
        """For the number of each piece, how many lines are above it."""
        return {piece.number: line - 1 for line, piece in self.rows}

    @property
    def failure(self) -> tuple[str, int, int] | None:
        """Why the body of some function could not be read, and where."""
        for line, piece in self.rows:
            for function in piece.tree.functions:
                if function.reader is not None and function.reader.failure:
                    reason, at, column = function.reader.failure
                    return reason, at + line - 1, column
        return None


def in_pieces(path: str, text: str, before: Pieces | None, bodies: Bodies) -> Pieces:
    """The pieces of a text; those that its last version had as well are the same objects. Raises Unparsable."""
    if before is not None and before.text == text:
        return before
    if (deep := too_many_branches(text)) is not None:
        raise Unparsable(*deep)
    for edit in edits(before, text):
        with suppress(Unparsable, SyntaxError, ValueError, RecursionError, MemoryError):
            rows = (*edit.head, *between(path, edit, remembering(bodies)), *edit.tail)
            return Pieces(text, rows, joined(path, rows))
    file = lower_file(path, text)  # says what is wrong, and where in the whole text
    return Pieces(text, ((1, Piece(0, text, file)),), file)


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit left alone of a text, above and below; the lines between, after how many others; the pieces that were there."""

    head: Rows
    above: int
    lines: str
    tail: Rows
    there: Rows


def edits(before: Pieces | None, text: str) -> Iterator[Edit]:
    """What may have become of a text: lines between two pieces, which parse by themselves or the next is true; and the whole."""
    if before is not None and "\r" not in before.text and "\r" not in text:
        yield between_pieces(before, text)
    yield Edit((), 0, text, (), before.rows if before is not None else ())


def between_pieces(before: Pieces, text: str) -> Edit:
    """The edit that leaves alone as many pieces as it can."""
    old = before.text
    same = common(old, text)
    first = text.count("\n", 0, same)
    """Lines that are wholly above what has changed."""
    most = min(len(old), len(text)) - same
    below = common(old[: -most - 1 : -1], text[: -most - 1 : -1])
    last = old.count("\n", 0, len(old) - below) + 1
    by = text.count("\n") - old.count("\n")
    head = tuple(row for row in before.rows if end_of(row) <= first)
    tail = tuple((line + by, piece) for line, piece in before.rows if line > last)
    there = before.rows[len(head) : len(before.rows) - len(tail)]
    above = end_of(head[-1]) if head else 0
    lines = text.split("\n")
    changed = lines[above : tail[0][0] - 1 if tail else None]
    return Edit(head, above, "\n".join((*changed, "")) if tail else "\n".join(changed), tail, there)


def common(one: str, other: str) -> int:
    """How many characters at the start are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def end_of(row: tuple[int, Piece]) -> int:
    """The last line of a piece."""
    return row[0] + row[1].text.count("\n") - 1


def between(path: str, edit: Edit, lower: Lower) -> Iterator[tuple[int, Piece]]:
    """The pieces that the lines of an edit make. Raises what a parser raises, and Unparsable."""
    known: dict[str, list[Piece]] = {}
    for _, piece in reversed(edit.there):
        if piece.number:
            known.setdefault(piece.text, []).append(piece)
    columns = Columns(edit.lines)
    for first, last in extents(parsed(edit.lines).body):
        part = columns.lines(first, last) + "\n"
        same = known.get(part)
        yield edit.above + first, same.pop() if same else new_piece(path, part, lower)


def new_piece(path: str, text: str, lower: Lower) -> Piece:
    """A piece that was not there before. Raises Unparsable."""
    number = next(_numbers)
    return Piece(number, text, lower_file(path, text, lower=lower, above=number * LINES))


def extents(statements: list[ast.stmt]) -> Iterator[tuple[int, int]]:
    """The first and last lines of the pieces."""
    start = end = 0
    for node in statements:
        first = min((each.lineno for each in getattr(node, "decorator_list", ())), default=node.lineno)
        if first > end:
            if end:
                yield start, end
            start = first
        end = node.end_lineno or node.lineno
    if end:
        yield start, end


def joined(path: str, rows: Rows) -> ev.File:
    """The file that its pieces make."""
    parts = [piece.tree for _, piece in rows]
    bodies = [part.body for part in parts]
    body = ev.Function(
        "<module>",
        "<module>",
        (),
        tuple(event for each in bodies for event in each.events),
        (),
        (1, 1, end_of(rows[-1]) if rows else 1, 1),
        any(each.is_generator for each in bodies),
        frozenset().union(*(each.called for each in bodies)),
        frozenset().union(*(each.receivers for each in bodies)),
        path,
        any(each.mentions_forces for each in bodies),
        any(each.has_closures for each in bodies),
        frozenset().union(*(each.aliased for each in bodies)),
        alone=tuple(row for each in bodies for row in each.alone),
    )
    functions = tuple(function for part in parts for function in part.functions)
    return ev.File(path, body, functions, tuple(cls for part in parts for cls in part.classes))


def remembering(kept: Bodies) -> Lower:
    """`lower_body`, but once only for the same function, wherever in the file it is: then its events are copied to their new place."""

    def lower(segment: str, node: Definition, function: ev.Function, columns: Columns) -> tuple[Event, ...]:
        key = (function.path, function.qualname, node.col_offset, segment)
        line, known = node.lineno + columns.above, kept.get(key)
        if known is None:
            events = lower_body(segment, node, function, columns)
            kept.put(key, (line, events), len(segment))
            return events
        moved: tuple[Event, ...] = shifted(known[1], line - known[0], {})
        return moved

    return lower


def shifted(part: Any, by: int, made: dict[int, Any]) -> Any:
    """A copy of events, values and all else below them, `by` lines further down; what is met twice (`made`) is copied once."""
    if isinstance(part, tuple):
        return tuple(shifted(inner, by, made) for inner in part)
    if isinstance(part, dict):
        return {key: shifted(inner, by, made) for key, inner in part.items()}
    if not isinstance(part, (ev.Event, ev.Value, ev.Function, ev.Class, ev.Param)):
        return part
    if (found := made.get(id(part))) is not None:
        return found
    copy = made[id(part)] = object.__new__(type(part))
    for each in fields(part):
        value = getattr(part, each.name)
        setattr(copy, each.name, moved(value, by) if each.name == "span" else shifted(value, by, made))
    return copy


def moved(span: Span, by: int) -> Span:
    """A span some lines further down; the one of what has no place stays."""
    return (span[0] + by, span[1], span[2] + by, span[3]) if span[0] >= LINES else span
