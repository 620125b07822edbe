"""The LibCST visitor: lowers a file to its event tree. The only code that knows Python's syntax.

It walks statements by type instead of `CSTVisitor`'s generic traversal, which rebuilds every node that it passes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import libcst as cst

from evallint import events as ev
from evallint.events import NOTHING, Event, Span, Value
from evallint.source.nesting import too_deep_in, too_many_branches
from evallint.source.parsing import parsed
from evallint.syntax.bodies import Bodies, Definition, Lower, Unparsable, outlines, without_bodies
from evallint.syntax.expressions import Expressions
from evallint.syntax.outline import Outline, imports_of, written
from evallint.syntax.places import Columns


def lower_file(path: str, text: str, *, lazily: bool = True, lower: Lower | None = None, above: int = 0) -> ev.File:
    """The event tree of a file's text; `lazily`, without the bodies that nobody has asked for yet, which `lower` will read.

    Spans are `above` lines further down than in the text. Raises Unparsable.
    """
    if (deep := too_many_branches(text)) is not None:
        raise Unparsable(*deep)
    try:
        tree = parsed(text)
    except SyntaxError as e:
        raise Unparsable(f"{e.msg}", e.lineno or 1, max(e.offset or 1, 1)) from None
    except ValueError as e:
        raise Unparsable(str(e)) from None
    except (RecursionError, MemoryError):
        raise Unparsable("too deeply nested to be parsed") from None
    deep = too_deep_in(tree, text)
    if deep is not None:
        raise Unparsable(*deep)
    columns = Columns(text, above)
    waiting = outlines(tree, columns) if lazily else {}
    bodies = Bodies(text, columns, lower or lower_body, tree)
    try:
        try:
            return Visitor(path, columns, waiting, bodies).file(parse(without_bodies(tree, columns, waiting)), tree)
        except cst.ParserSyntaxError:
            if not waiting:
                raise
        return Visitor(path, columns).file(parse(text), tree)  # says where in the whole text
    except cst.ParserSyntaxError as e:
        raise Unparsable(e.message.splitlines()[0], e.raw_line, e.raw_column + 1) from None
    except RecursionError:
        raise Unparsable("too deeply nested to be analysed") from None


def attach(file: ev.File, text: str) -> None:
    """Let the bodies of a file's tree that are still unread be read from its text."""
    bodies = Bodies(text, Columns(text), lower_body)
    for function in file.functions:
        if function.unread:
            function.reader = bodies


def lower_body(segment: str, node: Definition, function: ev.Function, columns: Columns) -> tuple[Event, ...]:
    """The events of a definition's body, from its own segment of the text. Raises Unparsable, with the place in the segment."""
    try:
        statements: Any = parse(segment).body
        found = statements[0]
        definition: Any = found.body.body[0] if isinstance(found, cst.ClassDef) else found
        visitor = Visitor(function.path, columns)
        visitor.enter("<module>")
        visitor.names = function.qualname.split(".")[:-1]
        visitor.enter(function.name)
        return visitor.block(definition.body, node.body)
    except cst.ParserSyntaxError as e:
        raise Unparsable(e.message.splitlines()[0], e.raw_line, e.raw_column + 1) from None
    except RecursionError:
        raise Unparsable("too deeply nested to be analysed") from None


@contextmanager
def _unchecked() -> Iterator[None]:
    """LibCST's parser makes each node through a constructor that checks it once more: a fourth of its time, for nodes that are right."""
    checking = cst.CSTNode.__post_init__
    cst.CSTNode.__post_init__ = _pass_over  # type: ignore[assignment]
    try:
        yield
    finally:
        cst.CSTNode.__post_init__ = checking  # type: ignore[method-assign]


def _pass_over(node: cst.CSTNode) -> None:
    pass


