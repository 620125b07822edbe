"""Evaluation regions: which forwards measure, validate, predict or generate, and what says so."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evallint.events import Span
from evallint.finding import Confidence
from evallint.meaning import names
from evallint.meaning.facts import Facts, Forward, LoopFact, Stop
from evallint.meaning.values import OFF, Mode

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


LOADERS = frozenset(("loader", "dataloader", "loaders", "batches"))
PARTS = frozenset("step batch iter iteration single one chunk forward pass".split())


def evaluation_loop(forward: Forward) -> tuple[LoopFact | None, int]:
    """The loop that evaluates, or None, and the index of the function that holds the region.

    From the forward outwards: the first function with a loop around it in which no training step runs; or that evaluates in a
    straight line: it turns recording off or switches the mode. A module's own methods are part of its forward.
    """
    switchers = {m.function for m in forward.modes if m.mode == "eval" and m.function != "<module>"}
    last = len(forward.stops) - 1
    for depth in range(last, -1, -1):
        own = [fact for fact, at in zip(forward.loops, forward.depth_of_loop, strict=True) if at == depth]
        if forward.stops[depth].module and depth and forward.stops[depth].function not in switchers and has_outer_loop(forward, depth):
            continue
        if forward.stops[depth].shared and depth and not forward.stops[depth - 1].trains:
            continue
        if own and own[-1].endless and not own[-1].source and depth < last:
            continue  # a program that waits for its user
        if own:
            return (own[-1], depth) if not own[-1].trains else (None, min(depth + 1, last))
        name = own_name(forward.stops[depth])
        if names.has_words(name, PARTS) or name.startswith("<"):
            continue
        if forward.stops[depth].function in switchers and not (forward.stops[depth].module and depth):
            return None, depth
        if is_fed_by_loader(forward, depth):
            continue
        if forward.silenced_at == depth:
            return None, depth
    fit = [d for d in range(last + 1) if not (d and forward.stops[d].shared and not forward.stops[d - 1].trains)]
    outside = [d for d in fit if not forward.stops[d].module]
    return None, outside[-1] if outside else fit[-1]


def has_outer_loop(forward: Forward, depth: int) -> bool:
    """Whether code that uses the module runs this activation in a loop of its own that does not train."""
    pairs = zip(forward.loops, forward.depth_of_loop, strict=True)
    return any(at < depth and not fact.trains and not forward.stops[at].module for fact, at in pairs)


def is_fed_by_loader(forward: Forward, depth: int) -> bool:
    """Whether the caller runs this activation for each batch of a loader, without training."""
    pairs = zip(forward.loops, forward.depth_of_loop, strict=True)
    return any(at == depth - 1 and not fact.trains and names.has_words(fact.source, LOADERS) for fact, at in pairs)


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
    strongly = any(names.speaks_of(n, names.STRONG_EVALUATION_WORDS) and not names.has_words(n, names.TRAIN_WORDS) for n in spoken)
    straight = loop is None or loop.inline
    inside = forward.stops[depth + 1].span if straight and depth + 1 < len(forward.stops) else None
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
        training=any(s.trains for s in forward.stops) and not free,
    )


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


def is_deliberate(forward: Forward) -> bool:
    """Training mode is meant: Monte Carlo dropout, recalibration of batch norm, by the names around."""
    around = [s.function for s in forward.stops] + [s.owner for s in forward.stops] + [m.text for m in forward.modes]
    if any(names.has_words(loop.source, frozenset(("mc",))) for loop in forward.loops):
        return True
    return any(word in text.lower() for text in around for word in names.DELIBERATE_WORDS)


def wants_gradients(forward: Forward) -> bool:
    """Gradients are the product: attacks, saliency, attribution, forces."""
    last = len(forward.stops) - 1
    if forward.grad_used or any(s.wants_grad and (at == last or not s.trains) for at, s in enumerate(forward.stops) if at >= last - 1):
        return True
    if forward.uses & {"detach", "numpy", "item", "tolist"} and not forward.escapes:
        return False  # if gradients were the product, they would have been computed by now
    around = [own_name(s) for s in forward.stops[-3:]] + [forward.stops[-1].owner]
    return any(names.has_words(n, names.GRADIENT_WORDS) for n in around)


def usual(facts: Facts) -> list[Forward]:
    """Forwards without those that only an unusual argument value reaches where the usual one evaluates at the same place."""
    default = {(f.path, f.span) for f in facts.forwards if not f.offbeat and not f.trained}
    return [
        f
        for f in facts.forwards
        if not f.framework
        and not (f.offbeat and (f.path, f.span) in default)
        and not any(is_unit_test(s.path, s.function, s.owner) for s in f.stops)
    ]


def is_unit_test(path: str, function: str, owner: str) -> bool:
    """A test function of a test file: it may run anything in any mode."""
    folders, _, file = path.rpartition("/")
    if not (
        file.startswith("test_") or file.endswith("_test.py") or file == "conftest.py" or {"tests", "testing"} & set(folders.split("/"))
    ):
        return False
    name = function.rsplit(".", 1)[-1]
    return (
        name.startswith(("test", "setUp", "check_", "_test", "run_test"))
        or owner.startswith("Test")
        or owner.endswith(("Test", "Tests", "TestCase"))
    )


@dataclass(slots=True, eq=False)
class Claim:
    """One region that is wrong, with the forwards that make it so."""

    region: Region
    forwards: list[Forward]
    confidence: Confidence
    modes: list[Mode]

    @property
    def forward(self) -> Forward:
        """The first of them."""
        return self.forwards[0]


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch to eval that a training step meets."""

    mode: Mode
    forward: Forward
    confidence: Confidence


