"""Lowering of expressions: every LibCST expression becomes a value of the event tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

import libcst as cst

from evallint import events as ev
from evallint.events import NOTHING, Event, Span, Value
from evallint.syntax.places import Columns, calls_in


class Scope:
    """What is collected while a function's body is lowered."""

    def __init__(self, name: str, qualname: str) -> None:
        self.name, self.qualname = name, qualname
        self.called: set[str] = set()
        self.receivers: set[tuple[str, str]] = set()
        self.aliased: set[str] = set()
        self.alone: list[tuple[str, Span]] = []
        self.is_generator = False
        self.has_closures = False
        self.mentions_forces = False


class Expressions:
    """The expression half of the visitor. `header` must be given the statement's `ast` nodes first: they hold the places."""

    def __init__(self, path: str, columns: Columns) -> None:
        self.path, self.columns = path, columns
        self.names: list[str] = []
        self.scopes: list[Scope] = []
        self._nodes: tuple[ast.AST | None, ...] = ()
        self._calls: list[ast.Call] | None = None
        self._next = 0

    def header(self, *nodes: ast.AST | None) -> None:
        """Begin a statement whose expressions are these `ast` nodes, in source order."""
        self._nodes, self._calls, self._next = nodes, None, 0

    def enter(self, name: str) -> Scope:
        """Begin a function."""
        if name != "<module>":
            self.names.append(name)
        scope = Scope(name, ".".join(self.names) or name)
        self.scopes.append(scope)
        return scope

    def leave(
        self, scope: Scope, params: tuple[ev.Param, ...], body: tuple[Event, ...], decorators: tuple[Value, ...], span: Span
    ) -> ev.Function:
        """End a function: what it calls, its enclosing function may call."""
        self.scopes.pop()
        if scope.name != "<module>":
            self.names.pop()
        if self.scopes and self.scopes[-1].name != "<module>":
            self.scopes[-1].called |= scope.called
            self.scopes[-1].receivers |= scope.receivers
            self.scopes[-1].aliased |= scope.aliased
            self.scopes[-1].has_closures = True
        return ev.Function(
            scope.name,
            scope.qualname,
            params,
            body,
            decorators,
            span,
            scope.is_generator,
            frozenset(scope.called),
            frozenset(scope.receivers),
            self.path,
            scope.mentions_forces,
            scope.has_closures,
            frozenset(scope.aliased),
            alone=tuple(scope.alone),
        )

    def value(self, node: cst.CSTNode) -> Value:
        """Lower one expression."""
        handler = EXPRESSIONS.get(type(node))
        if handler is not None:
            return handler(self, node)
        return self.mix(self.value(child) for child in node.children if isinstance(child, (cst.BaseExpression, *CARRIERS)))

    def mix(self, values: Iterable[Value]) -> Value:
        """Values that flow together: flattened, and what holds nothing is dropped."""
        flat: list[Value] = []
        for value in values:
            if type(value) is ev.Mix:
                flat += value.items
            elif not isinstance(value, ev.Const):
                flat.append(value)
        return ev.Mix(tuple(flat)) if flat else NOTHING

    def annotation(self, node: cst.Annotation) -> Value:
        """An annotation's expression; a quoted one is a `Const`."""
        return self.value(node.annotation)

    def span_of_call(self, number: int) -> Span:
        """The span of the statement's call with this number."""
        if self._calls is None:
            self._calls = list(calls_in(self._nodes))
        if number < len(self._calls):
            return self.columns.span(self._calls[number])
        first = next((n for n in self._nodes if n is not None and hasattr(n, "lineno")), None)
        return (1, 1, 1, 1) if first is None else self.columns.span(first)

    def notice(self, word: str) -> None:
        """Remember words that speak of gradients as results."""
        if "orce" in word or "stress" in word or "erivative" in word or "virial" in word:
            self.scopes[-1].mentions_forces = True

    # Handlers

    def name(self, node: cst.Name) -> Value:
        if node.value in SINGLETONS:
            return SINGLETONS[node.value]
        self.notice(node.value)
        return ev.Name(node.value)

    def attribute(self, node: cst.Attribute) -> Value:
        self.notice(node.attr.value)
        if node.attr.value == "training":
            self.scopes[-1].called.add("training")
        return ev.Attr(self.value(node.value), node.attr.value)

    def call(self, node: cst.Call) -> Value:
        func = self.value(node.func)
        number, self._next = self._next, self._next + 1
        scope = self.scopes[-1]
        if isinstance(func, ev.Attr):
            scope.called.add(func.name)
            scope.receivers.add((tail(func.base), func.name))
        elif isinstance(func, ev.Name):
            scope.called.add(func.id)
        elif isinstance(func, ev.Sub):
            scope.called.add(tail(func))
        asked = node.args[1].value if isinstance(func, ev.Name) and func.id in ("getattr", "hasattr") and len(node.args) > 1 else None
        if isinstance(asked, cst.SimpleString):
            scope.called.add(asked.raw_value)
        elif asked is not None:
            scope.called.add(ev.ANY_METHOD)
        args: list[Value] = []
        keywords: list[tuple[str, Value]] = []
        for arg in node.args:
            value = self.value(arg.value)
            passed = tail(value)
            if passed:
                scope.called.add(passed)
            if arg.star == "**":
                keywords.append(("**", value))
            elif arg.keyword is not None:
                keywords.append((arg.keyword.value, value))
            else:
                args.append(ev.Star(value) if arg.star else value)
        return ev.Call(func, tuple(args), tuple(keywords), self.span_of_call(number))

    def subscript(self, node: cst.Subscript) -> Value:
        base = self.value(node.value)
        items = [self.value(e.slice) for e in node.slice]
        return ev.Sub(base, items[0] if len(items) == 1 else ev.Seq(tuple(items)))

    def index(self, node: cst.Index) -> Value:
        return self.value(node.value)

    def slice(self, node: cst.Slice) -> Value:
        return ev.Mix((NOTHING, *(self.value(p) for p in (node.lower, node.upper, node.step) if p is not None)))

    def string(self, node: cst.SimpleString) -> Value:
        text = node.raw_value
        if len(text) < 40:
            self.notice(text)
        return ev.Const(text)

    def number(self, node: cst.Integer | cst.Float) -> Value:
        try:
            return ev.Const(node.evaluated_value)
        except (ValueError, SyntaxError):
            return NOTHING

    def nothing(self, node: cst.CSTNode) -> Value:
        return NOTHING

    def sequence(self, node: cst.List | cst.Tuple | cst.Set) -> Value:
        return ev.Seq(tuple(self.mentioned(self.value(e)) for e in node.elements))

    def mentioned(self, value: Value) -> Value:
        """A value kept in a container: if it is a function, somebody may call it later."""
        if isinstance(value, (ev.Name, ev.Attr)):
            self.scopes[-1].called.add(tail(value))
        return value

    def element(self, node: cst.Element) -> Value:
        return self.value(node.value)

    def starred(self, node: cst.StarredElement) -> Value:
        return ev.Star(self.value(node.value))

    def dict(self, node: cst.Dict) -> Value:
        items: list[tuple[Value | None, Value]] = []
        for element in node.elements:
            key = self.value(element.key) if isinstance(element, cst.DictElement) else None
            items.append((key, self.mentioned(self.value(element.value))))
        return ev.Map(tuple(items))

    def binary(self, node: cst.BinaryOperation) -> Value:
        rights: list[cst.BaseExpression] = []
        left: cst.BaseExpression = node
        while isinstance(left, cst.BinaryOperation):  # long sums are nested to the left
            rights.append(left.right)
            left = left.left
        mixed = self.mix([self.value(left), *(self.value(r) for r in reversed(rights))])
        return self.text(mixed) if isinstance(left, TEXTS) else mixed

    def text(self, mixed: Value) -> Value:
        """What flows together into a text."""
        return ev.Text(mixed.items) if isinstance(mixed, ev.Mix) and mixed.items else NOTHING

    def formatted(self, node: cst.FormattedString) -> Value:
        return self.text(self.mix(self.value(part) for part in node.parts))

    def unary(self, node: cst.UnaryOperation) -> Value:
        item = self.value(node.expression)
        return ev.Not(item) if isinstance(node.operator, cst.Not) else self.mix([item])

    def boolean(self, node: cst.BooleanOperation) -> Value:
        left = self.value(node.left)
        return ev.Bool("and" if isinstance(node.operator, cst.And) else "or", left, self.value(node.right))

    def comparison(self, node: cst.Comparison) -> Value:
        left = self.value(node.left)
        if len(node.comparisons) == 1:
            only = node.comparisons[0]
            op = OPERATORS.get(type(only.operator))
            right = self.value(only.comparator)
            if op in ("==", "is") and isinstance(right, ev.Const) and isinstance(right.value, bool) and isinstance(left, ev.Attr):
                return left if right.value else ev.Not(left)  # `model.training == True`
            return ev.Compare(op, left, right) if op else self.mix([left, right])
        return self.mix([left, *(self.value(c.comparator) for c in node.comparisons)])

    def if_exp(self, node: cst.IfExp) -> Value:
        then = self.value(node.body)
        test = self.value(node.test)
        return ev.IfValue(test, then, self.value(node.orelse))

    def lambda_(self, node: cst.Lambda) -> Value:
        params = self.params(node.params)
        scope = self.enter("<lambda>")
        first = self._next
        body = (ev.Return(self.value(node.body)),)
        span = self.span_of_call(first)
        return ev.Lambda(self.leave(scope, params, body, (), span))

    def comprehension(self, node: cst.ListComp | cst.SetComp | cst.GeneratorExp) -> Value:
        item = self.value(node.elt)
        return ev.Comprehension(type(node).__name__, item, tuple(self.loops(node.for_in)))

    def dict_comprehension(self, node: cst.DictComp) -> Value:
        item = ev.Seq((self.value(node.key), self.value(node.value)))
        return ev.Comprehension("DictComp", item, tuple(self.loops(node.for_in)))

    def loops(self, node: cst.CompFor | None) -> Iterable[tuple[Value, Value, tuple[Value, ...]]]:
        while node is not None:
            target, source = self.value(node.target), self.value(node.iter)
            yield target, source, tuple(self.value(i.test) for i in node.ifs)
            node = node.inner_for_in

    def await_(self, node: cst.Await) -> Value:
        return self.value(node.expression)

    def yield_(self, node: cst.Yield) -> Value:
        self.scopes[-1].is_generator = True
        if node.value is None:
            return ev.Yield(None)
        return ev.Yield(self.value(node.value.item if isinstance(node.value, cst.From) else node.value))

    def named(self, node: cst.NamedExpr) -> Value:
        target = self.value(node.target)
        return ev.Walrus(target, self.value(node.value))

    def concatenated(self, node: cst.ConcatenatedString) -> Value:
        return self.mix([self.value(node.left), self.value(node.right)])

    def params(self, node: cst.Parameters) -> tuple[ev.Param, ...]:
        """Parameters, annotations and defaults in source order."""
        found: list[ev.Param] = []

        def add(param: cst.Param, kind: str) -> None:
            annotation = self.annotation(param.annotation) if param.annotation is not None else None
            default = self.value(param.default) if param.default is not None else None
            found.append(ev.Param(param.name.value, kind, default, annotation))

        for param in (*node.posonly_params, *node.params):
            add(param, "pos")
        if isinstance(node.star_arg, cst.Param):
            add(node.star_arg, "*")
        for param in node.kwonly_params:
            add(param, "kw")
        if node.star_kwarg is not None:
            add(node.star_kwarg, "**")
        return tuple(found)


