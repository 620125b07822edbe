"""The runtime companion's verdicts for people: strongest first, each with its code frame, its counts and its measured effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evallint.report.amounts import all_calls, many, of_calls, percent, size, some
from evallint.report.code_verdicts import code_claim, code_details
from evallint.report.frame import frame, span
from evallint.report.graph_verdicts import graphs_claim, kept_details, recording_claim, step_details
from evallint.report.style import Style, plain
from evallint.runtime.matching import OF_CODE
from evallint.runtime.verdicts import KINDS, RunReport, Verdict
from evallint.source.noqa import split_lines

_COLOURS = {"confirmed": "31", "mixed": "31", "harmless": "36", "refuted": "32", "not-observable": "33", "not-reached": "34"}
_SMALL = 0.01
"""A relative difference below which an effect is called small."""
_NOISE = 0.05
"""A share of the time that cannot be told from noise, and (`_SHORT`) milliseconds too few to tell."""
_SHORT = 0.5


def render(report: RunReport, style: Style) -> str:
    """One line that sums up, then a block for each verdict, for each bug that had no finding, and the notes."""
    blocks = [_head(report, style)]
    blocks += [_block(verdict, report, style, seen=True) for verdict in report.verdicts]
    blocks += [_block(verdict, report, style, seen=False) for verdict in report.unseen]
    notes = _notes(report)
    if notes:
        blocks.append("\n".join(f"note: {plain(note)}" for note in notes))
    return "\n\n".join(blocks)


def _head(report: RunReport, style: Style) -> str:
    about = report.environment
    counts = [(kind, sum(v.kind == kind for v in report.verdicts)) for kind in KINDS]
    said = [f"{number} {kind.replace('-', ' ')}" for kind, number in counts if number]
    if report.unseen:
        said.append(f"{many(len(report.unseen), 'bug')} that no finding told of")
    if not said:
        said = ["no findings"]
    rank = f", rank {about['rank']} of {about['world_size']}" if about.get("world_size", 1) > 1 else ""
    seen = f"{about.get('forward_calls', 0):,} forward calls and {about.get('training_steps', 0):,} training steps watched{rank}"
    return f"{style.bold('evallint: ' + ', '.join(said))} ({seen})"


def _notes(report: RunReport) -> list[str]:
    about = report.environment
    notes = list(about.get("notes", ()))
    if about.get("forgotten_calls"):
        notes.append(f"{about['forgotten_calls']:,} calls from further places were not recorded")
    notes += [f"evallint itself failed {number} times while watching ({said})" for said, number in about.get("errors", {}).items()]
    return notes


def _block(verdict: Verdict, report: RunReport, style: Style, *, seen: bool) -> str:
    finding = verdict.finding
    here = finding.place
    text = split_lines(report.texts.get(here.path, ""))
    gutter = len(str(here.line))
    scope = f" in `{plain(finding.function)}`" if finding.function else ""
    label = verdict.kind.replace("-", " ").upper() if seen else "UNSEEN"
    colour = f"1;{_COLOURS[verdict.kind]}"
    rows = [
        f"{style.paint(finding.code, colour)} {style.paint(label, colour)} {style.quoted(_claim(verdict, seen=seen))}",
        f"{style.dim(' ' * gutter + '-->')} {plain(here.path)}:{here.line}:{here.column}{scope}",
    ]
    bar = style.dim(" " * gutter + " |")
    if here.line <= len(text) and text[here.line - 1].strip():
        rows += [bar, *frame(here, text, gutter, style, style.paint("^" * span(here, text), colour), context=1)]
    details = [*_details(verdict)]
    if details:
        rows += [bar, *(f"{style.dim(' ' * gutter + ' =')} {style.quoted(detail)}" for detail in details)]
    return "\n".join(row.rstrip() for row in rows)


def _claim(verdict: Verdict, *, seen: bool) -> str:
    """The verdict in a sentence."""
    code, counts, calls = verdict.finding.code, verdict.counts, verdict.calls
    model = f"`{verdict.model}`" if verdict.model else "the model"
    confirmed = counts.get("confirmed", 0)
    told = "" if seen else "; no finding told of it"
    if verdict.kind == "not-reached" and code in OF_CODE and verdict.evidence.get("training_mode"):
        return f"no call in evaluation mode came here (the model ran in training mode in {many(verdict.evidence['training_mode'], 'call')})"
    if verdict.kind == "not-reached" and code == "EVL102" and calls:
        return f"recording was off in {all_calls(calls)} of {model}, and no backward followed"
    if verdict.kind == "not-reached":
        followed = f"{many(calls, 'switch', 'switches')} to evaluation mode ran, and no training step followed"
        return followed if verdict.evidence.get("reason") else "the run did not come here"
    if verdict.kind == "not-observable":
        return f"cannot be seen: {verdict.evidence.get('reason', 'unknown')}"
    if code in OF_CODE:
        return code_claim(verdict, model)
    if code == "EVL102":
        return recording_claim(verdict, model)
    if code == "EVL301":
        return graphs_claim(verdict, model)
    if code == "EVL003":
        return _switch_claim(verdict, model) + told
    of = of_calls(confirmed or counts.get("harmless", 0) or calls, calls)
    if code == "EVL001":
        if verdict.kind in ("confirmed", "mixed"):
            return f"{model} ran in training mode in {of}, and no training step used the output{told}"
        if verdict.kind == "harmless":
            return f"{model} ran in training mode in {of}, and its output is the same in evaluation mode"
        if verdict.evidence.get("used_by_training"):
            return f"a training step used the output of {model} in {of_calls(verdict.evidence['used_by_training'], calls)}"
        return f"{model} was in evaluation mode in {all_calls(calls)}"
    if verdict.kind in ("confirmed", "mixed"):
        return f"autograd recorded {model} in {of}, and nothing used the graph{told}"
    if verdict.kind == "harmless":
        return f"{model} was called with recording on, and its output kept no graph in {of}"
    if verdict.evidence.get("used_by_backward"):
        return f"a backward went through the graph of {model} in {of_calls(verdict.evidence['used_by_backward'], calls)}"
    return f"recording was off in {all_calls(calls)} of {model}"


def _switch_claim(verdict: Verdict, model: str) -> str:
    steps = verdict.effect.get("steps_in_wrong_mode", 0)
    if verdict.kind == "confirmed":
        return f"{model} went on training in evaluation mode for {many(steps, 'step')}"
    if verdict.kind == "mixed":
        total = verdict.counts["confirmed"] + verdict.counts["refuted"]
        return f"{model} went on training in evaluation mode in {verdict.counts['confirmed']} of {total} rounds, for {many(steps, 'step')}"
    if verdict.kind == "harmless":
        return f"{model} went on training in evaluation mode, and no layer that depends on the mode was affected"
    return f"{model} was back in training mode when training went on"


def _details(verdict: Verdict) -> Iterator[str]:
    """What else there is to say, a line each."""
    evidence, effect = verdict.evidence, verdict.effect
    names = evidence.get("submodules") or []
    if names and verdict.kind in ("confirmed", "mixed") and verdict.finding.code not in ("EVL201", "EVL202"):
        quoted = [f"`{plain(name)}`" for name in names]
        yield f"{'in evaluation mode' if verdict.finding.code == 'EVL003' else 'active'}: {some(quoted, 6)}"
    if effect.get("relative_difference_of_children"):
        yield f"effect: the output of its children differs by up to {percent(effect['relative_difference_of_children'])}"
    yield from code_details(effect) if verdict.finding.code in OF_CODE else _mode_effect(effect)
    yield from step_details(effect)
    yield from kept_details(verdict) if verdict.finding.code == "EVL301" else _graph_effect(effect)
    if verdict.kind in ("confirmed", "mixed") and not effect and verdict.finding.code != "EVL102":
        reasons = "; ".join(evidence.get("skipped_probes", ()))
        others = "it would take too long" if verdict.finding.code in OF_CODE else "no probe was made, or `forward` was called directly"
        yield f"effect: not measured ({reasons or others})"
    if evidence.get("sites") and verdict.kind not in ("refuted", "not-reached"):
        lines: dict[str, int] = {}
        for site in evidence["sites"]:
            line = f"{plain(site['path'])}:{site['line']}"
            lines[line] = lines.get(line, 0) + site["calls"]
        yield f"calls: {some([f'{line} ({calls:,})' for line, calls in lines.items()], 4, ' places')}"


def _mode_effect(effect: dict[str, Any]) -> Iterator[str]:
    if effect.get("differs"):
        parts = []
        if "predictions" in effect:
            parts.append(f"{effect['predictions_changed']:,} of {effect['predictions']:,} predictions change with `eval()`")
        if "form" in effect:
            parts.append(f"the output has another form ({effect['form']})")
        difference = effect["relative_difference"]
        if difference:
            parts.append(f"the output differs by {percent(difference)}, {percent(effect['spread_over_seeds'])} between two seeds")
        if 0 < difference < _SMALL and not effect.get("predictions_changed"):
            parts.append("a small effect")
        if parts:
            yield f"effect: {'; '.join(parts)}"
    buffers = effect.get("buffers_changed", ())
    if buffers:
        yield f"effect: the evaluation's data changed {some([f'`{plain(name)}`' for name in buffers], 3)}"
    if effect.get("noise_in_eval"):
        why = "; a dropout ignores the mode, so `eval()` does not help there (EVL201)" if effect.get("dropout_in_eval") else ""
        yield f"the output is random in evaluation mode too ({percent(effect['noise_in_eval'])} between two seeds){why}"


def _graph_effect(effect: dict[str, Any]) -> Iterator[str]:
    if "graph_bytes" in effect:
        saved = effect.get("time_saved")
        if saved is None:
            timing = ""
        elif saved < _NOISE or effect["recorded_ms"] < _SHORT:
            timing = "; `no_grad` saves no measurable time"
        else:
            times = f"{effect['recorded_ms']:.3g} to {effect['without_ms']:.3g} ms"
            timing = f"; `no_grad` saves about {percent(saved)} of the forward's time ({times})"
        yield f"effect: the graph keeps {size(effect['graph_bytes'])} a call{timing}"
