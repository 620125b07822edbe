"""Takes the taps' events and counts them. Everything here runs inside the user's program, so it must be cheap and must never raise."""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections import Counter
from collections.abc import Sequence
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn

from evallint.runtime import modules, probing
from evallint.runtime.frames import CHECKPOINT, COMPILED, END, MEANT, USER, Codes
from evallint.runtime.hooks import Hooks, Inside
from evallint.runtime.known import Known, Knowns
from evallint.runtime.matching import OF_CODE, Claim, spans
from evallint.runtime.processes import Processes
from evallint.runtime.records import Record, Sites
from evallint.runtime.training import Clock, Training
from evallint.runtime.twins import brief, tensors_in

DEEPEST = 40
"""Frames above a call that are looked at."""
MOST_RECORDS = 20_000
MOST_ERRORS = 20
_WALK_MASK = 1023
"""Every so many calls (and one) a model's layers are looked up again: a structure can change."""
ESTABLISHED = 8
"""Calls that training steps used, after which a place that no finding speaks of is looked at every 16th time."""
_SAMPLE_MASK = 15
FREE_SECONDS = 2.0
TOO_MUCH_TIME = "the probes had their share of the time"
MOST_LOOKED = 16
"""Places that are looked at once in any case."""
SHARE = 0.1
"""Of the run's time, what probes beyond the first of a place may take, after the free seconds."""

_graph_task = torch._C._current_graph_task_id
_is_grad_enabled = torch.is_grad_enabled


class _Use:
    """A hook before the backward of one output's graph."""

    __slots__ = ("done", "known", "record", "training")

    def __init__(self, training: Training, known: Known, record: Record) -> None:
        self.training, self.known, self.record, self.done = training, known, record, False

    def __call__(self, _grads: Any) -> None:
        if not self.done:
            self.done = True
            self.training.used(self.known, self.record)


class _CountedUse(_Use):
    """The same, which also counts the graphs that are there: a graph's hook is gone when the graph is."""

    __slots__ = ("full",)

    def __init__(self, training: Training, known: Known, record: Record) -> None:
        super().__init__(training, known, record)
        self.full = True
        record.alive += 1
        record.full += 1
        record.most_alive = max(record.most_alive, record.alive)
        record.most_full = max(record.most_full, record.full)

    def __call__(self, grads: Any) -> None:
        super().__call__(grads)
        if not self.training.retains:
            self._emptied()

    def __del__(self) -> None:
        self.record.alive -= 1
        self._emptied()

    def _emptied(self) -> None:
        if self.full:
            self.full = False
            self.record.full -= 1


