"""Takes the taps' events and counts them. Everything here runs inside the user's program, so it must be cheap and must never raise."""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from itertools import count
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from evallint.runtime import modules, probing
from evallint.runtime.frames import CHECKPOINT, COMPILED, MEANT, USER, Codes
from evallint.runtime.hooks import Hooks, Inside
from evallint.runtime.records import Model, Record, Sites, Switch

DEEPEST = 40
"""Frames above a call that are looked at."""
MOST_RECORDS = 20_000
MOST_OF_A_CLASS = 256
"""Models of one class that are told apart; a search over settings makes thousands."""
WALK_EVERY = 1024
"""Calls after which a model's layers are looked up again: a structure can change."""
FREE_SECONDS = 2.0
SHARE = 0.1
"""Of the run's time, what probes beyond the first of a place may take, after the free seconds."""

Hot = Mapping[str, Sequence[tuple[int, int]]]
"""By absolute path, the spans of lines that findings speak of."""


class _Known:
    """A live module that was called: what is known of its model, and where its mode bits are."""

    __slots__ = ("bits", "calls", "ignored", "inner", "last_graph", "latest", "model", "outer", "pending")

    def __init__(self, outer: weakref.ref[nn.Module], inner: weakref.ref[nn.Module], model: Model) -> None:
        self.outer = outer
        self.inner = inner
        self.model = model
        self.bits: list[weakref.ref[nn.Module]] = []
        self.ignored = False
        self.calls = 0
        self.pending: dict[Record, int] = {}
        self.latest: Record | None = None
        self.last_graph: Record | None = None


class _Use:
    """A hook before the backward of one output's graph."""

    __slots__ = ("done", "known", "record", "watcher")

    def __init__(self, watcher: Watcher, known: _Known, record: Record) -> None:
        self.watcher, self.known, self.record, self.done = watcher, known, record, False

    def __call__(self, _grads: Any) -> None:
        if not self.done:
            self.done = True
            self.watcher.used(self.known, self.record)