RANK: dict[Confidence, int] = {"low": 0, "medium": 1, "high": 2}


def gathered(rows: Iterator[tuple[Region, Forward, Confidence, list[Mode]]]) -> list[Claim]:
    """One claim a region: the surest context leads, every model is named once."""
    claims: dict[object, Claim] = {}
    ordered = sorted(
        rows, key=lambda row: (-RANK[row[2]], row[0].path, row[0].span, row[1].path, row[1].span, row[1].text, len(row[1].stops))
    )
    for region, forward, confidence, modes in ordered:
        around = forward.loops[-1].span if forward.loops else None
        key: object = (region.path, region.span) if region.loop is not None else (region.path, region.function, around)
        claim = claims.get(key)
        if claim is None:
            claims[key] = Claim(region, [forward], confidence, modes)
        elif RANK[confidence] > RANK[claim.confidence]:
            claims[key] = Claim(region, [forward, *(f for f in claim.forwards if f.text != forward.text)], confidence, modes)
        elif all(f.text != forward.text for f in claim.forwards) and confidence == claim.confidence:
            claim.forwards.append(forward)
            if region.loop is None and region.span < claim.region.span and region.path == claim.region.path:
                claim.region = region
    return list(claims.values())


def trained_objects(facts: Facts) -> set[tuple[Any, ...]]:
    """The objects that some training step trains."""
    return {f.loc for f in facts.forwards if f.trained and f.loc is not None}


def eval_claims(facts: Facts) -> list[Claim]:
    """Evaluation regions whose forward may run in training mode."""
    return gathered(_eval_rows(facts))


