"""torch's own functions with a few statements before theirs, in the same frame and at torch's own lines.

What is called through them gains no frame, and a traceback or a warning shows torch's file and line, as without. They are made from
torch's source, so that they follow what torch does in any version.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any


class UnknownForm(Exception):
    """The function cannot be extended: its source is not there, or it has another form than those known."""


def call_with_taps(stock: Any, names: Mapping[str, Any]) -> Any:
    """A `__call__` that asks `_evl_compiling` and `_evl_inside`, and tells `_evl_begin` and `_evl_finish`. Raises UnknownForm."""
    function, again = _parsed(stock), _parsed(stock)
    signature = function.args
    if len(signature.args) != 1 or signature.vararg is None or signature.kwarg is None or signature.kwonlyargs or signature.posonlyargs:
        raise UnknownForm
    given = ", ".join([signature.args[0].arg, signature.vararg.arg, signature.kwarg.arg])
    guard, watched = _statements(
        f"if _evl_compiling() or _evl_inside.on: pass\ntry:\n    _evl_token = _evl_begin({given})\nfinally:\n    _evl_inside.on = False\n",
        function,
    )
    assert isinstance(guard, ast.If) and isinstance(watched, ast.Try)
    guard.body = function.body
    watched.body += [_Returns().visit(statement) for statement in again.body]
    function.body = [guard, watched]
    return _compiled(function, stock, names)


def with_prologue(stock: Any, prologue: str, names: Mapping[str, Any]) -> Any:
    """A function that runs `prologue` first, which may use the function's own parameters and `names`. Raises UnknownForm."""
    function = _parsed(stock)
    function.body = [*_statements(prologue, function), *function.body]
    return _compiled(function, stock, names)


def _parsed(stock: Any) -> ast.FunctionDef:
    """The definition, every node at its own line and column in torch's file."""
    try:
        source, first = inspect.getsourcelines(stock)
        text = "".join(source)
        if text[:1].isspace():  # in a class, for which the `if` stands
            block = ast.parse("if 1:\n" + text).body[0]
            function = block.body[0] if isinstance(block, ast.If) else block
            ast.increment_lineno(function, first - 2)
        else:
            function = ast.parse(text).body[0]
            ast.increment_lineno(function, first - 1)
    except (OSError, TypeError, SyntaxError, IndexError):
        raise UnknownForm from None
    if not isinstance(function, ast.FunctionDef) or function.decorator_list:
        raise UnknownForm
    return function


def _statements(text: str, function: ast.FunctionDef) -> list[ast.stmt]:
    """Statements of ours, at the function's first line."""
    statements = ast.parse(text).body
    for node in (one for statement in statements for one in ast.walk(statement)):
        if hasattr(node, "lineno"):
            ast.copy_location(node, function.body[0])
    return statements


def _compiled(function: ast.FunctionDef, stock: Any, names: Mapping[str, Any]) -> Any:
    function.returns = None  # annotations may name what only type checkers import
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    maker = ast.parse(f"def make({', '.join(names)}): pass")
    assert isinstance(maker.body[0], ast.FunctionDef)
    maker.body[0].body = [function, ast.Return(ast.Name(function.name, ast.Load()))]
    ast.fix_missing_locations(maker)
    made: dict[str, Any] = {}
    exec(compile(maker, stock.__code__.co_filename, "exec", dont_inherit=True), stock.__globals__, made)
    call: FunctionType = made["make"](**names)
    call.__qualname__ = stock.__qualname__
    call.__doc__ = stock.__doc__
    return call


class _Returns(ast.NodeTransformer):
    """Hands each returned value to `_evl_finish` first."""

    def visit_Return(self, node: ast.Return) -> ast.Return:
        value = node.value or ast.copy_location(ast.Constant(None), node)
        finish = ast.copy_location(ast.Name("_evl_finish", ast.Load()), value)
        token = ast.copy_location(ast.Name("_evl_token", ast.Load()), value)
        node.value = ast.copy_location(ast.Call(finish, [token, value], []), value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        return node
