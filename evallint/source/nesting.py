"""How deep a text nests, told without a parser: libcst's parser takes the process down where the nesting exceeds its stack."""

from __future__ import annotations

import re

BRACKETS = 200
"""Python's own limit for nested brackets."""
CHAIN = 1000
"""Operators, attributes and calls of one expression that lie within each other; code written by hand has not a tenth of it."""
ELIFS = 2500
"""Branches of a file, as if all were of one chain."""

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
        return f"cannot parse the file: {reason}", len(re.findall(r"\r\n|\r|\n", text[:position])) + 1
    if text.count("elif") > ELIFS and len(_ELIF.findall(text)) > ELIFS:
        return f"cannot parse the file: it has more than {ELIFS} `elif` branches", 1
    return None


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
