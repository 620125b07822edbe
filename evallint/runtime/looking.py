"""What the code that EVL201 to EVL203 speak of does in evaluation mode: a call is run again on twins, as it is and mended."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from evallint.meaning.signatures import SIGNATURES, Signature
from evallint.runtime import measuring
from evallint.runtime.matching import Claim, Key, real
from evallint.runtime.modules import depends_on_mode, parts_of, reachable
from evallint.runtime.observing import position
from evallint.runtime.records import Look, Probe

MOST_MEASURED = 8
"""Findings of one call whose effect is measured; of further ones it is only seen that they are there."""
DEEPEST = 60
SWAPPED = "its rate is the mode itself, which shows in training alone"

Run = Callable[["Mending", "int | None"], "tuple[nn.Module, dict[str, Tensor]]"]
"""Runs a fresh twin with some findings mended, from the generators of the real call or from a seed."""

_KNOWN: dict[Any, Signature] = {
    function: signature
    for dotted, signature in SIGNATURES.items()
    for home in (functional, torch)
    if dotted.startswith("torch.nn.functional." if home is functional else "torch.")
    and (function := getattr(home, dotted.rpartition(".")[2], None)) is not None
}


@dataclass(slots=True)
class Sight:
    """What one run showed of a finding."""

    live: dict[str, None] = field(default_factory=dict)
    """The layers, or the call, that acted as in training while what they belong to was in evaluation mode."""
    idle: int = 0
    """Times that they followed the mode."""
    plain: int = 0
    """Times that a part ran in which nothing depends on the mode."""
    training: int = 0
    """Times that what they belong to was in training mode."""
    reason: str = ""
    """Why it cannot be told, if so."""


class Mending(TorchFunctionMode):  # type: ignore[misc]
    """Sees what the findings speak of while a twin runs, and lets those in `mended` follow the mode."""

    def __init__(self, claims: Sequence[Claim], mended: frozenset[Key] = frozenset()) -> None:
        super().__init__()
        self.mended = mended
        self.sights: dict[Key, Sight] = {}
        self._by_code = {code: [c for c in claims if c.finding.code == code] for code in ("EVL201", "EVL202", "EVL203")}
        self._root: nn.Module | None = None

    @contextmanager
    def of(self, twin: nn.Module) -> Iterator[None]:
        """Watch a twin in a `with`."""
        self._root = twin
        for claim in self._by_code["EVL203"]:
            for owner in owners(twin, claim):
                self._watch_parts(claim, twin, owner)
        with _told_of_new(self._built if self._by_code["EVL202"] else None), self:
            yield

    def _sight(self, claim: Claim) -> Sight:
        return self.sights.setdefault(claim.key, Sight())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        signature = _KNOWN.get(func)
        if signature is not None and self._by_code["EVL201"]:
            frame = _outside(sys._getframe(1), ("overrides.py", "nn/functional.py", "_jit_internal.py"))
            claim = _at(self._by_code["EVL201"], frame)
            if claim is not None and frame is not None:
                args, kwargs = self._called(claim, frame, signature, args, kwargs)
        return func(*args, **kwargs)

    def _called(self, claim: Claim, frame: FrameType, signature: Signature, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """A functional call that a finding speaks of; returns its arguments, mended if that is wanted."""
        sight = self._sight(claim)
        rate = _given(signature.rate, args, kwargs)
        flag = _given(signature.flag, args, kwargs)
        if self._owner(frame).training:
            sight.training += 1
        elif isinstance(rate, bool):
            sight.reason = SWAPPED
        elif flag is False or (rate is not None and not float(rate)):
            sight.idle += 1
        else:
            sight.live[f"{claim.finding.model} {f'p={float(rate):g}' if rate is not None else 'training=True'}"] = None
            if claim.key in self.mended:
                off = signature.flag or signature.rate
                assert off is not None
                place, name, _ = off
                value = False if off is signature.flag else 0.0
                if len(args) > place:
                    return (*args[:place], value, *args[place + 1 :]), kwargs
                return args, {**kwargs, name: value}
        return args, kwargs

    def _built(self, module: nn.Module, frame: FrameType | None) -> None:
        """A module is built; a finding may speak of that."""
        while frame is not None and (frame.f_code.co_name == "__init__" or _is_torch(frame.f_code)):
            frame = frame.f_back
        claim = _at(self._by_code["EVL202"], frame)
        if claim is None or frame is None:
            return
        trains = self._owner(frame).training
        if claim.key in self.mended and not trains:
            module.training = False

        def ran(layer: nn.Module, _args: Any) -> None:
            self._ran(self._sight(claim), layer, "", trains)

        module.register_forward_pre_hook(ran)

    def _watch_parts(self, claim: Claim, twin: nn.Module, owner: nn.Module) -> None:
        for name, part in hidden_parts(twin, owner, claim):
            mend = claim.key in self.mended and not owner.training
            for inner, layer in part.named_modules():
                layer.training = layer.training and not mend
                if layer is part or depends_on_mode(layer) is not None:
                    layer.register_forward_pre_hook(self._part_hook(claim, owner, f"{name}.{inner}".rstrip(".")))

    def _part_hook(self, claim: Claim, owner: nn.Module, name: str) -> Callable[[nn.Module, Any], None]:
        def ran(layer: nn.Module, _args: Any) -> None:
            self._ran(self._sight(claim), layer, name, owner.training)

        return ran

    @staticmethod
    def _ran(sight: Sight, layer: nn.Module, name: str, trains: bool) -> None:
        kind = depends_on_mode(layer)
        if trains:
            sight.training += 1
        elif kind is None:
            sight.plain += 1
        elif layer.training:
            sight.live[f"{name} ({kind})" if name else kind] = None
        else:
            sight.idle += 1

    def _owner(self, frame: FrameType | None) -> nn.Module:
        """The innermost module whose method runs at a frame."""
        for _ in range(DEEPEST):
            if frame is None:
                break
            first = frame.f_locals.get(frame.f_code.co_varnames[0]) if frame.f_code.co_argcount else frame.f_locals.get("self")
            if isinstance(first, nn.Module):
                return first
            frame = frame.f_back
        assert self._root is not None
        return self._root


def looks(claims: Sequence[Claim], run: Run, live: nn.Module, trained: Callable[[Tensor], bool | None], *, costly: bool) -> list[Look]:
    """What running a call shows of the findings that it comes by; no more than that they are there where a run is `costly`.

    `trained` says whether an optimizer has a parameter, or None where there was no training.
    """
    seen = Mending(claims)
    twin, as_is = run(seen, None)
    found = {
        claim.key: Look(claim.key, tuple(sight.live), sight.idle, sight.plain, sight.training, sight.reason)
        for claim in claims
        if (sight := seen.sights.get(claim.key)) is not None
    }
    for claim in claims:
        if claim.key in found and claim.finding.code == "EVL203":
            found[claim.key].untrained = _untrained(live, claim, trained)
    acting = [key for key, look in found.items() if look.live][:MOST_MEASURED]
    if acting and not costly:
        every = frozenset(acting)
        still, mended = run(Mending(claims, every), None)
        noise = measuring.distance(run(Mending(claims, every), measuring.SEED)[1], mended)
        kept = _buffers(still, claims)
        for key in acting:
            one, output = (twin, as_is) if len(acting) == 1 else run(Mending(claims, every - {key}), None)
            probe = found[key].probe = Probe(noise=noise)
            if key[0] != "EVL202":  # a layer that was built here is thrown away with its statistics
                probe.buffers = tuple(sorted(measuring.changed_buffers(_buffers(one, claims), kept)))
            probe.difference = measuring.distance(output, mended)
            unequal = measuring.differ(output, mended)
            probe.differs = unequal or bool(probe.buffers)
            probe.changed, probe.predictions = measuring.predictions(output, mended)
            if unequal:
                probe.spread = measuring.distance(run(Mending(claims, every - {key}), measuring.SEED)[1], output)
    return list(found.values())


def owners(root: nn.Module, claim: Claim) -> Iterator[nn.Module]:
    """The modules in whose class the place of a finding stands."""
    for one in reachable(root):
        cls: Any = type(one)
        if _has_code_at(cls, claim.path, claim.finding.place.line):
            yield one


def hidden_parts(root: nn.Module, owner: nn.Module, claim: Claim) -> Iterator[tuple[str, nn.Module]]:
    """The modules, by name, in the collection that a finding of EVL203 names; not those that are registered as well."""
    registered = {id(one) for one in root.modules()}
    attribute = claim.finding.model.removeprefix("self.")
    for name, part in parts_of(vars(owner).get(attribute)):
        if id(part) not in registered:
            yield f"{attribute}.{name}", part


def _buffers(twin: nn.Module, claims: Sequence[Claim]) -> dict[str, Tensor]:
    found = measuring.buffers_of(twin)
    for claim in (one for one in claims if one.finding.code == "EVL203"):
        for owner in owners(twin, claim):
            for name, part in hidden_parts(twin, owner, claim):
                found |= {f"{name}.{buffer}": tensor for buffer, tensor in measuring.buffers_of(part).items()}
    return found


def _untrained(live: nn.Module, claim: Claim, trained: Callable[[Tensor], bool | None]) -> int:
    """How many numbers the hidden parts own that are to be trained and that no optimizer has."""
    parameters = {
        id(parameter): parameter
        for owner in owners(live, claim)
        for _, part in hidden_parts(live, owner, claim)
        for parameter in part.parameters()
        if parameter.requires_grad
    }
    return sum(parameter.numel() for parameter in parameters.values() if trained(parameter) is False)


@functools.lru_cache(maxsize=1024)
def _has_code_at(cls: Any, path: str, line: int) -> bool:
    for value in (value for base in cls.__mro__ for value in vars(base).values()):
        function = getattr(value, "__func__", value)
        function = getattr(function, "__wrapped__", function)
        if isinstance(function, FunctionType) and real(function.__code__.co_filename) == path:
            lines = [number for _, _, number in function.__code__.co_lines() if number]
            if function.__code__.co_firstlineno <= line <= max(lines, default=0):
                return True
    return False


def _given(parameter: tuple[int, str, Any] | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if parameter is None:
        return None
    place, name, default = parameter
    return args[place] if len(args) > place else kwargs.get(name, default)


_TORCH = torch.__file__.removesuffix("__init__.py")


def _is_torch(code: CodeType) -> bool:
    return code.co_filename.startswith(_TORCH)


def _outside(frame: FrameType | None, files: tuple[str, ...]) -> FrameType | None:
    """The frame that called into some of torch's files."""
    inside = tuple(_TORCH + name for name in files)
    while frame is not None and frame.f_code.co_filename.startswith(inside):
        frame = frame.f_back
    return frame


