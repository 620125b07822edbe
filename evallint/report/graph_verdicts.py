"""Verdicts on what training steps lack (EVL102) and loops keep (EVL301), in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evallint.report.amounts import all_calls, many, of_calls, size
from evallint.runtime.verdicts import Verdict


def recording_claim(verdict: Verdict, model: str) -> str:
    """EVL102 in a sentence."""
    if verdict.kind in ("confirmed", "mixed"):
        return f"recording was off in {of_calls(verdict.counts['confirmed'], verdict.calls)} of {model}, and the backward reached nothing"
    if verdict.evidence["recording"] == verdict.calls:
        return f"recording was on in {all_calls(verdict.calls)} of {model}"
    return f"the backward had something else to go through in {of_calls(verdict.counts['refuted'], verdict.calls)} of {model}"


def step_details(effect: dict[str, Any]) -> Iterator[str]:
    """What came of training steps without a graph, a line each."""
    if effect.get("failed_backwards"):
        yield f"effect: {many(effect['failed_backwards'], 'backward')} raised an error"
    if effect.get("steps_without_gradient"):
        yield f"effect: {many(effect['steps_without_gradient'], 'optimizer step')} had no gradient from it"


def graphs_claim(verdict: Verdict, model: str) -> str:
    """EVL301 in a sentence."""
    most = verdict.evidence["graphs_at_once"]
    if verdict.kind in ("confirmed", "mixed"):
        return f"the graphs of {most:,} calls of {model} were kept at once"
    if verdict.kind == "harmless":
        return f"the graphs of {most:,} calls of {model} were kept at once, emptied by a backward or with nothing in them"
    if not verdict.evidence["with_graph"]:
        return f"nothing was recorded in {all_calls(verdict.calls)} of {model}"
    return f"no more than {many(most, 'graph')} of {model} {'was' if most == 1 else 'were'} there at once"


def kept_details(verdict: Verdict) -> Iterator[str]:
    """What the graphs hold."""
    effect = verdict.effect
    if "kept_bytes" in effect:
        most = verdict.evidence["graphs_at_once"]
        yield f"effect: they held {size(effect['kept_bytes'])}, {size(effect['graph_bytes'])} in each of {most:,}"
