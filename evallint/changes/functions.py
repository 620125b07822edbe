"""In which function a line is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from evallint.source.parsing import parsed


@dataclass(frozen=True, slots=True)
class Function:
    """A function: its name, its first line (that of its first decorator) and its last, 1-based."""

    name: str
    first: int
    last: int


def functions(text: str) -> tuple[Function, ...]:
    """The functions of a Python text, outer ones first; none if it does not parse."""
    try:
        return tuple(_functions(parsed(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


def _functions(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield Function(node.name, first, node.end_lineno or node.lineno)


def function_at(found: tuple[Function, ...], line: int) -> Function | None:
    """The innermost function that a line is in."""
    return next((function for function in reversed(found) if function.first <= line <= function.last), None)
