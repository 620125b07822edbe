"""Words and trails that the rules share."""

from __future__ import annotations

from collections.abc import Iterable

from evallint.events import Span
from evallint.finding import Place, Step
from evallint.meaning.facts import Forward
from evallint.meaning.regions import Region
from evallint.meaning.values import Mode


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
