"""The three places where torch is tapped: `nn.Module.__call__`, `nn.Module.train`, and the optimizers.

`nn.Module.__call__` becomes torch's own function with a few statements before it: nested calls gain no frame and about 0.2 µs, and a
traceback shows torch's file and line, as without. It is made from torch's source, so that it follows what torch does in any version;
where that has a form that cannot be extended (or another tool has replaced it) a plain wrapper serves, with a note.
"""

from __future__ import annotations

import ast
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import optimizer as optimizers


class Tap(Protocol):
    """Who is told. No method may raise."""

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An outermost forward call begins; what it returns is handed to `finish`."""

    def finish(self, token: Any, output: Any) -> Any:
        """The same call has returned `output`, which must be returned."""

    def switched(self, module: nn.Module, mode: bool) -> None:
        """`module.train(mode)` is called (`eval()` calls it as well)."""

    def zeroed(self, optimizer: torch.optim.Optimizer) -> None:
        """`optimizer.zero_grad()` is called."""

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """`optimizer.step()` has returned."""


class Inside(threading.local):
    """Where this thread is."""

    on = False
    """Inside a watched forward call, or in evallint's own doing."""
    probing = False
    """In the twin of a probe."""
    differentiated = False
    """Whether the watched forward call has itself differentiated."""


class Trains(Exception):
    """The twin would have trained, and so touched the user's weights."""