class Watcher:
    """Records of every outermost forward call, mode switch and training step while its hooks are installed."""

    def __init__(self, claims: Sequence[Claim] = (), probes: int = 3) -> None:
        self.inside = Inside()
        self.hot: dict[str, list[tuple[int, int]]] = {}
        """By absolute path, the spans of lines that findings speak of."""
        for claim in claims:
            for path, place in spans(claim):
                self.hot.setdefault(path, []).append((place.line, place.end_line))
        self.claims = [claim for claim in claims if claim.finding.code in OF_CODE]
        """Findings in the code of modules, which are looked at when these run in evaluation mode."""
        self._needs_recording = any(claim.finding.code == "EVL102" for claim in claims)
        self._counts_graphs = any(claim.finding.code == "EVL301" for claim in claims)
        self.probes = probes
        self.codes = Codes()
        self.records: dict[tuple[Any, ...], Record] = {}
        self.forgotten = 0
        """Calls from further places when there were too many to keep."""
        self.errors: dict[str, int] = {}
        self.clock = Clock()
        self.knowns = Knowns()
        self.training = Training(self.clock, self.records)
        self._looked: Counter[tuple[Sites, int]] = Counter()
        self.processes = Processes()
        self._spent = 0.0
        self._started = time.perf_counter()
        self._stopped: float | None = None
        self._hooks: Hooks | None = None

    def start(self) -> str:
        """Install the hooks; returns a note where they are not the usual ones."""
        if self._hooks is None:
            self._hooks = Hooks(self, self.inside)
            self.processes.start()
            self._started = time.perf_counter()
            _LIVE.add(self)
        return self._hooks.note

    def stop(self) -> None:
        """Take them away."""
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks = None
            self._stopped = time.perf_counter()
            self.processes.stop()

    @property
    def seconds(self) -> float:
        """How long it has watched."""
        return (self._stopped or time.perf_counter()) - self._started

    def _failed(self, error: Exception) -> None:
        said = brief(error)
        if len(self.errors) < MOST_ERRORS or said in self.errors:
            self.errors[said] = self.errors.get(said, 0) + 1

    # Forward calls

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An outermost forward call begins."""
        self.inside.on = True
        self.inside.differentiated = False
        try:
            known = self.knowns.by_id.get(id(module))
            if known is None or known.outer() is not module:
                known = self.knowns.meet(module)
            if known.ignored:
                return None
            if _graph_task() != -1:  # run again for a checkpoint
                latest = known.latest
                if latest is not None and latest.checkpointed:
                    self.training.used(known, latest)
                return None
            known.calls = calls = known.calls + 1
            if not calls & _WALK_MASK or (calls < 64 and not calls & (calls - 1)):
                self.knowns.walk(known)
            sites, flags = self._look(sys._getframe(2))
            if flags & MEANT or not sites or (flags & COMPILED and isinstance(module, torch.fx.GraphModule)):
                return None
            mask = 0
            bit = 1
            for reference in known.bits:
                one = reference()
                if one is None:  # a layer was replaced
                    self.knowns.walk(known)
                    mask = self._mask(known)
                    break
                if one.training:
                    mask |= bit
                bit <<= 1
            grad = _is_grad_enabled()
            model = known.model
            key = (sites, model.serial, model.layout, mask, grad)
            record = self.records.get(key)
            clock = self.clock
            clock.ordinal += 1
            if record is None:
                if len(self.records) >= MOST_RECORDS:
                    self.forgotten += 1
                    return None
                record = self.records[key] = self._new(known, sites, mask, grad, flags, sys._getframe(2))
            record.last = clock.ordinal
            if record.event == clock.event:
                record.in_a_row += 1
            elif record.step + 1 == clock.steps and record.calls:
                record.tight += 1
            record.event = clock.event
            record.step = clock.steps
            record.calls += 1
            if not grad and record.hot and self._needs_recording:
                self.training.unrecorded(known, record)
            measure = record.tried < self.probes and self._wants_probe(record)
            look = not mask & 1 and bool(self.claims) and self._wants_look(record)
            if measure or look:
                prepared = self._prepare(record, module, args, kwargs, measure, look)
                if prepared is not None:
                    return known, record, prepared
            return (known, record, None) if grad or flags & CHECKPOINT else None
        except Exception as error:
            self._failed(error)
            return None

    @staticmethod
    def _mask(known: Known) -> int:
        modules = [reference() for reference in known.bits]
        return sum(1 << place for place, one in enumerate(modules) if one is not None and one.training)

    def _look(self, frame: FrameType | None) -> tuple[Sites, int]:
        """The user's frames from `frame` outward, and what the others say."""
        kind_of = self.codes.kinds.get
        sites: Sites = ()
        flags = 0
        left = DEEPEST
        while frame is not None and left:
            code = frame.f_code
            kind = kind_of(id(code))
            if kind is None:
                kind = self.codes.kind(code)
            if kind == USER:
                sites += (id(code), frame.f_lasti)
            elif kind:
                flags |= kind
                if kind == END:
                    break
            frame = frame.f_back
            left -= 1
        return sites, flags

    def _new(self, known: Known, sites: Sites, mask: int, grad: bool, flags: int, top: FrameType | None) -> Record:
        while top is not None and id(top.f_code) != sites[0]:
            top = top.f_back
        record = Record(sites, known.model, mask, grad)
        record.checkpointed = bool(flags & CHECKPOINT)
        record.hot = self._is_hot(top)
        if top is not None and top.f_code.co_name == "forward":
            owner = top.f_locals.get("self")
            if isinstance(owner, nn.Module):  # `model.forward(x)`: its children look outermost
                record.owner = modules.class_name(owner)
                record.owner_serial = id(owner)
                inner = known.inner()
                record.prefix = next((f"{name}." for name, one in owner.named_modules() if one is inner), "")
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

    def _is_users(self, code: CodeType) -> bool:
        kind = self.codes.kinds.get(id(code))
        return (self.codes.kind(code) if kind is None else kind) == USER

    def _wants_probe(self, record: Record) -> bool:
        """Whether a probe would tell something new, and is affordable."""
        if not (record.grad or record.training) or record.used or record.checkpointed:
            return False
        if not record.hot and (record.in_a_row == 0 or record.tight or record.tried):
            return False  # a training step is likely to use it: wait until calls go by unused
        if record.tried == 0 and record.hot:
            return True
        if self._may_spend():
            return True
        probing.skip(record, TOO_MUCH_TIME)
        record.tried = self.probes
        return False

    def _may_spend(self) -> bool:
        return self._spent < FREE_SECONDS + SHARE * (time.perf_counter() - self._started)

    def _wants_look(self, record: Record) -> bool:
        """Whether a call in evaluation mode is to be run again for what findings say of the module's code."""
        here = (record.sites, record.model.serial)
        if record.checkpointed or self._looked[here] >= self.probes:
            return False
        self._looked[here] += 1
        if (self._looked[here] == 1 and len(self._looked) <= MOST_LOOKED) or self._may_spend():
            return True
        probing.skip(record, TOO_MUCH_TIME)
        self._looked[here] = self.probes
        return False

    def _prepare(
        self, record: Record, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], measure: bool, look: bool
    ) -> probing.Prepared | None:
        start = time.perf_counter()
        wanted = probing.Wanted(
            measure and record.training, measure and record.grad, self.claims if look else (), self.training.has_parameter
        )
        record.tried += measure
        prepared = probing.prepare(record, modules.unwrapped(module), args, kwargs, self._is_users, wanted)
        self._spent += time.perf_counter() - start
        return prepared

    def finish(self, token: Any, output: Any) -> Any:
        """The call has returned."""
        if token is None:
            return output
        known, record, prepared = token
        try:
            if record.trained >= ESTABLISHED and record.calls & _SAMPLE_MASK and _is_steady(record):
                self.training.assume(known, record)
            elif type(output) is Tensor:
                node = output.grad_fn
                if node is not None:
                    node.register_prehook(self._use(known, record))
                    self._has_graph(known, record)
            else:
                self._other_output(known, record, output)
            if self.inside.differentiated:
                record.inside += 1
            if record.checkpointed:
                known.latest = record
            if prepared is not None:
                self._probe(known, prepared)
        except Exception as error:
            self._failed(error)
        return output

    def _probe(self, known: Known, prepared: probing.Prepared) -> None:
        start = time.perf_counter()
        live = known.inner()
        self.inside.probing = True
        try:
            if live is not None:
                probing.probe(prepared, live)
        finally:
            self.inside.probing = False
            self._spent += time.perf_counter() - start

    def _use(self, known: Known, record: Record) -> _Use:
        return (_CountedUse if record.hot and self._counts_graphs else _Use)(self.training, known, record)

    def _has_graph(self, known: Known, record: Record) -> None:
        record.graphs += 1
        known.last_graph = record
        self.training.recent[known.model.serial] = known

    def _other_output(self, known: Known, record: Record, output: Any) -> None:
        nodes = {id(node): node for tensor in tensors_in(output) if (node := tensor.grad_fn) is not None}
        if nodes:
            use = self._use(known, record)
            for node in nodes.values():
                node.register_prehook(use)
            self._has_graph(known, record)

    # Switches and steps

    def switched(self, module: nn.Module, mode: bool) -> None:
        """`module.train(mode)`."""
        try:
            sites, _ = self._look(sys._getframe(2))
            if sites:
                self.training.switched(module, bool(mode), sites)
        except Exception as error:
            self._failed(error)

    def zeroed(self, optimizer: torch.optim.Optimizer) -> None:
        """`optimizer.zero_grad()`."""
        if not self.inside.on:
            try:
                self.training.zeroed(optimizer)
            except Exception as error:
                self._failed(error)

    def differentiated(self, tensors: Sequence[Tensor], retains: bool) -> None:
        """A backward begins."""
        try:
            self.training.differentiated(tensors, retains)
        except Exception as error:
            self._failed(error)

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """`optimizer.step()` has returned."""
        if not self.inside.on:
            try:
                self.training.stepped(optimizer)
            except Exception as error:
                self._failed(error)


def _is_steady(record: Record) -> bool:
    """Whether training steps have used each of its calls, so that a look now and then is enough; never where a finding speaks of it."""
    return record.steady and not record.hot and record.used == record.graphs


_LIVE: weakref.WeakSet[Watcher] = weakref.WeakSet()


def _stop_all() -> None:
    for watcher in _LIVE:
        watcher.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_stop_all)  # workers run unwatched
