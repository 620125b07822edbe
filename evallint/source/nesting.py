"""How deep a text nests, told without a parser: libcst's parser takes the process down where the nesting exceeds its stack."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

BRACKETS = 200
"""Python's own limit for nested brackets."""
CHAIN = 1000
"""Operators, attributes and calls of one expression that lie within each other; code written by hand has not a tenth of it."""
ELIFS = 2500
"""Branches of a file, as if all were of one chain."""

SHORT = 2 * BRACKETS
"""Characters in which nothing can be too deep."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_TOKEN = re.compile(
    r"""
    (?P<skip> \#[^\r\n]* | \\\r?\n
      | "{3} [^"\\]* (?: (?: \\. | "(?!"") ) [^"\\]* )* (?: "{3} | \Z )
      | '{3} [^'\\]* (?: (?: \\. | '(?!'') ) [^'\\]* )* (?: '{3} | \Z )
      | " [^"\\\r\n]* (?: \\. [^"\\\r\n]* )* "?
      | ' [^'\\\r\n]* (?: \\. [^'\\\r\n]* )* '? )
  | (?P<open> [(\[{] )
  | (?P<close> [)\]}] )
  | (?P<comma> [,;] )
  | (?P<line> [\r\n] )
  | (?P<link> [-+*/%@&|^~.<>] | == | != | \b (?: not | and | or | if | lambda | await | in | is ) \b )
    """,
    re.VERBOSE | re.DOTALL,
)
_ELIF = re.compile(r"^[ \t\f]*elif\b", re.MULTILINE)


def too_deep(text: str) -> tuple[str, int] | None:
    """Why no parser should be given `text`, and the 1-based line where that shows; None for all code that people write."""
    level = _first_too_deep(text)
    if level is not None:
        reason, position = level
        return reason, len(_LINE_END.findall(text, 0, position)) + 1
    return too_many_branches(text)


def too_many_branches(text: str) -> tuple[str, int] | None:
    """The same for branches alone, before anything parses the text."""
    if text.count("elif") > ELIFS and len(_ELIF.findall(text)) > ELIFS:
        return f"it has more than {ELIFS} `elif` branches", 1
    return None


def too_deep_in(tree: ast.Module, text: str) -> tuple[str, int] | None:
    """`too_deep` for a text that Python has parsed: only the statements that are long enough are looked at."""
    ends = [0, *(match.end() for match in _LINE_END.finditer(text)), len(text)]
    for first, last in _extents(tree.body):
        start, end = ends[first - 1], ends[min(last, len(ends) - 1)]
        if end - start > SHORT:
            deep = too_deep(text[start:end])
            if deep is not None:
                return deep[0], deep[1] + first - 1
    return None


def _extents(body: list[ast.stmt]) -> Iterator[tuple[int, int]]:
    """The first and last lines of every simple statement, and of every head of a compound one."""
    pending: list[Any] = [*body]
    while pending:
        node = pending.pop()
        inner: list[Any] = getattr(node, "body", None) or getattr(node, "cases", None) or []
        if not inner:
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                yield node.lineno, node.end_lineno
            continue
        pending += inner
        for name in ("handlers", "orelse", "finalbody"):
            pending += getattr(node, name, ())
        first = min((d.lineno for d in getattr(node, "decorator_list", ())), default=getattr(node, "pattern", node).lineno)
        yield first, getattr(inner[0], "pattern", inner[0]).lineno


def _first_too_deep(text: str) -> tuple[str, int] | None:
    links = [0]  # for each open bracket, how many links its current part has so far
    total = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "link":
            links[-1] += 1
            total += 1
        elif kind == "open":
            links[-1] += 1
            total += 1
            links.append(0)
            if len(links) > BRACKETS + 1:
                return f"more than {BRACKETS} brackets are open at once", token.start()
        elif kind == "close":
            if len(links) > 1:
                total -= links.pop()
        elif kind == "comma" or (kind == "line" and len(links) == 1):
            total -= links[-1]
            links[-1] = 0
        if total > CHAIN:
            return f"an expression has more than {CHAIN} parts within each other", token.start()
    return None
