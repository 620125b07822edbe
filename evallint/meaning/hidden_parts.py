"""Modules that a module keeps in a plain list, tuple or dict: neither `eval()` nor `parameters()` nor `to()` finds them there.

Sorts of lapses: "dependent" (a part has a mode-dependent layer), "parameters" (parts own parameters and nothing that depends on the mode),
"handed" (parts that the constructor is given, and that the module runs), "tended" (methods of the class switch the parts by hand, or hand
them to an optimizer where nothing in them depends on the mode).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evallint import events as ev
from evallint.events import Class, Function, Value
from evallint.meaning import names
from evallint.meaning.bound import given_to
from evallint.meaning.collected import (
    ADDING,
    RANK,
    REGISTERING,
    WITHOUT_PARAMETERS,
    Collected,
    Spot,
    is_handed_on,
    is_kept,
    is_no_part,
    is_switched,
)
from evallint.meaning.facts import Lapse
from evallint.meaning.guarded import calls_under, inside, values_in
from evallint.meaning.layers import CONTAINERS, DEPENDENT, INDEPENDENT, WITH_DROPOUT, Layers
from evallint.meaning.signs import is_unit_test
from evallint.meaning.walk import asked_of_self, attributes_collected, attributes_set, every, is_collection, last_name, text_of

VISITING = frozenset(
    "train eval parameters named_parameters modules named_modules children named_children _apply to cuda state_dict".split()
)
"""Methods by whose override a module takes care of parts that it has not registered."""
MOVING = frozenset(("to", "cuda", "state_dict"))
"""Those of them that leave the mode of the parts as it is."""
SWITCHING = frozenset("set switch prep to mode enable disable freeze unfreeze".split())
"""Words of methods that are there to switch modes."""
LAYERS = DEPENDENT | WITH_DROPOUT | (INDEPENDENT - WITHOUT_PARAMETERS)
"""The layers of torch.nn of which it matters where they are kept."""


class HiddenParts:
    """Looks for modules that are kept where no method of `nn.Module` finds them."""

    def __init__(self, layers: Layers, own: frozenset[str]) -> None:
        self.project = layers.project
        self.collected = Collected(layers)
        self.own = own
        """The names of the program's own module classes."""

    def lapses_in(self, classes: Sequence[Class]) -> Iterator[Lapse]:
        """The lapses in the classes of a file."""
        for cls in classes:
            if self.project.is_module(cls):
                known = {name for c in self.project.mro(cls) for m in c.methods.values() for name in attributes_collected(m)}
                known |= set(collected_by_class(cls))
                for method in cls.methods.values():
                    kept = self.kept_by(cls, method, known)
                    if kept:
                        yield from self.lapses_of(cls, method, kept)

    def kept_by(self, cls: Class, method: Function, known: set[str]) -> set[str]:
        """The collections that a method writes, those `known` to the class among them."""
        if method.name == "__init__":
            return self.grown_by(method, known) | self.kept_whole(cls, method)
        kept = self.grown_by(method, known) if any(name[:1].isupper() for name in method.called) else set()
        if known and not method.called.isdisjoint(self.own | LAYERS):
            kept |= set(filled_by_key(method)) & known
        return kept

    def grown_by(self, method: Function, known: set[str]) -> set[str]:
        """The collections that a method writes out, or adds to."""
        return set(attributes_collected(method)) | {r for r, m in method.receivers if m in ADDING and r in known}

    def kept_whole(self, cls: Class, init: Function) -> set[str]:
        """The collections that a constructor is handed and keeps, or that a helper makes for it."""
        spot = Spot(cls, init)
        given = [e for e in every(init.body) if isinstance(e, ev.Assign) and self.is_whole(spot, e.value)]
        return {name for event in given for target in event.targets if (name := asked_of_self(target))}

    def is_whole(self, spot: Spot, value: Value) -> bool:
        """Whether a value is a collection that is handed in, or that a helper returns."""
        if isinstance(value, ev.Name):
            return self.collected.is_handed(spot, value.id, several=True)
        return (
            isinstance(value, ev.Call)
            and last_name(value.func).lstrip("_")[:1].islower()
            and self.collected.returns_collection(spot, value)
        )

    def lapses_of(self, cls: Class, method: Function, kept: set[str]) -> Iterator[Lapse]:
        """The lapses in one method, which writes the collections `kept`."""
        registering = method.called & REGISTERING
        for name in sorted(kept):
            parts = list(self.collected.parts_in(cls, method, name))
            worst = RANK[max((RANK.index(p.says) for p in parts), default=0)]
            if worst not in ("handed", "parameters", "dependent") or (registering and registers(method, name, worst)):
                continue
            if self.is_cared_for(cls, method, name, worst):
                continue
            if worst == "handed" and not self.runs_what_it_is_handed(cls, name):
                continue
            first = next(p for p in parts if p.says == worst)
            text = f"self.{name}"
            steps = ((cls.path, first.span, f"`{first.text}` goes into `{text}`, which is no `nn.ModuleList`"),)
            sure = self.project.is_known_module(cls) and worst != "handed"
            tended = self.is_switched_by_hand(cls, name) or (worst == "parameters" and self.is_trained_by_hand(cls, name))
            sort = "tended" if tended and worst != "handed" else worst
            shown = first.layer if first.layer and first.layer != "self.training" else first.text
            yield Lapse("hidden", sort, cls.path, first.span, method.qualname, text, sure, steps, shown)

    # What is handed in

    def runs_what_it_is_handed(self, cls: Class, name: str) -> bool:
        """Whether a class calls the modules of a collection that it is handed, and nobody is seen to hand in parts of its own."""
        if is_no_part(name) or is_no_part(cls.name) or (name.startswith("_") and not names_all_private(cls)):
            return False
        runs = any(runs_elements(m, name) for c in self.project.mro(cls) for m in c.methods.values() if m.name != "__init__")
        return runs and not any(self.hands_in_own(f, cls) for f in self.project.called_names.get(cls.name, ()))

    def hands_in_own(self, f: Function, cls: Class) -> bool:
        """Whether a function builds the class of parts that its own object keeps as well."""
        owner = self.project.class_of_method.get(id(f))
        if is_unit_test(f.path, f.name, owner.name if owner is not None else ""):
            return False
        for met in calls_under(f):
            if last_name(met.call.func) == cls.name:
                given = [item for arg in (*met.call.args, *(v for _, v in met.call.keywords)) for item in inside(arg)]
                if any(asked_of_self(item) or (isinstance(item, ev.Name) and is_kept(f, item.id)) for item in given):
                    return True
        return False

    # Who takes care of it

    def is_switched_by_hand(self, cls: Class, name: str) -> bool:
        """Whether some method other than an override switches what is in a collection: `self.heads[key].eval()` where it predicts."""
        return any(self.is_one_by_hand(m, name) for c in self.project.mro(cls) for m in c.methods.values())

    def is_one_by_hand(self, method: Function, name: str) -> bool:
        """`is_switched_by_hand` for one method; one that only switches is the way in which the class is meant to be switched."""
        if method.name in ("__init__", "train", "eval") or not method.called & {"eval", "train"}:
            return False
        return not names.has_words(method.name, SWITCHING) and self.is_visited(method, name)

    def is_trained_by_hand(self, cls: Class, name: str) -> bool:
        """Whether a class collects the parameters in a collection for an optimizer: `params += self.heads[key].parameters()`."""
        for method in (m for c in self.project.mro(cls) for m in c.methods.values()):
            if method.called & {"parameters", "named_parameters"} and any(
                isinstance(met.call.func, ev.Attr)
                and met.call.func.name in ("parameters", "named_parameters")
                and (holds(met.call.func.base, name) or isinstance(met.call.func.base, ev.Name))
                for met in calls_under(method)
            ):
                if self.mentions(method, name):
                    return True
        return False

    def is_cared_for(self, cls: Class, method: Function, name: str, says: str) -> bool:
        """Whether the class registers the parts of a collection after all, or visits them itself."""
        family = self.project.family(cls)
        for event in every(method.body):
            if isinstance(event, ev.Assign) and any(asked_of_self(t) == name for t in event.targets):
                if isinstance(event.value, ev.Name) and is_handed_on(method, event.value.id):
                    return True
        if self.is_gathered_anew(method, name) or self.is_menu(cls, method, name):
            return True
        for other in (m for c in family for m in c.methods.values()):
            said = name in other.called or (name, "values") in other.receivers
            if said and (other.called & CONTAINERS or any(n[:1].isupper() for n in other.called)):
                if is_handed_on(other, f"self.{name}", made=other is not method):
                    return True
            wanted = (
                other.called & REGISTERING
                or (other.name in (VISITING - MOVING if says == "dependent" else VISITING) and is_mode_override(other))
                or (other.called & {"eval", "train", "apply"} and not self.is_one_by_hand(other, name) and self.may_switch(other, name))
            )
            if says == "parameters":
                wanted = wanted or "state_dict" in other.called
            if wanted and other is not method and self.mentions(other, name):
                return True
            if other is method and other.called & {"eval", "apply"} and self.is_visited(other, name):
                return True
            if other is not method and name in set(attributes_set(other)) and name not in set(attributes_collected(other)):
                return True  # it is something else later
        return False

    def is_menu(self, cls: Class, init: Function, name: str) -> bool:
        """Whether the constructor chooses from a collection, by a method that nothing else calls, and no other method reads it."""
        if init.name != "__init__":
            return False
        others = [m for c in self.project.family(cls) for m in c.methods.values() if m is not init]
        asked = [("self", m.name) for m in others if self.mentions(m, name)]
        return bool(asked) and all(a in init.receivers and not any(a in m.receivers for m in others) for a in asked)

    def is_gathered_anew(self, method: Function, name: str) -> bool:
        """Whether a loop over a collection puts its parts elsewhere: `for layer in self.layers: parts.append(layer)`."""
        for event in every(method.body):
            if isinstance(event, ev.Loop) and event.source is not None and event.target is not None and holds(event.source, name):
                targets = names_in_target(event.target)
                for met in calls_under(method):
                    put = last_name(met.call.func) in ADDING or last_name(met.call.func)[:1].isupper()
                    given = (*met.call.args, *(v for _, v in met.call.keywords)) if put else ()
                    if any(isinstance(item, ev.Name) and item.id in targets for arg in given for item in inside(arg)):
                        return True
        return False

    def is_visited(self, method: Function, name: str) -> bool:
        """Whether a loop over a collection switches what it holds: `for block in self.blocks: block.eval()`."""
        for event in every(method.body):
            if isinstance(event, ev.Loop) and isinstance(event.target, ev.Name) and holds(event.source, name):
                if is_switched(method, event.target.id):
                    return True
        return any(
            isinstance(met.call.func, ev.Attr) and met.call.func.name in ("eval", "train", "apply") and holds(met.call.func, name)
            for met in calls_under(method)
        )

    def may_switch(self, method: Function, name: str) -> bool:
        """Whether a mode call in a method may be meant for what is in a collection: not `self.model.eval()`, nor `fish.train(x, y)`."""
        for met in calls_under(method):
            func = met.call.func
            if isinstance(func, ev.Attr) and func.name in ("eval", "train", "apply"):
                single = len(met.call.args) + len(met.call.keywords) < 2
                base = func.base.base if isinstance(func.base, ev.Sub) else func.base  # `self.others[key].eval()`
                if single and asked_of_self(base) in ("", name) and text_of(base) != "self" and not is_new(method, base):
                    return True
        return False

    def mentions(self, method: Function, name: str) -> bool:
        """Whether a method says `self.name` anywhere."""
        return any(holds(value, name) for event in every(method.body) for value in values_in(event))


