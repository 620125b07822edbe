"""A probe: one forward call run again on a twin, in both modes, so that the effect is measured and the run untouched."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from evallint.runtime import measuring
from evallint.runtime.hooks import Trains, no_steps
from evallint.runtime.looking import Mending, looks
from evallint.runtime.matching import Claim
from evallint.runtime.modules import is_sharded
from evallint.runtime.records import Look, Probe, Record
from evallint.runtime.surroundings import Surroundings, buffers_undo
from evallint.runtime.twins import Generators, NotCopied, brief, copied, muted, seed_all, tensors_in, twin_of, uncached_autocast

LONGEST = 10.0
"""Seconds of a call beyond which it is not run again."""
COSTLY = 0.2
"""Seconds of a call, or of copying the model, beyond which only what decides is run."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a probe is to show."""

    modes: bool = False
    graph: bool = False
    claims: Sequence[Claim] = ()
    """Findings in the code of modules that are to be looked at."""
    trained: Callable[[Tensor], bool | None] = lambda _: None
    """Whether an optimizer has a parameter; None where there was no training."""


@dataclass(slots=True)
class Prepared:
    """A call that is to be probed, as it was before it ran."""

    record: Record
    still: nn.Module
    """The twin in that state; each run has a copy of it."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    before: Generators
    around: Surroundings
    versions: list[tuple[Tensor, int]]
    wanted: Wanted
    started: float
    copying: float
    """Seconds that the copy took."""


def prepare(
    record: Record, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], is_users: Callable[[CodeType], bool], wanted: Wanted
) -> Prepared | None:
    """Set aside what a probe of this call needs; where that cannot be, count why in the record."""
    try:
        if is_sharded(module):
            raise NotCopied("the model is sharded over processes")
        if torch.autograd._profiler_enabled():
            raise NotCopied("a profiler is counting")
        if torch._C._functorch.peek_interpreter_stack() is not None:
            raise NotCopied("inside a torch.func transform")
        before = Generators()
        around = Surroundings(module, (args, kwargs), is_users)
        start = time.perf_counter()
        try:
            with muted(), _disable_current_modes():
                mine, named = copied(args), copied(kwargs)
                still = twin_of(module, around.touches_weights)
        finally:
            before.restore()  # a user's `__deepcopy__` or `__copy__` may draw
            around.restore()
        now = time.perf_counter()
        versions = _versions((args, kwargs))
        return Prepared(record, still, mine, named, before, around, versions, wanted, now, now - start)
    except NotCopied as reason:
        skip(record, str(reason))
    except Exception as error:
        skip(record, _reason(error))
    return None


def skip(record: Record, reason: str) -> None:
    """Count a probe that could not be made."""
    record.skipped[reason] += 1


def _reason(error: Exception) -> str:
    if isinstance(error, (torch.OutOfMemoryError if hasattr(torch, "OutOfMemoryError") else torch.cuda.OutOfMemoryError, MemoryError)):
        return "out of memory in the probe"
    return f"it could not be run a second time ({brief(error)})"


def _versions(value: Any) -> list[tuple[Tensor, int]]:
    found = []
    for tensor in tensors_in(value):
        if not tensor.is_inference():
            found.append((tensor, tensor._version))
    return found


def probe(prepared: Prepared, live: nn.Module) -> None:
    """Run the twins and add what they show to the record. The random generators, the weights and the live model stay as they are."""
    record = prepared.record
    took = time.perf_counter() - prepared.started
    if took > LONGEST:
        return skip(record, f"one call takes {took:.0f} s")
    if any(tensor._version != version for tensor, version in prepared.versions):
        return skip(record, "an input is changed in place")
    after = Generators()
    try:
        around = Surroundings(live, (prepared.args, prepared.kwargs), prepared.around.is_users)
    except NotCopied as reason:
        return skip(record, str(reason))
    watched = [*live.parameters(), *live.buffers()]
    versions = _versions(watched)
    put_back = buffers_undo(live)
    try:
        with muted(), uncached_autocast(), no_steps(), _disable_current_modes():
            costly = max(took, prepared.copying) > COSTLY
            runs = _Runs(prepared, costly)
            result = runs.all(first=not record.probes and not costly)
            looked = runs.look(live)
        if any(tensor._version != version for tensor, version in versions):
            put_back()
            raise NotCopied("the twin reaches the live model")
        record.looks += looked
        record.looked += bool(prepared.wanted.claims)
        if prepared.wanted.modes or prepared.wanted.graph:
            record.probes.append(result)
        if result.differs is not None:
            record.model.sensitive = bool(record.model.sensitive) or result.differs
    except NotCopied as reason:
        skip(record, str(reason))
    except Trains:
        skip(record, "its forward trains")
    except Exception as error:
        skip(record, _reason(error))
    finally:
        after.restore()
        around.restore()


class _Runs:
    """The runs of one probe."""

    def __init__(self, prepared: Prepared, costly: bool) -> None:
        self.prepared = prepared
        self.costly = costly

    def all(self, *, first: bool) -> Probe:
        """What the runs show; the first probe of a site also times and names operations."""
        found = Probe()
        if self.prepared.wanted.modes:
            self._compare_modes(found, first)
        if self.prepared.wanted.graph:
            self._weigh_graph(found, first)
        return found

    def look(self, live: nn.Module) -> list[Look]:
        """What the call shows of the findings that are to be looked at."""
        wanted = self.prepared.wanted
        return looks(wanted.claims, self._mended, live, wanted.trained, costly=self.costly) if wanted.claims else []

    def _mended(self, mending: Mending, seed: int | None) -> tuple[nn.Module, dict[str, Tensor]]:
        twin, args, kwargs = self._fresh()
        if seed is not None:
            seed_all(seed)
        with torch.no_grad(), mending.of(twin):
            return twin, measuring.outputs_of(twin(*args, **kwargs))

    def _run(self, *, evaluate: bool, seed: int | None = None, grad: bool = False) -> tuple[nn.Module, dict[str, Tensor]]:
        twin, output, _ = self._forward(evaluate=evaluate, seed=seed, grad=grad)
        return twin, measuring.outputs_of(output)

    def _fresh(self) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
        """A twin and arguments as they were before the call, and the generators and surroundings as well."""
        twin = twin_of(self.prepared.still, self.prepared.around.touches_weights)
        args, kwargs = copied(self.prepared.args), copied(self.prepared.kwargs)
        self.prepared.before.restore()
        self.prepared.around.restore()
        return twin, args, kwargs

    def _forward(self, *, evaluate: bool, seed: int | None = None, grad: bool = False) -> tuple[nn.Module, Any, float]:
        twin, args, kwargs = self._fresh()
        if evaluate:
            for one in twin.modules():  # not `eval()`, which a class may have overridden to change its weights
                one.training = False
        if seed is not None:
            seed_all(seed)
        with torch.set_grad_enabled(grad):
            _synchronize()
            start = time.perf_counter()
            output = twin(*args, **kwargs)
            _synchronize()
            return twin, output, time.perf_counter() - start

    def _compare_modes(self, found: Probe, first: bool) -> None:
        twin, as_is = self._run(evaluate=False)
        still = measuring.buffers_of(self.prepared.still)
        touched = measuring.changed_buffers(measuring.buffers_of(twin), still)
        twin, evaluated = self._run(evaluate=True)
        found.buffers = tuple(sorted(touched - measuring.changed_buffers(measuring.buffers_of(twin), still)))
        if not self.costly:
            _, again = self._run(evaluate=True, seed=measuring.SEED)
            found.noise = measuring.distance(again, evaluated)
        found.form = measuring.form_difference(as_is, evaluated)
        found.difference = measuring.distance(as_is, evaluated)
        unequal = measuring.differ(as_is, evaluated)
        found.differs = unequal or bool(found.buffers)
        found.changed, found.predictions = measuring.predictions(as_is, evaluated)
        if unequal and not self.costly:
            _, other = self._run(evaluate=False, seed=measuring.SEED)
            found.spread = measuring.distance(other, as_is)
        if first and (unequal or found.noise):
            self._name_operations(found)

    def _name_operations(self, found: Probe) -> None:
        seen = []
        for evaluate in (False, True):
            with measuring.Operations() as operations:
                self._run(evaluate=evaluate)
            seen.append(operations)
        found.operations = tuple(sorted(seen[0].names - seen[1].names))
        found.dropout_in_eval = found.noise > 0 and bool(seen[1].random_layers)

    def _weigh_graph(self, found: Probe, first: bool) -> None:
        twin, args, kwargs = self._fresh()
        kept = measuring.Kept([*twin.parameters(), *twin.buffers(), *tensors_in((args, kwargs))])
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
            output = twin(*args, **kwargs)
        found.graph_bytes = kept.total
        del output
        if first:
            found.recorded_s = min(self._forward(evaluate=False, grad=True)[2] for _ in range(3))
            found.plain_s = min(self._forward(evaluate=False, grad=False)[2] for _ in range(3))


def _synchronize() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