def parse(text: str) -> cst.Module:
    """LibCST's tree. It refuses some mixtures of tabs and spaces that Python reads: then the indentation is spelt in spaces."""
    try:
        with _unchecked():
            return cst.parse_module(text)
    except cst.ParserSyntaxError:
        lines = text.split("\n")
        spelt = [line[: len(line) - len(rest)].expandtabs(8) + rest if (rest := line.lstrip(" \t")) else line for line in lines]
        if spelt == lines:
            raise
        return cst.parse_module("\n".join(spelt))


Pair = tuple[cst.CSTNode, ast.stmt]
Handler = Callable[["Visitor", Any, Any], Iterator[Event]]


def pairs(body: Sequence[cst.CSTNode], statements: Sequence[ast.stmt]) -> Iterator[Pair]:
    """The statements of both trees, side by side."""
    rest = iter(statements)
    for node in body:
        if isinstance(node, (cst.SimpleStatementLine, cst.SimpleStatementSuite)):
            for small in node.body:
                yield small, next(rest)
        else:
            yield node, next(rest)


class Visitor(Expressions):
    """Lowers the statements of one file."""

    def __init__(self, path: str, columns: Columns, waiting: Mapping[int, Outline] | None = None, bodies: Bodies | None = None) -> None:
        super().__init__(path, columns)
        self.waiting, self.bodies = waiting or {}, bodies
        self.functions: list[ev.Function] = []
        self.classes: list[ev.Class] = []

    def file(self, module: cst.Module, tree: ast.Module) -> ev.File:
        """Lower a whole file."""
        scope = self.enter("<module>")
        body = tuple(self.lower(module.body, tree.body))
        last = tree.body[-1] if tree.body else None
        span: Span = (1, 1, (last.end_lineno or 1) if last else 1, 1)
        function = self.leave(scope, (), body, (), span)
        return ev.File(self.path, function, tuple(self.functions), tuple(self.classes))

    def lower(self, body: Sequence[cst.CSTNode], statements: Sequence[ast.stmt]) -> Iterator[Event]:
        """The events of a sequence of statements."""
        for node, statement in pairs(body, statements):
            handler = HANDLERS.get(type(node))
            if handler is not None:
                yield from handler(self, node, statement)

    def block(self, node: cst.BaseSuite, statements: Sequence[ast.stmt]) -> tuple[Event, ...]:
        """The events of a suite."""
        body = node.body if isinstance(node, cst.IndentedBlock) else [node]
        return tuple(self.lower(body, statements))

    # Small statements

    def expr(self, node: cst.Expr, at: ast.Expr) -> Iterator[Event]:
        if isinstance(node.value, (cst.SimpleString, cst.ConcatenatedString, cst.Ellipsis)):
            return
        self.header(at.value)
        if isinstance(at.value, ast.Attribute):
            self.scopes[-1].alone.append((written(at.value), self.columns.span(at.value)))
        yield ev.Do(self.value(node.value))

    def assign(self, node: cst.Assign, at: ast.Assign) -> Iterator[Event]:
        self.header(*at.targets, at.value)
        targets = tuple(self.value(t.target) for t in node.targets)
        value = self.value(node.value)
        for choice in (value.then, value.other) if isinstance(value, ev.IfValue) else (value,):
            if isinstance(choice, ev.Attr) and isinstance(choice.base, ev.Name) and choice.base.id == "self":
                self.scopes[-1].aliased.add(choice.name)
        yield ev.Assign(targets, value, span=self.columns.span(at))

    def ann_assign(self, node: cst.AnnAssign, at: ast.AnnAssign) -> Iterator[Event]:
        self.header(at.target, at.annotation, at.value)
        target, annotation = self.value(node.target), self.annotation(node.annotation)
        if node.value is not None:
            yield ev.Assign((target,), self.value(node.value), annotation=annotation, span=self.columns.span(at))
        else:
            yield ev.Assign((target,), NOTHING, annotation=annotation)

    def aug_assign(self, node: cst.AugAssign, at: ast.AugAssign) -> Iterator[Event]:
        self.header(at.target, at.value)
        target = self.value(node.target)
        yield ev.Assign((target,), self.value(node.value), augmented=True, span=self.columns.span(at))

    def assert_(self, node: cst.Assert, at: ast.Assert) -> Iterator[Event]:
        self.header(at.test)
        yield ev.Assert(self.value(node.test))

    def return_(self, node: cst.Return, at: ast.Return) -> Iterator[Event]:
        self.header(at.value)
        yield ev.Return(None if node.value is None else self.value(node.value))

    def raise_(self, node: cst.Raise, at: ast.Raise) -> Iterator[Event]:
        self.header(at.exc)
        yield ev.Exit("raise", None if node.exc is None else self.value(node.exc))

    def break_(self, node: cst.Break, at: ast.Break) -> Iterator[Event]:
        yield ev.Exit("break")

    def continue_(self, node: cst.Continue, at: ast.Continue) -> Iterator[Event]:
        yield ev.Exit("continue")

    def import_(self, node: cst.Import, at: ast.Import) -> Iterator[Event]:
        yield from imports_of(at)

    def import_from(self, node: cst.ImportFrom, at: ast.ImportFrom) -> Iterator[Event]:
        yield from imports_of(at)

    def outer(self, node: cst.Global | cst.Nonlocal, at: ast.Global | ast.Nonlocal) -> Iterator[Event]:
        yield ev.Outer(tuple(at.names), isinstance(node, cst.Global))

    # Compound statements

    def if_(self, node: cst.If, at: ast.If) -> Iterator[Event]:
        self.header(at.test)
        test = self.value(node.test)
        then = self.block(node.body, at.body)
        other: tuple[Event, ...] = ()
        if isinstance(node.orelse, cst.If):
            inner = at.orelse[0]
            assert isinstance(inner, ast.If)
            other = tuple(self.if_(node.orelse, inner))
        elif node.orelse is not None:
            other = self.block(node.orelse.body, at.orelse)
        yield ev.Branch(test, then, other)

    def for_(self, node: cst.For, at: ast.For) -> Iterator[Event]:
        self.header(at.target, at.iter)
        target = self.value(node.target)
        source = self.value(node.iter)
        span = self.columns.span(at, at.iter)
        body = self.block(node.body, at.body)
        yield ev.Loop(target, source, body, self.block(node.orelse.body, at.orelse) if node.orelse else (), span)

    def while_(self, node: cst.While, at: ast.While) -> Iterator[Event]:
        self.header(at.test)
        source = self.value(node.test)
        body = self.block(node.body, at.body)
        other = self.block(node.orelse.body, at.orelse) if node.orelse else ()
        yield ev.Loop(None, source, body, other, self.columns.span(at, at.test))

    def with_(self, node: cst.With, at: ast.With) -> Iterator[Event]:
        self.header(*at.items)
        items = tuple((self.value(i.item), self.value(i.asname.name) if i.asname else None) for i in node.items)
        yield ev.With(items, self.block(node.body, at.body))

    def try_(self, node: cst.Try | cst.TryStar, at: ast.Try) -> Iterator[Event]:
        yield ev.Try(
            self.block(node.body, at.body),
            tuple(self.block(h, a.body) for h, a in zip([h.body for h in node.handlers], at.handlers, strict=True)),
            self.block(node.orelse.body, at.orelse) if node.orelse else (),
            self.block(node.finalbody.body, at.finalbody) if node.finalbody else (),
        )

    def match(self, node: cst.Match, at: ast.Match) -> Iterator[Event]:
        self.header(at.subject)
        yield ev.Do(self.value(node.subject))
        other: tuple[Event, ...] = ()
        for case, its in zip(reversed(node.cases), reversed(at.cases), strict=True):
            wild = isinstance(its.pattern, ast.MatchAs) and its.pattern.pattern is None and its.guard is None
            body = self.block(case.body, its.body)
            other = body if wild else (ev.Branch(self.case_test(node.subject, its.pattern), body, other),)
        yield from other

    def case_test(self, subject: cst.BaseExpression, pattern: ast.pattern) -> Value | None:
        """`subject == literal` for a literal pattern."""
        if isinstance(pattern, ast.MatchValue) and isinstance(pattern.value, ast.Constant) and isinstance(subject, cst.Name):
            literal = pattern.value.value
            if isinstance(literal, (str, int, bool)):
                return ev.Compare("==", ev.Name(subject.value), ev.Const(literal))
        return None

    # Definitions

    def function_def(self, node: cst.FunctionDef, at: ast.FunctionDef) -> Iterator[Event]:
        self.header(*at.decorator_list, at.args, at.returns)
        decorators = tuple(self.value(d.decorator) for d in node.decorators)
        params = self.params(node.params)
        if node.returns is not None:
            self.annotation(node.returns)
        outline = self.waiting.get(id(at))
        scope = self.enter(node.name.value)
        if outline is not None:
            scope.called, scope.receivers, scope.aliased = outline.called, outline.receivers, outline.aliased
            scope.is_generator, scope.has_closures = outline.is_generator, outline.has_closures
        body = self.block(node.body, at.body) if outline is None else ()
        function = self.leave(scope, params, body, decorators, self.columns.span(at))
        if outline is not None:
            function.unread, function.reader = True, self.bodies
            function.glance = outline.glance()
            function.alone = tuple((written(node), self.columns.span(node)) for node in outline.alone)
        self.functions.append(function)
        yield ev.Define(function)

    def class_def(self, node: cst.ClassDef, at: ast.ClassDef) -> Iterator[Event]:
        self.header(*at.decorator_list, *at.bases, *at.keywords)
        decorators = tuple(self.value(d.decorator) for d in node.decorators)
        bases = tuple(self.value(b.value) for b in node.bases)
        for keyword in node.keywords:
            self.value(keyword.value)
        self.names.append(node.name.value)
        body = self.block(node.body, at.body)
        self.names.pop()
        methods: dict[str, ev.Function] = {}
        collect_methods(body, methods)
        cls = ev.Class(
            node.name.value, ".".join([*self.names, node.name.value]), bases, body, methods, decorators, self.columns.span(at), self.path
        )
        self.classes.append(cls)
        yield ev.DefineClass(cls)


