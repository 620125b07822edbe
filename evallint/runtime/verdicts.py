"""Findings and observations to verdicts, each with counts. Plain values in and out; torch is not needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from evallint.finding import Finding, Place
from evallint.runtime.effects import Group, effect_of, groups, sites_of, submodules_of, switch_evidence
from evallint.runtime.matching import Claim
from evallint.runtime.observing import Seen, Turned

Kind = Literal["confirmed", "mixed", "harmless", "refuted", "not-observable", "not-reached"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Strongest first."""
BAD: tuple[Kind, ...] = ("confirmed", "mixed")
SETTLED: tuple[Kind, ...] = ("harmless", "refuted")


@dataclass(slots=True)
class Verdict:
    """What the run says of one finding, or (`unseen`) of a bug that had no finding.

    `counts` are calls, or rounds of evaluation and training (EVL003), that confirm it, are harmless, refute it, or show nothing.
    """

    finding: Finding
    kind: Kind
    calls: int = 0
    model: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
    effect: dict[str, Any] = field(default_factory=dict)

    @property
    def strength(self) -> tuple[int, Place, str]:
        """Where it stands in a report."""
        return (KINDS.index(self.kind), self.finding.place, self.finding.code)

    def to_json(self) -> dict[str, Any]:
        """As an object of the report."""
        here = self.finding.place
        return {
            "path": here.path,
            "line": here.line,
            "column": here.column,
            "end_line": here.end_line,
            "end_column": here.end_column,
            "code": self.finding.code,
            "name": self.finding.name,
            "function": self.finding.function,
            "verdict": self.kind,
            "calls": self.calls,
            "model": self.model,
            "evidence": {**self.evidence, "counts": self.counts},
            "effect": self.effect,
        }


@dataclass(slots=True)
class RunReport:
    """Everything that a watched run showed."""

    verdicts: list[Verdict] = field(default_factory=list)
    unseen: list[Verdict] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    """By path as shown, for code frames."""

    def to_json(self) -> dict[str, Any]:
        """The JSON report, version 1."""
        return {
            "version": 1,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "unseen": [verdict.to_json() for verdict in self.unseen],
            "environment": self.environment,
        }

    def fails(self, on: str) -> bool:
        """Whether `--fail-on ON` fails: `confirmed` on a bug that the run showed, `any` on all that it did not clear."""
        if self.unseen or any(verdict.kind in BAD for verdict in self.verdicts):
            return True
        return on == "any" and any(verdict.kind not in SETTLED for verdict in self.verdicts)


def decide(counts: Mapping[str, int], why_hidden: str = "") -> Kind:
    """The verdict that counts give: what is bad outweighs what is harmless, and that what refutes."""
    if counts.get("confirmed"):
        return "mixed" if counts.get("refuted") else "confirmed"
    if counts.get("harmless"):
        return "harmless"
    if counts.get("unmeasured"):
        return "not-observable"
    if counts.get("refuted"):
        return "refuted"
    return "not-observable" if why_hidden else "not-reached"


def of_calls(claim: Claim, seen: list[Seen], why: str) -> Verdict:
    """EVL001 and EVL002; `why` says why what was not seen may have run all the same."""
    code = claim.finding.code
    together = groups(seen)
    count = eval_counts if code == "EVL001" else grad_counts
    guilty = {group.serial for group in together if count(group).get("confirmed")}
    if guilty:  # of several models, those that did nothing wrong do not make it mixed
        together = [group for group in together if group.serial in guilty]
    counts = dict.fromkeys(("confirmed", "harmless", "refuted", "unmeasured"), 0)
    skipped: Counter[str] = Counter()
    for group in together:
        skipped.update(group.skipped)
        for name, number in count(group).items():
            counts[name] += number
    kind = decide(counts, why)
    evidence: dict[str, Any] = {"sites": sites_of(seen), "submodules": submodules_of(together, code)}
    if code == "EVL001":
        evidence["training_mode"] = sum(g.calls for g in together if g.training)
        evidence["evaluation_mode"] = sum(g.calls for g in together if not g.training)
        evidence["used_by_training"] = sum(g.trained for g in together)
    else:
        evidence["recording"] = sum(g.calls for g in together if g.grad)
        evidence["with_graph"] = sum(g.graphs for g in together)
        evidence["used_by_backward"] = sum(g.used for g in together)
    evidence["probes"] = sum(len(group.probes) for group in together)
    if skipped:
        evidence["skipped_probes"] = skipped
    if kind == "not-observable":
        evidence["reason"] = why if not together else next(iter(skipped), "no probe was made")
    models = dict.fromkeys(group.model for group in together)
    return Verdict(
        claim.finding, kind, sum(g.calls for g in together), ", ".join(models), counts, evidence, effect_of(together, code, counts)
    )


def eval_counts(group: Group) -> dict[str, int]:
    """EVL001: in training mode, and no training step used it; harmless where a probe shows no difference."""
    if not group.training:
        return {"refuted": group.calls}
    counts = {"refuted": min(group.trained, group.calls)}
    rest = group.calls - counts["refuted"]
    differs = group.differs
    if differs is None and group.known_layers:
        counts["confirmed"] = rest  # not measured, but torch's own dropout or batch norm was on
    else:
        counts[{True: "confirmed", False: "harmless", None: "unmeasured"}[differs]] = rest
    return counts


def grad_counts(group: Group) -> dict[str, int]:
    """EVL002: recorded, and nothing used the graph; harmless where there is no graph or it keeps nothing."""
    if not group.grad:
        return {"refuted": group.calls}
    used = min(group.used, group.graphs)
    weighed = [probe.graph_bytes for probe in group.probes if probe.graph_bytes is not None]
    free = bool(weighed) and not any(weighed)
    counts = {"refuted": used, "harmless": group.calls - group.graphs, "confirmed": 0}
    counts["harmless" if free else "confirmed"] += group.graphs - used
    return counts


def of_switches(claim: Claim, turned: list[Turned], why: str) -> Verdict:
    """EVL003."""
    switches = [each.switch for each in turned]
    counts = dict.fromkeys(("confirmed", "harmless", "refuted"), 0)
    layers: dict[str, str] = {}
    steps = 0
    for switch in switches:
        bad = switch.lost + switch.suspect
        if bad and switch.model is not None and switch.model.sensitive is False:
            counts["harmless"] += switch.rounds
        elif bad:
            counts["confirmed"] += max(switch.rounds, 1)
            steps += bad
            layers |= switch.layers
        elif switch.harmless:
            counts["harmless"] += max(switch.rounds, 1)
            steps += switch.harmless
        counts["refuted"] += switch.recovered
    kind = decide(counts, why if not switches else "")
    evidence = switch_evidence(turned, layers)
    calls = evidence["switches"]
    if kind == "not-reached" and calls:
        evidence["reason"] = "no training step followed"
    elif kind == "not-observable":
        evidence["reason"] = why
    effect = {"steps_in_wrong_mode": steps} if steps else {}
    models = dict.fromkeys(s.model.name if s.model else s.name for s in switches)
    return Verdict(claim.finding, kind, calls, ", ".join(models), counts, evidence, effect)
