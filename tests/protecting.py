"""Protections in other spellings: those that code has are exchanged, and wrong code is given one. Plain `ast`, in place."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection

from .rewriting import (
    Function,
    attributes,
    blocks,
    bound,
    functions,
    names,
    need,
    parameters,
    replace_statements,
    start,
    statements,
)

_OFF = {"torch.no_grad()", "torch.inference_mode()", "torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled(False)"}

_UNRECORDED = """
def restoring():
    previous = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    try:
        pass
    finally:
        torch.set_grad_enabled(previous)
"""
_MANAGER = """
@contextlib.contextmanager
def quietly():
    with torch.no_grad():
        yield
"""
_DECORATOR = """
def quiet_function(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with torch.no_grad():
            return function(*args, **kwargs)
    return wrapper
"""


def _define(tree: ast.Module, source: str) -> None:
    """Put a definition after the imports of a file, unless it is there."""
    (definition,) = statements(source)
    if all(ast.dump(node) != ast.dump(definition) for node in tree.body):
        at = max((i + 1 for i, node in enumerate(tree.body) if isinstance(node, ast.Import | ast.ImportFrom)), default=start(tree.body))
        tree.body.insert(at, definition)


def _around(spelling: str, body: list[ast.stmt]) -> ast.stmt:
    """The statement of `spelling`, with `body` in the place of its `pass`."""
    (node,) = statements(spelling)
    for block in blocks(node):
        if isinstance(block[-1], ast.Pass):
            block[-1:] = body
            return node
    raise AssertionError(spelling)


def _in_with(context: str) -> Callable[[ast.Module, list[ast.stmt]], list[ast.stmt]]:
    def wrap(tree: ast.Module, body: list[ast.stmt]) -> list[ast.stmt]:
        need(tree, "import torch")
        return [_around(f"with {context}:\n    pass", body)]

    return wrap


def _in_stack(tree: ast.Module, body: list[ast.stmt]) -> list[ast.stmt]:
    need(tree, "import torch")
    need(tree, "import contextlib")
    return [_around("with contextlib.ExitStack() as stack:\n    stack.enter_context(torch.no_grad())\n    pass", body)]


def _with_statement(tree: ast.Module, body: list[ast.stmt]) -> list[ast.stmt]:
    need(tree, "import torch")
    (function,) = statements(_UNRECORDED)
    assert isinstance(function, ast.FunctionDef)
    before = function.body[:-1]
    guard = function.body[-1]
    assert isinstance(guard, ast.Try)
    guard.body = body
    return [*before, guard]


def _in_variable(tree: ast.Module, body: list[ast.stmt]) -> list[ast.stmt]:
    need(tree, "import torch")
    return [*statements("quiet = torch.no_grad()"), _around("with quiet:\n    pass", body)]


def _in_own_manager(tree: ast.Module, body: list[ast.stmt]) -> list[ast.stmt]:
    _define(tree, _MANAGER)
    need(tree, "import torch")
    need(tree, "import contextlib")
    return [_around("with quietly():\n    pass", body)]


CONTEXTS: dict[str, Callable[[ast.Module, list[ast.stmt]], list[ast.stmt]]] = {
    "no_grad": _in_with("torch.no_grad()"),
    "inference_mode": _in_with("torch.inference_mode()"),
    "set_grad_enabled(False)": _in_with("torch.set_grad_enabled(False)"),
    "set_grad_enabled(mode=False)": _in_with("torch.set_grad_enabled(mode=False)"),
    "ExitStack": _in_stack,
    "set_grad_enabled as a statement": _with_statement,
    "a context in a variable": _in_variable,
    "an own context manager": _in_own_manager,
}
"""Ways to run statements without recording."""


def _decorated(spelling: str) -> Callable[[ast.Module, Function], None]:
    def decorate(tree: ast.Module, function: Function) -> None:
        (other,) = statements(f"@{spelling}\ndef function(): pass")
        assert isinstance(other, ast.FunctionDef)
        function.decorator_list.append(other.decorator_list[0])
        need(tree, "import torch")

    return decorate


def _decorated_by_own(tree: ast.Module, function: Function) -> None:
    _decorated("quiet_function")(tree, function)
    _define(tree, _DECORATOR)
    need(tree, "import functools")


def _inside(context: str) -> Callable[[ast.Module, Function], None]:
    def wrap(tree: ast.Module, function: Function) -> None:
        at = start(function.body)
        function.body[at:] = CONTEXTS[context](tree, function.body[at:])

    return wrap


DECORATORS: dict[str, Callable[[ast.Module, Function], None]] = {
    "@no_grad()": _decorated("torch.no_grad()"),
    "@inference_mode()": _decorated("torch.inference_mode()"),
    "@no_grad": _decorated("torch.no_grad"),
    "@set_grad_enabled(False)": _decorated("torch.set_grad_enabled(False)"),
    "an own decorator": _decorated_by_own,
    "with in the body": _inside("no_grad"),
    "set_grad_enabled in the body": _inside("set_grad_enabled as a statement"),
    "an own context manager in the body": _inside("an own context manager"),
}
"""Ways to run a whole function without recording."""

_SWITCHES: dict[str, tuple[str, str]] = {
    "train(flag)": ("{0}.train(False)", "{0}.train(True)"),
    "train(mode=flag)": ("{0}.train(mode=False)", "{0}.train(mode=True)"),
    "for each of a tuple": ("for each in ({0},):\n    each.eval()", "for each in ({0},):\n    each.train()"),
    "a function": ("switch_module({0}, False)", "switch_module({0}, True)"),
    "only if needed": ("if {0}.training:\n    {0}.eval()", "if not {0}.training:\n    {0}.train()"),
    "assigned": ("{0} = {0}.eval()", "{0} = {0}.train()"),
    "another name": ("same = {0}\nsame.eval()", "same = {0}\nsame.train()"),
    "apply": ("{0}.apply(lambda part: part.train(False))", "{0}.apply(lambda part: part.train(True))"),
    "the flag in a variable": ("learning = False\n{0}.train(learning)", "learning = True\n{0}.train(learning)"),
}
"""Ways to switch a module to eval and to train."""
SWITCHES = tuple(_SWITCHES)

_SWITCHING = "def switch_module(module, mode):\n    module.train(mode)"


def _switched(tree: ast.Module, spelling: str, module: str, mode: bool) -> list[ast.stmt]:
    if spelling == "a function":
        _define(tree, _SWITCHING)
    return statements(_SWITCHES[spelling][mode].format(module))


def exchange_contexts(tree: ast.Module, spelling: str) -> int:
    """Every `with torch.no_grad():` and its like in another spelling; the number of those."""

    def one(node: ast.stmt) -> list[ast.stmt] | None:
        if not isinstance(node, ast.With) or len(node.items) != 1 or node.items[0].optional_vars:
            return None
        text = ast.unparse(node.items[0].context_expr)
        if text not in _OFF or f"with {text.lower()}" == f"with torch.{spelling}()":
            return None
        return CONTEXTS[spelling](tree, node.body)

    return replace_statements(tree, one)


def exchange_decorators(tree: ast.Module, spelling: str) -> int:
    """Every `@torch.no_grad()` and its like in another spelling; the number of those."""
    count = 0
    for function in functions(tree):
        kept = [d for d in function.decorator_list if ast.unparse(d) not in _OFF]
        generates = any(isinstance(n, ast.Yield | ast.YieldFrom | ast.Await) for n in ast.walk(function))
        # the last decorator is the innermost: another spelling comes in the same place
        if len(kept) == len(function.decorator_list) or ast.unparse(function.decorator_list[-1]) not in _OFF or generates:
            continue
        if f"@{ast.unparse(function.decorator_list[-1])}" == spelling.replace("@", "@torch."):
            continue
        function.decorator_list = kept
        DECORATORS[spelling](tree, function)
        count += 1
    return count


def context_to_decorator(tree: ast.Module, spelling: str) -> int:
    """A function whose last statement is a `with torch.no_grad():`, after nothing but switches and plain values, is decorated."""
    count = 0
    for function in functions(tree):
        last = function.body[-1]
        if not isinstance(last, ast.With) or len(last.items) != 1 or ast.unparse(last.items[0].context_expr) not in _OFF:
            continue
        if any(isinstance(n, ast.Yield | ast.YieldFrom | ast.Await) for n in ast.walk(function)):
            continue
        if not all(_harmless(node) for node in function.body[start(function.body) : -1]):
            continue
        function.body[-1:] = last.body
        DECORATORS[spelling](tree, function)
        count += 1
    return count


def _harmless(node: ast.stmt) -> bool:
    """A switch of the mode, or an assignment without a call."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        return node.value.func.attr in ("eval", "train")
    return isinstance(node, ast.Assign) and not any(isinstance(n, ast.Call) for n in ast.walk(node))


def exchange_switches(tree: ast.Module, spelling: str, lines: Collection[int]) -> int:
    """Every `.eval()` and `.train()` on one of the `lines` in another spelling; the number of those."""
    local = {id(node): function for function in reversed(functions(tree)) for node in ast.walk(function) if isinstance(node, ast.stmt)}

    def one(node: ast.stmt) -> list[ast.stmt] | None:
        if getattr(node, "lineno", 0) not in lines:
            return None
        built = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Attribute)
        if not (built or isinstance(node, ast.Expr)) or not isinstance(node, ast.Expr | ast.Assign):
            return None
        call = node.value
        if (
            not isinstance(call, ast.Call)
            or not isinstance(call.func, ast.Attribute)
            or call.func.attr not in ("eval", "train")
            or call.args
        ):
            return None
        module, mode = ast.unparse(call.func.value), call.func.attr == "train"
        if isinstance(node, ast.Assign):
            target = ast.unparse(node.targets[0])
            first = [] if module == target else statements(f"{target} = {module}")
            return [*first, *_switched(tree, spelling, target, mode)]
        if spelling == "assigned" and not _can_be_assigned(call.func.value, local.get(id(node))):
            return None
        return _switched(tree, spelling, module, mode)

    return replace_statements(tree, one)


