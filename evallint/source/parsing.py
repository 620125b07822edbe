"""Python's own parser, without its warnings: what it thinks of escapes in somebody's texts is not evallint's to say."""

from __future__ import annotations

import ast
import warnings
from functools import lru_cache


@lru_cache(maxsize=2)
def parsed(text: str) -> ast.Module:
    """The tree of a text, which several steps ask for and none changes. Raises SyntaxError, ValueError, RecursionError or MemoryError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def compiles(text: str) -> bool:
    """Whether the running Python parses `text`; a cheap guard, after which the analysis has the word."""
    try:
        parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
