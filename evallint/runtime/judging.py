"""Which observations settle which finding: for each rule, what in a run speaks of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evallint.meaning.signatures import SIGNATURES
from evallint.runtime.effects import of_graph, of_mode, sites_of
from evallint.runtime.matching import OF_CODE, Claim, calls_of, forwards_of, hidden, turns_of
from evallint.runtime.observing import Observations, Seen
from evallint.runtime.records import Look, Record
from evallint.runtime.verdicts import Kind, Verdict, decide, of_calls, of_switches

LATE = "its file became known only after the run"
SEVERAL = 3
"""Graphs at once: a loop that keeps none has that of the round before, and its own."""
_TORCHS = frozenset(name.rpartition(".")[2] for name in SIGNATURES if name.startswith("torch."))
DIRECT = "`forward` was called directly, and not the module"


def judge(claims: Iterable[Claim], observed: Observations, texts: Mapping[str, str]) -> list[Verdict]:
    """A verdict for each claim, strongest first. `texts` are by absolute path."""
    found = []
    for claim in claims:
        why = hidden(claim, observed)
        if claim.finding.code in OF_CODE:
            found.append(_of_code(claim, observed, why))
        elif claim.finding.code == "EVL102":
            found.append(_of_recording(claim, forwards_of(claim, observed), why))
        elif claim.finding.code == "EVL301":
            found.append(_of_graphs(claim, forwards_of(claim, observed), why))
        elif claim.finding.code == "EVL003":
            found.append(of_switches(claim, turns_of(claim, observed), why))
        else:
            found.append(of_calls(claim, calls_of(claim, observed, texts), why))
    return sorted(found, key=lambda verdict: verdict.strength)


def _of_code(claim: Claim, observed: Observations, why: str) -> Verdict:
    """EVL201 to EVL203: what the module's code did in calls of the model in evaluation mode."""
    evaluated = [seen for seen in observed.calls if not seen.record.mask & 1]
    places: dict[Any, list[Seen]] = {}
    for seen in evaluated:
        places.setdefault((seen.record.sites, seen.record.model.serial), []).append(seen)
    said = []
    for rows in places.values():
        shown = [look for seen in rows for look in seen.record.looks if look.key == claim.key]
        if kind := _kind(shown):
            said.append((kind, rows, shown))
    guilty = {rows[0].record.model.serial for kind, rows, _ in said if kind == "confirmed"}
    counts = dict.fromkeys(("confirmed", "harmless", "refuted", "unmeasured"), 0)
    here: list[Seen] = []
    looks: list[Look] = []
    for kind, rows, shown in said:
        if not guilty or rows[0].record.model.serial in guilty:
            counts[kind] += sum(seen.record.calls for seen in rows)
            looks += shown
            here += rows
    verdict = decide(counts, why)
    live = dict.fromkeys(name for look in looks for name in look.live)
    evidence: dict[str, Any] = {"sites": sites_of(here), "submodules": list(live)}
    evidence["evaluation_mode"] = sum(counts.values())
    if _class_of(claim):
        evidence["training_mode"] = sum(s.record.calls for s in observed.calls if s.record.mask & 1 and _is_of(claim, s))
    evidence["probes"] = len(looks)
    if not here and verdict == "not-reached":
        reason = _unseen(claim, observed, evaluated)
        verdict = "not-observable" if reason else verdict
        why = reason
    if verdict == "not-observable":
        evidence["reason"] = next((look.reason for look in looks if look.reason), why)
    models = ", ".join(dict.fromkeys(seen.record.model.name for seen in here))
    return Verdict(claim.finding, verdict, sum(counts.values()), models, counts, evidence, _effect(looks) if counts["confirmed"] else {})


def _of_recording(claim: Claim, seen: Sequence[Seen], why: str) -> Verdict:
    """EVL102: a backward followed calls without recording, and reached nothing."""
    records = [one.record for one in seen]
    off = [record for record in records if not record.grad]
    recording = sum(record.calls for record in records if record.grad)
    counts = {"confirmed": sum(record.fruitless for record in off), "refuted": sum(record.covered for record in off) + recording}
    kind = decide(counts, "" if records else why)
    evidence: dict[str, Any] = {"sites": sites_of(seen), "recording": recording}
    evidence["not_recording"] = sum(record.calls for record in off)
    evidence["backward_through_other"] = sum(record.covered for record in off)
    if kind == "not-observable":
        evidence["reason"] = why
    effect = {"failed_backwards": sum(record.failed for record in off), "steps_without_gradient": sum(record.blind for record in off)}
    return _verdict(claim, kind, records, counts, evidence, {name: number for name, number in effect.items() if number})


