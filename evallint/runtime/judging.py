"""Which observations settle which finding: for each rule, what in a run speaks of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evallint.runtime.effects import of_mode, sites_of
from evallint.runtime.matching import OF_CODE, Claim, calls_of, hidden, turns_of
from evallint.runtime.observing import Observations, Seen
from evallint.runtime.records import Look
from evallint.runtime.verdicts import Verdict, decide, of_calls, of_switches

LATE = "its file became known only after the run"
DIRECT = "`forward` was called directly, and not the module"


def judge(claims: Iterable[Claim], observed: Observations, texts: Mapping[str, str]) -> list[Verdict]:
    """A verdict for each claim, strongest first. `texts` are by absolute path."""
    found = []
    for claim in claims:
        why = hidden(claim, observed)
        if claim.finding.code in OF_CODE:
            found.append(_of_code(claim, observed, why))
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
    counts = dict.fromkeys(("confirmed", "harmless", "refuted", "unmeasured"), 0)
    here: list[Seen] = []
    looks: list[Look] = []
    for rows in places.values():
        shown = [look for seen in rows for look in seen.record.looks if look.key == claim.key]
        kind = _kind(shown)
        if kind:
            counts[kind] += sum(seen.record.calls for seen in rows)
            looks += shown
            here += rows
    verdict = decide(counts, why)
    live = dict.fromkeys(name for look in looks for name in look.live)
    evidence: dict[str, Any] = {"sites": sites_of(here), "submodules": list(live)}
    evidence["evaluation_mode"] = sum(counts.values())
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
    if not rows or any(seen.record.looked for seen in rows):
        return ""
    if claim.key not in observed.looked_for:
        return LATE
    skipped: Counter[str] = Counter()
    for seen in rows:
        skipped.update(seen.record.skipped)
    return next(iter(skipped), "no probe was made")
