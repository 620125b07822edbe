"""Evaluation regions: where the forwards that measure, validate, predict or generate stand, and what speaks for each."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace

from evallint.events import Span
from evallint.meaning import names
from evallint.meaning.facts import Forward, LoopFact, Stop
from evallint.meaning.values import OFF

STRONG_USES = frozenset("item numpy tolist argmax argmin max topk eq metric show".split())

WEAK_USES = frozenset("detach cpu append sigmoid softmax round".split())


@dataclass(frozen=True, slots=True)
class Region:
    """Where an evaluation is, and the evidence that it is one."""

    path: str
    span: Span
    loop: LoopFact | None
    function: str
    kind: str
    """"validation", "test", "prediction", "generation" or "evaluation"."""
    named: bool
    """A function, class or file is named for evaluation."""
    strongly: bool
    loader: bool
    """What the loop runs over is named for evaluation."""
    silent: bool
    """Recording is off."""
    switched: bool
    """Somebody put the model in eval mode on the way."""
    used: bool
    """The output goes into numbers, not into a loss."""
    training: bool
    """It stands in code that trains."""
    own: bool = False
    """It is a method of the module that runs."""


LOADERS = ("loader", "loaders", "batches")
"""How the names of what hands out batches end."""
JUDGES = frozenset("eval evaluate evaluation validate validation test".split())
"""Words of functions whose own loop is the evaluation, whatever helper in it switches the mode or turns recording off."""
HELPING = frozenset("detect segment classify recognize recognise translate summarize caption".split())
"""Words of functions that predict, for one input each."""
PARTS = frozenset("step batch iter iteration single one chunk forward pass".split())


def evaluation_loop(forward: Forward) -> tuple[LoopFact | None, int]:
    """The loop that evaluates, or None, and the index of the function that holds the region.

    From the forward outwards: the first function with a loop around it in which no training step runs; or that evaluates in a
    straight line: it turns recording off or switches the mode. A module's own methods are part of its forward.
    """
    switchers = {m.function for m in forward.modes if m.mode == "eval" and m.function != "<module>"}
    last = len(forward.stops) - 1
    own_work: int | None = None
    for depth in range(last, -1, -1):
        name = own_name(forward.stops[depth])
        own = loops_of(forward, depth)
        if forward.stops[depth].module and depth and forward.stops[depth].function not in switchers and has_outer_loop(forward, depth):
            continue
        if own and depth and is_inner_loop(forward, depth):
            continue
        if forward.stops[depth].wraps or (forward.stops[depth].shared and depth and not forward.stops[depth - 1].trains):
            continue
        model = forward.text.split(".")[0].split("[")[0]
        if len(own) > 1 and not own[-2].trains and (model in own[-1].target.split() or names.are_models(own[-1].source)):
            own.pop()  # the data comes from the loop around it
        waits = own and own[-1].endless and not own[-1].source and depth < last and not forward.stops[depth].acts
        if waits and not names.has_words(name, JUDGES):
            continue  # a program that waits for its user
        if own:
            if not own[-1].trains:
                return own[-1], depth
            part = depth == last or forward.stops[depth + 1].module
            if not part and forward.stops[depth].function in switchers:
                part = names.has_words(own_name(forward.stops[depth + 1]), PARTS)  # who switches the mode asks for one batch
            inside = depth if part else depth + 1
            return None, inside if own_work is None else own_work
        if names.has_words(name, PARTS) or name.startswith("<"):
            continue
        if has_judging_loop(forward, depth):
            continue
        free = depth and not forward.stops[depth].module and not forward.stops[depth].shared
        if free and own_work is None and names.speaks_of(name, names.STRONG_EVALUATION_WORDS):
            own_work = depth
        spot = depth if own_work is None else own_work
        each = any(at < depth and not fact.trains for fact, at in zip(forward.loops, forward.depth_of_loop, strict=True))
        if forward.stops[depth].function in switchers and not (forward.stops[depth].module and depth and each):
            return None, spot
        if is_fed_by_loader(forward, depth):
            continue
        if forward.silenced_at == depth:
            return None, spot
    trained_at = max((d for d, stop in enumerate(forward.stops) if stop.trains), default=0)
    if own_work is not None:
        return None, max(own_work, trained_at)
    shared = [d for d in range(1, last + 1) if forward.stops[d].shared and not forward.stops[d - 1].trains]
    fit = [d for d in range(last + 1) if not forward.stops[d].wraps and d not in shared] or [last]
    outside = [d for d in fit if not forward.stops[d].module]
    if not outside:  # the module's own methods alone: the one that its users call
        asked = [d for d in fit if names.speaks_of(own_name(forward.stops[d]), names.EVALUATION_WORDS)]
        outside = asked[:1] or fit
    if names.has_words(own_name(forward.stops[outside[-1]]), PARTS):
        outside = [d for d in outside if names.has_words(own_name(forward.stops[d]), names.EVALUATION_WORDS)] or outside
    return None, max(outside[-1], trained_at)  # not at the call of what trains


def is_inner_loop(forward: Forward, depth: int) -> bool:
    """Whether a loop of a module's method is part of the forward that a function named for evaluation asks for: the steps of a solver."""
    stop, above = forward.stops[depth], forward.stops[:depth]
    if above and is_over_parts(loops_of(forward, depth)[-1], stop):
        return True
    if not stop.module or names.speaks_of(own_name(stop), names.EVALUATION_WORDS) or loops_of(forward, depth)[-1].trains:
        return False
    return any(not s.module and not s.trains and names.speaks_of(own_name(s), names.STRONG_EVALUATION_WORDS) for s in above)


