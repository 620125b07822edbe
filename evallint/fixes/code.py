"""A text as the fixes look at it: the statements around a place, and what names mean there.

LibCST writes; Python's own tree tells where, as it does for the events.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from evallint.events import Span
from evallint.finding import Edit, Place
from evallint.fixes.edits import with_edits
from evallint.source.parsing import parsed
from evallint.syntax.places import Columns

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.Module | Function
LOOPS = (ast.For, ast.AsyncFor, ast.While)
NEEDING_GRADIENTS = frozenset("backward step grad autograd enable_grad set_grad_enabled requires_grad requires_grad_".split())
"""Names in code that has to do with graphs itself."""
OWN_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Code:
    """A text and its tree. Raises SyntaxError, ValueError or RecursionError for a text that cannot be parsed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = parsed(text)
        self._columns = Columns(text)

    def around(self, line: int, column: int) -> list[ast.AST]:
        """The nodes around a place (1-based), the module first."""
        return [self.tree, *_chain(self.tree, (line, self._columns.offset(line, column)))]

    def span(self, node: ast.expr) -> Span:
        """Where an expression is."""
        return self._columns.span(node)

    def call_at(self, place: Place) -> ast.Call | None:
        """The call that is at a place."""
        calls = (node for node in self.around(place.line, place.column) if isinstance(node, ast.Call))
        here = (place.line, place.column, place.end_line, place.end_column)
        return next((node for node in calls if self.span(node) == here), None)

    def replaced(self, node: ast.expr, text: str) -> str:
        """The whole text with another one in place of an expression."""
        return with_edits(self.text, [Edit(*self.span(node), text)])

    def surrounded(self, node: ast.expr, before: str, after: str) -> str:
        """The whole text with something right before and right after an expression."""
        line, column, end_line, end_column = self.span(node)
        edits = [Edit(line, column, line, column, before), Edit(end_line, end_column, end_line, end_column, after)]
        return with_edits(self.text, edits)

    @property
    def newline(self) -> str:
        """What ends its lines."""
        return "\r\n" if "\r\n" in self.text else "\n"

    def column(self, node: ast.stmt | ast.expr) -> int:
        """The column (1-based) at which a statement or an expression begins."""
        return self._columns.of(node.lineno, node.col_offset)

    def starts_at(self, node: ast.stmt, line: int, column: int) -> bool:
        """Whether a statement begins at a place (1-based)."""
        return (node.lineno, node.col_offset) == (line, self._columns.offset(line, column))

    def spelled(self, text: str) -> str:
        """An expression with its strings in the quotes that the file prefers."""
        return text.replace("'", '"') if '"' not in text and self.text.count('"') >= self.text.count("'") else text

    def has_docstring(self, scope: Scope) -> bool:
        """Whether a function begins with its documentation."""
        return ast.get_docstring(scope, clean=False) is not None

    def text_before(self, node: ast.stmt | ast.expr) -> str:
        """What is on its line before a statement or an expression."""
        return self._columns.lines(node.lineno, node.lineno)[: self.column(node) - 1]

    def begins(self, node: ast.stmt, word: str) -> bool:
        """Whether a statement's text begins with a word."""
        return self._columns.lines(node.lineno, node.lineno)[self.column(node) - 1 :].startswith(word)

    def torch_names(self, scope: Scope, line: int) -> dict[str, str]:
        """What names mean of torch on a line of a function, by its own imports and the file's: `th` is `torch`."""
        outer = _torch_names(self.tree.body)
        if not outer and any(alias.name == "*" for node in _imports(self.tree.body) for alias in node.names):
            uses = (node.value for node in inside(self.tree.body, ast.Attribute, nested=True) if isinstance(node, ast.Attribute))
            outer = {"torch": "torch"} if any(isinstance(node, ast.Name) and node.id == "torch" for node in uses) else {}
        if isinstance(scope, ast.Module):
            return outer
        own = _torch_names([node for node in scope.body if node.lineno < line])
        hidden = (bound_in(scope.body) | set(parameters(scope))) - own.keys()
        return {name: means for name, means in {**outer, **own}.items() if name not in hidden}

    def no_grad(self, scope: Scope, line: int = 0) -> str | None:
        """`torch.no_grad()` as a line of a function can spell it; None if nothing that it can see is torch."""
        name = self.torch_name("torch.no_grad", scope, line)
        return None if name is None else f"{name}()"

    def torch_name(self, wanted: str, scope: Scope, line: int = 0) -> str | None:
        """A dotted name of torch, such as `torch.nn.ModuleList`, as a line of a function can spell it: by its nearest import."""
        known = {means: name for name, means in reversed(self.torch_names(scope, line).items())}
        whole, rest = wanted, ""
        while whole:
            if whole in known:
                return known[whole] + rest
            whole, dot, last = whole.rpartition(".")
            rest = f"{dot}{last}{rest}"
        return None