class Watcher:
    """Records of every outermost forward call, mode switch and training step while its hooks are installed."""

    def __init__(self, hot: Hot | None = None, probes: int = 3, ignored: frozenset[str] = frozenset()) -> None:
        self.inside = Inside()
        self.hot = hot or {}
        self.probes = probes
        self.codes = Codes(ignored)
        self.records: dict[tuple[Any, ...], Record] = {}
        self.switches: dict[tuple[Any, ...], Switch] = {}
        self.models: dict[type, list[Model]] = {}
        self.forgotten = 0
        """Calls from further places when there were too many to keep."""
        self.steps = 0
        self.processes = 0
        """Child processes that were started, other than the workers of data loaders."""
        self.workers = 0
        self.errors: dict[str, int] = {}
        self._known: dict[int, _Known] = {}
        self._inner: dict[int, _Known] = {}
        self._recent: dict[int, _Known] = {}
        self._owned: dict[tuple[int, int], tuple[weakref.ref[Any], bool]] = {}
        self._ordinals = count(1)
        self._serials = count(1)
        self._event = 0
        self._switched = 0
        self._spent = 0.0
        self._started = time.perf_counter()
        self._stopped: float | None = None
        self._hooks: Hooks | None = None
        self._undo: list[Any] = []

    # Installing

    def start(self) -> str:
        """Install the hooks; returns a note where they are not the usual ones."""
        if self._hooks is None:
            self._hooks = Hooks(self, self.inside)
            self._watch_processes()
            self._started = time.perf_counter()
            mine = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _stop(mine()))  # workers run unwatched
        return self._hooks.note

    def stop(self) -> None:
        """Take them away."""
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks = None
            self._stopped = time.perf_counter()
        while self._undo:
            self._undo.pop()()

    @property
    def seconds(self) -> float:
        """How long it has watched."""
        return (self._stopped or time.perf_counter()) - self._started

    def _watch_processes(self) -> None:
        from multiprocessing.process import BaseProcess

        stock = BaseProcess.start

        def start(process: Any) -> None:
            target = getattr(process, "_target", None)
            if getattr(target, "__module__", "").startswith("torch.utils.data"):
                self.workers += 1
            else:
                self.processes += 1
            stock(process)

        BaseProcess.start = start  # type: ignore[method-assign]

        def undo() -> None:
            if BaseProcess.start is start:
                BaseProcess.start = stock  # type: ignore[method-assign]

        self._undo.append(undo)

    # Forward calls

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An outermost forward call begins."""
        self.inside.on = True
        try:
            known = self._known.get(id(module))
            if known is None or known.outer() is not module:
                known = self._meet(module)
            if known.ignored:
                return None
            if torch._C._current_graph_task_id() != -1:  # recomputed for a checkpoint
                self._recomputed(known)
                return None
            return self._begin(known, module, args, kwargs)
        except Exception as error:
            self._failed(error)
            return None

    def _begin(self, known: _Known, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        known.calls += 1
        if known.calls % WALK_EVERY == 0 or (known.calls < 64 and known.calls & (known.calls - 1) == 0):
            self._walk(known)
        sites, flags, top = self._look(sys._getframe(3))
        if flags & MEANT or not sites or (flags & COMPILED and isinstance(module, torch.fx.GraphModule)):
            return None
        mask = 0
        bit = 1
        for reference in known.bits:
            one = reference()
            if one is not None and one.training:
                mask |= bit
            bit <<= 1
        grad = torch.is_grad_enabled()
        key = (sites, known.model.serial, known.model.layout, mask, grad)
        record = self.records.get(key)
        if record is None:
            if len(self.records) >= MOST_RECORDS:
                self.forgotten += 1
                return None
            record = self.records[key] = self._new(known, sites, mask, grad, flags, top)
        ordinal = next(self._ordinals)
        if record.calls:
            if record.event == self._event:
                record.in_a_row += 1
            elif record.step + 1 == self.steps:
                record.tight += 1
        else:
            record.first = ordinal
        record.last = ordinal
        record.event = self._event
        record.step = self.steps
        record.calls += 1
        if record.tried < self.probes and self._wants_probe(record):
            record.tried += 1
            start = time.perf_counter()
            prepared = probing.prepare(record, modules.unwrapped(module), args, kwargs)
            self._spent += time.perf_counter() - start
            if prepared is not None:
                return known, record, prepared
        return (known, record, None) if grad or flags & CHECKPOINT else None

    def _look(self, frame: FrameType | None) -> tuple[Sites, int, FrameType | None]:
        kinds = self.codes.kinds
        sites: list[int] = []
        flags = 0
        top = None
        for _ in range(DEEPEST):
            if frame is None:
                break
            code = frame.f_code
            kind = kinds.get(id(code))
            if kind is None:
                kind = self.codes.kind(code)
            if kind:
                if kind == USER:
                    if top is None:
                        top = frame
                    sites.append(id(code))
                    sites.append(frame.f_lasti)
                else:
                    flags |= kind
            frame = frame.f_back
        return tuple(sites), flags, top

    def _new(self, known: _Known, sites: Sites, mask: int, grad: bool, flags: int, top: FrameType | None) -> Record:
        record = Record(sites, known.model, mask, grad, torch.is_inference_mode_enabled())
        record.checkpointed = bool(flags & CHECKPOINT)
        record.hot = self._is_hot(top)
        if top is not None and top.f_code.co_name == "forward":
            owner = top.f_locals.get("self")
            if isinstance(owner, nn.Module):  # `model.forward(x)`: its children look outermost
                record.owner = modules.class_name(owner)
                record.owner_serial = id(owner)
        return record

    def _is_hot(self, frame: FrameType | None) -> bool:
        for _ in range(DEEPEST):
            if frame is None:
                return False
            spans = self.hot.get(os.path.realpath(frame.f_code.co_filename))
            if spans and any(first <= frame.f_lineno <= last for first, last in spans):
                return True
            frame = frame.f_back
        return False

    def _wants_probe(self, record: Record) -> bool:
        """Whether a probe would tell something new, and is affordable."""
        if not (record.grad or record.training) or record.used or record.checkpointed:
            return False
        if not record.hot and (record.in_a_row == 0 or record.tight or record.tried):
            return False  # a training step is likely to use it: wait until calls go by unused
        if record.tried == 0 and record.hot:
            return True
        if self._spent < FREE_SECONDS + SHARE * (time.perf_counter() - self._started):
            return True
        probing.skip(record, "the probes had their share of the time")
        record.tried = self.probes
        return False

    def finish(self, token: Any, output: Any) -> Any:
        """The call has returned."""
        if token is None:
            return output
        known, record, prepared = token
        try:
            if type(output) is Tensor:
                node = output.grad_fn
                if node is not None:
                    node.register_prehook(_Use(self, known, record))
                    self._has_graph(known, record)
            else:
                self._other_output(known, record, output)
            if record.checkpointed:
                known.latest = record
            if prepared is not None:
                start = time.perf_counter()
                live = known.inner()
                if live is not None:
                    probing.probe(prepared, live)
                self._spent += time.perf_counter() - start
        except Exception as error:
            self._failed(error)
        return output

    def _has_graph(self, known: _Known, record: Record) -> None:
        record.graphs += 1
        known.last_graph = record
        self._recent[known.model.serial] = known

    def _other_output(self, known: _Known, record: Record, output: Any) -> None:
        nodes = {id(node): node for tensor in probing.tensors_in(output) if (node := tensor.grad_fn) is not None}
        if nodes:
            use = _Use(self, known, record)
            for node in nodes.values():
                node.register_prehook(use)
            self._has_graph(known, record)

    def _failed(self, error: Exception) -> None:
        said = probing.brief(error)
        if len(self.errors) < 20 or said in self.errors:
            self.errors[said] = self.errors.get(said, 0) + 1

    # Modules

    def _meet(self, module: nn.Module) -> _Known:
        inner = modules.unwrapped(module)
        shared = self._inner.get(id(inner))
        if shared is not None and shared.inner() is inner:
            model = shared.model
        else:
            model = self._model(inner)
            shared = None
        known = _Known(self._reference(module, self._known), weakref.ref(inner), model)
        self._known[id(module)] = known
        self._walk(known)
        if shared is None:
            self._inner[id(inner)] = known
            if inner is not module:
                self._reference(inner, self._inner)
        else:
            known.pending = shared.pending
        return known

    def _reference(self, module: nn.Module, table: dict[int, _Known]) -> weakref.ref[nn.Module]:
        key = id(module)

        def gone(_: Any) -> None:
            table.pop(key, None)
            self._inner.pop(key, None)

        return weakref.ref(module, gone)

    def _model(self, inner: nn.Module) -> Model:
        others = self.models.setdefault(type(inner), [])
        if len(others) >= MOST_OF_A_CLASS:
            return others[-1]
        model = Model(next(self._serials), modules.class_name(inner))
        others.append(model)
        return model

    def _walk(self, known: _Known) -> None:
        inner = known.inner()
        if inner is None:
            return
        found = modules.layers_of(inner)
        known.ignored = not modules.is_model(inner, found)
        layers = tuple(layer for layer, _ in found)
        old = known.model.layers
        if [(a.name, a.kind) for a in layers] != [(b.name, b.kind) for b in old]:
            known.model.layers = layers
            known.model.layout += 1
            known.model.had = 0
        known.bits = [weakref.ref(inner), *(weakref.ref(one) for _, one in found)]

    # Training steps

    def used(self, known: _Known, record: Record) -> None:
        """A backward goes through a graph of the record."""
        record.used += 1
        known.pending[record] = known.pending.get(record, 0) + 1
        known.latest = record
        self._recent[known.model.serial] = known
        self._event += 1

    def _recomputed(self, known: _Known) -> None:
        record = known.latest
        if record is not None and record.checkpointed:
            self.used(known, record)

    def zeroed(self, optimizer: torch.optim.Optimizer) -> None:
        """`zero_grad`: what was back-propagated before is no part of the next step."""
        if self.inside.on:
            return
        for known in list(self._recent.values()):
            if known.pending and self._owns(optimizer, known):
                known.pending.clear()

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer step has been made."""
        if self.inside.on:
            return
        self.inside.on = True
        try:
            self.steps += 1
            self._event += 1
            for serial, known in list(self._recent.items()):
                if not self._owns(optimizer, known):
                    continue
                del self._recent[serial]
                latest = known.latest
                if known.pending:
                    for record, uses in known.pending.items():
                        record.trained += uses
                elif known.last_graph is not None:  # an auxiliary loss that left through an attribute
                    latest = known.last_graph
                    latest.used += 1
                    latest.trained += 1
                known.pending.clear()
                if latest is not None:
                    self._trained(known, latest)
        except Exception as error:
            self._failed(error)
        finally:
            self.inside.on = False

    def _owns(self, optimizer: torch.optim.Optimizer, known: _Known) -> bool:
        key = (id(optimizer), known.model.serial)
        found = self._owned.get(key)
        if found is not None and found[0]() is optimizer:
            return found[1]
        inner = known.inner()
        ids = {id(p) for group in optimizer.param_groups for p in group["params"]}
        owns = inner is not None and modules.any_parameter(inner, ids)
        if len(self._owned) > MOST_RECORDS:
            self._owned.clear()
        self._owned[key] = (weakref.ref(optimizer), owns)
        return owns

    def _trained(self, known: _Known, record: Record) -> None:
        """A step was made through `record`: with which mode bits, and which did an earlier one have?"""
        model = known.model
        lost = model.had & ~record.mask
        if model.seen_switch != self._switched:
            self._settle(known, record, lost)
            model.seen_switch = self._switched
        elif model.blame is not None:
            self._count(model.blame, known, record, lost)
        model.had |= record.mask
        model.trained = record.last

    def _settle(self, known: _Known, record: Record, lost: int) -> None:
        """Which switches to evaluation since the last step reach this model, and were they undone?"""
        model = known.model
        inner = known.inner()
        if inner is None:
            return
        mine = {id(one) for one in inner.modules()}
        found = [s for s in self.switches.values() if not s.mode and s.last > model.trained and self._reaches(s, mine)]
        model.blame = max(found, key=lambda s: s.last, default=None) if lost or not record.training else None
        for switch in found:
            if switch is model.blame:
                self._count(switch, known, record, lost, first=True)
            elif not lost and record.training:
                switch.recovered += 1
                switch.model = model

    @staticmethod
    def _reaches(switch: Switch, modules_of_model: set[int]) -> bool:
        root = switch.module()
        return root is not None and any(id(one) in modules_of_model for one in root.modules())

    def _count(self, switch: Switch, known: _Known, record: Record, lost: int, *, first: bool = False) -> None:
        model = known.model
        switch.model = model
        layers = [layer for place, layer in enumerate(model.layers, 1) if (lost or ~record.mask) >> place & 1]
        if lost & ~1:
            if self._evaluated(known, record, switch):
                switch.lost += 1
        elif lost:
            switch.harmless += 1
        elif record.mask == 0 and switch.was_training and not model.had and self._evaluated(known, record, switch):
            if layers:
                switch.suspect += 1
            else:
                switch.harmless += 1
        else:
            return
        switch.rounds += first
        switch.layers.update((layer.name, layer.kind) for layer in layers)

    def _evaluated(self, known: _Known, record: Record, switch: Switch) -> bool:
        """Whether the model was evaluated since: switching off a layer for good is no evaluation."""
        if switch.lost or switch.suspect:
            return True
        return any(
            other.model is known.model and other is not record and other.last > switch.last and other.trained < other.calls
            for other in self.records.values()
        )

    # Switches

    def switched(self, module: nn.Module, mode: bool) -> None:
        """`module.train(mode)`."""
        self.inside.on = True
        try:
            sites, _, _ = self._look(sys._getframe(2))
            if not sites:
                return
            key = (sites, id(module), bool(mode))
            switch = self.switches.get(key)
            if switch is None or switch.module() is not module:
                if len(self.switches) >= MOST_RECORDS:
                    return
                if switch is not None:  # of a module that is gone, whose id has come back
                    self.switches[(*key, switch.first)] = switch
                switch = self.switches[key] = Switch(sites, modules.class_name(module), bool(mode), weakref.ref(module))
                switch.first = next(self._ordinals)
                switch.was_training = module.training
            switch.calls += 1
            switch.last = next(self._ordinals)
            switch.was_training |= module.training
            self._switched += 1
        except Exception as error:
            self._failed(error)
        finally:
            self.inside.on = False


def _stop(watcher: Watcher | None) -> None:
    if watcher is not None:
        watcher.stop()