def _eval_rows(facts: Facts) -> Iterator[tuple[Region, Forward, Confidence, list[Mode]]]:
    trained = trained_objects(facts)
    feeding = {f.loc for f in facts.forwards if f.trained and f.feeds & trained}
    for forward in usual(facts):
        is_trained = forward.trained and not is_silent_pass(forward)
        bad = sorted(
            (m for m in forward.modes if m.mode in ("train", "fresh", "unknown")),
            key=lambda m: (m.mode == "unknown", m.where or (0, 0, 0, 0)),
        )
        if not bad or is_trained or forward.spoiled or forward.grad_used or is_probe(forward):
            continue
        if forward.layers == "bare" and (forward.stops[-1].module or forward.loc not in trained):
            continue
        region = region_of(forward)
        if is_training_part(forward) or is_deliberate(forward) or chosen(forward, bad) or is_rollout(forward) or is_smoke_test(forward):
            continue
        if forward.offered and all(m.mode != "train" for m in bad):
            continue
        if forward.loc in feeding and region.loop is None and any(s.trains for s in forward.stops):
            continue  # a GAN's samples are drawn with the statistics that its training uses
        confidence = toned(eval_confidence(forward, region, bad, forward.loc in trained), forward, region)
        if confidence is not None:
            yield region, forward, confidence, bad


def is_rollout(forward: Forward) -> bool:
    """The forward chooses an action in an environment, and nothing says that the episode is one of evaluation."""
    said = [n for s in free_stops(forward) for n in (own_name(s), s.owner)]
    return any(s.acts for s in forward.stops) and not any(names.has_words(n, names.REHEARSAL_WORDS) for n in said)


def is_smoke_test(forward: Forward) -> bool:
    """A model made here is fed made-up numbers, and no result is measured: to see whether it runs, and what shape comes out."""
    own = {s.function for s in forward.stops}
    made_here = all(m.mode in ("fresh", "eval") and m.function in own for m in forward.modes)
    measured = forward.uses & (STRONG_USES - {"item"}) or forward.escapes or forward.stored
    return forward.synthetic and made_here and not measured


def chosen(forward: Forward, bad: list[Mode]) -> bool:
    """`.train()` in the evaluating function itself, with no `.eval()` of the model near: it is meant."""
    free = free_stops(forward)
    own = {s.function for s in free if names.is_loss_name(own_name(s)) or not names.has_words(own_name(s), names.JUDGING_WORDS)}
    built = {f"{s.owner}.__init__" for s in free if s.owner}
    return all(
        m.mode == "train" and not m.over and ((m.function in own and m.where in forward.own_switches) or m.function in built) for m in bad
    )


def eval_confidence(forward: Forward, region: Region, bad: list[Mode], trained: bool) -> Confidence | None:
    """How sure a missing eval is; None where nothing says that this is an evaluation."""
    proven = [m for m in bad if m.mode != "unknown"]
    signs = region.silent + region.strongly + region.loader + region.used
    if region.training and not (region.used and (region.loader or region.silent or region.loop is not None or trained)):
        return None
    preview = bool(proven) and trained and region.named and bool(forward.uses & WEAK_USES)
    if preview and forward.known and not region.training:
        return "medium"
    if signs == 0 and not (region.named and region.loop is not None) and not is_inference(forward, region):
        return None
    if not proven:
        if region_is_own_method(forward):
            told = forward.unswitched and forward.layers in ("some", "none") and (region.silent or region.used or region.loop is not None)
            return "medium" if told and (region.silent or names.has_words(own_name(forward.stops[0]), API_WORDS)) else None
        if trained and (region.silent or region.loader or region.strongly):
            return "medium"  # it is trained and evaluated in one mode, whichever that is
        if any(m.mode == "eval" for m in forward.modes) or names.has_words(own_name(forward.stops[-1]), names.PREPARATION_WORDS):
            return "low"
        if not forward.unswitched and (
            forward.mode_by_caller
            or forward.hidden
            or not is_owned(forward)
            or (not forward.known and forward.loc is not None and forward.loc[0] == "ret")
        ):
            return "low"
        if region.loader or region.strongly or (region.silent and (region.loop is not None or region.named)):
            return "medium"
        data = region.loop is not None and names.has_words(region.loop.source, names.DATA_WORDS)
        return "medium" if region.used and data and forward.known else "low"
    if region.silent or region.loader or region.strongly:
        return "high" if forward.known else "medium"
    return "medium" if forward.known and (region.used or region.named or is_inference(forward, region)) else "low"


