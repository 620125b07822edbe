"""The live modules that were called: found by id, held weakly, with what is known of each."""

from __future__ import annotations

import weakref
from itertools import count

from torch import nn

from evallint.runtime import modules
from evallint.runtime.records import Model, Record

MOST_OF_A_CLASS = 256
"""Models of one class that are told apart; a search over settings makes thousands."""


class Known:
    """A live module that was called: what is known of its model, and where its mode bits are."""

    __slots__ = ("assumed", "bits", "calls", "ignored", "inner", "last_graph", "latest", "model", "outer", "pending")

    def __init__(self, outer: weakref.ref[nn.Module], inner: weakref.ref[nn.Module], model: Model) -> None:
        self.outer = outer
        self.inner = inner
        """The user's module inside of torch's wrappers; else the same."""
        self.model = model
        self.bits: list[weakref.ref[nn.Module]] = []
        """The module itself and its layers that depend on the mode, in the order of the bits of a mask."""
        self.ignored = False
        self.calls = 0
        self.assumed = 0
        """Calls since the last step whose graph is taken to be used, as those before."""
        self.pending: dict[Record, int] = {}
        """Calls since the last step that a backward has used."""
        self.latest: Record | None = None
        self.last_graph: Record | None = None


class Knowns:
    """All of them."""

    def __init__(self) -> None:
        self.by_id: dict[int, Known] = {}
        self._inner: dict[int, Known] = {}
        self._references: list[weakref.ref[nn.Module]] = []
        self._models: dict[type, list[Model]] = {}
        self._serials = count(1)

    def meet(self, module: nn.Module) -> Known:
        """Take in a module that was called for the first time."""
        inner = modules.unwrapped(module)
        shared = self._inner.get(id(inner))
        if shared is not None and shared.inner() is not inner:
            shared = None
        model = shared.model if shared is not None else self._model(inner)
        known = Known(self._reference(module, self.by_id), weakref.ref(inner), model)
        self.by_id[id(module)] = known
        self.walk(known)
        if shared is not None:
            known.pending = shared.pending
        else:
            self._inner[id(inner)] = known
            if inner is not module:
                self._references.append(self._reference(inner, self._inner))
        return known

    def _reference(self, module: nn.Module, table: dict[int, Known]) -> weakref.ref[nn.Module]:
        key = id(module)

        def gone(_: object) -> None:
            table.pop(key, None)
            self._inner.pop(key, None)

        return weakref.ref(module, gone)

    def _model(self, inner: nn.Module) -> Model:
        others = self._models.setdefault(type(inner), [])
        if len(others) >= MOST_OF_A_CLASS:
            return others[-1]
        model = Model(next(self._serials), modules.class_name(inner), modules.classes_of(inner))
        others.append(model)
        return model

    @staticmethod
    def walk(known: Known) -> None:
        """Look up its layers; where they have changed, its mode masks begin anew."""
        inner = known.inner()
        if inner is None:
            return
        found = modules.layers_of(inner)
        known.ignored = not modules.is_model(inner, found)
        layers = tuple(layer for layer, _ in found)
        bits = [weakref.ref(inner), *(weakref.ref(one) for _, one in found)]
        others = known.bits and [bit() for bit in known.bits] != [bit() for bit in bits]  # modules compare by identity
        if others or [(a.name, a.kind) for a in layers] != [(b.name, b.kind) for b in known.model.layers]:
            known.model.layers = layers
            known.model.layout += 1
            known.model.had = 0
        known.bits = bits
