"""Splitting a function in two, and a file in two: what the program does stays as it is. Plain `ast`, in place."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from .rewriting import Function, bound, expression, names, own_functions, parameters, start, statements

PART = "_{}_part"
"""The name of what was split off a function."""

_NEVER = (
    *(ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal, ast.AsyncFor, ast.AsyncWith),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.Import, ast.ImportFrom, ast.NamedExpr, ast.Delete),
)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _simple(nodes: Sequence[ast.AST]) -> bool:
    """Whether the scopes of all names in `nodes` are plain to see."""
    if any(isinstance(n, _NEVER) for node in nodes for n in ast.walk(node)) or {"super", "locals", "vars", "__class__"} & names(nodes):
        return False
    inner = _comprehended(nodes)
    outside = [n.id for node in nodes for n in _outside_comprehensions(node) if isinstance(n, ast.Name)]
    return not inner & set(outside)


def _comprehended(nodes: Sequence[ast.AST]) -> set[str]:
    found = [n for node in nodes for n in ast.walk(node) if isinstance(n, _COMPREHENSIONS)]
    return {name for comp in found for g in comp.generators for name in names([g.target], ast.Store)}


def _outside_comprehensions(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, _COMPREHENSIONS):
        return []
    return [node, *(n for child in ast.iter_child_nodes(node) for n in _outside_comprehensions(child))]


def _binds_first(name: str, body: Sequence[ast.stmt]) -> bool:
    """Whether the first statement of `body` that has the name binds it, whatever happens."""
    first = next(node for node in body if name in names([node]))
    if isinstance(first, ast.Assign):
        return name not in names([first.value]) and name in names(list(first.targets), ast.Store)
    if isinstance(first, ast.With):
        binding = [item.optional_vars for item in first.items if item.optional_vars]
        if name in names([item.context_expr for item in first.items], ast.Load):
            return False
        return name in names(binding, ast.Store) or _binds_first(name, first.body)
    if isinstance(first, ast.For):
        # after the loop the name may be unbound, but then it is not used there either
        others = [node for node in body if node is not first]
        return name not in names([first.iter]) and name not in names(others) and name in names([first.target], ast.Store)
    return False


def _put(tree: ast.Module, function: Function, owner: ast.ClassDef | None, variables: list[str], body: list[ast.stmt]) -> str:
    """Put `body` into a function of its own before `function`; the text of the call of it."""
    name = PART.format(function.name)
    as_method = owner is not None and parameters(function)[:1] == ["self"]
    variables = [v for v in variables if v != "self"] if as_method else variables
    (part,) = statements(f"def {name}({', '.join(['self', *variables] if as_method else variables)}): pass")
    assert isinstance(part, ast.FunctionDef)
    part.body = body
    place = owner.body if owner is not None and as_method else tree.body
    at = next(i for i, node in enumerate(place) if node is function or node is owner)
    place.insert(at, part)
    return f"{'self.' if as_method else ''}{name}({', '.join(variables)})"


def _can_be_split(tree: ast.Module, function: Function, owner: ast.ClassDef | None) -> bool:
    decorators = {ast.unparse(d) for d in function.decorator_list}
    if PART.format(function.name) in names([tree]) or decorators & {"staticmethod", "classmethod"} or function.name.startswith("__"):
        return False
    return isinstance(function, ast.FunctionDef) and (owner is None or parameters(function)[:1] == ["self"]) and _simple(function.body)


def split_loops(tree: ast.Module) -> int:
    """The body of a function's first loop over data becomes a function of its own; what it adds up is handed in and out."""
    count = 0
    for function, owner in list(own_functions(tree)):
        if not _can_be_split(tree, function, owner):
            continue
        for loop in [n for n in ast.walk(function) if isinstance(n, ast.For)]:
            if any(
                isinstance(n, ast.Return | ast.Break | ast.Continue | ast.For | ast.While | ast.Try) for b in loop.body for n in ast.walk(b)
            ):
                continue
            if _split_loop(tree, function, owner, loop):
                count += 1
                break
    return count


def _split_loop(tree: ast.Module, function: Function, owner: ast.ClassDef | None, loop: ast.For) -> bool:
    body = loop.body
    local = bound(function.body) | set(parameters(function))
    inner = _comprehended(body)
    stored = bound(body) - inner
    within = [id(n) for node in body for n in ast.walk(node)]
    outside = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and id(n) not in within} | set(parameters(function))
    summed = {ast.unparse(n.target) for node in body for n in ast.walk(node) if isinstance(n, ast.AugAssign)} & stored
    plain = {name for node in body for n in ast.walk(node) if not isinstance(n, ast.AugAssign) for name in _assigned(n)}
    kept = sorted(summed & outside)
    if set(kept) & plain:
        return False
    temporary = stored - set(kept)
    if temporary & outside or not all(_binds_first(name, body) for name in temporary):
        return False
    handed = sorted((names(body) & local) - temporary - inner)
    call = _put(tree, function, owner, handed, [*body, *(statements_of_return(kept))])
    loop.body = statements(f"{', '.join(kept)} = {call}" if kept else call)
    return True