def toned(confidence: Confidence | None, forward: Forward, region: Region) -> Confidence | None:
    """Low where only a name says that the object is a model, or where the code computes a loss."""
    if confidence is None:
        return None
    if forward.midway:
        return "low"
    free = free_stops(forward)
    spoken = [own_name(s) for s in free]
    measures = any(names.has_words(n, names.EVALUATION_WORDS | names.LOADER_EVAL_WORDS) for n in spoken)
    measures |= region.loop is not None and (region.silent or region.loader)
    own = {s.function for s in free}
    switched = any(m.mode == "eval" and m.function in own for m in forward.modes)
    if any(names.is_loss_name(n) for n in spoken) and not measures and (forward.escapes or not switched):
        return "low"
    plain = set(names.words(forward.text)) & {"model", "net", "network"} or any(m.mode in ("eval", "given", "train") for m in forward.modes)
    return confidence if forward.known or (plain and forward.loc is not None and forward.loc[0] in ("param", "ret", "child")) else "low"


def is_training_part(forward: Forward) -> bool:
    """A function on the way is named for a part of training: `training_step`, `train_forward`, `train_batch`."""
    said = [set(names.words(own_name(s))) for s in free_stops(forward)]
    return any(words & {"train", "training"} and words & {"step", "forward", "batch", "loss"} for words in said)


def is_silent_pass(forward: Forward) -> bool:
    """A whole loop with recording off: what training makes of its numbers, it does not train through this forward."""
    return forward.grad == OFF and bool(forward.loops) and not forward.loops[-1].trains and not forward.stops[-1].trains


def is_inference(forward: Forward, region: Region) -> bool:
    """A model whose weights were loaded runs in a loop, and nothing trains around it."""
    return forward.loaded and region.loop is not None and bool(forward.uses) and not any(s.trains or s.shared for s in forward.stops)


def is_api(root: Stop) -> bool:
    """A public method by which users predict or generate: nobody has turned recording off before it."""
    name = own_name(root)
    return (
        bool(root.owner)
        and not root.module
        and names.words(name)[:1] in (("predict",), ("sample",), ("generate",), ("infer",), ("inference",))
    )


def is_probe(forward: Forward) -> bool:
    """A module that runs its own layers while it is built, to learn a shape."""
    return any(s.module and s.function.endswith("__init__") for s in forward.stops)


def is_owned(forward: Forward) -> bool:
    """The model of unknown mode is one that the region's users hand in or build.

    That is a parameter, an attribute of their own object, or a factory's result; not an item of something that cannot be seen.
    """
    loc = forward.loc or ("void",)
    if forward.stops[-1].module and len(forward.stops) > 1:  # a part of the module that is called
        while loc[0] == "child":
            loc = loc[1]
    top = loc
    while top[0] == "child":
        top = top[1]
    if top[0] == "ret" and forward.pickled:
        return True
    while loc[0] == "child" and not loc[2].startswith(("[", "#", "<")) and loc[1][0] in ("child", "self", "param"):
        if loc[1][0] == "self":
            return True
        loc = loc[1]
    return loc[0] in ("param", "ret", "global", "self", "new")


API_WORDS = frozenset("predict generate sample infer inference evaluate".split())


def region_is_own_method(forward: Forward) -> bool:
    """The region is in a method of the module itself, entered in its caller's mode."""
    return forward.stops[0].module


def grad_claims(facts: Facts) -> list[Claim]:
    """Evaluation regions in which autograd records for nothing."""
    return gathered(_grad_rows(facts))


def _grad_rows(facts: Facts) -> Iterator[tuple[Region, Forward, Confidence, list[Mode]]]:
    trained = trained_objects(facts)
    attacked = {(f.loops[-1].path, f.loops[-1].span) for f in facts.forwards if f.loops and f.grad_used and not f.loops[-1].trains}
    for forward in usual(facts):
        if "on" not in forward.grad or forward.trained or forward.spoiled or forward.frozen or forward.carries_no_grad or forward.own_grad:
            continue
        if wants_gradients(forward) or is_probe(forward) or is_smoke_test(forward):
            continue
        region = region_of(forward)
        if is_rollout(forward) and region.loop is None:
            continue
        if region.loop is not None and (region.path, region.span) in attacked:
            continue  # the loop needs gradients
        confidence = toned(grad_confidence(forward, region, forward.loc in trained), forward, region)
        if confidence is not None:
            yield region, forward, confidence, []