def is_over_parts(fact: LoopFact, stop: Stop) -> bool:
    """Whether a module's method loops over what the module owns: its layers, or their names."""
    said = fact.source.split()
    parts = "self" in said and "range" not in said and not names.has_words(fact.source, names.DATA_WORDS)
    return parts and stop.module and not fact.endless


def loops_of(forward: Forward, depth: int) -> list[LoopFact]:
    """The loops of one function on the stack, the outermost first."""
    return [fact for fact, at in zip(forward.loops, forward.depth_of_loop, strict=True) if at == depth]


def call_inside(forward: Forward, depth: int) -> Span | None:
    """The call in one function on the stack that leads to the forward; None where the forward is in it."""
    return forward.stops[depth + 1].span if depth + 1 < len(forward.stops) else None


def has_outer_loop(forward: Forward, depth: int) -> bool:
    """Whether code that uses the module runs this activation in a loop of its own that does not train."""
    pairs = zip(forward.loops, forward.depth_of_loop, strict=True)
    return any(at < depth and not fact.trains and not forward.stops[at].module for fact, at in pairs)


def has_judging_loop(forward: Forward, depth: int) -> bool:
    """Whether a function that is named for evaluation runs this activation in a loop of its own that does not train."""
    pairs = zip(forward.loops, forward.depth_of_loop, strict=True)
    return any(
        at < depth and not fact.trains and not forward.stops[at].module and names.has_words(own_name(forward.stops[at]), JUDGES)
        for fact, at in pairs
    )


def is_fed_by_loader(forward: Forward, depth: int) -> bool:
    """Whether the caller runs this activation for each batch of a loader, without training."""
    pairs = zip(forward.loops, forward.depth_of_loop, strict=True)
    return any(at == depth - 1 and not fact.trains and any(w.endswith(LOADERS) for w in names.words(fact.source)) for fact, at in pairs)


def free_stops(forward: Forward) -> list[Stop]:
    """The innermost functions on the stack in which no training step runs."""
    stops: list[Stop] = []
    for stop in reversed(forward.stops):
        if stop.trains:
            break
        stops.append(stop)
    return stops


