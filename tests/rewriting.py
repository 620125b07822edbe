"""Rewriting of programs that changes nothing of what they do: aliases, wrappers and guards. Plain `ast`, in place."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence

Function = ast.FunctionDef | ast.AsyncFunctionDef
Change = Callable[[list[ast.Module]], int]
"""Rewrites the files of a program in place and says how many places it changed; none is: it does not fit."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.Lambda, ast.ClassDef)
_OF_MODULES = {
    *("eval", "train", "parameters", "named_parameters", "state_dict", "load_state_dict", "to", "cuda", "modules", "children"),
    *("zero_grad", "training", "forward", "apply", "requires_grad_", "half", "float", "cpu"),
}
"""What every `nn.Module` has, and a wrapper of one too (but `modules` and `children`, whose answers differ)."""


def each_file(change: Callable[[ast.Module], int]) -> Change:
    """The change made in every file of a program."""

    def whole(trees: list[ast.Module]) -> int:
        return sum(change(tree) for tree in trees)

    return whole


def functions(tree: ast.AST) -> list[Function]:
    """Every function, at any depth, the outer before the inner."""
    return [n for n in ast.walk(tree) if isinstance(n, _FUNCTIONS)]


def own_functions(tree: ast.Module) -> Iterator[tuple[Function, ast.ClassDef | None]]:
    """The functions of a file and the methods of its classes, each with its class."""
    for node in tree.body:
        if isinstance(node, _FUNCTIONS):
            yield node, None
        elif isinstance(node, ast.ClassDef):
            yield from ((part, node) for part in node.body if isinstance(part, _FUNCTIONS))


def parameters(function: Function | ast.Lambda) -> list[str]:
    """The names of all parameters."""
    a = function.args
    return [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg)))]


def names(nodes: Sequence[ast.AST], *contexts: type[ast.expr_context]) -> set[str]:
    """The plain names in `nodes`, of the given contexts (of all, if none is given)."""
    found = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name))
    return {n.id for n in found if not contexts or isinstance(n.ctx, contexts)}


def attributes(nodes: Sequence[ast.AST], *contexts: type[ast.expr_context]) -> set[str]:
    """The names of the attributes in `nodes`, of the given contexts (of all, if none is given)."""
    found = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Attribute))
    return {n.attr for n in found if not contexts or isinstance(n.ctx, contexts)}


def bound(nodes: Sequence[ast.AST]) -> set[str]:
    """The names that `nodes` bind by any statement or expression, inner scopes included."""
    found = names(nodes, ast.Store, ast.Del)
    for node in (n for top in nodes for n in ast.walk(top)):
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
            found |= set(parameters(node))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(a.asname or a.name).split(".")[0] for a in node.names}
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            found |= set(node.names)
    return found


def statements(source: str) -> list[ast.stmt]:
    """The statements of a text."""
    return ast.parse(source).body


def expression(source: str) -> ast.expr:
    """The expression of a text."""
    return ast.parse(source, mode="eval").body


def start(body: list[ast.stmt]) -> int:
    """Where the first statement after the docstring and the imports from the future is."""
    at = 0
    while at < len(body):
        node = body[at]
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if not future and not (at == 0 and is_text(node)):
            break
        at += 1
    return at