def _can_be_assigned(module: ast.expr, function: Function | None) -> bool:
    if isinstance(module, ast.Attribute):
        return ast.unparse(module.value) == "self"
    if not isinstance(module, ast.Name) or module.id == "self":
        return False
    return function is None or module.id in parameters(function) or module.id in names(function.body, ast.Store)


_TRAINS = {"backward", "step", "fit", "manual_backward"}


def _statement(tree: ast.Module, line: int, column: int) -> ast.stmt | None:
    """The innermost statement around a place."""
    found: ast.stmt | None = None
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.stmt)):
        spot = (line, column)
        if (node.lineno, node.col_offset) <= spot < (node.end_lineno or 0, node.end_col_offset or 0):
            if found is None or (node.lineno, node.col_offset) >= (found.lineno, found.col_offset):
                found = node
    return found


def _deferred(node: ast.stmt) -> bool:
    """Whether something in a statement runs later than it."""
    return isinstance(node, Function) or any(isinstance(n, ast.Lambda | ast.GeneratorExp | ast.Yield) for n in ast.walk(node))


def _evaluation(tree: ast.Module, line: int, column: int) -> list[ast.stmt]:
    """The loop at a place; where it is none, its statement and what follows in the same block. Empty if that runs later, or trains."""
    node = _statement(tree, line, column)
    block = next((b for b in blocks(tree) if any(other is node for other in b)), [])
    if node is None or not block:
        return []
    found: list[ast.stmt] = [node] if isinstance(node, ast.For | ast.While) else block[block.index(node) :]
    return [] if any(_deferred(part) or _trains(tree, part) for part in found) else found