class Hooks:
    """What is installed, and how to take it away again."""

    def __init__(self, tap: Tap, inside: Inside) -> None:
        self.note = ""
        self._undo: list[Callable[[], object]] = []
        self._call(tap, inside)
        self._train(tap, inside)
        self._zero_grad(tap, inside)
        self._backward(inside)

        def stepped(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
            if not torch.compiler.is_dynamo_compiling():
                tap.stepped(optimizer)

        self._undo.append(optimizers.register_optimizer_step_post_hook(stepped).remove)

    def remove(self) -> None:
        """Put back what was there; what others have patched over ours is left to them."""
        while self._undo:
            self._undo.pop()()

    def _replace(self, owner: Any, name: str, new: Any) -> None:
        old = vars(owner)[name]
        setattr(owner, name, new)

        def undo() -> None:
            if vars(owner).get(name) is new:
                setattr(owner, name, old)

        self._undo.append(undo)

    def _call(self, tap: Tap, inside: Inside) -> None:
        stock = nn.Module.__call__
        try:
            if stock is not nn.Module._wrapped_call_impl:
                raise UnknownForm("another tool has replaced `nn.Module.__call__`")
            call = fused(stock, tap, inside)
        except UnknownForm as reason:
            self.note = f"{reason}; a wrapper is used, which costs more and shows in tracebacks"
            call = wrapped(stock, tap, inside)
        self._replace(nn.Module, "__call__", call)

    def _train(self, tap: Tap, inside: Inside) -> None:
        stock = nn.Module.train

        @functools.wraps(stock)
        def train(self: nn.Module, mode: bool = True) -> nn.Module:
            if torch.compiler.is_dynamo_compiling() or inside.on:
                return stock(self, mode)
            tap.switched(self, mode)
            inside.on = True  # its children are switched with it
            try:
                return stock(self, mode)
            finally:
                inside.on = False

        self._replace(nn.Module, "train", train)

    def _zero_grad(self, tap: Tap, inside: Inside) -> None:
        stock = torch.optim.Optimizer.zero_grad

        @functools.wraps(stock)
        def zero_grad(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            if not torch.compiler.is_dynamo_compiling():
                tap.zeroed(self)
            stock(self, *args, **kwargs)

        self._replace(torch.optim.Optimizer, "zero_grad", zero_grad)

    def _backward(self, inside: Inside) -> None:
        """What `backward` and `autograd.grad` both go through."""
        stock = getattr(torch.autograd, "_engine_run_backward", None)
        if stock is None:
            return

        @functools.wraps(stock)
        def run(*args: Any, **kwargs: Any) -> Any:
            if inside.on:
                inside.differentiated = True
                if inside.probing and kwargs.get("accumulate_grad"):
                    raise Trains  # into the gradients of the user's own parameters
            return stock(*args, **kwargs)

        self._replace(torch.autograd, "_engine_run_backward", run)


@contextmanager
def no_steps() -> Iterator[None]:
    """Let no optimizer make a step in this thread: it would be one of the user's weights."""
    thread = threading.get_ident()

    def refuse(_optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        if threading.get_ident() == thread:
            raise Trains

    handle = optimizers.register_optimizer_step_pre_hook(refuse)
    try:
        yield
    finally:
        handle.remove()


class UnknownForm(Exception):
    """torch's `__call__` cannot be extended."""


def fused(stock: Any, tap: Tap, inside: Inside) -> Callable[..., Any]:
    """torch's own `__call__` with the taps in the same frame, at torch's own lines. Raises UnknownForm."""
    try:
        source, first = inspect.getsourcelines(stock)
        block = ast.parse("if 1:\n" + "".join(source)).body[0]
        assert isinstance(block, ast.If)
        function = block.body[0]
        assert isinstance(function, ast.FunctionDef) and not function.decorator_list
        signature = function.args
        assert len(signature.args) == 1 and signature.vararg is not None and signature.kwarg is not None
        assert not signature.kwonlyargs and not signature.posonlyargs
    except (OSError, TypeError, SyntaxError, IndexError, AssertionError):
        raise UnknownForm("this torch's `nn.Module.__call__` has an unknown form") from None
    ast.increment_lineno(function, first - 2)  # columns are right already: the `if` stands for the class
    names = ", ".join([signature.args[0].arg, signature.vararg.arg, signature.kwarg.arg])
    prologue = ast.parse(
        f"if _evl_compiling() or _evl_inside.on: pass\ntry:\n    _evl_token = _evl_begin({names})\nfinally:\n    _evl_inside.on = False\n"
    ).body
    for node in (one for statement in prologue for one in ast.walk(statement)):
        if hasattr(node, "lineno"):
            ast.copy_location(node, function.body[0])
    guard, watched = prologue
    assert isinstance(guard, ast.If) and isinstance(watched, ast.Try)
    guard.body = function.body
    copy = ast.parse("if 1:\n" + "".join(source)).body[0]
    ast.increment_lineno(copy, first - 2)
    watched.body += [_Returns().visit(statement) for statement in copy.body[0].body]  # type: ignore[attr-defined]
    function.body = [guard, watched]
    maker = ast.parse("def make(_evl_compiling, _evl_inside, _evl_begin, _evl_finish): pass")
    assert isinstance(maker.body[0], ast.FunctionDef)
    maker.body[0].body = [function, ast.Return(ast.Name(function.name, ast.Load()))]
    ast.fix_missing_locations(maker)
    module = inspect.getmodule(stock)
    made: dict[str, Any] = {}
    exec(compile(maker, stock.__code__.co_filename, "exec", dont_inherit=True), vars(module), made)
    call: FunctionType = made["make"](torch.compiler.is_dynamo_compiling, inside, tap.begin, tap.finish)
    call.__qualname__ = stock.__qualname__
    return call


class _Returns(ast.NodeTransformer):
    """Hands each returned value to `_evl_finish` first."""

    def visit_Return(self, node: ast.Return) -> ast.Return:
        value = node.value or ast.copy_location(ast.Constant(None), node)
        finish = ast.copy_location(ast.Name("_evl_finish", ast.Load()), value)
        token = ast.copy_location(ast.Name("_evl_token", ast.Load()), value)
        node.value = ast.copy_location(ast.Call(finish, [token, value], []), value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        return node


def wrapped(stock: Any, tap: Tap, inside: Inside) -> Callable[..., Any]:
    """A plain wrapper, for any `__call__`."""

    @functools.wraps(stock)
    def __call__(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_dynamo_compiling() or inside.on:
            return stock(self, *args, **kwargs)
        try:
            token = tap.begin(self, args, kwargs)
            return tap.finish(token, stock(self, *args, **kwargs))
        finally:
            inside.on = False

    return __call__
