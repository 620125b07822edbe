"""Sites: the statements that a fix goes around, and what must hold for it to go there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from evallint.finding import Place, Receiver
from evallint.fixes.code import (
    LOOPS,
    Code,
    Codes,
    Scope,
    Spot,
    bound_in,
    calls_of,
    inside,
    leaves,
    names_in,
    names_of,
    parameters,
    spot_at,
    yields,
)

CONSUMING = frozenset("sum list tuple set frozenset dict sorted min max any all join fromiter".split())
"""What runs through a generator expression at once."""


@dataclass(frozen=True, slots=True)
class Site:
    """Statements `first` to `last` of a block, in their function."""

    spot: Spot
    block: list[ast.stmt]
    first: int
    last: int

    @property
    def scope(self) -> Scope:
        """The function, or the module."""
        return self.spot.scope

    @property
    def nodes(self) -> list[ast.stmt]:
        """The statements."""
        return self.block[self.first : self.last + 1]

    @property
    def lines(self) -> tuple[int, int]:
        """The lines on which the first and the last begin."""
        return self.block[self.first].lineno, self.block[self.last].lineno

    def leaves(self) -> bool:
        """Whether what is put after the statements may be passed over: by a jump, or by an error that somebody handles here."""
        handled = any(isinstance(node, ast.Try) and node.handlers for node in self.spot.nodes)
        return handled or leaves(self.nodes)

    def waits(self) -> bool:
        """Whether code around runs in between."""
        return yields(self.nodes)

    def flag(self) -> str | None:
        """What the statements ask before they train, if it is the same all the while: `training`, `optimizer is not None`."""
        bound = bound_in(self.nodes)
        for node in inside(self.nodes, ast.If):
            if isinstance(node, ast.If) and trains(node.body):
                plain = all(isinstance(n, PLAIN) for n in ast.walk(node.test)) and not names_in([node.test]) & bound
                return _as_bool(node.test, self.scope) if plain and not trains(node.orelse) else None
        return None

    def free_names(self, receivers: Sequence[str]) -> list[str]:
        """A name for each receiver, to keep its mode in."""
        body = self.scope.body
        own = names_in(body) | set(parameters(self.scope) if not isinstance(self.scope, ast.Module) else ())
        before = {id(node) for node in ast.walk(ast.Module(self.block[: self.first], []))}
        later = {n.id for n in ast.walk(ast.Module([*body], [])) if isinstance(n, ast.Name) and id(n) not in before}
        found: list[str] = []
        for receiver in receivers:
            said = re.sub(r"\W+", "_", receiver.removeprefix("self.")).strip("_")
            wanted = ["was_training"] if len(receivers) == 1 else []
            wanted += [f"{said}_was_training", *(f"{said}_was_training_{number}" for number in range(2, 99))]
            # a name that served a fix further up may serve again
            found.append(next(n for n in wanted if n not in found and (n not in own or (n.endswith("was_training") and n not in later))))
        return found


def _as_bool(test: ast.expr, scope: Scope) -> str:
    """A test as what `train()` and `set_grad_enabled()` take: they refuse what is only as good as true."""
    said = ast.unparse(test)
    if isinstance(test, (ast.Compare, ast.UnaryOp)):
        return said
    if isinstance(test, ast.Name) and not isinstance(scope, ast.Module):
        args = scope.args
        plain = [*args.posonlyargs, *args.args]
        defaults = [*zip(reversed(plain), reversed(args.defaults), strict=False), *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
        known = {arg.arg for arg, default in defaults if isinstance(default, ast.Constant) and isinstance(default.value, bool)}
        known |= {arg.arg for arg in (*plain, *args.kwonlyargs) if arg.annotation is not None and ast.unparse(arg.annotation) == "bool"}
        if test.id in known:
            return said
    return f"bool({said})"


def whole_statement(code: Code, spot: Spot) -> Site | None:
    """The innermost statement around a place that a line can be put before: not one behind the colon of another."""
    for block, index, _ in reversed(spot.steps):
        site = _widened(Site(spot, block, index, index))
        first = block[site.first]
        if not code.text_before(first).strip() and not (isinstance(first, ast.If) and code.begins(first, "elif")):
            return site
    return None


def _widened(site: Site) -> Site:
    """With all the statements on its line, which semicolons part."""
    first, last = site.first, site.last
    while first and site.block[first - 1].lineno == site.block[first].lineno:
        first -= 1
    while last + 1 < len(site.block) and site.block[last + 1].lineno == (site.block[last].end_lineno or 0):
        last += 1
    return Site(site.spot, site.block, first, last)


def sites(code: Code, place: Place, receivers: Sequence[str], models: Sequence[Receiver]) -> Iterator[Site]:
    """Where a fix for a region can go, the best first: its loop, or its statements; then the statements with the forwards alone."""
    spot = spot_at(code, place.line, place.column)
    if spot is None:
        return
    at = whole_statement(code, spot)
    if at is None:
        return
    loop = spot.statement
    if isinstance(loop, LOOPS) and code.starts_at(loop, place.line, place.column):
        if _can_go_around(at, receivers, models):
            yield at
        for model in models:
            inner = spot_at(code, model.spot.line, model.spot.column) if model.spot.path == place.path else None
            if inner is not None and inner.scope is spot.scope and not model.way:
                yield from _with_forwards(code, inner, receivers)
                return
    else:
        yield from _with_forwards(code, spot, receivers)


def _with_forwards(code: Code, spot: Spot, receivers: Sequence[str]) -> Iterator[Site]:
    """The statement around a place; or from it to the last of its block that runs one of the models."""
    at = whole_statement(code, spot)
    if at is None or _is_lazy(spot) or trains(at.nodes):
        return
    calls = [n for n in range(at.last, len(at.block)) if any(any(calls_of([at.block[n]], r)) for r in receivers)]
    for last in dict.fromkeys((at.last, max([at.last, *calls]))):
        found = _widened(Site(at.spot, at.block, at.first, last))
        if _can_go_around(found, receivers, ()) and not trains(found.nodes):
            yield found


def _is_lazy(spot: Spot) -> bool:
    """Whether the place is in a generator expression that something else runs, later."""
    for around, node in pairwise(spot.nodes):
        if isinstance(node, ast.GeneratorExp):
            name = ast.unparse(around.func).rpartition(".")[2] if isinstance(around, ast.Call) else ""
            if name not in CONSUMING:
                return True
    return False


TRAINING = frozenset("backward step manual_backward".split())
PLAIN = (ast.Name, ast.Attribute, ast.Compare, ast.cmpop, ast.Constant, ast.UnaryOp, ast.unaryop, ast.expr_context)
"""What a flag is made of, so that asking for it twice is as asking once, and the answer is true or false."""


def trains(nodes: Sequence[ast.AST]) -> bool:
    """Whether a training step is taken in statements."""
    calls = (node.func for node in inside(nodes, ast.Call) if isinstance(node, ast.Call))
    return any(isinstance(func, ast.Attribute) and func.attr in TRAINING for func in calls)


def _can_go_around(site: Site, receivers: Sequence[str], models: Sequence[Receiver]) -> bool:
    """Whether the models are there before the statements, and are so for certain."""
    bound = bound_in(site.nodes)
    return not any(names_of(receiver) & bound or is_optional(receiver, site.nodes) for receiver in receivers)


def is_optional(receiver: str, nodes: Sequence[ast.AST]) -> bool:
    """Whether code asks if there is such an object at all."""
    for node in inside(nodes, (ast.If, ast.IfExp, ast.While, ast.BoolOp, ast.Assert)):
        for test in node.values if isinstance(node, ast.BoolOp) else [node.test]:  # type: ignore[attr-defined]
            for part in ast.walk(test):
                operands = [part.operand] if isinstance(part, ast.UnaryOp) else [part.left] if isinstance(part, ast.Compare) else []
                if any(ast.unparse(one) == receiver for one in (test, *operands)):
                    return True
                if isinstance(part, ast.Call) and ast.unparse(part.func) == "hasattr" and receiver.startswith(ast.unparse(part.args[0])):
                    return True
    return False


def asked_on_the_way(model: Receiver, codes: Codes) -> bool:
    """Whether the function that runs a model asks if there is one."""
    code = codes(model.spot.path)
    spot = spot_at(code, model.spot.line, model.spot.column) if code is not None else None
    return spot is not None and bool(model.way) and is_optional(model.text, spot.scope.body)