def tail(value: Value) -> str:
    """The last name of a dotted or subscripted value, or an empty string."""
    while isinstance(value, ev.Sub):
        value = value.base
    if isinstance(value, ev.Name):
        return value.id
    return value.name if isinstance(value, ev.Attr) else ""


SINGLETONS: dict[str, Value] = {"None": ev.Const(None), "True": ev.Const(True), "False": ev.Const(False)}

OPERATORS: dict[type, str] = {
    cst.Is: "is",
    cst.IsNot: "is not",
    cst.Equal: "==",
    cst.NotEqual: "!=",
    cst.In: "in",
    cst.NotIn: "not in",
    cst.LessThan: "<",
    cst.LessThanEqual: "<=",
    cst.GreaterThan: ">",
    cst.GreaterThanEqual: ">=",
}

TEXTS = (cst.SimpleString, cst.ConcatenatedString, cst.FormattedString)

CARRIERS = (cst.FormattedStringExpression, cst.FormattedStringText, cst.Index, cst.Slice, cst.Element)

EXPRESSIONS: dict[type, Callable[[Any, Any], Value]] = {
    cst.Name: Expressions.name,
    cst.Attribute: Expressions.attribute,
    cst.Call: Expressions.call,
    cst.Subscript: Expressions.subscript,
    cst.Index: Expressions.index,
    cst.Slice: Expressions.slice,
    cst.SimpleString: Expressions.string,
    cst.Integer: Expressions.number,
    cst.Float: Expressions.number,
    cst.Imaginary: Expressions.nothing,
    cst.Ellipsis: Expressions.nothing,
    cst.FormattedString: Expressions.formatted,
    cst.FormattedStringText: Expressions.nothing,
    cst.List: Expressions.sequence,
    cst.Tuple: Expressions.sequence,
    cst.Set: Expressions.sequence,
    cst.Element: Expressions.element,
    cst.StarredElement: Expressions.starred,
    cst.Dict: Expressions.dict,
    cst.BinaryOperation: Expressions.binary,
    cst.UnaryOperation: Expressions.unary,
    cst.BooleanOperation: Expressions.boolean,
    cst.Comparison: Expressions.comparison,
    cst.IfExp: Expressions.if_exp,
    cst.Lambda: Expressions.lambda_,
    cst.ListComp: Expressions.comprehension,
    cst.SetComp: Expressions.comprehension,
    cst.GeneratorExp: Expressions.comprehension,
    cst.DictComp: Expressions.dict_comprehension,
    cst.Await: Expressions.await_,
    cst.Yield: Expressions.yield_,
    cst.NamedExpr: Expressions.named,
    cst.ConcatenatedString: Expressions.concatenated,
}
