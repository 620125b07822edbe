"""Claims about graphs: training whose forward records nothing, and evaluations that keep every graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from evallint.events import Span
from evallint.finding import Confidence
from evallint.meaning import names
from evallint.meaning.claims import RANK, Claim, eval_claims, grad_rows
from evallint.meaning.facts import Backward, Facts, Forward, Idle, Kept, Turned, wholes
from evallint.meaning.regions import Region
from evallint.meaning.signs import is_tested, is_unit_test
from evallint.meaning.values import OFF, ON, Hush

BESIDE = frozenset("teacher ema momentum target frozen reference ref old guide".split())
"""Words of models that training asks for their opinion, without training them."""


DATA = frozenset("loader loaders dataloader dataloaders dataset batches".split())


@dataclass(frozen=True, slots=True)
class KeptGraph:
    """A statement that keeps the graph of every round."""

    kept: Kept
    forward: Forward | None
    confidence: Confidence
    trains: bool
    """The loop trains: what is kept was back-propagated before."""


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A backward, and the forward in front of it that ran with recording off."""

    backward: Backward
    forward: Forward
    hush: Hush
    confidence: Confidence
    always: bool
    """Recording is off whenever the forward runs; else from the first call on of what turned it off."""
    partly: bool = False
    """Other parts of what is back-propagated have a graph."""


def kept_graphs(facts: Facts) -> list[KeptGraph]:
    """Statements that keep graphs which nobody needs."""
    useless: dict[int, list[tuple[Region, Confidence]]] = {}
    for region, forward, confidence, _ in grad_rows(facts) if facts.kept else ():
        useless.setdefault(id(forward), []).append((region, confidence))
    found: dict[tuple[str, Span], KeptGraph] = {}
    for kept in facts.kept:
        if kept.bare and kept.loop.trains and not kept.fed and not is_unit_test(kept.path, kept.function, ""):
            found.setdefault((kept.path, kept.span), KeptGraph(kept, None, "medium", True))
        for forward in kept.forwards:
            claim = kept_graph(kept, forward, useless)
            key = (kept.path, kept.span)
            if claim is not None and (key not in found or RANK[claim.confidence] > RANK[found[key].confidence]):
                found[key] = claim
    return list(found.values())


def kept_graph(kept: Kept, forward: Forward, useless: dict[int, list[tuple[Region, Confidence]]]) -> KeptGraph | None:
    """What one forward's graph is kept for; None where that may be meant, or is but a step inside of what is evaluated."""
    near = [pair for pair in useless.get(id(forward), ()) if kept.streamed or is_near(kept, pair[0])]
    if near and (kept.streamed or any(loop is kept.loop for loop in forward.loops)):
        own = any(s.module and s.function == kept.function for s in forward.stops)
        if own and kept.stepping:
            return None if kept.fed else KeptGraph(kept, forward, "medium", True)
        read = kept.how == "sum" and not forward.escapes and "item" in forward.uses  # as a number, by all that may read it
        told = [(each, (read or is_told(region, forward, own)) and not (own and kept.how == "item")) for region, each in near]
        sure: list[Confidence] = [each if is_sure else "low" for each, is_sure in told]
        return KeptGraph(kept, forward, max(sure, key=RANK.__getitem__), False)
    if not kept.loop.trains or kept.fed or forward.offbeat or is_tested(forward):
        return None
    name = kept.text.rsplit(".", 1)[-1]
    beside = not forward.trained and names.has_words(name, names.LOADER_EVAL_WORDS)  # `val_losses`, after each epoch
    return KeptGraph(kept, forward, "medium", True) if beside or forward.trained else None


def is_near(kept: Kept, region: Region) -> bool:
    """Whether a statement keeps what its own function evaluates; a comprehension has to run over batches."""
    here = (region.path, region.function) == (kept.path, kept.function)
    return here and (kept.how != "gather" or names.has_words(kept.loop.source, DATA))


