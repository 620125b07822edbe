"""Verdicts on a module's own code (EVL201 to EVL203), in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evallint.report.amounts import all_calls, many, of_calls, percent, some
from evallint.report.style import plain
from evallint.runtime.verdicts import Verdict


def code_claim(verdict: Verdict, model: str) -> str:
    """The verdict in a sentence, for those that were reached."""
    counts = verdict.counts
    subject, were, follow = _subject(verdict)
    of = of_calls(counts.get("confirmed", 0) or counts.get("harmless", 0) or verdict.calls, verdict.calls)
    if verdict.kind in ("confirmed", "mixed"):
        if not verdict.evidence["submodules"]:
            return f"{subject} are not trained: no optimizer has their parameters"
        return f"{subject} {were} in {of} of {model} in evaluation mode"
    if verdict.kind == "harmless":
        if not verdict.evidence["submodules"]:
            return f"nothing in {subject} depends on the mode"
        return f"{subject} {were} in {of} of {model} in evaluation mode, and the output is the same without"
    return f"{subject} {follow} in {all_calls(verdict.calls)} of {model} in evaluation mode"


def _subject(verdict: Verdict) -> tuple[str, str, str]:
    """What the finding speaks of, what it did in evaluation mode, and what it did if it follows the mode."""
    finding, layers = verdict.finding, verdict.evidence["submodules"]
    if finding.code == "EVL201":
        scope = f" in `{plain(finding.function)}`" if finding.function else ""
        what = f"`{plain(layers[0])}`" if layers else "the dropout"
        return f"{what}{scope} line {finding.place.line}", "was live", "was off"
    if finding.code == "EVL202":
        what = some([f"`{plain(name)}`" for name in layers], 3) or "the layer"
        return f"{what} built on line {finding.place.line}", "was in training mode", "was in evaluation mode as well"
    if not layers:
        return f"the modules in the collection on line {finding.place.line}", "", "were in evaluation mode as well"
    return (
        f"{many(len(layers), 'layer')} in `{plain(layers[0].partition('.')[0])}`",
        "was in training mode" if len(layers) == 1 else "were in training mode",
        "",
    )


def code_details(effect: dict[str, Any]) -> Iterator[str]:
    """The measured effect, a line each."""
    if effect.get("differs"):
        parts = []
        if "predictions" in effect:
            parts.append(f"{effect['predictions_changed']:,} of {effect['predictions']:,} predictions change if the mode is followed")
        if "form" in effect:
            parts.append(f"the output has another form ({effect['form']})")
        if effect["relative_difference"]:
            seeds = effect["spread_over_seeds"]
            between = f"two seeds give outputs that differ by {percent(seeds)}" if seeds else "it is the same for every seed"
            parts.append(f"the output differs by {percent(effect['relative_difference'])}; {between}")
        if parts:
            yield f"effect: {'; '.join(parts)}"
    buffers = effect.get("buffers_changed", ())
    if buffers:
        yield f"effect: the evaluation's data changed {some([f'`{plain(name)}`' for name in buffers], 3)}"
    if effect.get("noise_in_eval"):
        yield f"without it the output is random as well ({percent(effect['noise_in_eval'])} between two seeds)"
    if effect.get("untrained_parameters"):
        yield f"effect: {many(effect['untrained_parameters'], 'parameter')} that no optimizer has"