def _torch_names(body: Sequence[ast.stmt]) -> dict[str, str]:
    """What the imports among some statements make of torch."""
    found: dict[str, str] = {}
    for node in _imports(body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "torch" or (alias.name.startswith("torch.") and alias.asname is None):
                    found[alias.asname or "torch"] = "torch"
                elif alias.name == "torch.nn":
                    found[alias.asname or "torch"] = alias.name
        elif node.module in ("torch", "torch.autograd", "torch.nn") and not node.level:
            owner = "torch" if node.module == "torch.autograd" else node.module
            found.update({alias.asname or alias.name: f"{owner}.{alias.name}" for alias in node.names})
    return found


Codes = Callable[[str], Code | None]
"""The code of a file by its path; None where there is none that can be read."""


def codes_of(texts: Mapping[str, str]) -> Codes:
    """The code of files, read when it is asked for."""
    known: dict[str, Code | None] = {}

    def code(path: str) -> Code | None:
        if path not in known:
            try:
                known[path] = Code(texts[path])
            except (KeyError, SyntaxError, ValueError, RecursionError):
                known[path] = None
        return known[path]

    return code


def _imports(body: Sequence[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that a module runs."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.Try) or (isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test)):
            yield from _imports(node.body)


def _chain(node: ast.AST, at: tuple[int, int]) -> list[ast.AST]:
    for child in ast.iter_child_nodes(node):
        start = getattr(child, "lineno", None)
        if start is None:
            inner = _chain(child, at)
            if inner:
                return [child, *inner]
        elif (start, child.col_offset) <= at < (child.end_lineno, child.end_col_offset):  # type: ignore[attr-defined]
            return [child, *_chain(child, at)]
    return []


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a text: the function (or module) that holds it, and the blocks around it, the innermost last."""

    scope: Scope
    steps: tuple[tuple[list[ast.stmt], int, ast.AST], ...]
    """For each block its statements, which of them leads to the place, and what the block belongs to."""
    nodes: tuple[ast.AST, ...]
    """What is around the place in its scope, the scope first."""

    @property
    def statement(self) -> ast.stmt:
        """The innermost statement around the place."""
        block, index, _ = self.steps[-1]
        return block[index]


def spot_at(code: Code, line: int, column: int) -> Spot | None:
    """What is around a place (1-based); None in a lambda or a class body, in which no statement can be put."""
    nodes = code.around(line, column)
    first = max((n for n, node in enumerate(nodes) if isinstance(node, OWN_SCOPES)), default=0)
    scope = nodes[first]
    if not isinstance(scope, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    nodes = nodes[first:]
    steps = []
    for owner, node in pairwise(nodes):
        for block in blocks_of(owner):
            at = next((n for n, statement in enumerate(block) if statement is node), None)
            if at is not None:
                steps.append((block, at, owner))
    return Spot(scope, tuple(steps), tuple(nodes)) if steps else None


def blocks_of(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The blocks of statements right below a node."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            yield block


def inside(nodes: Sequence[ast.AST], kinds: type[ast.AST] | tuple[type[ast.AST], ...], *, nested: bool = False) -> Iterator[ast.AST]:
    """The nodes of some kinds in `nodes` and below; in functions and classes defined there only where `nested`."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if isinstance(node, kinds):
            yield node
        if nested or not isinstance(node, OWN_SCOPES):
            pending += ast.iter_child_nodes(node)


def leaves(nodes: Sequence[ast.stmt]) -> bool:
    """Whether control can leave some statements other than at their end, but for errors that others raise."""
    if any(inside(nodes, (ast.Return, ast.Raise))):
        return True
    return any(_jumps(node, False) for node in nodes)


def _jumps(node: ast.AST, in_loop: bool) -> bool:
    """Whether a `break` or `continue` in a node leaves it."""
    if isinstance(node, (ast.Break, ast.Continue)):
        return not in_loop
    if isinstance(node, OWN_SCOPES):
        return False
    if isinstance(node, LOOPS):
        return any(_jumps(child, True) for child in node.body) or any(_jumps(child, in_loop) for child in node.orelse)
    return any(
        _jumps(child, in_loop) for child in ast.iter_child_nodes(node) if isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case))
    )


def yields(nodes: Sequence[ast.AST]) -> bool:
    """Whether the code around runs in between: a generator, or a coroutine that waits."""
    return any(inside(nodes, (ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith)))


def names_in(nodes: Sequence[ast.AST]) -> set[str]:
    """Every name that is used in some nodes, those of inner functions as well."""
    found = {node.id for node in inside(nodes, ast.Name, nested=True) if isinstance(node, ast.Name)}
    return found | {node.arg for node in inside(nodes, ast.arg, nested=True) if isinstance(node, ast.arg)}


def attributes_in(nodes: Sequence[ast.AST]) -> set[str]:
    """Every attribute that is named in some nodes, those of inner functions as well."""
    return {node.attr for node in inside(nodes, ast.Attribute, nested=True) if isinstance(node, ast.Attribute)}


def bound_in(nodes: Sequence[ast.AST]) -> set[str]:
    """The names that some nodes bind: assignments, loops, `with`, imports, definitions."""
    found: set[str] = set()
    for node in inside(nodes, ast.AST):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.add(node.name)
    return found


def assigned(body: Sequence[ast.stmt], text: str) -> list[ast.Assign | ast.AnnAssign]:
    """The assignments to a variable or an attribute."""
    found = []
    for node in inside(body, (ast.Assign, ast.AnnAssign), nested=True):
        assert isinstance(node, (ast.Assign, ast.AnnAssign))
        if any(ast.unparse(target) == text for target in (node.targets if isinstance(node, ast.Assign) else [node.target])):
            found.append(node)
    return found


def parameters(function: Function) -> list[str]:
    """The names of a function's parameters."""
    args = function.args
    rest = [arg.arg for arg in (args.vararg, args.kwarg) if arg is not None]
    return [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)] + rest


def expression(text: str) -> ast.expr | None:
    """A name, an attribute of one, or one of its items under a literal key; None for all that is more than a place where an object is."""
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return None
    return node if root_of(node) is not None else None


def root_of(node: ast.expr) -> str | None:
    """The name that a plain expression begins with: `self` of `self.nets["a"]`; None where it is not plain."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, (ast.Constant, ast.Name)):
            return None
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def names_of(text: str) -> set[str]:
    """The names in an expression."""
    return names_in([ast.parse(text, mode="eval")])


def calls_of(nodes: Sequence[ast.AST], receiver: str) -> Iterator[ast.Call]:
    """The calls of an object, or of those of its methods that may run its forward."""
    for node in inside(nodes, ast.Call):
        if isinstance(node, ast.Call):
            if ast.unparse(node.func) == receiver or (
                isinstance(node.func, ast.Attribute) and node.func.attr not in SETTING and ast.unparse(node.func.value) == receiver
            ):
                yield node


SETTING = frozenset(
    (
        *("eval", "train", "to", "cuda", "cpu", "half", "float", "parameters", "named_parameters", "state_dict", "load_state_dict"),
        *("requires_grad_", "zero_grad", "modules", "children"),
    )
)
"""Methods of a module that do not run its forward."""