def stop_recording(tree: ast.Module, line: int, column: int, spelling: str) -> bool:
    """Give the evaluation at a place a context without recording; False where that would change a training."""
    part = _evaluation(tree, line, column)
    return bool(part) and _replace(tree, part, CONTEXTS[spelling](tree, list(part)))


def _replace(tree: ast.Module, part: list[ast.stmt], new: list[ast.stmt]) -> bool:
    for block in blocks(tree):
        for at, node in enumerate(block):
            if node is part[0]:
                block[at : at + len(part)] = new
                return True
    return False


def decorate_evaluation(tree: ast.Module, line: int, column: int, spelling: str) -> bool:
    """Run the whole function around a place without recording; False where that would change a training."""
    node = _statement(tree, line, column)
    around = [f for f in functions(tree) if any(n is node for n in ast.walk(f))]
    if node is None or not around or _deferred(node) or _trains(tree, around[-1]):
        return False
    if any(isinstance(n, ast.Yield | ast.YieldFrom | ast.Await) for n in ast.walk(around[-1])) or around[-1].decorator_list:
        return False
    DECORATORS[spelling](tree, around[-1])
    return True


def _trains(tree: ast.Module, *nodes: ast.AST, words: Collection[str] = _TRAINS) -> bool:
    """Whether something that `nodes` run may be a training step, as far as the names in the file say."""
    seen: set[str] = set()
    pending: list[ast.AST] = list(nodes)
    while pending:
        here = pending.pop()
        used = attributes([here]) | names([here])
        if not used.isdisjoint(words):
            return True
        new = used - seen
        seen |= new
        pending += [f for f in functions(tree) if f.name in new]
    return False


def switch_to_eval(tree: ast.Module, line: int, column: int, module: str, spelling: str, *, restore: bool) -> bool:
    """Switch the module that runs at a place to eval before it; False where that would change a training.

    With `restore`, the module gets back the mode that it had.
    """
    part = _evaluation(tree, line, column)
    if not part or _trains(tree, *part, words=("train",)):
        return False
    around = [f for f in functions(tree) if any(n is part[0] for n in ast.walk(f))]
    known = bound([n for n in tree.body if isinstance(n, ast.Assign) or not around])
    if around:
        known |= set(parameters(around[-1])) | bound(around[-1].body)
    if "…" in module or module.split(".")[0] not in known or (spelling == "assigned" and (not module.isidentifier() or module == "self")):
        return False
    before = _switched(tree, spelling, module, False)
    after: list[ast.stmt] = list(part)
    if restore:
        before = [*statements(f"was_learning = {module}.training"), *before]
        after = [_around(f"try:\n    pass\nfinally:\n    {module}.train(was_learning)", after)]
    return _replace(tree, part, [*before, *after])
