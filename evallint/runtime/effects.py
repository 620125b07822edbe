"""What the probes of some records add up to, in the user's units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from evallint.runtime.observing import Seen, Turned
from evallint.runtime.records import Layer, Probe


@dataclass(slots=True)
class Group:
    """Records that stand for the same calls: one, or the children of a module whose `forward` was called directly."""

    model: str
    serial: int = 0
    calls: int = 0
    training: bool = False
    grad: bool = False
    graphs: int = 0
    used: int = 0
    trained: int = 0
    layers: list[Layer] = field(default_factory=list)
    """Those that were in training mode."""
    probes: list[Probe] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    sensitive: bool | None = None
    direct: bool = False
    """Whether these are children of a module whose `forward` was called directly: each is measured, the whole is not."""

    @property
    def differs(self) -> bool | None:
        """Whether the mode made a difference, as far as it was measured here or elsewhere on the same model."""
        seen = [probe.differs for probe in self.probes if probe.differs is not None]
        return any(seen) if seen else self.sensitive

    @property
    def known_layers(self) -> list[Layer]:
        """The layers in training mode of which torch says that they depend on it."""
        return [layer for layer in self.layers if layer.known]


def groups(seen: Iterable[Seen]) -> list[Group]:
    """The records by the calls that they stand for."""
    found: dict[Any, Group] = {}
    for each in seen:
        record = each.record
        direct = (record.owner, record.owner_serial, each.spots[1:], record.grad) if record.owner else id(record)
        name, serial = (record.owner, record.owner_serial) if record.owner else (record.model.name, record.model.serial)
        group = found.setdefault(direct, Group(name, serial, grad=record.grad))
        group.calls = max(group.calls, record.calls)
        group.graphs = max(group.graphs, record.graphs)
        group.used = max(group.used, record.used, record.inside)
        group.trained = max(group.trained, record.trained)
        group.training |= record.training
        group.direct = bool(record.owner)
        for place, layer in enumerate(record.model.layers, 1):
            if record.mask >> place & 1:
                group.layers.append(Layer(f"{record.prefix}{layer.name}".rstrip("."), layer.kind, layer.known))
        group.probes += record.probes
        group.skipped.update(record.skipped)
        if record.model.sensitive is not None:
            group.sensitive = bool(group.sensitive) or record.model.sensitive
    return list(found.values())


def sites_of(seen: Iterable[Seen]) -> list[dict[str, Any]]:
    """Where the forward calls stand: path, line, column, and how many."""
    counts: dict[tuple[str, int, int], int] = {}
    for each in seen:
        here = each.spots[1 if each.record.owner and len(each.spots) > 1 else 0].place
        key = (here.path, here.line, here.column)
        counts[key] = max(counts.get(key, 0), each.record.calls) if each.record.owner else counts.get(key, 0) + each.record.calls
    return [{"path": path, "line": line, "column": column, "calls": calls} for (path, line, column), calls in sorted(counts.items())]


def submodules_of(together: Iterable[Group], code: str) -> list[str]:
    """The layers that were in training mode, torch's own first."""
    if code != "EVL001":
        return []
    layers = {(layer.name, layer.kind): layer for group in together for layer in group.layers}
    ordered = sorted(layers.values(), key=lambda layer: not layer.known)
    return described((layer.name, layer.kind) for layer in ordered)


def described(layers: Iterable[tuple[str, str]]) -> list[str]:
    """Layers, by name and kind, as they are shown; the model itself has no name."""
    return [f"{name} ({kind})" if name else kind for name, kind in layers]


def switch_evidence(turned: Sequence[Turned], layers: Mapping[str, str]) -> dict[str, Any]:
    """How often the switches ran, which layers they left in the wrong mode, and where they stand."""
    places = [(each.spots[0].place, each.switch.calls) for each in turned]
    return {
        "switches": sum(calls for _, calls in places),
        "submodules": described(layers.items()),
        "sites": [{"path": place.path, "line": place.line, "calls": calls} for place, calls in places],
    }


def effect_of(together: Iterable[Group], code: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """The measured effect; empty where no probe was made."""
    together = list(together)
    probes = [probe for group in together for probe in group.probes]
    if any(group.direct for group in together):
        return {"relative_difference_of_children": max((p.difference for p in probes), default=0.0)} if code == "EVL001" and probes else {}
    if code == "EVL001":
        return of_mode([probe for probe in probes if probe.differs is not None])
    return of_graph([probe for probe in probes if probe.graph_bytes is not None]) if counts.get("confirmed") else {}


def of_mode(probes: list[Probe]) -> dict[str, Any]:
    """What the probes of two modes show; empty where there are none."""
    if not probes:
        return {}
    found: dict[str, Any] = {"differs": any(probe.differs for probe in probes)}
    if found["differs"]:
        found["relative_difference"] = _mean(probe.difference for probe in probes)
        found["spread_over_seeds"] = _mean(probe.spread for probe in probes)
        total = sum(probe.predictions for probe in probes)
        if total:
            found["predictions_changed"] = sum(probe.changed for probe in probes)
            found["predictions"] = total
        form = next((probe.form for probe in probes if probe.form), "")
        if form:
            found["form"] = form
    buffers = sorted({name for probe in probes for name in probe.buffers})
    if buffers:
        found["buffers_changed"] = buffers
    noise = _mean(probe.noise for probe in probes)
    if noise:
        found["noise_in_eval"] = noise
        found["dropout_in_eval"] = any(probe.dropout_in_eval for probe in probes)
    operations = sorted({name for probe in probes for name in probe.operations})
    if operations:
        found["operations"] = operations
    return found


def of_graph(probes: list[Probe]) -> dict[str, Any]:
    """What the probes with recording show; empty where there are none."""
    if not probes:
        return {}
    found: dict[str, Any] = {"graph_bytes": round(median(probe.graph_bytes or 0 for probe in probes))}
    timed = [probe for probe in probes if probe.recorded_s]
    if timed:
        found["recorded_ms"] = round(1000 * sum(p.recorded_s for p in timed) / len(timed), 4)
        found["without_ms"] = round(1000 * sum(p.plain_s for p in timed) / len(timed), 4)
        found["time_saved"] = round(1 - found["without_ms"] / found["recorded_ms"], 4) if found["recorded_ms"] else 0.0
    return found


def _mean(values: Iterable[float]) -> float:
    rows = list(values)
    return float(f"{sum(rows) / len(rows):.4g}") if rows else 0.0
