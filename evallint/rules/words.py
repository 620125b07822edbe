"""Words and trails that the rules share."""

from __future__ import annotations

from collections.abc import Iterable

from evallint.events import Span
from evallint.finding import Finding, Place, Repair, Severity, Step
from evallint.meaning.facts import Forward, Lapse
from evallint.meaning.regions import Region
from evallint.meaning.values import Mode
from evallint.rules.base import Rule

MEANT = (
    "on purpose", "purposely", "purposeful", "deliberate", "intention", "always on", "always active", "always applied", "always apply",
    "even in eval", "even during eval", "even at inference", "even during inference", "also in eval", "also during eval",
    "also at inference", "at inference too", "at test time", "in eval mode too", "monte carlo", "monte-carlo", "mc dropout", "keep dropout",
    "regardless of",
)  # fmt: skip
"""What comments say where something that looks wrong is meant."""
HIDING = (
    *MEANT,
    "hide",
    "hidden",
    "not register",
    "unregister",
    "avoid register",
    "prevent",
    "state_dict",
    "state dict",
    "not a submodule",
)
"""What comments say where a module is kept from its parent."""


def place(path: str, span: Span) -> Place:
    """A span of a file as a place."""
    return Place(path, *span)


def call_text(text: str) -> str:
    """`model.eval` as the call `model.eval()`; a constructor stays as it is."""
    return text if text.endswith(")") else f"{text}()"


def mode_step(mode: Mode) -> Step | None:
    """The step that put the model in a mode."""
    if mode.where is None:
        return None
    verb = {"fresh": "a new module is in training mode: `{}`", "given": "`{}` returns eval mode"}.get(mode.mode, "`{}` here")
    return Step(place(mode.path, mode.where), verb.format(call_text(mode.text)))


def way(forward: Forward, region: Region) -> list[Step]:
    """How the forward is reached: the calls on the way, the loop, the forward."""
    steps: list[Step] = []
    for before, stop in zip(forward.stops, forward.stops[1:], strict=False):
        if stop.span is not None:
            steps.append(Step(place(before.path, stop.span), f"`{stop.function.split('.')[-1]}` is called here"))
    if region.loop is not None and not region.loop.inline:
        steps.append(Step(place(region.loop.path, region.loop.span), "the loop"))
    steps.append(Step(place(forward.path, forward.span), f"the forward of `{forward.text}`"))
    return steps


def listed(models: Iterable[str]) -> str:
    """`a`, `b` and `c`."""
    quoted = [f"`{m}`" for m in dict.fromkeys(models)]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def of_layers(harmless: bool, layer: str, what: str) -> str:
    """What a message adds of the layers: that none depends on the mode, or `what` is true of one (`self.drop (Dropout p=0.5)`)."""
    if harmless:
        return "; no layer of its class depends on the mode, so nothing changes today"
    if layer == "self.training":
        return "; its forward reads `self.training`"
    name, bracket, kind = layer.partition(" (")
    return f"; `{name}`{bracket}{kind} {what}" if layer else ""


def where(region: Region) -> str:
    """How a message names the region."""
    return f"this {region.kind} loop" if region.loop is not None else f"this {region.kind} forward"


def is_meant(comment: str, words: tuple[str, ...] = MEANT) -> bool:
    """Whether a comment says that the code is meant as it is."""
    return any(word in comment.lower() for word in words)


def of_lapse(
    rule: Rule, lapse: Lapse, message: str, *, sure: bool = True, severity: Severity = "warning", repair: Repair | None = None
) -> Finding:
    """A rule's finding at a lapse: sure of it where the code of the class was read, or (`sure` false) not."""
    trail = tuple(Step(place(path, span), note) for path, span, note in lapse.steps)
    return Finding(
        place(lapse.path, lapse.span), rule.code, rule.name, message, confidence="high" if sure and lapse.sure else "medium",
        severity=severity, function=lapse.function, model=lapse.text, trail=trail, repair=repair,
    )  # fmt: skip
