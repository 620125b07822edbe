"""Reports of several processes (ranks) to one: counts are added, and the verdict follows from the sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evallint.finding import Finding, Place
from evallint.runtime.matching import ANOTHER_RANK
from evallint.runtime.verdicts import RunReport, Verdict, decide

_ADDED = ("predictions", "predictions_changed", "steps_in_wrong_mode")


class NotAReport(ValueError):
    """A file holds something else; the text says what is wrong."""


def loaded(data: Any) -> RunReport:
    """A report from its JSON. Raises NotAReport."""
    if not isinstance(data, Mapping) or data.get("version") != 1 or not isinstance(data.get("verdicts"), list):
        raise NotAReport("not a report of `evallint run` (version 1)")
    try:
        return RunReport(
            [_verdict(row) for row in data["verdicts"]],
            [_verdict(row) for row in data.get("unseen", [])],
            dict(data.get("environment", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotAReport(f"a damaged report ({type(error).__name__}: {error})") from None


def _verdict(row: Mapping[str, Any]) -> Verdict:
    place = Place(str(row["path"]), int(row["line"]), int(row["column"]), int(row["end_line"]), int(row["end_column"]))
    finding = Finding(place, str(row["code"]), str(row["name"]), "", function=str(row["function"]))
    evidence = dict(row["evidence"])
    counts = {str(name): int(number) for name, number in evidence.pop("counts").items()}
    return Verdict(finding, row["verdict"], int(row["calls"]), str(row["model"]), counts, evidence, dict(row["effect"]))


def merged(reports: Iterable[RunReport]) -> RunReport:
    """One report of them all."""
    reports = list(reports)
    if len(reports) == 1:
        return reports[0]
    if len(reports) >= max(report.environment.get("world_size", 1) for report in reports):
        for verdict in (verdict for report in reports for verdict in report.verdicts):
            if verdict.kind == "not-observable" and verdict.evidence.get("reason") == ANOTHER_RANK:  # all of them are here
                verdict.kind = "not-reached"
                del verdict.evidence["reason"]
    about: dict[str, Any] = {"processes": [report.environment for report in reports]}
    for name in ("forward_calls", "training_steps"):
        about[name] = sum(report.environment.get(name, 0) for report in reports)
    notes = dict.fromkeys(note for report in reports for note in report.environment.get("notes", ()))
    if notes:
        about["notes"] = list(notes)
    return RunReport(
        _joined(verdict for report in reports for verdict in report.verdicts),
        _joined(verdict for report in reports for verdict in report.unseen),
        about,
    )


def _joined(verdicts: Iterable[Verdict]) -> list[Verdict]:
    found: dict[tuple[Place, str], Verdict] = {}
    for verdict in verdicts:
        key = (verdict.finding.place, verdict.finding.code)
        found[key] = _both(found[key], verdict) if key in found else verdict
    return sorted(found.values(), key=lambda verdict: verdict.strength)


def _both(a: Verdict, b: Verdict) -> Verdict:
    counts = {name: a.counts.get(name, 0) + b.counts.get(name, 0) for name in {**a.counts, **b.counts}}
    unobserved = next((v.evidence.get("reason", "") for v in (a, b) if v.kind == "not-observable"), "")
    models = dict.fromkeys(name for v in (a, b) for name in v.model.split(", ") if name)
    return Verdict(
        a.finding, decide(counts, unobserved), a.calls + b.calls, ", ".join(models), counts, _evidence(a, b), _effect(a.effect, b.effect)
    )


def _evidence(a: Verdict, b: Verdict) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in {**a.evidence, **b.evidence}:
        values = [v.evidence[name] for v in (a, b) if name in v.evidence]
        if name == "sites":
            found[name] = _sites([site for value in values for site in value])
        elif all(isinstance(value, int) for value in values):
            found[name] = sum(values)
        elif all(isinstance(value, list) for value in values):
            found[name] = list(dict.fromkeys(item for value in values for item in value))
        elif all(isinstance(value, dict) for value in values):
            found[name] = {key: sum(value.get(key, 0) for value in values) for value in values for key in value}
        else:
            found[name] = values[0]
    return found


def _sites(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        known = found.setdefault((row["path"], row["line"], row.get("column")), {**row, "calls": 0})
        known["calls"] += row["calls"]
    return list(found.values())


def _effect(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """The stronger of two effects, with what can be added added."""
    strong, other = sorted((a, b), key=lambda effect: -(effect.get("relative_difference") or effect.get("graph_bytes") or 0))
    found = {**other, **strong}
    for name in _ADDED:
        if name in found:
            found[name] = a.get(name, 0) + b.get(name, 0)
    return found