def collected_by_class(cls: Class) -> Iterator[str]:
    """The names to which the body of a class assigns a collection."""
    for event in cls.body:
        if isinstance(event, ev.Assign) and is_collection(event.value):
            yield from (t.id for t in event.targets if isinstance(t, ev.Name))


def filled_by_key(method: Function) -> Iterator[str]:
    """The attributes under whose keys a method puts something: `self.late[key] = nn.Linear(2, 2)`."""
    for event in every(method.body):
        for target in event.targets if isinstance(event, ev.Assign) else ():
            if isinstance(target, ev.Sub) and (name := asked_of_self(target.base)):
                yield name


def is_new(method: Function, value: Value) -> bool:
    """Whether a local name stands for what the method makes itself: `head = Head(width)`."""
    given = list(given_to(method, value.id)) if isinstance(value, ev.Name) else []
    return bool(given) and all(isinstance(v, ev.Call) and last_name(v.func)[:1].isupper() for v in given)


def registers(method: Function, name: str, says: str) -> bool:
    """Whether a method registers what it made before, perhaps what a collection holds: not `setattr(self, name, nn.Linear(8, 8))`.

    Nor what it adds to a part that is itself in the collection; parameters alone are not enough for what depends on the mode.
    """
    for met in calls_under(method):
        called, func = last_name(met.call.func), met.call.func
        if called not in REGISTERING or (called == "register_parameter" and says == "dependent"):
            continue
        if isinstance(func, ev.Attr) and isinstance(func.base, ev.Sub) and asked_of_self(func.base.base) == name:
            continue
        given = [*met.call.args[1:], *(v for _, v in met.call.keywords)][-1:]
        if not all(isinstance(v, ev.Const) or (isinstance(v, ev.Call) and last_name(v.func)[:1].isupper()) for v in given):
            return True
    return False


