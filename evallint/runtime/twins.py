"""A twin of a model that can be run without touching the run: shared weights, copied state, random generators put back."""

from __future__ import annotations

import copy
import random
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

MOST_BYTES = 1 << 30
"""Of weights that are copied where a forward may change them."""
DEEPEST = 5
"""Levels of containers that are looked into."""


class NotCopied(Exception):
    """Something cannot be copied, or copying it would touch the run; the text says what."""


def twin_of(module: nn.Module, own_weights: bool = False) -> nn.Module:
    """A copy that shares the parameters (or not); buffers and Python state are its own. Raises NotCopied.

    The user's hooks are left out, since what they do outside of the model would be done twice.
    """
    memo: dict[int, Any] = {}
    kept: list[Any] = []

    def share(value: Any, instead: Any) -> None:
        memo[id(value)] = instead
        kept.append(value)

    if own_weights and sum(p.numel() * p.element_size() for p in module.parameters()) > MOST_BYTES:
        raise NotCopied("its forward may change its weights, which are too big to copy")
    for one in module.modules():
        replaced = vars(one).get("forward")
        if isinstance(replaced, FunctionType) and replaced.__closure__:
            raise NotCopied("a `forward` was replaced by a function that holds the model")
        for value in one._parameters.values():
            if value is not None:
                share(value, _clone(value) if own_weights else value)
        for value in (*vars(one).values(), *one._buffers.values()):
            for tensor in tensors_in(value):
                if id(tensor) not in memo and not tensor.is_leaf:
                    share(tensor, tensor.detach().clone())
            if isinstance(value, (torch.optim.Optimizer, torch.utils.data.Dataset, torch.utils.data.DataLoader)):
                share(value, value)
    try:
        twin = copy.deepcopy(module, memo)
    except Exception as error:
        raise NotCopied(f"the model cannot be copied ({brief(error)})") from None
    for one in twin.modules():
        one._compiled_call_impl = None
        for hooks in (one._forward_hooks, one._forward_pre_hooks):
            for key in [key for key, hook in hooks.items() if not _of_torch(hook)]:
                del hooks[key]
        one._backward_hooks.clear()
        one._backward_pre_hooks.clear()
    return twin


def _clone(parameter: Tensor) -> Tensor:
    clone = parameter.detach().clone()
    return nn.Parameter(clone, parameter.requires_grad) if isinstance(parameter, nn.Parameter) else clone


def _of_torch(hook: Any) -> bool:
    home = getattr(hook, "__module__", None) or type(hook).__module__
    return str(home).startswith("torch.nn.utils")


def brief(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".split("\n")[0][:120]


def tensors_in(value: Any, depth: int = DEEPEST) -> Iterator[Tensor]:
    """The tensors in containers and plain objects."""
    if isinstance(value, Tensor):
        yield value
    elif depth:
        if isinstance(value, Mapping):
            for item in value.values():
                yield from tensors_in(item, depth - 1)
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from tensors_in(item, depth - 1)
        elif _is_plain_object(value):
            for item in vars(value).values():
                yield from tensors_in(item, depth - 1)


def copied(value: Any, depth: int = DEEPEST) -> Any:
    """A copy of an argument of a call, with tensors of its own. Raises NotCopied where running it twice would touch the original."""
    if isinstance(value, Tensor):
        clone = value.detach().clone()
        return clone.requires_grad_() if value.requires_grad and not clone.is_inference() else clone
    if isinstance(value, nn.Module):
        raise NotCopied("an argument is a module")
    if hasattr(value, "__next__"):
        raise NotCopied("an argument is an iterator")
    if not depth:
        return value
    if type(value) is dict:
        return {key: copied(item, depth - 1) for key, item in value.items()}
    if type(value) is list:
        return [copied(item, depth - 1) for item in value]
    if isinstance(value, tuple):
        items = [copied(item, depth - 1) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items) if type(value) is tuple else _shallow(value)
    if isinstance(value, Mapping) or _is_plain_object(value):
        other = _shallow(value)
        if hasattr(other, "__dict__"):
            for name, item in vars(value).items():
                if isinstance(item, (Tensor, dict, list, tuple)) or hasattr(item, "__dict__"):
                    other.__dict__[name] = copied(item, depth - 1)
        return other
    return value


def _is_plain_object(value: Any) -> bool:
    return hasattr(value, "__dict__") and not isinstance(value, (type, nn.Module)) and not callable(value)


def _shallow(value: Any) -> Any:
    try:
        return copy.copy(value)
    except Exception as error:
        raise NotCopied(f"an argument cannot be copied ({brief(error)})") from None


class Generators:
    """The states of every random generator that a forward may draw from: torch's on each device, Python's, and numpy's if it is loaded."""

    def __init__(self) -> None:
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        self.python = random.getstate()
        self.numpy = _numpy_random().get_state() if _numpy_random() else None

    def restore(self) -> None:
        """Put them back."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state_all(self.cuda)
        random.setstate(self.python)
        if self.numpy is not None:
            _numpy_random().set_state(self.numpy)


def seed_all(seed: int) -> None:
    """Seed them; CUDA only where it is in use, since `torch.manual_seed` would leave a seed for its later start."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        for generator in torch.cuda.default_generators:
            generator.manual_seed(seed)
    random.seed(seed)
    if _numpy_random():
        _numpy_random().seed(seed)


def _numpy_random() -> Any:
    return sys.modules.get("numpy.random")


class _Muted:
    """A stream that drops what one thread writes."""

    def __init__(self, stream: Any, thread: int) -> None:
        self._stream, self._thread = stream, thread

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def muted() -> Iterator[None]:
    """Let nothing that this thread prints or logs be seen: the user's own call has said it already."""
    thread = threading.get_ident()
    out, err = sys.stdout, sys.stderr
    logging = sys.modules.get("logging")
    handle = logging.Logger.handle if logging else None

    def silent(self: Any, record: Any) -> None:
        if threading.get_ident() != thread and handle is not None:
            handle(self, record)

    sys.stdout, sys.stderr = (_Muted(stream, thread) if stream is not None else None for stream in (out, err))
    if logging:
        logging.Logger.handle = silent
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # a warning that is given once is not spent here
    # put in by hand: through the module's functions, all that was shown would be shown again
    ignore: Any = ("ignore", None, Warning, None, 0)
    warnings.filters.insert(0, ignore)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        warnings.filters.remove(ignore)  # type: ignore[attr-defined]
        torch.set_warn_always(always)
        sys.stdout, sys.stderr = out, err
        if logging and handle is not None:
            logging.Logger.handle = handle


@contextmanager
def uncached_autocast() -> Iterator[None]:
    """Keep a forward without recording from leaving its casts of the weights to the user's next forward, which may need their graph."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)
