"""Receivers: how the function that is to be changed names a model that runs in another one, some calls further on."""

from __future__ import annotations

import ast
import re

from evallint.finding import Passage, Place, Receiver
from evallint.fixes.code import Codes, Function, bound_in, expression, parameters, root_of


def named(receiver: Receiver, codes: Codes) -> str | None:
    """The model as the function at the beginning of its way names it; None where that cannot be said."""
    node = _as_written(receiver, codes)
    for passage in reversed(receiver.way):
        if node is None:
            return None
        node = _before(node, passage, codes)
    return None if node is None else ast.unparse(node)


def _as_written(receiver: Receiver, codes: Codes) -> ast.expr | None:
    """The model at the end of the way; where its name is shortened, as the call there has it."""
    if "…" not in receiver.text:
        return expression(receiver.text)
    call = _call(receiver.spot, codes)
    shape = re.compile(".*".join(map(re.escape, receiver.text.replace("[…]", "[…").split("…"))) + ".*")
    candidates = [call.func] if call is not None else []
    candidates += [func.value for func in candidates if isinstance(func, ast.Attribute)]
    return next((c for c in candidates if root_of(c) is not None and shape.fullmatch(ast.unparse(c))), None)


def _call(place: Place, codes: Codes) -> ast.Call | None:
    code = codes(place.path)
    if code is None:
        return None
    calls = [node for node in code.around(place.line, place.column) if isinstance(node, ast.Call)]
    return next((node for node in calls if code.span(node)[2:] == (place.end_line, place.end_column)), None)


def _before(node: ast.expr, passage: Passage, codes: Codes) -> ast.expr | None:
    """What is `node` in a function, as the caller names it."""
    code, call = codes(passage.function.path), _call(passage.call, codes)
    if code is None or call is None:
        return None
    around = code.around(passage.function.line, passage.function.column)
    function = around[-1] if around else None
    while around and not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        around.pop()
        function = around[-1] if around else None
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    root = root_of(node)
    if root in parameters(function):
        given = _given(function, str(root), call, is_method=len(around) > 1 and isinstance(around[-2], ast.ClassDef))
    elif root not in bound_in(function.body) and passage.call.path == passage.function.path and len(around) == 2:
        given = ast.Name(str(root))  # a variable of the file
    else:
        return None
    return None if given is None or root in bound_in(function.body) else expression(_put(node, given))


def _given(function: Function, name: str, call: ast.Call, *, is_method: bool) -> ast.expr | None:
    """What a call gives a parameter."""
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    static = any(isinstance(d, ast.Name) and d.id in ("staticmethod", "classmethod") for d in function.decorator_list)
    if is_method and not static:
        own, *names = names or [""]
        if name == own:
            by_name = isinstance(call.func, ast.Attribute) and call.func.attr == function.name
            owner = call.func.value if by_name and isinstance(call.func, ast.Attribute) else call.func
            return ast.Name("self") if ast.unparse(owner) == "super()" else owner
    if any(isinstance(arg, ast.Starred) for arg in call.args):
        return None
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return dict(zip(names, call.args, strict=False)).get(name)


def _put(node: ast.expr, given: ast.expr) -> str:
    """An expression with another one in place of the name that it begins with."""
    root, rest = str(root_of(node)), ast.unparse(node)
    return ast.unparse(given) + rest.removeprefix(root)
