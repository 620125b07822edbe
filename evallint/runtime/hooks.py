"""The places where torch is tapped: `nn.Module.__call__`, `nn.Module.train`, the optimizers, and what differentiates.

`nn.Module.__call__` becomes torch's own function with a few statements before it (`fusing`): nested calls gain no frame and about 0.2 µs.
Where it has a form that cannot be extended, or another tool has replaced it, a plain wrapper serves, with a note.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import optimizer as optimizers

from evallint.runtime.fusing import UnknownForm, call_with_taps, with_prologue


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

    def differentiated(self, tensors: Sequence[torch.Tensor], retains: bool) -> None:
        """`backward` or `autograd.grad` of `tensors` begins, and keeps what the graph holds or not."""

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
        self._backward(tap, inside)

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
        names = {"_evl_inside": inside, "_evl_begin": tap.begin, "_evl_finish": tap.finish}
        try:
            if stock is not nn.Module._wrapped_call_impl:
                self.note = "another tool has replaced `nn.Module.__call__`"
                raise UnknownForm
            call = call_with_taps(stock, {"_evl_compiling": torch.compiler.is_dynamo_compiling, **names})
        except UnknownForm:
            known = self.note or "this torch's `nn.Module.__call__` has an unknown form"
            self.note = f"{known}; a wrapper is used, which costs more and shows in tracebacks"
            call = wrapped(stock, tap, inside)
        self._replace(nn.Module, "__call__", call)

    def _train(self, tap: Tap, inside: Inside) -> None:
        stock = nn.Module.train

        @functools.wraps(stock)
        def train(self: nn.Module, mode: bool = True) -> nn.Module:
            if torch.compiler.is_dynamo_compiling() or inside.on:
                return stock(self, mode)
            inside.on = True  # its children are switched with it
            try:
                tap.switched(self, mode)
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

    def _backward(self, tap: Tap, inside: Inside) -> None:
        """What `backward` and `autograd.grad` both go through."""
        stock = getattr(torch.autograd, "_engine_run_backward", None)
        if stock is None or stock.__code__.co_varnames[:3] != ("t_outputs", "args", "kwargs"):
            return

        def differentiates(accumulates: bool) -> None:
            inside.differentiated = True
            if inside.probing and accumulates:
                raise Trains  # into the gradients of the user's own parameters

        def begins(tensors: Sequence[torch.Tensor], args: tuple[Any, ...]) -> None:
            tap.differentiated(tensors, len(args) > 1 and bool(args[1]))

        prologue = "if _evl_inside.on: _evl_differentiates(bool(kwargs.get('accumulate_grad')))\nelse: _evl_begins(t_outputs, args)"
        try:
            names = {"_evl_inside": inside, "_evl_differentiates": differentiates, "_evl_begins": begins}
            run = with_prologue(stock, prologue, names)
        except (UnknownForm, SyntaxError):
            return
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