def is_told(region: Region, forward: Forward, own: bool) -> bool:
    """Whether more than its use says that a region evaluates: a name; outside of the module's own methods, whose users may want the
    graph, also a switch, a loader, or weights that were loaded.
    """
    if own:
        return region.strongly or region.switched
    fed = region.loader or names.has_words(region.loop.source if region.loop is not None else "", DATA)
    return region.switched or region.strongly or fed or forward.loaded


def unrecorded(facts: Facts) -> list[Unrecorded]:
    """Training steps whose forward runs with recording off."""
    found: dict[tuple[str, Span], Unrecorded] = {}
    learning = {(f.path, f.span) for f in facts.forwards if f.trained and f.grad == ON} if facts.backwards else set[tuple[str, Span]]()
    for backward in facts.backwards:
        for forward in reversed(backward.forwards):
            claim = None if is_tested(forward) or forward.framework else unrecorded_forward(backward, forward)
            if claim is not None and claim.always and (forward.path, forward.span) in learning:
                claim = replace(claim, confidence="low")  # with recording off another flag keeps it from training
            key = (backward.path, backward.span)
            if claim is not None and (key not in found or RANK[claim.confidence] > RANK[found[key].confidence]):
                found[key] = claim
    return list(found.values())


def unrecorded_forward(backward: Backward, forward: Forward) -> Unrecorded | None:
    """Whether a forward that a backward starts from ran with recording off for certain."""
    hush = min(forward.hushed, default=None)
    if hush is None or names.has_words(forward.text, BESIDE):
        return None
    confidence: Confidence = "high" if forward.known else "medium"
    if forward.grad == OFF and not backward.recorded:
        together = backward.grad == OFF and bool(forward.hushed & backward.hushed)
        return Unrecorded(backward, forward, hush, confidence, True) if together or backward.pure else None
    if forward.grad == OFF and forward.cut and forward.lost and backward.grad == ON:
        return Unrecorded(backward, forward, hush, "medium", True, True)
    left = [h for h in forward.hushed & backward.hushed if h[3] == "call" and h[2] not in (forward.stops[-1].function, backward.function)]
    if left and "off" in backward.grad and forward.stepped:
        return Unrecorded(backward, forward, min(left), "medium", False)
    return None


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A switch to eval that reaches nothing which runs in the evaluation after it."""

    turned: Turned
    claim: Claim
    confidence: Confidence


def misplaced(facts: Facts) -> list[Misplaced]:
    """Switches to eval right before an evaluation that runs in training mode all the same, of an object that nothing runs at all."""
    if not facts.turned:
        return []
    run = {whole for f in facts.forwards for whole in wholes(f.loc)}
    spans: dict[tuple[str, Span], list[Turned]] = {}
    for turned in facts.turned:
        spans.setdefault((turned.path, turned.span), []).append(turned)
    found: dict[tuple[str, Span], Misplaced] = {}
    for claim in eval_claims(facts):
        region = claim.region
        if claim.confidence == "low" or any(f.divided for f in claim.forwards):
            continue
        for (path, span), rows in spans.items():
            here = (path, rows[0].function) == (region.path, region.function) and span < region.span
            apart = all(t.loc[0] in ("new", "param", "child") and not any(w in run for w in wholes(t.loc)) for t in rows)
            if here and apart:
                confidence = claim.confidence if all(whole_of(t.loc)[0] == "new" for t in rows) else "medium"
                found.setdefault((path, span), Misplaced(rows[0], claim, confidence))
    return list(found.values())


def whole_of(loc: tuple[Any, ...]) -> tuple[Any, ...]:
    """What an object is in the end a part of."""
    return list(wholes(loc))[-1]


def next_forward(facts: Facts, idle: Idle) -> Forward | None:
    """The first forward that follows an idle statement in its function, in the text."""
    return min(following(facts, idle), key=lambda f: f.span, default=None)


def following(facts: Facts, idle: Idle) -> list[Forward]:
    """The forwards that follow an idle statement in its function, in the text."""
    return [f for f in facts.forwards if f.path == idle.path and f.stops[-1].function == idle.function and f.span > idle.span]
