"""What a function says of itself without being lowered: the names that it calls, told by Python's own `ast`.

Most functions are never run by the analysis; for these that is enough, and LibCST, which is many times slower, need not parse them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

from evallint import events as ev

FEWEST_LINES = 2
"""Shorter functions are lowered at once."""
FORCES = ("orce", "stress", "erivative", "virial")
"""What the visitor looks for in names and texts."""
SILENT = (ast.Pass, ast.Delete)


class Uncertain(Exception):
    """Something of which `ast` does not keep what the visitor sees; the function is lowered at once."""


class Outline:
    """The sets of a `Function` that are known without its events: those that the visitor's scopes collect. Raises Uncertain."""

    def __init__(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.called: set[str] = set()
        self.receivers: set[tuple[str, str]] = set()
        self.aliased: set[str] = set()
        self.named: set[str] = set()
        self.assigned: list[str] = []
        self.collections: set[str] = set()
        self.collected: list[str] = []
        self.alone: list[ast.Attribute] = []
        self.imports: list[ev.Import] = []
        self.is_generator = False
        self.has_closures = False
        self.own = [s for s in node.body if not isinstance(s, SILENT) and not is_text(s)]
        self.body(node.body)

    def glance(self) -> ev.Glance:
        """What is known of the body beside the sets."""
        raises = all(isinstance(statement, ast.Raise) for statement in self.own)
        return ev.Glance(len(self.own), tuple(self.imports), raises, frozenset(self.named), tuple(self.assigned), tuple(self.collected))

    # Statements

    def body(self, statements: Iterable[ast.stmt]) -> None:
        for node in statements:
            handler = STATEMENTS.get(type(node))
            if handler is None:
                raise Uncertain
            handler(self, node)

    def nothing(self, node: Any) -> None:
        pass

    def expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.JoinedStr):
            raise Uncertain  # one text, or several side by side
        if isinstance(node.value, ast.Attribute):
            self.alone.append(node.value)
        if not is_text(node):
            self.value(node.value)

    def assign(self, node: ast.Assign) -> None:
        self.values(node.targets)
        self.assigns(*node.targets)
        self.collects(node.value, *node.targets)
        self.value(node.value)
        value = plain(node.value)
        for choice in (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,):
            choice = plain(choice)
            if isinstance(choice, ast.Attribute) and isinstance(base := plain(choice.value), ast.Name) and base.id == "self":
                self.aliased.add(choice.attr)

    def assigns(self, *targets: ast.expr) -> None:
        for target in targets:
            if isinstance(target, ast.Attribute) and isinstance(base := plain(target.value), ast.Name) and base.id == "self":
                self.assigned.append(target.attr)

    def collects(self, value: ast.expr, *targets: ast.expr) -> None:
        if not is_collection(value) and not (isinstance(name := plain(value), ast.Name) and name.id in self.collections):
            return
        for target in targets:
            if isinstance(target, ast.Name):
                self.collections.add(target.id)
            elif isinstance(target, ast.Attribute) and isinstance(base := plain(target.value), ast.Name) and base.id == "self":
                self.collected.append(target.attr)

    def aug_assign(self, node: ast.AugAssign) -> None:
        self.value(node.target)
        self.assigns(node.target)
        self.value(node.value)

    def ann_assign(self, node: ast.AnnAssign) -> None:
        self.value(node.target)
        self.assigns(node.target)
        self.value(node.annotation)
        if node.value is not None:
            self.collects(node.value, node.target)
            self.value(node.value)

    def import_(self, node: ast.Import | ast.ImportFrom) -> None:
        self.imports += imports_of(node)

    def with_(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.value(item.context_expr)
            self.optional(item.optional_vars)
        self.body(node.body)

    def for_(self, node: ast.For | ast.AsyncFor) -> None:
        self.value(node.target)
        self.value(node.iter)
        self.body(node.body)
        self.body(node.orelse)

    def test(self, node: ast.If | ast.While) -> None:
        self.value(node.test)
        self.body(node.body)
        self.body(node.orelse)

    def try_(self, node: Any) -> None:
        self.body(node.body)
        for handler in node.handlers:
            self.body(handler.body)
        self.body(node.orelse)
        self.body(node.finalbody)

    # Expressions

    def value(self, node: ast.expr) -> None:
        handler = VALUES.get(type(node))
        if handler is None:
            raise Uncertain
        handler(self, node)

    def values(self, nodes: Iterable[ast.expr]) -> None:
        for node in nodes:
            self.value(node)

    def optional(self, node: ast.expr | None) -> None:
        if node is not None:
            self.value(node)

    def attribute(self, node: ast.Attribute) -> None:
        if node.attr == "training":
            self.called.add("training")
        self.value(node.value)

    def call(self, node: ast.Call) -> None:
        self.value(node.func)
        func = plain(node.func)
        if isinstance(func, ast.Attribute):
            self.called.add(func.attr)
            self.receivers.add((tail(func.value), func.attr))
        elif isinstance(func, ast.Name):
            self.called.add(func.id)
            self.named.add(func.id)
            if func.id in ("getattr", "hasattr") and len(node.args) + len(node.keywords) > 1:
                self.called.add(asked(node))
        elif isinstance(func, ast.Subscript):
            self.called.add(tail(func))
        for value in (*node.args, *(keyword.value for keyword in node.keywords)):
            inner = value.value if isinstance(value, ast.Starred) else value
            self.value(inner)
            passed = tail(inner)
            if passed:
                self.called.add(passed)

    def subscript(self, node: ast.Subscript) -> None:
        self.value(node.value)
        index = node.slice
        if not isinstance(index, ast.Tuple):
            self.value(index)
        elif index.elts and (index.lineno, index.col_offset) == (index.elts[0].lineno, index.elts[0].col_offset):
            self.values(index.elts)
        else:
            raise Uncertain  # a tuple in parentheses, or several indices of which the first has some

    def slice(self, node: ast.Slice) -> None:
        for part in (node.lower, node.upper, node.step):
            self.optional(part)

    def sequence(self, node: ast.List | ast.Tuple | ast.Set) -> None:
        for item in node.elts:
            if isinstance(item, ast.Starred):
                self.value(item.value)
            else:
                self.mentioned(item)

    def mentioned(self, node: ast.expr) -> None:
        self.value(node)
        kept = plain(node)
        if isinstance(kept, (ast.Name, ast.Attribute)):
            self.called.add(tail(kept))

    def dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            self.optional(key)
            self.mentioned(value)

    def lambda_(self, node: ast.Lambda) -> None:
        self.values(node.args.defaults)
        for default in node.args.kw_defaults:
            self.optional(default)
        self.has_closures = True
        generator = self.is_generator
        self.value(node.body)
        self.is_generator = generator  # a `yield` in a lambda is the lambda's

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        self.value(node.elt)
        self.generators(node.generators)

    def dict_comprehension(self, node: ast.DictComp) -> None:
        self.value(node.key)
        self.value(node.value)
        self.generators(node.generators)

    def generators(self, nodes: Iterable[ast.comprehension]) -> None:
        for node in nodes:
            self.value(node.target)
            self.value(node.iter)
            self.values(node.ifs)

    def yield_(self, node: ast.Yield | ast.YieldFrom) -> None:
        self.is_generator = True
        self.optional(node.value)

    def binary(self, node: ast.BinOp) -> None:
        left: ast.expr = node
        while isinstance(left, ast.BinOp):  # long sums are nested to the left
            self.value(left.right)
            left = left.left
        self.value(left)

    def compare(self, node: ast.Compare) -> None:
        self.value(node.left)
        self.values(node.comparators)

    def if_exp(self, node: ast.IfExp) -> None:
        self.values((node.body, node.test, node.orelse))

    def walrus(self, node: ast.NamedExpr) -> None:
        self.value(node.target)
        self.value(node.value)

    def joined(self, node: ast.JoinedStr) -> None:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.value(part.value)
                self.optional(part.format_spec)

    def one(self, node: Any) -> None:
        self.optional(node.value)


def is_text(node: ast.stmt) -> bool:
    """Whether a statement is a text or an ellipsis, which the visitor passes over."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, (str, bytes, type(...)))


def is_collection(node: ast.expr) -> bool:
    """Whether an expression makes a list, tuple, set or dict in sight: a display, a comprehension, `list(…)`, `[x] * 3`, a slice."""
    node = plain(node)
    while isinstance(node, ast.BinOp):  # long sums are nested to the left
        if is_collection(node.right):
            return True
        node = plain(node.left)
    if isinstance(node, ast.IfExp):
        return is_collection(node.body) or is_collection(node.orelse)
    if isinstance(node, ast.Call):
        return isinstance(func := plain(node.func), ast.Name) and func.id in ev.COLLECTIONS
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Slice) and isinstance(plain(node.value), ast.Call) and is_collection(node.value)
    return isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp))


def plain(node: ast.expr) -> ast.expr:
    """An expression as the visitor sees it: without `await`, and `x.training == True` as `x.training`."""
    while True:
        if isinstance(node, ast.Await):
            node = node.value
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Eq, ast.Is)):
            right = node.comparators[0]
            left = plain(node.left)
            if not (isinstance(left, ast.Attribute) and isinstance(right, ast.Constant) and right.value is True):
                return node
            node = left
        else:
            return node


def tail(node: ast.expr) -> str:
    """The last name of a dotted or subscripted expression, or an empty string."""
    node = plain(node)
    while isinstance(node, ast.Subscript):
        node = plain(node.value)
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def written(node: ast.expr) -> str:
    """A name or attribute as it is written; what else it hangs on is but hinted at."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{written(node.value)}.{node.attr}"
    if isinstance(node, ast.Subscript):
        return f"{written(node.value)}[…]"
    return f"{written(node.func)}(…)" if isinstance(node, ast.Call) else "…"


def asked(node: ast.Call) -> str:
    """What `getattr` is asked for. Raises Uncertain."""
    if len(node.args) < 2:
        raise Uncertain
    name = node.args[1]
    if not isinstance(name, ast.Constant) or not isinstance(name.value, (str, bytes)):
        return ev.ANY_METHOD
    if isinstance(name.value, bytes) or name.end_lineno != name.lineno or not name.value.isascii():
        raise Uncertain
    if (name.end_col_offset or 0) - name.col_offset != len(name.value) + 2:
        raise Uncertain  # several texts side by side, or escapes
    return name.value


def imports_of(node: ast.Import | ast.ImportFrom) -> list[ev.Import]:
    """The events of an import statement."""
    if isinstance(node, ast.Import):
        return [ev.Import(alias.name, 0, None, alias.asname or alias.name) for alias in node.names]
    return [ev.Import(node.module or "", node.level, alias.name, alias.asname or alias.name) for alias in node.names]


STATEMENTS: dict[type, Callable[[Any, Any], None]] = {
    ast.Expr: Outline.expr,
    ast.Assign: Outline.assign,
    ast.AnnAssign: Outline.ann_assign,
    ast.AugAssign: Outline.aug_assign,
    ast.Assert: lambda self, node: self.value(node.test),
    ast.Return: Outline.one,
    ast.Raise: lambda self, node: self.optional(node.exc),
    ast.Import: Outline.import_,
    ast.ImportFrom: Outline.import_,
    ast.If: Outline.test,
    ast.While: Outline.test,
    ast.For: Outline.for_,
    ast.AsyncFor: Outline.for_,
    ast.With: Outline.with_,
    ast.AsyncWith: Outline.with_,
    ast.Try: Outline.try_,
    **dict.fromkeys((ast.Pass, ast.Delete, ast.Break, ast.Continue, ast.Global, ast.Nonlocal), Outline.nothing),
}
if hasattr(ast, "TryStar"):
    STATEMENTS[ast.TryStar] = Outline.try_

VALUES: dict[type, Callable[[Any, Any], None]] = {
    ast.Name: Outline.nothing,
    ast.Constant: Outline.nothing,
    ast.Attribute: Outline.attribute,
    ast.Call: Outline.call,
    ast.Subscript: Outline.subscript,
    ast.Slice: Outline.slice,
    ast.List: Outline.sequence,
    ast.Tuple: Outline.sequence,
    ast.Set: Outline.sequence,
    ast.Dict: Outline.dict,
    ast.BinOp: Outline.binary,
    ast.UnaryOp: lambda self, node: self.value(node.operand),
    ast.BoolOp: lambda self, node: self.values(node.values),
    ast.Compare: Outline.compare,
    ast.IfExp: Outline.if_exp,
    ast.Lambda: Outline.lambda_,
    ast.ListComp: Outline.comprehension,
    ast.SetComp: Outline.comprehension,
    ast.GeneratorExp: Outline.comprehension,
    ast.DictComp: Outline.dict_comprehension,
    ast.Await: Outline.one,
    ast.Yield: Outline.yield_,
    ast.YieldFrom: Outline.yield_,
    ast.NamedExpr: Outline.walrus,
    ast.JoinedStr: Outline.joined,
    ast.Starred: Outline.one,
}
