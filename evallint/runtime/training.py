"""Training steps and mode switches: which forward a step used, with which mode bits, and which switch took bits away."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from evallint.runtime import modules
from evallint.runtime.known import Known, Knowns
from evallint.runtime.records import Record, Sites, Switch

MOST_SWITCHES = 20_000


class Clock:
    """What orders everything: a number for each call and switch, and counts of training events (a backward, a step) and of steps."""

    __slots__ = ("event", "ordinal", "steps", "switches")

    def __init__(self) -> None:
        self.ordinal = self.event = self.steps = self.switches = 0

    def tick(self) -> int:
        """The next ordinal."""
        self.ordinal += 1
        return self.ordinal


class Training:
    """The steps and switches of one watch."""

    def __init__(self, clock: Clock, records: dict[tuple[Any, ...], Record]) -> None:
        self.clock = clock
        self.records = records
        self.switches: dict[tuple[Any, ...], Switch] = {}
        self.recent: dict[int, Known] = {}
        """By serial, the models with a graph or a backward since their last step."""
        self.retains = False
        """Whether the backward that runs keeps what the graph holds."""
        self._unrecorded: dict[Record, tuple[Known, int]] = {}
        """Calls without recording since the last backward, of places that are said to train."""
        self._fruitless: dict[Record, Known] = {}
        """Those whose backward reached nothing, until the step."""
        self._owned: dict[tuple[int, int], tuple[weakref.ref[torch.optim.Optimizer], bool]] = {}

    def used(self, known: Known, record: Record) -> None:
        """A backward goes through a graph of the record."""
        record.used += 1
        known.pending[record] = known.pending.get(record, 0) + 1
        known.latest = record
        self.recent[known.model.serial] = known
        self.clock.event += 1

    def unrecorded(self, known: Known, record: Record) -> None:
        """A call of which nothing is recorded, though a training step is said to need it."""
        self._unrecorded[record] = (known, self._unrecorded.get(record, (known, 0))[1] + 1)

    def differentiated(self, tensors: Sequence[torch.Tensor], retains: bool) -> None:
        """A backward of `tensors` begins."""
        self.retains = retains
        if not self._unrecorded:
            return
        reaches = any(tensor.grad_fn is not None for tensor in tensors)
        for record, (known, calls) in self._unrecorded.items():
            if reaches:
                record.covered += calls
            else:
                record.fruitless += calls
                record.failed += 0 if any(tensor.requires_grad for tensor in tensors) else calls
                self._fruitless[record] = known
        self._unrecorded.clear()

    def assume(self, known: Known, record: Record) -> None:
        """Take the graph of a call to be used, as those before it; `stepped` sees whether a step follows."""
        record.graphs += 1
        record.used += 1
        known.assumed += 1
        known.latest = record
        self.recent[known.model.serial] = known

    def zeroed(self, optimizer: torch.optim.Optimizer) -> None:
        """What was back-propagated before `zero_grad` is no part of the next step."""
        for known in list(self.recent.values()):
            if known.pending and self._owns(optimizer, known):
                known.pending.clear()

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer step has been made."""
        self.clock.steps += 1
        self.clock.event += 1
        for record, known in list(self._fruitless.items()):
            if self._owns(optimizer, known):
                record.blind += 1
                del self._fruitless[record]
        for serial, known in list(self.recent.items()):
            if not self._owns(optimizer, known):
                continue
            del self.recent[serial]
            latest = known.latest
            if known.pending:
                for record, uses in known.pending.items():
                    record.trained += uses
                known.pending.clear()
            elif known.assumed and latest is not None:
                latest.trained += 1
                latest.steady = known.assumed == 1  # else steps follow some calls only: look at each again
            elif known.last_graph is not None:  # an auxiliary loss that left through an attribute
                latest = known.last_graph
                latest.used += 1
                latest.trained += 1
            known.assumed = 0
            if latest is not None:
                self._trained(known, latest)

    def has_parameter(self, parameter: torch.Tensor) -> bool | None:
        """Whether an optimizer that has made a step has this parameter; None where none has."""
        optimizers = [optimizer for reference, _ in self._owned.values() if (optimizer := reference()) is not None]
        if not optimizers:
            return None
        return any(parameter is one for optimizer in optimizers for group in optimizer.param_groups for one in group["params"])

    def _owns(self, optimizer: torch.optim.Optimizer, known: Known) -> bool:
        key = (id(optimizer), known.model.serial)
        found = self._owned.get(key)
        if found is not None and found[0]() is optimizer:
            return found[1]
        inner = known.inner()
        ids = {id(p) for group in optimizer.param_groups for p in group["params"]}
        owns = inner is not None and modules.any_parameter(inner, ids)
        if len(self._owned) > MOST_SWITCHES:
            self._owned.clear()
        self._owned[key] = (weakref.ref(optimizer), owns)
        return owns

    def _trained(self, known: Known, record: Record) -> None:
        """A step was made through `record`: with which mode bits, and which did an earlier one have?"""
        model = known.model
        lost = model.had & ~record.mask
        if model.seen_switch != self.clock.switches:
            self._settle(known, record, lost)
            model.seen_switch = self.clock.switches
        elif model.blame is not None:
            self._count(model.blame, known, record, lost)
        model.had |= record.mask
        model.trained = record.last

    def _settle(self, known: Known, record: Record, lost: int) -> None:
        """Which switches to evaluation since the last step reach this model, and were they undone?"""
        model = known.model
        inner = known.inner()
        if inner is None:
            return
        if lost:
            layout = model.layout
            Knowns.walk(known)
            if model.layout != layout:  # a layer was replaced
                return
        mine = {id(one) for one in inner.modules()}
        found = [s for s in self.switches.values() if not s.mode and s.last > model.trained and _reaches(s, mine)]
        if record.mask & 1:  # the model itself is back: only a switch of one of its parts can have kept a bit
            for switch in [s for s in found if _reaches(s, {id(inner)})]:
                found.remove(switch)
                switch.recovered += 1
                switch.model = model
        model.blame = max(found, key=lambda s: s.last, default=None) if lost or not record.training else None
        for switch in found:
            if switch is model.blame:
                self._count(switch, known, record, lost, first=True)
            elif not lost and record.training:
                switch.recovered += 1
                switch.model = model

    def _count(self, switch: Switch, known: Known, record: Record, lost: int, *, first: bool = False) -> None:
        model = known.model
        switch.model = model
        layers = [layer for place, layer in enumerate(model.layers, 1) if (lost or ~record.mask) >> place & 1]
        if lost & ~1:
            if self._evaluated(known, lost, switch):
                switch.lost += 1
                switch.partial |= bool(record.mask & 1)
        elif lost:
            switch.harmless += 1
        elif record.mask == 0 and switch.was_training and not model.had and self._evaluated(known, ~0, switch):
            if layers:
                switch.suspect += 1
            else:
                switch.harmless += 1
        else:
            return
        switch.rounds += first
        switch.layers.update((layer.name, layer.kind) for layer in layers)

    def _evaluated(self, known: Known, lost: int, switch: Switch) -> bool:
        """Whether the model was evaluated since: switching off a layer for good is no evaluation."""
        if switch.lost or switch.suspect:
            return True
        return any(
            other.model is known.model and not other.mask & lost and other.last > switch.last and other.trained < other.calls
            for other in self.records.values()
        )

    def switched(self, module: nn.Module, mode: bool, sites: Sites) -> None:
        """`module.train(mode)` from a place of the user's."""
        key = (sites, id(module), mode)
        switch = self.switches.get(key)
        if switch is None or switch.module() is not module:
            if len(self.switches) >= MOST_SWITCHES:
                return
            if switch is not None:  # of a module that is gone, whose id has come back
                self.switches[sites, switch.first, mode] = switch
            switch = self.switches[key] = Switch(sites, modules.class_name(module), mode, weakref.ref(module))
            switch.first = self.clock.tick()
        switch.was_training |= module.training
        switch.calls += 1
        switch.last = self.clock.tick()
        self.clock.switches += 1


def _reaches(switch: Switch, modules_of_model: set[int]) -> bool:
    root = switch.module()
    return root is not None and any(id(one) in modules_of_model for one in root.modules())