def _at(claims: Sequence[Claim], frame: FrameType | None) -> Claim | None:
    """The claim at whose place a frame is; before Python 3.11, on whose lines."""
    if frame is None:
        return None
    path = real(frame.f_code.co_filename)
    here = [claim for claim in claims if claim.path == path]
    if not here:
        return None
    line, end_line, column, end_column = position(frame.f_code, frame.f_lasti)
    for claim in here:
        place = claim.finding.place
        if (line, column) == (end_line, end_column):
            if place.line <= line <= place.end_line:
                return claim
        elif (line, column, end_line, end_column) == (place.line, place.column, place.end_line, place.end_column):
            return claim
    return None


_LISTENERS: dict[int, Callable[[nn.Module, FrameType | None], None]] = {}
"""By thread, who is told of new modules."""
_UNDO: list[Callable[[], None]] = []
_LOCK = threading.Lock()


@contextmanager
def _told_of_new(listener: Callable[[nn.Module, FrameType | None], None] | None) -> Iterator[None]:
    """Tell `listener` of the modules that this thread builds."""
    if listener is None:
        yield
        return
    with _LOCK:
        if not _LISTENERS:
            _UNDO.append(_tell())
        _LISTENERS[threading.get_ident()] = listener
    try:
        yield
    finally:
        with _LOCK:
            del _LISTENERS[threading.get_ident()]
            if not _LISTENERS:
                _UNDO.pop()()


def _tell() -> Callable[[], None]:
    stock = nn.Module.__init__

    @functools.wraps(stock)
    def __init__(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        stock(self, *args, **kwargs)
        listener = _LISTENERS.get(threading.get_ident())
        if listener is not None:
            listener(self, sys._getframe(1))

    setattr(nn.Module, "__init__", __init__)  # noqa: B010
    return lambda: setattr(nn.Module, "__init__", stock)