def statements_of_return(variables: Sequence[str]) -> list[ast.stmt]:
    """`return a, b`, or nothing."""
    return [ast.Return(expression(", ".join(variables)))] if variables else []


def _assigned(node: ast.AST) -> set[str]:
    """The names that a node itself binds, if it is a binding statement."""
    if isinstance(node, ast.Assign):
        return names(list(node.targets), ast.Store)
    if isinstance(node, ast.For | ast.AnnAssign):
        return names([node.target], ast.Store)
    if isinstance(node, ast.With):
        return names([i.optional_vars for i in node.items if i.optional_vars], ast.Store)
    return set()


def split_tails(tree: ast.Module) -> int:
    """A function's last loop or `with`, and what comes after it, become a function of their own, whose answer it returns."""
    count = 0
    for function, owner in list(own_functions(tree)):
        if not _can_be_split(tree, function, owner):
            continue
        body = function.body
        compound = [i for i, node in enumerate(body) if isinstance(node, ast.For | ast.With | ast.While)]
        first = start(body)
        if not compound or compound[-1] <= first:
            continue
        head, tail = body[first : compound[-1]], body[compound[-1] :]
        local = bound(function.body) | set(parameters(function))
        inner = _comprehended(tail)
        used = (names(tail) & local) - inner
        sure = set(parameters(function)).union(*(_assigned(node) for node in head if isinstance(node, ast.Assign)))
        maybe = bound(head) - sure
        handed = sorted(used & sure)
        if used & maybe or any(isinstance(n, ast.Return) for node in head for n in ast.walk(node)):
            continue
        answers = any(isinstance(n, ast.Return) for node in tail for n in ast.walk(node))
        call = _put(tree, function, owner, handed, tail)
        function.body = [*body[:first], *head, *statements(call if not answers else f"x = {call}")]
        if answers:
            function.body[-1] = ast.Return(expression(call))
        count += 1
    return count


_CONSTANTS = (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.UnaryOp, ast.BinOp)


def split_file(tree: ast.Module, *, keep: str, by_module: bool = False) -> dict[str, ast.Module] | None:
    """The file as two, `parts` and what imports from it; None where it cannot be split.

    `keep` says what stays: the `script` alone, the `last` function that calls others, or all `functions` (the classes go).
    """
    defined = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    constants = {
        ast.unparse(n.targets[0]): n
        for n in tree.body
        if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name) and isinstance(n.value, _CONSTANTS) and not names([n.value])
    }
    variables = {name for n in tree.body if n not in defined.values() and n not in imports for name in names([n], ast.Store)} - set(
        constants
    )
    if any(isinstance(n, ast.Global) for n in ast.walk(tree)) or "__all__" in constants or {"globals", "__file__"} & names([tree]):
        return None
    if any(isinstance(n, ast.ImportFrom) and n.level for n in imports) or sum(
        n.name in defined for n in tree.body if hasattr(n, "name")
    ) != len(defined):
        return None
    going = _going(defined, keep)
    script = [n for n in tree.body[start(tree.body) :] if n not in imports and n not in defined.values() and n not in constants.values()]
    staying = [node for name, node in defined.items() if name not in going]
    if not going or (not script if keep == "script" else not staying):
        return None
    moved = [defined[name] for name in going]
    needed = names(moved) & (set(defined) | variables)
    if needed & variables or needed - set(going):
        return None
    used = names([*staying, *script])
    shared = [name for name in going if name in used]
    if not shared:
        return None
    parts = [*imports, *(node for name, node in constants.items()), *moved]
    link = "import parts" if by_module else f"from parts import {', '.join(shared)}"
    here = [node for node in tree.body if node not in moved]
    at = max((i + 1 for i, node in enumerate(here) if node in imports), default=start(here))
    if by_module:
        if "parts" in names([tree]) or bound([*staying, *script]) & set(shared):
            return None
        here = [_Qualifying(set(shared)).visit(node) for node in here]
    here[at:at] = statements(link)
    return {"parts.py": ast.Module(list(parts), []), "program.py": ast.Module(here, [])}


def _going(defined: dict[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef], keep: str) -> list[str]:
    if keep == "script":
        return list(defined)
    if keep == "functions":
        return [name for name, node in defined.items() if isinstance(node, ast.ClassDef)]
    called = {name for name in defined if any(name in names([node]) for other, node in defined.items() if other != name)}
    top = [name for name, node in defined.items() if name not in called and isinstance(node, ast.FunctionDef)]
    return [name for name in defined if name not in top]


class _Qualifying(ast.NodeTransformer):
    """`Net` becomes `parts.Net`."""

    def __init__(self, known: set[str]) -> None:
        self.known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Attribute(ast.Name("parts", ast.Load()), node.id, node.ctx) if node.id in self.known else node
