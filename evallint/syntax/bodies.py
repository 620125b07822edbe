"""The bodies of functions that are read on demand: LibCST parses the segment of one function, when the analysis comes to it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator

from evallint.events import Event, Function
from evallint.source.parsing import parsed
from evallint.syntax.outline import FEWEST_LINES, FORCES, Outline, Uncertain
from evallint.syntax.places import Columns

Definition = ast.FunctionDef | ast.AsyncFunctionDef
DEPTH = 1000
"""Calls of Python that may nest to read one body; as many as where nothing has been called yet."""
AROUND = "class _:\n"
"""What an indented definition is parsed in."""
Lower = Callable[[str, Definition, Function, Columns], tuple[Event, ...]]


class Unparsable(Exception):
    """A file that cannot be read as Python: the reason, and where (1-based)."""

    def __init__(self, reason: str, line: int = 1, column: int = 1) -> None:
        super().__init__(reason)
        self.reason, self.line, self.column = reason, line, column


class Bodies:
    """One file's text and tree, from which bodies are read; the tree may be parsed when it is needed.

    `lower` makes the events of a definition from its segment, a text that LibCST parses by itself. Raises Unparsable.
    """

    def __init__(self, text: str, columns: Columns, lower: Lower, tree: ast.Module | None = None) -> None:
        self.text, self.columns = text, columns
        self._lower = lower
        self._tree = tree
        self._nodes: dict[tuple[int, int], Definition] | None = None
        self.failure: tuple[str, int, int] | None = None
        """LibCST refuses some code that Python parses."""

    def read(self, function: Function) -> tuple[Event, ...]:
        """The events of a function's body; none if LibCST cannot parse it."""
        if self._nodes is None:
            tree = self._tree or parsed(self.text)
            self._nodes = {(node.lineno, node.col_offset): node for node in definitions(tree.body)}
        line, column = function.span[0] - self.columns.above, function.span[1]
        node = self._nodes[line, self.columns.offset(line, column)]
        segment = self.segment(node)
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(limit + DEPTH)  # the same depth for every body, wherever the analysis is when it asks
        try:
            return self._lower(segment, node, function, self.columns)
        except Unparsable as e:
            self.failure = self.failure or (e.reason, max(node.lineno + e.line - 1 - segment.startswith(AROUND), 1), e.column)
            return ()
        finally:
            sys.setrecursionlimit(limit)

    def segment(self, node: Definition) -> str:
        """The text of a definition without its decorators, as a module of its own."""
        text = self.columns.lines(node.lineno, node.end_lineno or node.lineno)
        return f"{AROUND}{text}\n" if text[: node.col_offset].rpartition("\f")[2] else f"{text}\n"


def definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    """The functions that are in no other function, methods among them."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
        else:
            for name in ("body", "orelse", "finalbody"):
                yield from definitions(getattr(node, name, None) or [])
            for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                yield from definitions(part.body)


def outlines(tree: ast.Module, columns: Columns) -> dict[int, Outline]:
    """The outlines of the functions of a file whose bodies can wait, by the `id` of their nodes."""
    found: dict[int, Outline] = {}
    for node in definitions(tree.body):
        last = node.end_lineno or node.lineno
        if last - node.body[0].lineno + 1 >= FEWEST_LINES:
            text = columns.lines(node.lineno, last)
            if not any(word in text for word in FORCES):
                try:
                    found[id(node)] = Outline(node)
                except (Uncertain, RecursionError):
                    continue
    return found


def without_bodies(tree: ast.Module, columns: Columns, waiting: dict[int, Outline]) -> str:
    """A file's text with `pass` in place of the bodies that can wait."""
    pieces: list[str] = []
    done = 0
    for node in definitions(tree.body):
        if id(node) in waiting:
            first = node.body[0]
            pieces.append(columns.text[done : columns.place(first.lineno, first.col_offset)] + "pass")
            done = columns.end_of_line(node.end_lineno or node.lineno)
    return "".join((*pieces, columns.text[done:])) if pieces else columns.text