def is_text(node: ast.stmt) -> bool:
    """Whether the statement is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def need(tree: ast.Module, source: str) -> None:
    """Put an import at the top of the file, unless it is there."""
    (line,) = statements(source)
    if all(ast.dump(node) != ast.dump(line) for node in tree.body):
        tree.body.insert(start(tree.body), line)


def blocks(tree: ast.AST, *, of_classes: bool = False) -> Iterator[list[ast.stmt]]:
    """Every list of statements that runs one after the other; those of class bodies only if asked for."""
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.ClassDef) and not of_classes:
            continue
        for field in ("body", "orelse", "finalbody"):
            part = getattr(node, field, None)
            if isinstance(part, list) and part and isinstance(part[0], ast.stmt):
                yield part


def replace_statements(tree: ast.AST, change: Callable[[ast.stmt], list[ast.stmt] | None], *, of_classes: bool = False) -> int:
    """Put other statements in the place of each for which `change` has an answer."""
    count = 0
    for block in blocks(tree, of_classes=of_classes):
        for node in list(block):
            new = change(node)
            if new is not None:
                at = next(i for i, other in enumerate(block) if other is node)
                block[at : at + 1] = new
                count += 1
    return count


class _Renaming(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.new, node.ctx) if node.id == self.old else node


def _runs_as_module(name: str, body: Sequence[ast.AST]) -> bool:
    """Whether `name` is called, or something of it is used that every module has."""
    for node in (n for top in body for n in ast.walk(top)):
        used = (
            node.func
            if isinstance(node, ast.Call)
            else node.value
            if isinstance(node, ast.Attribute) and node.attr in _OF_MODULES
            else None
        )
        if used is not None and ast.unparse(used) == name:
            return True
    return False


def alias_parameters(tree: ast.Module) -> int:
    """A function gives each model that it is handed another name, and uses that."""
    count = 0
    for function in functions(tree):
        body = function.body
        if {"locals", "vars", "super", "eval"} & names(body):
            continue
        inside = bound(body)
        for name in (p for p in parameters(function) if p not in inside and p not in ("self", "cls")):
            other = f"{name}_too"
            if not _runs_as_module(name, body) or other in inside:
                continue
            at = start(body)
            renaming = _Renaming(name, other)
            body[at:] = [statements(f"{other} = {name}")[0], *(renaming.visit(node) for node in body[at:])]
            count += 1
    return count


def alias_constructed(tree: ast.Module) -> int:
    """What is built is given one name, and then the one by which it is used: `first = Net(); model = first`."""
    numbers = iter(range(1, 1000))

    def change(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name | ast.Attribute):
            return None
        if not isinstance(node.value, ast.Call) or not re.match(r"(\w+\.)*[A-Z]\w*\(", ast.unparse(node.value)):
            return None
        name = f"first_{next(numbers)}"
        return [ast.Assign([ast.Name(name, ast.Store())], node.value), ast.Assign(node.targets, ast.Name(name, ast.Load()))]

    return replace_statements(tree, change)


class _NamingAttribute(ast.NodeTransformer):
    """`self.net` becomes a name."""

    def __init__(self, attribute: str, name: str) -> None:
        self.attribute, self.name, self.count = attribute, name, 0

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if ast.unparse(node) == self.attribute:
            self.count += 1
            return ast.Name(self.name, ast.Load())
        self.generic_visit(node)
        return node


def alias_attributes(trees: list[ast.Module]) -> int:
    """A method gives each model that its object was built with a name, and uses that: `net = self.net`."""
    count = 0
    if "setattr" in names(trees):
        return 0
    stored = [n.attr for t in trees for n in ast.walk(t) if isinstance(n, ast.Attribute) and not isinstance(n.ctx, ast.Load)]
    for node in (n for tree in trees for n in tree.body if isinstance(n, ast.ClassDef)):
        methods = {part.name: part for part in node.body if isinstance(part, _FUNCTIONS)}
        if "__init__" not in methods or "__getattr__" in methods:
            continue
        built = [t for part in methods["__init__"].body if isinstance(part, ast.Assign) for t in part.targets]
        own = {t.attr for t in built if isinstance(t, ast.Attribute) and ast.unparse(t.value) == "self" and stored.count(t.attr) == 1}
        for method in methods.values():
            if method.name.startswith("__") or parameters(method)[:1] != ["self"] or method.decorator_list:
                continue
            for attribute in sorted(own):
                name = f"{attribute}_too"
                if _runs_as_module(f"self.{attribute}", method.body) and name not in names([method]):
                    change = _NamingAttribute(f"self.{attribute}", name)
                    at = start(method.body)
                    rest = [change.visit(part) for part in method.body[at:]]
                    method.body[at:] = [statements(f"{name} = self.{attribute}")[0], *rest]
                    count += change.count
    return count


def _module_classes(trees: list[ast.Module]) -> dict[str, set[str]]:
    """The classes that derive from `nn.Module`, each with what it has of its own beside `forward`."""
    found: dict[str, set[str]] = {}
    for node in (n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)):
        if any(ast.unparse(base) in ("nn.Module", "torch.nn.Module", "Module") for base in node.bases):
            own = {part.name for part in node.body if isinstance(part, _FUNCTIONS)} | attributes([node], ast.Store)
            own |= names([part for part in node.body if isinstance(part, ast.Assign | ast.AnnAssign)], ast.Store)
            found[node.name] = own - {"__init__", "forward"}
    return found


def _outside(trees: list[ast.Module], name: str) -> list[ast.AST]:
    """The top-level statements of all files but the class `name`."""
    return [node for tree in trees for node in tree.body if not (isinstance(node, ast.ClassDef) and node.name == name)]


def _wrappable(trees: list[ast.Module]) -> set[str]:
    """The classes of the program whose objects are used as nothing but modules."""
    base_names = names([base for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef) for base in n.bases])
    asked = [
        n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) in ("isinstance", "type", "hasattr")
    ]
    found = set()
    for name, own in _module_classes(trees).items():
        used = attributes(_outside(trees, name))
        if not own & used and not {"modules", "children", "module"} & used and name not in base_names and not asked:
            found.add(name)
    return found


def wrapped(spelling: str, needed: str, *, in_place: bool = True) -> Change:
    """`x = Net()` becomes `x = Wrapper(Net())`, or, where not in place, `x = Net(); x = Wrapper(x)`."""

    def change(trees: list[ast.Module]) -> int:
        classes = _wrappable(trees)

        def one(node: ast.stmt) -> list[ast.stmt] | None:
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call) or ast.unparse(node.value.func) not in classes:
                return None
            if len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name | ast.Attribute):
                return None
            target = ast.unparse(node.targets[0])
            if in_place:
                return statements(f"{target} = {spelling.format(ast.unparse(node.value))}")
            return [node, *statements(f"{target} = {spelling.format(target)}")]

        total = 0
        for tree in trees:
            count = replace_statements(tree, one)
            if count:
                need(tree, needed)
            total += count
        return total

    return change


def _acts(node: ast.stmt) -> bool:
    """A statement that can be put under a guard: it binds nothing that the rest of its block has to know."""
    return (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or isinstance(node, ast.With | ast.For | ast.While)


def guarded(spelling: str) -> Change:
    """Each call, `with` and loop under a guard that holds; `spelling` has `pass` in its place."""

    def one(node: ast.stmt) -> list[ast.stmt] | None:
        if not _acts(node):
            return None
        (guard,) = statements(spelling)
        for block in blocks(guard):
            if isinstance(block[0], ast.Pass):
                block[0] = node
                return [guard]
        raise AssertionError(spelling)

    return each_file(lambda tree: replace_statements(tree, one))


_EVALUATES = re.compile(r"eval|valid|test|predict|infer|score|accura|measure", re.IGNORECASE)
_PREPARES = re.compile(r"(^|\.)(eval|train)$|mode|switch|start|begin|enter|load|set_|prepare|_eval$")


def guard_evaluations(tree: ast.Module) -> int:
    """The one evaluation that an epoch ends with runs in every second epoch only: both ways are there before and after."""
    count = 0
    for loop in [n for n in ast.walk(tree) if isinstance(n, ast.For)]:
        if not isinstance(loop.target, ast.Name) or not isinstance(loop.iter, ast.Call) or ast.unparse(loop.iter.func) != "range":
            continue
        last = loop.body[-1]
        if len(loop.body) == 1 or not isinstance(last, ast.Expr) or not isinstance(last.value, ast.Call):
            continue
        called = [ast.unparse(n.func) for n in ast.walk(last) if isinstance(n, ast.Call)]
        if any(_EVALUATES.search(name.split(".")[-1]) for name in called) and not any(_PREPARES.search(name) for name in called):
            loop.body[-1] = ast.If(expression(f"{loop.target.id} % 2 == 0"), [last], [])
            count += 1
    return count


def guard_entries(tree: ast.Module) -> int:
    """What nothing in the file calls does all or nothing, by an environment variable."""
    count = 0
    used = names([tree], ast.Load) | attributes([tree])
    for node in tree.body:
        if not isinstance(node, _FUNCTIONS) or node.name in used or node.decorator_list:
            continue
        if any(isinstance(n, ast.Return | ast.Yield | ast.YieldFrom) for n in ast.walk(node)):
            continue
        at = start(node.body)
        node.body[at:] = [ast.If(expression("os.environ.get('RUN')"), node.body[at:], [])]
        count += 1
    if count:
        need(tree, "import os")
    return count


def _script(tree: ast.Module) -> int | None:
    """Where the code that a script runs begins: what comes after the last definition or import, if it does something."""
    defines = (*_FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom)
    at = max((i + 1 for i, node in enumerate(tree.body) if isinstance(node, defines)), default=0)
    rest = tree.body[max(at, start(tree.body)) :]
    if not any(_acts(node) for node in rest) or any(isinstance(node, ast.If) and "__name__" in names([node.test]) for node in rest):
        return None
    return len(tree.body) - len(rest)


def script_under_main(tree: ast.Module) -> int:
    """The code of a script comes under `if __name__ == "__main__":`."""
    at = _script(tree)
    if at is None:
        return 0
    tree.body[at:] = [ast.If(expression("__name__ == '__main__'"), tree.body[at:], [])]
    return 1


def script_in_function(tree: ast.Module) -> int:
    """The code of a script becomes a function `module_code`, where no definition uses its variables."""
    at = _script(tree)
    if at is None or bound(tree.body[at:]) & names(tree.body[:at]):
        return 0
    (function,) = statements("def module_code(): pass")
    assert isinstance(function, ast.FunctionDef)
    function.body = tree.body[at:]
    tree.body[at:] = [function, *statements("module_code()")]
    return 1