def collect_methods(body: Sequence[Event], into: dict[str, ev.Function]) -> None:
    """The methods that a class body defines, conditionally or not; a property's setter is called `name=`."""
    for event in body:
        if isinstance(event, ev.Define):
            setter = any(isinstance(d, ev.Attr) and d.name == "setter" for d in event.function.decorators)
            into[event.function.name + "=" * setter] = event.function
        elif isinstance(event, ev.Branch):
            collect_methods(event.other, into)
            collect_methods(event.then, into)


HANDLERS: dict[type, Handler] = {
    cst.Expr: Visitor.expr,
    cst.Assign: Visitor.assign,
    cst.AnnAssign: Visitor.ann_assign,
    cst.AugAssign: Visitor.aug_assign,
    cst.Assert: Visitor.assert_,
    cst.Return: Visitor.return_,
    cst.Raise: Visitor.raise_,
    cst.Break: Visitor.break_,
    cst.Continue: Visitor.continue_,
    cst.Import: Visitor.import_,
    cst.ImportFrom: Visitor.import_from,
    cst.Global: Visitor.outer,
    cst.Nonlocal: Visitor.outer,
    cst.If: Visitor.if_,
    cst.For: Visitor.for_,
    cst.While: Visitor.while_,
    cst.With: Visitor.with_,
    cst.Try: Visitor.try_,
    cst.TryStar: Visitor.try_,
    cst.Match: Visitor.match,
    cst.FunctionDef: Visitor.function_def,
    cst.ClassDef: Visitor.class_def,
}
