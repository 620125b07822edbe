"""Claims: which regions are wrong, and how sure that is. What the rules turn into findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from evallint.events import Span
from evallint.finding import Confidence
from evallint.meaning import names
from evallint.meaning.facts import Facts, Forward
from evallint.meaning.regions import (
    JUDGES,
    WEAK_USES,
    Region,
    free_stops,
    is_harmless_look,
    is_over_batches,
    measures_by_name,
    own_name,
    region_of,
    regions_around,
)
from evallint.meaning.signs import (
    API_WORDS,
    DOING,
    chosen,
    explores,
    hands_out_loss,
    is_after_training,
    is_api,
    is_before_training,
    is_botched,
    is_built_in,
    is_chosen_here,
    is_construction,
    is_converted,
    is_deliberate,
    is_dry_run,
    is_foreign,
    is_inference,
    is_measure,
    is_own_wish,
    is_owned,
    is_probe,
    is_repeated,
    is_rollout,
    is_silent_pass,
    is_smoke_test,
    is_tested,
    is_training_part,
    is_update,
    region_is_own_method,
    wants_gradients,
)
from evallint.meaning.trained import LOSS_USES, Training, is_part_of, trained_objects
from evallint.meaning.values import OFF, Mode


def usual(facts: Facts) -> list[Forward]:
    """Forwards without those that only an unusual argument value reaches where the usual one evaluates at the same place."""
    default = {(f.path, f.span) for f in facts.forwards if not f.offbeat and not f.trained}
    return [
        f
        for f in facts.forwards
        if not f.framework
        and not (f.offbeat and (f.path, f.span) in default)
        and not is_measure(f.text)
        and not names.is_transform_name(f.stops[-1].owner)
        and not is_construction(f)
        and not is_tested(f)
        and not is_foreign(f)
    ]


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

    @property
    def models(self) -> list[str]:
        """What to call the models there: in a module's own method it is `self`, whatever its users call it."""
        return ["self"] if self.region.own else list(dict.fromkeys(f.text for f in self.forwards))


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch to eval that a training step meets."""

    mode: Mode
    forward: Forward
    confidence: Confidence
    others: tuple[Forward, ...] = ()
    """The other forwards that are trained after it."""


TOLD_USES = frozenset("item tolist numpy metric show".split())
"""Uses that tell a person or a log about an output, rather than go on computing with it."""
HOOKS = frozenset(("prediction_step", "evaluation_step"))
"""Hooks that a library hands its model to."""
TEACHERS = frozenset(("teacher", "teachers"))
RANK: dict[Confidence, int] = {"low": 0, "medium": 1, "high": 2}


def gathered(rows: Iterator[tuple[Region, Forward, Confidence, list[Mode]]]) -> list[Claim]:
    """One claim a region: the surest context leads, every model is named once."""
    claims: dict[tuple[Any, ...], Claim] = {}
    ordered = sorted(
        rows, key=lambda row: (-RANK[row[2]], row[0].path, row[0].span, row[1].path, row[1].span, row[1].text, len(row[1].stops))
    )
    met: dict[tuple[Any, ...], set[tuple[Any, ...] | None]] = {}
    for region, forward, confidence, modes in ordered:
        around = forward.loops[-1].span if forward.loops else None
        key: tuple[Any, ...] = (region.path, region.span) if region.loop is not None else (region.path, region.function, around)
        claim = claims.get(key)
        if claim is not None and region.loop is None and forward.loc not in met.get((key, forward.text), ()):
            if any(f.text == forward.text and f.span != forward.span for f in claim.forwards):  # another model under the same name
                key = (*key, forward.loc)
                claim = claims.get(key)
        met.setdefault((key, forward.text), set()).add(forward.loc)
        if claim is None:
            claims[key] = Claim(region, [forward], confidence, modes)
        elif RANK[confidence] > RANK[claim.confidence]:
            claims[key] = Claim(region, [forward, *(f for f in claim.forwards if f.text != forward.text)], confidence, modes)
        elif all(f.text != forward.text for f in claim.forwards) and confidence == claim.confidence:
            claim.forwards.append(forward)
            if region.loop is None and region.span < claim.region.span and region.path == claim.region.path:
                claim.region = region
    places: dict[object, Claim] = {}
    for claim in claims.values():  # callers with loops of their own can lead to one and the same place
        places.setdefault((claim.region.path, claim.region.span), claim)
    return list(places.values())


def eval_claims(facts: Facts) -> list[Claim]:
    """Evaluation regions whose forward may run in training mode."""
    return gathered(_eval_rows(facts))


def _eval_rows(facts: Facts) -> Iterator[tuple[Region, Forward, Confidence, list[Mode]]]:
    trained, training = trained_objects(facts), Training(facts)
    minded, tended = switched_places(facts)
    serving = {(m.path, m.where) for f in facts.forwards if f.trained for m in f.modes}
    feeding = {f.loc for f in facts.forwards if f.trained and f.feeds & trained}
    teaching = {s.function for f in facts.forwards if f.trained for s in f.stops if s.owner}
    wishing = [f for f in facts.forwards if is_wished(f, serving)]
    wished = {maker(f) or id(f) for f in wishing}
    steps = {(s.path, s.function) for f in facts.forwards if f.stepped for s in f.stops}
    for forward in usual(facts):
        learns = is_part_of(forward.loc, trained)
        is_trained = forward.trained and not is_silent_pass(forward)
        bad = sorted(
            (m for m in forward.modes if m.mode in ("train", "fresh", "unknown") and not (m.mode == "train" and m.chosen)),
            key=lambda m: (m.mode == "unknown", m.where or (0, 0, 0, 0)),
        )
        if not bad or is_trained or forward.spoiled or forward.gives_losses or is_probe(forward):
            continue
        trains = any(s.trains or names.has_words(own_name(s), names.TRAIN_WORDS) for s in forward.stops)
        if forward.grad_used and ((trains and learns) or any(m.mode == "unknown" for m in bad)):
            continue  # a penalty, or an attack that training needs
        if all(m.mode == "unknown" for m in bad) and names.has_words(forward.text, TEACHERS):
            continue  # handed in to be learnt from
        region = region_of(forward)
        asked = forward.stops[-1].module and not forward.stops[0].module and region.strongly and region.silent and not region.training
        if forward.layers == "bare" and not asked and (forward.stops[-1].module or not learns or any(m.mode == "unknown" for m in bad)):
            continue  # a layer beside the model that counts
        if training.includes(forward):
            continue
        if (maker(forward) or id(forward)) in wished:
            continue  # here, or where another program runs what the same constructor has made
        if forward.sorted_out and all(is_chosen_here(forward, m, steps) for m in bad):
            continue  # dropout is to be live, batch norm is not
        if is_training_part(forward) or is_deliberate(forward) or chosen(forward, bad) or is_rollout(forward):
            continue
        if is_trial(forward, learns):
            continue
        if forward.offered and all(m.mode != "train" for m in bad):
            continue
        if "cluster" in forward.uses and any(s.trains for s in forward.stops) and all(m.mode != "train" for m in bad):
            continue  # groups with which training begins
        if all(m.mode == "fresh" for m in bad) and any(m.mode == "eval" and m.chosen and is_built_in(m) for m in forward.modes):
            continue  # the constructor chose the mode by what the program is run for
        if forward.loc in feeding and forward.fixed_noise and "show" in forward.uses and not (region.strongly or region.loop):
            continue  # the sample grid by which a GAN's training is watched, drawn with the statistics that it uses
        confidence = toned(eval_confidence(forward, region, bad, learns), forward, region)
        site = (forward.path, forward.span, region.path, region.function)
        open_ = all(m.mode == "unknown" for m in bad)
        if confidence is not None and (
            (open_ and (site in minded or (forward.stops[0].part and not forward.stops[0].trains))) or (forward.offered and site in tended)
        ):
            confidence = "low"  # who calls it in sight has switched the model, or what it is a part of is switched as a whole
        if confidence is not None and not learns and is_harmless_look(forward, region):
            confidence = "low"  # it would change nothing
        if confidence is not None and is_before_training(forward, bad, teaching):
            confidence = "low"
        if confidence is not None:
            yield from ((place, forward, confidence, bad) for place in regions_around(forward, region))


def maker(forward: Forward) -> tuple[Any, ...] | None:
    """The constructor call that a model comes from: file and span; None where it cannot be seen."""
    return forward.loc[1:3] if forward.loc is not None and forward.loc[0] == "new" else None


def is_wished(forward: Forward, serving: set[tuple[Any, ...]]) -> bool:
    """Whether code that evaluates puts its model in training mode itself, where nothing trains in that mode."""
    bad = [m for m in forward.modes if m.mode in ("train", "fresh", "unknown")]
    if not bad or forward.trained or any(m.mode != "train" or m.chosen or (m.path, m.where) in serving for m in bad):
        return False
    built_so = forward.grad == OFF and all(is_built_in(m) for m in bad)
    return (built_so and chosen(forward, bad)) or is_own_wish(forward, region_of(forward), bad)


def is_trial(forward: Forward, learns: bool) -> bool:
    """Whether a forward only tries something out, or cannot run as it is in sight, of a model that nobody trains."""
    return is_dry_run(forward) or ((forward.misfit or is_smoke_test(forward)) and not learns)


Site = tuple[str, Span, str, str]
"""A forward call by its file and span, in a function on the way to it by its file and name."""


def switched_places(facts: Facts) -> tuple[set[Site], set[Site]]:
    """Where forwards are met in eval mode: all such places, and those of methods whose own class has not switched it."""
    minded, tended = set[Site](), set[Site]()
    for f in facts.forwards:
        if not f.modes or any(m.mode not in ("eval", "given") for m in f.modes):
            continue
        for stop in f.stops:
            site = (f.path, f.span, stop.path, stop.function)
            minded.add(site)
            if stop.owner and not any(m.function.startswith(f"{stop.owner}.") for m in f.modes):
                tended.add(site)
    return minded, tended


def hushed_places(facts: Facts) -> set[Site]:
    """Where forwards are met with recording off, by who calls the function that runs them."""
    found = set[Site]()
    for f in facts.forwards:
        if f.grad == OFF and f.silenced_at >= 0:
            found |= {(f.path, f.span, s.path, s.function) for s in f.stops[f.silenced_at + 1 :]}
    return found


def eval_confidence(forward: Forward, region: Region, bad: list[Mode], trained: bool) -> Confidence | None:
    """How sure a missing eval is; None where nothing says that this is an evaluation."""
    if hands_out_loss(forward, region):
        return None
    proven = [m for m in bad if m.mode != "unknown"]
    signs = region.silent + region.strongly + region.loader + region.used
    watched = region.loader and region.silent and region.loop is not None
    if region.training and not watched and not (region.used and (region.loader or region.silent or region.loop is not None or trained)):
        return None
    own_mode = any(m.mode == "train" and m.function == region.function for m in bad)
    unseen = not region.training and names.has_words(region.function, names.TRAIN_WORDS)
    if own_mode and signs - region.used == 0 and (forward.stored or unseen):
        return None  # a part of training whose step could not be followed
    if region.training and region.silent and region.loop is None and not forward.uses & TOLD_USES:
        return None  # targets and bootstrap values of a training step
    if region.silent and region.loop is None and not region.strongly and any(is_update(s) for s in forward.stops):
        return None  # … of one that an optimizer's wrapper takes
    fed = any(s.trains for s in forward.stops) and region.silent and region.loop is None and not region.named
    if fed and not forward.uses & TOLD_USES - {"numpy"}:
        return None  # … worked out in a function of their own
    preview = bool(proven) and trained and region.named and bool(forward.uses & WEAK_USES)
    if preview and forward.known and not region.training:
        return "medium"
    if signs == 0 and not (region.named and region.loop is not None) and not is_inference(forward, region):
        return None
    if not proven:
        return open_confidence(forward, region, trained)
    if all(m.mode == "fresh" for m in proven) and any(m.mode == "eval" and m.left and names.prepares(m.left) for m in forward.modes):
        return "low"  # who loads the weights switches it: nobody evaluates random ones
    loaded = region.loop is not None and names.has_words(region.loop.source, names.LOADER_WORDS)
    if region.silent and not (region.used or region.loader or region.strongly or loaded) and any(s.trains for s in forward.stops):
        return "low"  # nothing is measured: a buffer is filled, or targets are made
    if region.silent or region.loader or region.strongly:
        return "high" if forward.known else "medium"
    of_a_loss = LOSS_USES if region.loop is not None else frozenset(("metric",))
    if not (trained or region.named or forward.loaded) and forward.uses <= of_a_loss:
        return "low"  # numbers of a loss alone, in code that may train in a way that could not be followed
    if region.loop is None and not (trained or forward.loaded or region.named) and all(m.mode == "fresh" for m in bad):
        return "low"  # a network of random weights is looked at
    return "medium" if forward.known and (region.used or region.named or is_inference(forward, region)) else "low"


def open_confidence(forward: Forward, region: Region, trained: bool) -> Confidence | None:
    """How sure a missing eval is where nobody in sight has set a mode."""
    if any(m.mode == "unknown" and m.left for m in forward.modes):
        return "low"  # who holds the object that holds the model switches it
    if region_is_own_method(forward):
        if trained and (region.silent or region.loader or measures_by_name(region)) and not forward.mode_by_caller:
            return "medium"  # it trains itself, and measures itself in the same mode
        told = forward.unswitched and forward.layers in ("some", "none") and (region.silent or region.used or region.loop is not None)
        public = names.words(own_name(forward.stops[0]))[:1]
        if told and (region.silent or names.has_words(own_name(forward.stops[0]), API_WORDS)):
            return "medium"
        entered = forward.layers == "some" and not (forward.offered or forward.mode_by_caller)  # it matters, and nobody in sight asks
        if public and public[0] in API_WORDS and entered and (region.silent or region.used):
            return "medium"  # what users call to predict, with nobody in sight who switches the mode
        if public == ("predict",) == names.words(own_name(forward.stops[0])) and len(forward.stops) == 1 and entered:
            return "medium"
        return "low" if region.silent or region.used or is_over_batches(region) else None
    judged = region.silent and (region.named or region.kind != "evaluation")
    if trained and (judged or region.loader or region.strongly or (forward.unswitched and region.training)):
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
    handed = (forward.loc or ("void",))[0] == "param" and region.loop is not None and (region.silent or region.loader)
    script = forward.stops[0].function == "<module>" and forward.known and (forward.loc or ("void",))[0] == "ret"
    alone = forward.unswitched or forward.pickled or handed or script or forward.layers == "some"  # else models are switched elsewhere
    if alone and (region.loader or region.strongly or (region.silent and (region.loop is not None or region.named))):
        return "medium"
    if forward.pickled and is_inference(forward, region):
        return "medium"
    data = region.loop is not None and names.has_words(region.loop.source, names.DATA_WORDS)
    return "medium" if region.used and data and forward.known else "low"


def toned(confidence: Confidence | None, forward: Forward, region: Region, *, recording: bool = False) -> Confidence | None:
    """Low where only a name says that the object is a model, where the code computes a loss, or where others of the class enter.

    Whether `recording` is asked for is told as well by what a method itself does with the output.
    """
    if confidence is None:
        return None
    if forward.midway and not forward.stops[0].trains and not (recording and region.switched and is_converted(forward, region)):
        return "low"  # what trains is entered in no other state than the one that training needs
    free = free_stops(forward)
    spoken = [own_name(s) for s in free]
    measures = any(names.has_words(n, names.STRONG_EVALUATION_WORDS | names.LOADER_EVAL_WORDS) for n in spoken)
    measures |= region.loop is not None and (region.silent or region.loader)
    own = {s.function for s in forward.stops}
    switched = any(m.mode == "eval" and m.function in own for m in forward.modes)
    measures |= region.loop is not None and "item" in forward.uses and (switched or (recording and not forward.escapes))
    if any(names.has_words(n, names.LOSS_WORDS) for n in spoken) and not measures and (forward.escapes or not switched):
        return "low"
    if not forward.known and forward.method not in ("__call__", "forward") and all(m.mode == "unknown" for m in forward.modes):
        return "low"  # whatever has a method of this name
    plain = set(names.words(forward.text)) & {"model", "net", "network"} or any(m.mode in ("eval", "given", "train") for m in forward.modes)
    return confidence if forward.known or (plain and forward.loc is not None and forward.loc[0] in ("param", "ret", "child")) else "low"


def grad_claims(facts: Facts) -> list[Claim]:
    """Evaluation regions in which autograd records for nothing."""
    return gathered(grad_rows(facts))


def grad_rows(facts: Facts) -> Iterator[tuple[Region, Forward, Confidence, list[Mode]]]:
    """Each forward that autograd records for nothing, with its region and how sure that is."""
    trained, training = trained_objects(facts), Training(facts)
    hushed = hushed_places(facts)
    differentiated = {(f.path, f.span) for f in facts.forwards if f.differentiates}
    attacked = {(f.loops[-1].path, f.loops[-1].span) for f in facts.forwards if f.loops and f.grad_used and not f.loops[-1].trains}
    for forward in usual(facts):
        if "on" not in forward.grad or forward.trained or forward.spoiled or forward.frozen or forward.carries_no_grad or forward.own_grad:
            continue
        learns = is_part_of(forward.loc, trained)
        if wants_gradients(forward) or is_probe(forward) or is_trial(forward, learns):
            continue
        region = region_of(forward)
        if is_rollout(forward) and (region.loop is None or (region.training and forward.uses <= {"item"}) or explores(forward)):
            continue  # an action is drawn
        if training.includes(forward):
            continue
        if region.loop is not None and (region.path, region.span) in attacked:
            continue  # the loop needs gradients
        confidence = toned(grad_confidence(forward, region, learns), forward, region, recording=True)
        site = forward.path, forward.span, region.path, region.function
        if confidence is not None and (forward.offered or forward.midway) and site in hushed:
            confidence = "low"  # who calls it in sight has turned recording off
        if confidence is not None and ((forward.path, forward.span) in differentiated or not (learns or is_known(forward, region))):
            confidence = "low"  # what may run there as well differentiates, or is no module at all
        if confidence is not None:
            yield from ((place, forward, confidence, []) for place in regions_around(forward, region))


def is_known(forward: Forward, region: Region) -> bool:
    """Whether more than a name says that something is a module: else it may be a wrapper that sees to recording itself."""
    handed = forward.loc is not None and forward.loc[0] == "param" and region.loop is not None
    given = any(m.mode == "given" for m in forward.modes)
    return forward.known or given or region.training or region.loader or handed or own_name(forward.stops[-1]) in HOOKS


def grad_confidence(forward: Forward, region: Region, trained: bool) -> Confidence | None:
    """How sure a missing no_grad is; None where nothing says that this is an evaluation."""
    if region.switched and region_is_own_method(forward) and all(is_built_in(m) for m in forward.modes if m.mode in ("eval", "given")):
        region = replace(region, switched=False)  # a module that is built in eval mode may be trained all the same
    if hands_out_loss(forward, region):
        return None
    if region.training and not region.switched and not (region.used and (region.loop is not None or trained)):
        return None
    if region.training and region.loop is None and region.used and trained:
        return "medium"
    if forward.stops[0].shared and not region.switched:
        return "low"
    if forward.escapes and region.loop is None and not (region.used or forward.uses & WEAK_USES):
        last = forward.stops[-1]
        own = own_name(last) if own_name(last) != "__call__" or last.module else last.owner
        public = not own.startswith("_") and names.has_words(own, names.STRONG_EVALUATION_WORDS | DOING)
        told = public and any(m.mode == "eval" and m.function in (last.function, f"{last.owner}.__init__") for m in forward.modes)
        if not told and not is_after_training(forward, region):
            return None
        return "medium"
    named_alone = not (region.switched or region.strongly or region.loader or region.used or forward.uses & WEAK_USES)
    if forward.escapes and region.loop is not None and named_alone and not is_api(forward.stops[0]):
        return "low"  # who takes what is collected may well train
    if "raw" in forward.uses and not region.switched:
        return None  # `.numpy()` on the output as it is: it would raise if anything were recorded
    if region_is_own_method(forward) and forward.escapes and (forward.stored or not (region.switched or is_over_batches(region))):
        return None
    measures_itself = trained and measures_by_name(region)
    asked = region.switched or names.has_words(own_name(forward.stops[0]), API_WORDS) or measures_itself
    if region_is_own_method(forward) and not asked:
        return None
    if region.loop is None and forward.uses == {"dropped"}:
        return None  # lazy layers are built, or a hook listens
    if is_training_part(forward) and not region.switched:
        return None
    evaluating = region.switched or region.strongly or region.loader or is_inference(forward, region)
    measuring = region.used and region.loop is not None and forward.known
    told = region.named and (region.used or region.loop is not None)
    if not (evaluating or measuring or told or is_converted(forward, region)):
        return None
    if len(forward.grad) > 1 or forward.may_differentiate:
        return "low"
    functions = {forward.stops[0].function, region.function}
    uses = forward.uses if region.switched else forward.uses - {"dropped"}
    own_switch = any(m.mode == "eval" and m.function in functions for m in forward.modes)
    kept = forward.escapes or forward.stored or not own_switch or forward.stops[0].function != "<module>"
    looked_at = forward.known and forward.stored and region.strongly and names.has_words(own_name(forward.stops[0]), JUDGES)
    if forward.hidden or (not (uses or looked_at) and region.loop is None and kept and not is_after_training(forward, region)):
        return "low"
    if forward.grad_by_caller and not own_switch and not is_api(forward.stops[0]):
        return "low"
    if region.switched and (region.loop is not None or region.used or forward.uses & WEAK_USES):
        return "high" if forward.known else "medium"
    if region.used or forward.uses & WEAK_USES or region.loop is not None or region.switched or looked_at:
        return "medium"
    return "low"


def train_claims(facts: Facts) -> list[Switch]:
    """Switches to eval that a training step meets with nothing in between that undoes them."""
    found: dict[tuple[str, Span], Switch] = {}
    untrained = [f for f in facts.forwards if not f.trained or f.grad == OFF]
    evaluated = {(m.path, m.function, f.loc) for f in untrained for m in f.modes if m.mode == "eval"}
    entered = [(f, {s.function for s in f.stops}) for f in untrained]
    serving = {(m.path, m.function, m.where) for f, own in entered for m in f.modes if not m.left and m.function in own}
    for forward in facts.forwards:
        if not forward.stepped or "on" not in forward.grad or forward.frozen or forward.partly:
            continue
        if any(s.module and names.is_loss_name(s.owner) for s in forward.stops):
            continue  # a network that measures
        others = [m for m in forward.modes if m.mode != "eval"]
        for mode in forward.modes:
            if mode.mode != "eval" or mode.where is None:
                continue
            own = mode.function in {s.function for s in forward.stops}
            used = (mode.path, mode.function, forward.loc) in evaluated
            handed = used and forward.loc is not None and forward.loc[0] in ("param", "ret")
            if not (mode.over or others or handed) or (own and not used):
                continue  # nothing is evaluated in it: training in that mode is what the code is for
            if mode.chosen or (forward.offbeat and mode.text.endswith(".train")):
                continue
            confidence: Confidence = "high" if forward.known and (mode.over or others) else "medium"
            if mode.left and not (is_repeated(forward, mode) or is_botched(mode, serving)):
                confidence = "low"  # only who evaluates and then trains once more meets it
            if forward.train_by_caller and (mode.left or is_built_in(mode)):
                confidence = "low"  # who calls it sees to it
            owner = mode.function.rpartition(".")[0]
            if is_built_in(mode) and not others and (forward.stops[0].owner or any(s.owner == owner for s in forward.stops)):
                confidence = "low"  # built in eval mode, and never put in another: it is meant to be trained in it
            key = (mode.path, mode.where)
            known = found.get(key)
            if known is None or RANK[confidence] > RANK[known.confidence]:
                found[key] = Switch(mode, forward, confidence, (known.forward, *known.others) if known else ())
            else:
                found[key] = replace(known, others=(*known.others, forward))
    return list(found.values())