def region_of(forward: Forward) -> Region:
    """The region that a forward belongs to."""
    loop, depth = evaluation_loop(forward)
    free = free_stops(forward)
    holder = forward.stops[depth]
    spoken = [own_name(s) for s in free]
    if len(free) == len(forward.stops):
        spoken += [s.owner for s in free if s.owner]
    own_loops = [fact for fact in forward.loops if not fact.trains]
    listened = [fact.source for fact in own_loops] + [fact.target for fact in own_loops]
    loader = any(names.has_words(s, names.LOADER_EVAL_WORDS) for s in listened)
    strongly = any(s.told for s in free) or any(
        names.speaks_of(n, names.STRONG_EVALUATION_WORDS) and not names.has_words(n, names.TRAIN_WORDS - names.ROUND_WORDS) for n in spoken
    )
    straight = loop is None or loop.inline
    inside = call_inside(forward, depth) if straight else None
    return Region(
        path=loop.path if loop else holder.path if inside else forward.path,
        span=loop.span if loop and not loop.inline else inside or forward.span,
        loop=loop,
        function=holder.function,
        kind=kind_of([*listened, *spoken]),
        named=strongly or any(names.speaks_of(n, names.EVALUATION_WORDS) and not names.has_words(n, names.TRAIN_WORDS) for n in spoken),
        strongly=strongly,
        loader=loader,
        silent=forward.grad == OFF,
        switched=any(m.mode in ("eval", "given") for m in forward.modes),
        used=bool(forward.uses & STRONG_USES),
        training=any(s.trains for s in forward.stops) and all(s.module for s in free),
    )


def regions_around(forward: Forward, region: Region) -> list[Region]:
    """A forward's region, and the region of its own that a predicting function on the way is."""
    own = own_region(forward, region)
    return [region] if own is None else [region, own]


def own_region(forward: Forward, region: Region) -> Region | None:
    """The function that predicts or generates by itself: a region of its own, whatever loop calls it, and whatever helper it calls."""
    acts = any(stop.acts for stop in forward.stops)
    outside = False
    for depth in range(len(forward.stops) - 1, -1, -1):
        stop = forward.stops[depth]
        here = (stop.path, stop.function) == (region.path, region.function)
        if stop.trains or (here and region.loop is not None):
            return None
        outside |= here
        if stop.shared or stop.wraps or here:
            continue
        name = own_name(stop)
        own = [fact for fact in loops_of(forward, depth) if not (fact.inline or is_over_parts(fact, stop))]
        if name.startswith("<") or names.has_words(name, PARTS | JUDGES if outside else PARTS):
            continue
        if not names.speaks_of(name, names.EVALUATION_WORDS if own else names.STRONG_EVALUATION_WORDS | HELPING):
            continue
        if acts and not names.has_words(name, JUDGES):
            continue  # a policy that training samples as well
        loop = own[-1] if own else None
        span = loop.span if loop else call_inside(forward, depth) or forward.span
        return replace(region, path=stop.path, span=span, loop=loop, function=stop.function, own=stop.module)
    return None


def own_name(stop: Stop) -> str:
    """What a function is called: for a module's body, its file."""
    if stop.function == "<module>":
        return posixpath.basename(stop.path).rsplit(".", 1)[0]
    parts = stop.function.split(".")
    return parts[-1] if parts[-1] != "<lambda>" else parts[0]


KINDS = (
    ("validation", frozenset("val valid validate validation dev".split())),
    ("test", frozenset("test tests testing tester".split())),
    ("generation", frozenset("generate generation sample sampling decode greedy".split())),
    ("prediction", frozenset("predict prediction predictions infer inference predictor".split())),
)


def kind_of(spoken: list[str]) -> str:
    """What to call the region."""
    for kind, vocabulary in KINDS:
        if any(names.has_words(n, vocabulary) for n in spoken):
            return kind
    return "evaluation"


SHORT_LOADERS = (("dl",), ("batches",))
"""How names of what hands out batches end, beside `loader`."""


def is_over_batches(region: Region) -> bool:
    """Whether a region is named for evaluation and runs over all that a loader hands out."""
    said = region.loop.source if region.loop is not None and not region.loop.inline else ""
    over = names.has_words(said, names.LOADER_WORDS) or any(names.words(word)[-1:] in SHORT_LOADERS for word in said.split())
    return region.named and over


def measures_by_name(region: Region) -> bool:
    """Whether a region is a loop that is named for evaluation and whose output is measured."""
    return region.strongly and region.used and region.loop is not None


def is_harmless_look(forward: Forward, region: Region) -> bool:
    """A network without a layer that depends on the mode is run where it stands, by code that measures nothing by its name or data.

    The mode changes nothing, and the program knows of modes elsewhere.
    """
    here = len(forward.stops) == 1 or not region.named
    told = any(m.mode == "train" for m in forward.modes)
    return forward.layers == "none" and here and not (region.loader or forward.loaded or forward.unswitched or told)
