"""EVL301: what is summed or collected is taken off its graph."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evallint.events import JOINING
from evallint.finding import Applicability, Finding, Repair
from evallint.fixes.code import Code, Codes, assigned, spot_at


def proposals(finding: Finding, repair: Repair, code: Code, codes: Codes) -> Iterator[tuple[str, Applicability]]:
    """New texts of the file, and how safe each is: what goes into a sum is a tensor; what goes into a list may be something around one."""
    spot = spot_at(code, finding.place.line, finding.place.column)
    if spot is not None and repair.sort == "gather":
        added = _gathered(spot.statement, code, (finding.place.line, finding.place.column))
    else:
        added = _added(spot.statement, repair.text, repair.given) if spot is not None else None
    if added is None or isinstance(added, (ast.Tuple, ast.Set, ast.Dict, ast.Constant, ast.ListComp, ast.GeneratorExp, ast.Starred)):
        return
    plain = isinstance(added, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    listed = spot is not None and any(isinstance(node.value, ast.List) for node in assigned(spot.scope.body, repair.text))
    applicability: Applicability = "safe" if repair.sort == "sum" and not listed else "unsafe"
    yield code.surrounded(added, "", ".detach()") if plain else code.surrounded(added, "(", ").detach()"), applicability


def _added(node: ast.stmt, into: str, given: str) -> ast.expr | None:
    """What a statement adds to a sum or a collection, or hands to a function that does; None where that is not one expression."""
    if given:
        call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
        handed = [*call.args, *(k.value for k in call.keywords)] if call is not None else []
        return next((value for value in handed if ast.unparse(value) == given), None)
    if isinstance(node, ast.AugAssign):
        return _alone(node.value)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        return node.value.args[-1] if node.value.args else None
    if not isinstance(node, ast.Assign):
        return None
    value = _growing(node.value)
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        if ast.unparse(value.left) == into:
            return _alone(value.right)
        return value.left if ast.unparse(value.right) == into else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in JOINING:
        rows = value.args[0] if value.args else None
        return rows.elts[-1] if isinstance(rows, (ast.List, ast.Tuple)) and len(rows.elts) == 2 else None
    return value if isinstance(node.targets[0], ast.Subscript) and not isinstance(value, ast.List) else None


def _growing(value: ast.expr) -> ast.expr:
    """What adds, where that depends on a condition: `row if rows is None else torch.cat([rows, row])`."""
    if isinstance(value, ast.IfExp):
        return value.body if isinstance(value.body, (ast.BinOp, ast.Call)) else value.orelse
    return value


def _gathered(node: ast.stmt, code: Code, at: tuple[int, int]) -> ast.expr | None:
    """What a comprehension collects, if it is one call."""
    held = [each.elt for each in ast.walk(node) if isinstance(each, (ast.ListComp, ast.GeneratorExp))]
    return next((each for each in held if isinstance(each, ast.Call) and code.span(each)[:2] == at), None)


def _alone(node: ast.expr) -> ast.expr | None:
    """The expression, or the only one of a list."""
    if isinstance(node, ast.List):
        return node.elts[0] if len(node.elts) == 1 else None
    return node