def _of_graphs(claim: Claim, seen: Sequence[Seen], why: str) -> Verdict:
    """EVL301: the graphs of several calls were there at once, with all that they hold."""
    records = [one.record for one in seen]
    counts = dict.fromkeys(("confirmed", "harmless", "refuted"), 0)
    probes = [probe for record in records for probe in record.probes if probe.graph_bytes is not None]
    free = bool(probes) and not any(probe.graph_bytes for probe in probes)
    for record in records:
        kept, counted = record.most_full >= SEVERAL, record.most_alive >= SEVERAL
        counts["refuted" if not counted else "confirmed" if kept and not free else "harmless"] += record.calls
    kind = decide(counts, "" if records else why)
    most = max((record.most_full if counts["confirmed"] else record.most_alive for record in records), default=0)
    evidence: dict[str, Any] = {"sites": sites_of(seen), "graphs_at_once": most, "with_graph": sum(record.graphs for record in records)}
    evidence["probes"] = len(probes)
    if kind == "refuted" and most == evidence["with_graph"] > 0:  # so few rounds that none could have piled up
        kind, why = "not-observable", f"only {'1 round' if most == 1 else f'{most} rounds'} of the loop ran"
    if kind == "not-observable":
        evidence["reason"] = why
    effect = of_graph(probes) if counts["confirmed"] else {}
    if effect:
        effect = {"graph_bytes": effect["graph_bytes"], "kept_bytes": most * effect["graph_bytes"]}
    return _verdict(claim, kind, records, counts, evidence, effect)


def _verdict(
    claim: Claim, kind: Kind, records: Sequence[Record], counts: dict[str, int], evidence: dict[str, Any], effect: dict[str, Any]
) -> Verdict:
    models = ", ".join(dict.fromkeys(record.model.name for record in records))
    return Verdict(claim.finding, kind, sum(record.calls for record in records), models, counts, evidence, effect)


def _kind(looks: Sequence[Look]) -> str:
    """What the calls of one place say; nothing where they were not in evaluation mode there."""
    acting = [look for look in looks if look.live or look.untrained]
    if acting:
        measured = [look.probe.differs for look in acting if look.probe is not None]
        untrained = any(look.untrained for look in acting)
        return "confirmed" if untrained or any(measured) or not measured else "harmless"
    if any(look.idle for look in looks):
        return "refuted"
    if any(look.plain for look in looks):
        return "harmless"
    return "unmeasured" if any(look.reason for look in looks) else ""


def _effect(looks: Sequence[Look]) -> dict[str, Any]:
    found = of_mode([look.probe for look in looks if look.probe is not None])
    untrained = max(look.untrained for look in looks)
    return {**found, "untrained_parameters": untrained} if untrained else found


def _class_of(claim: Claim) -> str:
    return claim.finding.function.rpartition(".")[0].rpartition(".")[2]


def _is_of(claim: Claim, seen: Seen) -> bool:
    """Whether the model has the class that the finding is in; a function may be any model's."""
    cls = _class_of(claim)
    return not cls or cls in seen.record.model.classes


def _unseen(claim: Claim, observed: Observations, evaluated: Sequence[Seen]) -> str:
    """Why a place that no look came by may have run in evaluation mode all the same, or nothing."""
    if any(seen.record.owner and seen.record.owner == _class_of(claim) for seen in observed.calls):
        return DIRECT
    rows = [seen for seen in evaluated if _is_of(claim, seen)]
    if not rows:
        return ""
    if any(seen.record.looked for seen in rows):
        name = claim.finding.model
        return f"`{name}` is not torch's own" if claim.finding.code == "EVL201" and name.rpartition(".")[2] not in _TORCHS else ""
    if claim.key not in observed.looked_for:
        return LATE
    skipped: Counter[str] = Counter()
    for seen in rows:
        skipped.update(seen.record.skipped)
    return next(iter(skipped), "no probe was made")