def names_all_private(cls: Class) -> bool:
    """Whether all attributes that a constructor sets begin with an underscore, so that one says nothing."""
    init = cls.methods.get("__init__")
    given = list(attributes_set(init)) if init is not None else []
    return len(set(given)) > 1 and all(name.startswith("_") for name in given)


def runs_elements(method: Function, name: str) -> bool:
    """Whether a method calls what is in a collection: `for layer in self.layers: x = layer(x)`, `self.layers[0](x)`."""
    bound: set[str] = set()
    values = [value for event in every(method.body) for value in values_in(event)]
    for event in every(method.body):
        if isinstance(event, ev.Loop) and event.target is not None and holds(event.source, name):
            bound |= names_in_target(event.target)
        elif isinstance(event, ev.Assign) and holds(event.value, name) and not isinstance(event.value, ev.Call):
            bound |= {n for t in event.targets for n in names_in_target(t)}
    for item in (item for value in values for item in inside(value)):
        if isinstance(item, ev.Comprehension):
            bound |= {n for target, source, _ in item.loops if holds(source, name) for n in names_in_target(target)}
    for met in calls_under(method):
        func = met.call.func
        if (isinstance(func, ev.Name) and func.id in bound) or (isinstance(func, ev.Sub) and asked_of_self(func.base) == name):
            return True
    return False


def holds(value: Value, name: str) -> bool:
    """Whether a value holds `self.name`."""
    return any(asked_of_self(item) == name for item in inside(value))


def names_in_target(target: Value) -> set[str]:
    """The names that a target binds."""
    return {item.id for item in inside(target) if isinstance(item, ev.Name)}


def is_mode_override(method: Function) -> bool:
    """Whether a method called `train` or `eval` can be what `nn.Module` calls: `train(x, y)` is a procedure."""
    return len([p for p in method.params[1:] if p.default is None and p.kind == "pos"]) < 2
