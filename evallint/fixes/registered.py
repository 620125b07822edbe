"""EVL203: an `nn.ModuleList` or `nn.ModuleDict` in place of a plain collection, as the file's imports spell it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from evallint.finding import Applicability, Finding, Repair
from evallint.fixes.code import Code, Codes, Scope, assigned, inside, spot_at

LISTED = frozenset(("append", "extend", "insert"))
KEYED = frozenset(("keys", "values", "items", "pop", "update", "clear"))
"""The methods that the plain collection and the other one both have."""
PASSING = frozenset("to cuda cpu half float double apply eval train requires_grad_".split())
"""Methods of a module that return it."""


def proposals(finding: Finding, repair: Repair, code: Code, codes: Codes) -> Iterator[tuple[str, Applicability]]:
    """The new text: parts that were not trained or saved are from then on, so it is never a safe one."""
    around = code.around(finding.place.line, finding.place.column)
    owner = next((node for node in reversed(around) if isinstance(node, ast.ClassDef)), None)
    spot = spot_at(code, finding.place.line, finding.place.column)
    if owner is None or spot is None:
        return
    given = assigned(owner.body, repair.text)
    if len(given) != 1 or not any(node is given[0] for node in ast.walk(spot.scope)) or _is_too_early(given[0], spot.scope):
        return
    value, names = given[0].value, [repair.text]
    made = value
    if isinstance(value, ast.Name):
        local = assigned(spot.scope.body, value.id)
        made, names = (local[0].value if len(local) == 1 else None), [*names, value.id]
    keyed = isinstance(made, (ast.Dict, ast.DictComp))
    if (
        value is None
        or made is None
        or not _fits([*_put(owner, made, names)], keyed, spot.scope)
        or not _is_used_as_both(owner, repair.text, keyed)
    ):
        return
    kind = code.torch_name(f"torch.nn.{'ModuleDict' if keyed else 'ModuleList'}", spot.scope, finding.place.line)
    if kind is None:
        return
    if (isinstance(value, ast.List) and not value.elts) or (isinstance(value, ast.Dict) and not value.keys):
        yield code.replaced(value, f"{kind}()"), "unsafe"
    else:
        bare = isinstance(value, ast.Tuple) and code.span(value)[:2] == code.span(value.elts[0])[:2]
        yield code.surrounded(value, f"{kind}({'[' * bare}", f"{']' * bare})"), "unsafe"


def _is_too_early(node: ast.stmt, scope: Scope) -> bool:
    """Whether a module's own constructor, which must come before its parts, is called after a statement."""
    calls = (call for call in inside(scope.body, ast.Call) if isinstance(call, ast.Call))
    return any(ast.unparse(call.func).startswith("super(") and call.lineno > node.lineno for call in calls)


def _put(owner: ast.ClassDef, made: ast.expr, names: Sequence[str]) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    """What goes into a collection, with its keys: at once, by its methods, under an index."""
    yield from _items(made)
    for node in inside(owner.body, (ast.Call, ast.Assign, ast.AugAssign), nested=True):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in names and node.args:
            last = node.args[-1]
            if node.func.attr in ("append", "insert"):
                yield None, last
            elif node.func.attr in ("extend", "update"):
                yield from _items(last)
        elif isinstance(node, ast.AugAssign) and ast.unparse(node.target) in names:
            yield from _items(node.value)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Subscript) and ast.unparse(target.value) in names:
                    yield target.slice, node.value


def _items(node: ast.expr) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    """The keys and values of a display or comprehension; anything else is one item that fits nowhere."""
    if isinstance(node, (ast.List, ast.Tuple)):
        yield from ((None, item) for item in node.elts)
    elif isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        yield None, node.elt
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield key, value if key is not None else ast.Constant(None)
    elif isinstance(node, ast.DictComp):
        yield node.key, node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("list", "tuple") and len(node.args) == 1:
        yield from _items(node.args[0])
    else:
        yield None, ast.Constant(None)


def _fits(items: Sequence[tuple[ast.expr | None, ast.expr]], keyed: bool, scope: Scope) -> bool:
    """Whether all that goes into a collection is made by constructors, and its keys are texts."""
    texts = all(_is_text(key) for key, _ in items) if keyed else all(key is None or not _is_text(key) for key, _ in items)
    return bool(items) and texts and all(_is_made(value, scope) for _, value in items)


def _is_made(node: ast.expr, scope: Scope) -> bool:
    """`nn.Linear(8, 8)`, `Block(width).to(device)`, or a variable of that: by its name a class is called, and what it makes is kept."""
    if isinstance(node, ast.Name):
        given = [each.value for each in assigned(scope.body, node.id)]
        return len(given) == 1 and given[0] is not None and not isinstance(given[0], ast.Name) and _is_made(given[0], scope)
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PASSING:
        node = node.func.value
    if isinstance(node, ast.IfExp):
        return _is_made(node.body, scope) and _is_made(node.orelse, scope)
    name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
    return name[:1].isupper()


def _is_text(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "str"
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_used_as_both(owner: ast.ClassDef, text: str, keyed: bool) -> bool:
    """Whether a class does nothing with a collection that the other kind cannot do."""
    known = KEYED if keyed else LISTED
    attributes = (node for node in inside(owner.body, ast.Attribute, nested=True) if isinstance(node, ast.Attribute))
    return all(node.attr in known for node in attributes if ast.unparse(node.value) == text)