def grad_confidence(forward: Forward, region: Region, trained: bool) -> Confidence | None:
    """How sure a missing no_grad is; None where nothing says that this is an evaluation."""
    if region.training and not region.switched and not (region.used and (region.loop is not None or trained)):
        return None
    if region.training and region.loop is None and region.used and trained:
        return "medium"
    if forward.stops[0].shared and not region.switched:
        return "low"
    if forward.escapes and region.loop is None and not (region.used or forward.uses & WEAK_USES):
        own = own_name(forward.stops[-1])
        public = not own.startswith("_") and names.has_words(own, names.STRONG_EVALUATION_WORDS)
        if not (public and any(m.mode == "eval" and m.function == forward.stops[-1].function for m in forward.modes)):
            return None
        return "medium"
    if "raw" in forward.uses and not region.switched:
        return None  # `.numpy()` on the output as it is: it would raise if anything were recorded
    if region_is_own_method(forward) and forward.escapes and not region.switched:
        return None
    if region_is_own_method(forward) and not region.switched and not names.has_words(own_name(forward.stops[0]), API_WORDS):
        if not (region.named and region.used) or forward.stored:
            return None
    if is_training_part(forward) and not region.switched:
        return None
    evaluating = region.switched or region.strongly or region.loader
    evaluating |= is_inference(forward, region)
    measuring = region.used and region.loop is not None and forward.known
    if not evaluating and not measuring and not (region.named and (region.used or region.loop is not None)):
        return None
    if len(forward.grad) > 1 or forward.may_differentiate:
        return "low"
    functions = {forward.stops[0].function, region.function}
    uses = forward.uses if region.switched else forward.uses - {"dropped"}
    if forward.hidden or (not uses and region.loop is None):
        return "low"
    own_switch = any(m.mode == "eval" and m.function in functions for m in forward.modes)
    if forward.grad_by_caller and not own_switch and not is_api(forward.stops[0]):
        return "low"
    if region.switched and (region.loop is not None or region.used or forward.uses & WEAK_USES):
        return "high" if forward.known else "medium"
    if region.used or forward.uses & WEAK_USES or region.loop is not None:
        return "medium"
    return "low" if not region.switched else "medium"


def train_claims(facts: Facts) -> list[Switch]:
    """Switches to eval that a training step meets with nothing in between that undoes them."""
    found: dict[tuple[str, Span], Switch] = {}
    evaluated = {(m.path, m.function, f.loc) for f in facts.forwards if not f.trained or f.grad == OFF for m in f.modes if m.mode == "eval"}
    for forward in facts.forwards:
        if not forward.stepped or "on" not in forward.grad or forward.frozen or forward.grad_used or forward.partly:
            continue
        if any(names.is_loss_name(s.owner) for s in forward.stops):
            continue  # a network that measures
        others = [m for m in forward.modes if m.mode != "eval"]
        for mode in forward.modes:
            if mode.mode != "eval" or mode.where is None or not (mode.over or others):
                continue
            if (mode.path, mode.function, forward.loc) not in evaluated and mode.function in {s.function for s in forward.stops}:
                continue  # nothing is evaluated in it: training in that mode is what the code is for
            if mode.chosen or (forward.offbeat and mode.text.endswith(".train")):
                continue
            confidence: Confidence = "high" if forward.known else "medium"
            key = (mode.path, mode.where)
            if key not in found or RANK[confidence] > RANK[found[key].confidence]:
                found[key] = Switch(mode, forward, confidence)
    return list(found.values())
