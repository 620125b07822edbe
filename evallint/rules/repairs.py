"""Repairs: what the rules know of how to mend a finding, as plain data for `fixes`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from evallint.finding import Passage, Place, Receiver, Repair
from evallint.meaning.claims import Claim, Switch
from evallint.meaning.facts import Facts, Forward, Idle
from evallint.meaning.graph_claims import following
from evallint.meaning.regions import Region
from evallint.meaning.trained import is_part_of, trained_objects
from evallint.rules.words import place


def around(claim: Claim, kind: Literal["eval", "no-grad"], facts: Facts) -> Repair:
    """What to put around a region that evaluates."""
    pairs = [(forward, _depth_of_region(forward, claim.region)) for forward in claim.forwards]
    trained = trained_objects(facts)
    first, depth = pairs[0]
    here = first.stops[depth]
    return Repair(
        kind,
        tuple(dict.fromkeys(_receiver(forward, at) for forward, at in pairs)),
        untrained=all((f.loc or ("void",))[0] == "new" and not f.hidden and not is_part_of(f.loc, trained) for f in claim.forwards),
        divided=_is_divided(claim.forwards, facts),
        whole=claim.region.named and not here.shared and not _needs_graphs(here.path, here.function, facts),
        shared=any(stop.shared or stop.trains for forward, at in pairs for stop in forward.stops[at + 1 :]),
        both=any(f.trained and _is_in(f, claim.region) for f in facts.forwards),
        doubtful=kind == "no-grad" and any(forward.stops[at].attacks for forward, at in pairs),  # an attack may need gradients there
    )


def after(switch: Switch, facts: Facts) -> Repair:
    """How to get out of the eval mode that a switch leaves."""
    forwards = (switch.forward, *switch.others)
    receivers = tuple(dict.fromkeys(_receiver(f, _depth_of_text(f)) for f in forwards))
    text = switch.mode.text
    return Repair("train", receivers, switch=text.rpartition(".")[0], divided=_is_divided(forwards, facts))


def of_idle(idle: Idle, facts: Facts) -> Repair | None:
    """How a statement that switches nothing is made to do so; None where that is not to be said."""
    if idle.kind == "mode":
        return Repair("call", doubtful=not idle.sure)
    forwards = following(facts, idle)
    if idle.kind == "copy" or idle.text.endswith("enable_grad") or any(f.trained or f.grad_used or f.own_grad for f in forwards):
        return None
    receivers = tuple(dict.fromkeys(_receiver(f, len(f.stops) - 1) for f in forwards))
    return Repair("enter", receivers, doubtful=any(f.escapes or f.stored for f in forwards))


def _is_in(forward: Forward, region: Region) -> bool:
    """Whether a forward runs in a region."""
    if region.loop is not None and not region.loop.inline:
        return any((fact.path, fact.span) == (region.path, region.span) for fact in forward.loops)
    spans = [(forward.path, forward.span)]
    spans += [(before.path, stop.span) for before, stop in zip(forward.stops, forward.stops[1:], strict=False) if stop.span is not None]
    return (region.path, region.span) in spans


def _is_divided(forwards: Iterable[Forward], facts: Facts) -> bool:
    own = {f.loc for f in forwards}
    return any(f.divided and f.loc in own for f in facts.forwards)


def _needs_graphs(path: str, function: str, facts: Facts) -> bool:
    """Whether some forward that a function runs, or leads to, is trained or differentiated."""
    ours = (f for f in facts.forwards if any((s.path, s.function) == (path, function) for s in f.stops))
    return any(f.trained or f.grad_used or f.own_grad or any(s.wants_grad for s in f.stops) for f in ours)


def _depth_of_region(forward: Forward, region: Region) -> int:
    """Where on the stack the function is that holds the region."""
    for fact, depth in zip(forward.loops, forward.depth_of_loop, strict=True):
        if region.loop is not None and (fact.path, fact.span) == (region.loop.path, region.loop.span):
            return depth
    depths = [d for d, stop in enumerate(forward.stops) if (stop.path, stop.function) == (region.path, region.function)]
    return depths[-1] if depths else len(forward.stops) - 1


def _depth_of_text(forward: Forward) -> int:
    """Where on the stack the model is called as the forward names it: by who calls its methods, if it runs itself."""
    for depth in range(len(forward.stops) - 1, 0, -1):
        stop = forward.stops[depth]
        if not stop.module:
            break
        if stop.caller and stop.caller != "self":
            return depth - 1
    return len(forward.stops) - 1


def _receiver(forward: Forward, depth: int) -> Receiver:
    """The model, as it can be named at some depth of the stack."""
    stops = forward.stops
    last = _depth_of_text(forward)
    inner = next((Place(stops[d - 1].path, *span) for d in (max(last, depth) + 1,) if d < len(stops) and (span := stops[d].span)), None)
    spot = inner or place(forward.path, forward.span)
    if last < depth:  # the region is in a method of the model
        return Receiver("self", spot)
    way = []
    for before, stop in zip(stops[depth:last], stops[depth + 1 : last + 1], strict=True):
        if stop.span is not None:
            way.append(Passage(Place(before.path, *stop.span), Place(stop.path, *stop.span_of_function)))
    return Receiver(forward.text, spot, tuple(way))
