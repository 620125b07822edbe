"""Where calls are: Python's own `ast` as the oracle of positions, so that LibCST needs no metadata pass over the tree.

LibCST's nodes carry no positions, and its position provider writes the whole file anew to find them. `ast` has them for
nothing. The two trees are walked side by side, statement by statement; within a statement the calls of both are put in
the order of their opening parentheses and matched by number.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from evallint.events import Span

_NEWLINE = re.compile(r"\r\n|\r|\n")


class Columns:
    """Turns `ast` offsets (UTF-8 bytes) into 1-based columns (characters), and lines into those of spans, `above` further down."""

    def __init__(self, text: str, above: int = 0) -> None:
        self.text = text
        self.above = above
        self._lines = None if text.isascii() else _NEWLINE.split(text)
        self._starts: list[int] | None = None

    def of(self, line: int, offset: int) -> int:
        """The 1-based column of a byte offset in a line."""
        if self._lines is None or line > len(self._lines):
            return offset + 1
        return len(self._lines[line - 1].encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace")) + 1

    def offset(self, line: int, column: int) -> int:
        """The byte offset in a line of a 1-based column: what `of` was given."""
        if self._lines is None or line > len(self._lines):
            return column - 1
        return len(self._lines[line - 1][: column - 1].encode("utf-8", "surrogatepass"))

    def place(self, line: int, offset: int) -> int:
        """Where in the text a byte offset of a line is."""
        return self._line_starts()[line - 1] + self.of(line, offset) - 1

    def end_of_line(self, line: int) -> int:
        """Where in the text a line ends, before what ends it."""
        starts = self._line_starts()
        if line >= len(starts):
            return len(self.text)
        return starts[line] - (2 if self.text.startswith("\r\n", starts[line] - 2) else 1)

    def lines(self, first: int, last: int) -> str:
        """The text of some lines, without the end of the last one."""
        return self.text[self._line_starts()[first - 1] : self.end_of_line(last)]

    def _line_starts(self) -> list[int]:
        if self._starts is None:
            self._starts = [0, *(match.end() for match in _NEWLINE.finditer(self.text))]
        return self._starts

    def span(self, first: ast.AST, last: ast.AST | None = None) -> Span:
        """The span from the start of `first` to the end of `last` (default: of `first`)."""
        last = last or first
        line, end = first.lineno, last.end_lineno or last.lineno  # type: ignore[attr-defined]
        columns = self.of(line, first.col_offset), self.of(end, last.end_col_offset)  # type: ignore[attr-defined]
        return line + self.above, columns[0], end + self.above, columns[1]


def calls_in(nodes: Iterable[ast.AST | None]) -> Iterator[ast.Call]:
    """Every call below `nodes`, in the order of the opening parentheses."""
    for node in nodes:
        if node is None:
            continue
        if isinstance(node, ast.Call):
            yield from calls_in((node.func,))
            yield node
            rest: list[ast.AST] = [*node.args, *node.keywords]
            if node.keywords and node.args:
                rest.sort(key=lambda n: (n.lineno, n.col_offset))  # type: ignore[attr-defined]
            yield from calls_in(rest)
        elif isinstance(node, ast.IfExp):
            yield from calls_in((node.body, node.test, node.orelse))
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                yield from calls_in((key, value))
        elif isinstance(node, ast.arguments):
            yield from calls_in(arguments_in(node))
        elif isinstance(node, (ast.Name, ast.Constant)):
            continue
        else:
            yield from calls_in(ast.iter_child_nodes(node))


def arguments_in(node: ast.arguments) -> Iterator[ast.AST | None]:
    """Annotations and defaults of parameters in source order."""
    plain = [*node.posonlyargs, *node.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(node.defaults)), *node.defaults]
    for arg, default in zip(plain, defaults, strict=True):
        yield from (arg.annotation, default)
    if node.vararg:
        yield node.vararg.annotation
    for arg, default in zip(node.kwonlyargs, node.kw_defaults, strict=True):
        yield from (arg.annotation, default)
    if node.kwarg:
        yield node.kwarg.annotation
