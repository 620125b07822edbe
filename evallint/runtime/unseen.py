"""What the run showed and no finding speaks of. Told only where measured, in evaluation that training does not go through."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace

from evallint.finding import Finding, Place
from evallint.meaning.names import DELIBERATE_WORDS
from evallint.runtime.effects import effect_of, groups, sites_of, submodules_of, switch_evidence
from evallint.runtime.matching import Claim, discarded, inside, loop_around, real
from evallint.runtime.observing import Observations, Seen, Spot, Turned
from evallint.runtime.records import CUMULATIVE
from evallint.runtime.verdicts import Verdict, eval_counts, grad_counts
from evallint.source.noqa import without_noqa

NAMES = {"EVL001": "missing-eval", "EVL002": "missing-no-grad", "EVL003": "missing-train"}


def unseen(claims: Iterable[Claim], observed: Observations, texts: Mapping[str, str]) -> list[Verdict]:
    """The bugs without a finding, by place. `texts` are by absolute path."""
    claims = list(claims)
    found: dict[tuple[Place, str], Verdict] = {}
    for seen in observed.calls:
        record = seen.record
        if not record.in_a_row or record.tight or record.used or record.inside or record.trained or record.owner or _is_meant(seen.spots):
            continue
        if _is_discarded(seen.spots[0], texts):
            continue
        for code in ("EVL001", "EVL002"):
            if _shows(code, seen) and not any(c.finding.code == code and inside(c, seen.spots) for c in claims):
                _add(found, code, seen, texts)
    for turned in observed.turns:
        if turned.switch.lost and not turned.switch.partial and not _is_meant(turned.spots):
            if not any(c.finding.code == "EVL003" and inside(c, turned.spots) for c in claims):
                _add_switch(found, turned, texts)
    return sorted(found.values(), key=lambda verdict: verdict.strength)


def _shows(code: str, seen: Seen) -> bool:
    record = seen.record
    if code == "EVL001":
        if any(layer.kind.endswith(CUMULATIVE) for layer in record.model.layers):
            return False  # batch norm statistics are computed anew
        whole = record.mask & 1  # dropout alone switched on is Monte Carlo dropout
        return bool(whole) and any(probe.differs for probe in record.probes)
    return record.graphs == record.calls and any(probe.graph_bytes for probe in record.probes)


def _is_meant(spots: tuple[Spot, ...]) -> bool:
    """Whether names say that the mode is meant, or the place is a test's own."""
    name = os.path.basename(spots[0].place.path)
    if name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py":
        return True
    return any(word in spot.function.lower() for spot in spots[:4] for word in DELIBERATE_WORDS)


def _is_discarded(spot: Spot, texts: Mapping[str, str]) -> bool:
    """Whether the output is thrown away: a warm-up, statistics computed anew, a hook that takes what it wants; no evaluation."""
    return replace(spot.place, path="") in discarded(texts.get(real(spot.place.path), ""))


def _add(found: dict[tuple[Place, str], Verdict], code: str, seen: Seen, texts: Mapping[str, str]) -> None:
    together = groups([seen])
    counts = eval_counts(together[0]) if code == "EVL001" else grad_counts(together[0])
    place, function = _loop(seen.spots, texts)
    silenced = any(_is_silenced(code, where, texts) for where in (place, seen.spots[0].place))
    if silenced or not counts.get("confirmed"):
        return
    said = "in training mode in an evaluation" if code == "EVL001" else "recorded by autograd in an evaluation"
    finding = Finding(place, code, NAMES[code], f"`{seen.record.model.name}` is {said}", function=function)
    evidence = {"sites": sites_of([seen]), "submodules": submodules_of(together, code), "probes": len(seen.record.probes)}
    verdict = Verdict(finding, "confirmed", seen.record.calls, seen.record.model.name, counts, evidence, effect_of(together, code, counts))
    known = found.setdefault((place, code), verdict)
    if known is not verdict:
        known.calls += verdict.calls
        known.counts = {name: known.counts.get(name, 0) + number for name, number in verdict.counts.items()}


def _add_switch(found: dict[tuple[Place, str], Verdict], turned: Turned, texts: Mapping[str, str]) -> None:
    switch = turned.switch
    spot = turned.spots[0]
    if switch.model is None or switch.model.sensitive is False or _is_silenced("EVL003", spot.place, texts):
        return
    finding = Finding(
        spot.place, "EVL003", NAMES["EVL003"], f"`{switch.model.name}` goes on training in evaluation mode", function=spot.function
    )
    found[spot.place, "EVL003"] = Verdict(
        finding,
        "confirmed",
        switch.calls,
        switch.model.name,
        {"confirmed": max(switch.rounds, 1)},
        switch_evidence([turned], switch.layers),
        {"steps_in_wrong_mode": switch.lost},
    )


def _loop(spots: tuple[Spot, ...], texts: Mapping[str, str]) -> tuple[Place, str]:
    """The header of the loop that the calls are made in, in the nearest frame that has one; else the call."""
    for spot in spots[:3]:
        if spot.function == "<module>" and spot is not spots[0]:
            break
        here = spot.place
        text = texts.get(real(here.path), "")
        loop = loop_around(here.path, text, here.line)
        if loop is not None:
            row = text.split("\n")[loop.line - 1].rstrip()
            return replace(loop, end_line=loop.line, end_column=len(row) + 1), spot.function
    return spots[0].place, spots[0].function


def _is_silenced(code: str, place: Place, texts: Mapping[str, str]) -> bool:
    text = texts.get(real(place.path), "")
    return bool(text) and not without_noqa([Finding(place, code, "", "")], text)
