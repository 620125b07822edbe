"""Modules that a module keeps in a plain list, tuple or dict: neither `eval()` nor `parameters()` nor `to()` finds them there.

Sorts of lapses: "dependent" (a part has a mode-dependent layer), "parameters" (parts own parameters and nothing that depends on the mode).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evallint import events as ev
from evallint.events import Class, Function, Span, Value
from evallint.meaning import names
from evallint.meaning.facts import Lapse
from evallint.meaning.guarded import calls_under, inside, items_of, values_in, values_of_name
from evallint.meaning.layers import CONTAINERS, INDEPENDENT, PARAMETERLESS, Layers
from evallint.meaning.walk import asked_of_self, attributes_collected, attributes_set, every, is_collection, last_name, text_of

REGISTERING = frozenset("add_module register_module setattr __setattr__ register_parameter extra_modules".split())
"""Calls by which a module registers a part that it keeps elsewhere as well."""
VISITING = frozenset(
    "train eval parameters named_parameters modules named_modules children named_children _apply to cuda state_dict".split()
)
"""Methods by whose override a module takes care of parts that it has not registered."""
HARMLESS = frozenset(
    "append extend insert len enumerate zip range list tuple reversed print iter update items keys values isinstance hasattr type any all"
    " sum str repr id next info debug warning error format".split()
)
"""Calls that do nothing to the modules of a collection that they are handed."""
ADDING = frozenset(("append", "extend", "insert", "add", "update", "setdefault"))
TELLING = frozenset("len isinstance hasattr type any all sum str repr id".split())
"""Calls that tell something of a collection."""
PASSING = frozenset("to cuda cpu half float double bfloat16 type requires_grad_ apply".split())
RANK = ("none", "unknown", "parameters", "dependent")
WITHOUT_PARAMETERS = PARAMETERLESS | frozenset(
    "MaxPool3d AvgPool3d AdaptiveMaxPool2d AdaptiveAvgPool1d SELU Softplus Parameter ParameterList Module BCEWithLogitsLoss NLLLoss"
    " InstanceNorm1d InstanceNorm2d".split()
)
RECURRENT = frozenset(("LSTM", "GRU", "RNN"))


@dataclass(slots=True, eq=False)
class Part:
    """A module in a collection: what it says of the mode (one of `RANK`), the call that makes it, and what it is called."""

    says: str
    span: Span
    text: str
    layer: str = ""


class HiddenParts:
    """Looks for modules that are kept where no method of `nn.Module` finds them."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.project = layers.project
        self.owners: dict[int, bool] = {}

    def lapses_in(self, classes: Sequence[Class]) -> Iterator[Lapse]:
        """The lapses in the classes of a file."""
        for cls in classes:
            if self.project.is_module(cls):
                known = {name for c in self.project.mro(cls) for m in c.methods.values() for name in attributes_collected(m)}
                for method in cls.methods.values() if known else ():
                    kept = set(attributes_collected(method)) | {r for r, m in method.receivers if m in ADDING and r in known}
                    if kept and any(name[:1].isupper() for name in method.called):
                        yield from self.lapses_of(cls, method, kept)

    def lapses_of(self, cls: Class, method: Function, kept: set[str]) -> Iterator[Lapse]:
        """The lapses in one method, which writes the collections `kept`."""
        if method.called & REGISTERING:
            return
        for name in sorted(kept):
            parts = list(self.parts_in(cls, method, name))
            worst = max((RANK.index(p.says) for p in parts), default=0)
            if RANK[worst] not in ("parameters", "dependent") or self.is_cared_for(cls, method, name, RANK[worst]):
                continue
            first = next(p for p in parts if RANK.index(p.says) == worst)
            text = f"self.{name}"
            steps = ((cls.path, first.span, f"`{first.text}` goes into `{text}`, which is no `nn.ModuleList`"),)
            sure = self.project.is_known_module(cls)
            shown = first.layer if first.layer and first.layer != "self.training" else first.text
            yield Lapse("hidden", RANK[worst], cls.path, first.span, method.qualname, text, sure, steps, shown)

    # What is in a collection

    def parts_in(self, cls: Class, method: Function, name: str) -> Iterator[Part]:
        """The modules that a method puts into an attribute that is a collection."""
        given = [e.value for e in every(method.body) if isinstance(e, ev.Assign) and any(asked_of_self(t) == name for t in e.targets)]
        sources = {f"self.{name}", *(value.id for value in given if isinstance(value, ev.Name))}
        grown = not any(isinstance(value, ev.Call) and not is_collection(value) for value in given)  # in one arm it may be a `ModuleDict`
        for event in every(method.body):
            if isinstance(event, ev.Assign):
                for target in event.targets:
                    whole = text_of(target) in sources and is_collection(event.value)
                    if whole or (grown and isinstance(target, ev.Sub) and text_of(target.base) in sources):
                        yield from self.parts_of(cls, method, event.value)
        for met in calls_under(method) if grown else ():
            func = met.call.func
            if isinstance(func, ev.Attr) and func.name in ADDING and text_of(func.base) in sources and met.call.args:
                yield from self.parts_of(cls, method, met.call.args[-1])

    def parts_of(self, cls: Class, method: Function, value: Value, depth: int = 0) -> Iterator[Part]:
        """The modules that a value is, or that are in it."""
        if isinstance(value, (ev.Seq, ev.Mix)):
            for item in value.items:
                yield from self.parts_of(cls, method, item, depth)
        elif isinstance(value, ev.Map):
            for _, item in value.items:
                yield from self.parts_of(cls, method, item, depth)
        elif isinstance(value, ev.Comprehension):
            yield from self.parts_of(cls, method, value.item, depth)
        elif isinstance(value, ev.IfValue):
            yield from self.parts_of(cls, method, value.then, depth)
            yield from self.parts_of(cls, method, value.other, depth)
        elif isinstance(value, ev.Name) and depth < 3 and not self.is_registered(method, value.id):
            for given, _ in values_of_name((method,), value.id):
                yield from self.parts_of(cls, method, given, depth + 1)
        elif isinstance(value, ev.Call):
            yield from self.part_made(cls, method, value, depth)

    def part_made(self, cls: Class, method: Function, call: ev.Call, depth: int) -> Iterator[Part]:
        """The module that a call makes, or those of the collection that it makes."""
        func = call.func
        if isinstance(func, ev.Name) and func.id in ev.COLLECTIONS:
            for value in (*call.args, *(v for _, v in call.keywords)):
                yield from self.parts_of(cls, method, value, depth)
        elif isinstance(func, ev.Attr) and isinstance(func.base, ev.Call) and func.name in PASSING:
            yield from self.parts_of(cls, method, func.base, depth)
        elif last_name(func) == "deepcopy" and call.args:
            yield from self.parts_of(cls, method, call.args[0], depth)
        else:
            says, layer = self.says_of(cls, call)
            if says != "none":
                yield Part(says, call.span, text_of(func), layer)

    def says_of(self, cls: Class, call: ev.Call) -> tuple[str, str]:
        """What a constructor's call says of the mode (one of `RANK`), and the layer that depends on it."""
        atom = self.project.dotted(cls.path, call.func)
        name = last_name(call.func)
        if atom is None or isinstance(call.func, ev.Sub):
            return "none", ""
        if atom[0] == "k":
            made: Class = atom[1]
            if not self.project.is_module(made):
                return "none", ""
            says, layer = self.layers.class_layers(made, set())
            wraps = any(asked_of_self(item) for arg in call.args for item in inside(arg))  # parts that are attributes as well
            if wraps and any(base.endswith(tuple(CONTAINERS)) for base in self.project.outside_bases(made)):
                return "none", ""
            if says == "some":
                return "dependent", layer
            return ("parameters", "") if self.owns(made) else ("unknown", "")
        dotted = atom[1] if atom[0] == "x" else ""
        if not dotted.startswith(("torch.nn.", "nn.")) or ".functional." in dotted or names.is_loss_name(name):
            models = self.project.libraries.matches("models_in_training_mode", dotted) and not self.project.libraries.matches(
                "losses", dotted
            )
            return ("unknown" if not models else "dependent", "") if dotted else ("none", "")
        if name in CONTAINERS:
            inner = [self.says_of(cls, item) for arg in call.args for item in inside(arg) if isinstance(item, ev.Call)]
            return max(inner, key=lambda found: RANK.index(found[0]), default=("none", ""))
        says, layer = self.layers.called_layer(cls.path, call, set())
        if says == "some":
            return "dependent", layer
        return ("parameters" if is_owner(name) else "none"), ""

    def owns(self, cls: Class) -> bool:
        """Whether a class of the project is seen to have parameters of its own, or parts that do."""
        found = self.owners.get(id(cls))
        if found is None:
            self.owners[id(cls)] = False  # a part of its own kind adds nothing
            found = self.owners[id(cls)] = any(map(self.owns_by_itself, self.project.mro(cls)))
        return found

    def owns_by_itself(self, cls: Class) -> bool:
        """`owns` for what one class defines."""
        if any(base.startswith("torch.nn.") and is_owner(base.rpartition(".")[2]) for base in self.project.outside_bases(cls)):
            return True
        init = cls.methods.get("__init__")
        for met in calls_under(init) if init is not None else ():
            name = last_name(met.call.func)
            if name in ("Parameter", "register_parameter"):
                if not any(k == "requires_grad" for k, _ in met.call.keywords):
                    return True
            elif name not in CONTAINERS and self.says_of(cls, met.call)[0] in ("parameters", "dependent"):
                return True
        return False

    # Who takes care of it

    def is_registered(self, method: Function, name: str) -> bool:
        """Whether a local module, or a local collection, is registered by the method: assigned to an attribute, handed to a container."""
        for event in every(method.body):
            if isinstance(event, ev.Assign) and isinstance(event.value, ev.Name) and event.value.id == name:
                if any(asked_of_self(t) for t in event.targets):
                    return True
        return self.is_handed_on(method, name) or self.is_switched(method, name)

    def is_handed_on(self, method: Function, text: str, *, made: bool = False) -> bool:
        """Whether a method hands something, by its name, to a call that may register it (`made`: a constructor)."""
        registers = any(last_name(met.call.func) in CONTAINERS and met.call.args for met in calls_under(method))
        for met in calls_under(method):
            if last_name(met.call.func) == "dict" and not registers:
                continue
            name = last_name(met.call.func)
            if name in HARMLESS or (made and not name[:1].isupper()) or name.endswith("_") or "init" in names.words(name):
                continue  # `nn.init.normal_(layer.weight)`, `init_weights(layer)`
            for arg in (*met.call.args, *(v for _, v in met.call.keywords)):
                if any(text_of(item) == text for item in held_in(arg) if isinstance(item, (ev.Name, ev.Attr))):
                    return True
        return False

    def is_switched(self, method: Function, text: str) -> bool:
        """Whether a method puts what it calls `text` in a mode by hand."""
        calls = (met.call.func for met in calls_under(method))
        return any(isinstance(f, ev.Attr) and f.name in ("eval", "train") and text_of(f.base) == text for f in calls)

    def is_cared_for(self, cls: Class, method: Function, name: str, says: str) -> bool:
        """Whether the class registers the parts of a collection after all, or visits them itself."""
        family = (*self.project.mro(cls), *self.project.subclasses.get(id(cls), ()))
        for event in every(method.body):
            if isinstance(event, ev.Assign) and any(asked_of_self(t) == name for t in event.targets):
                if isinstance(event.value, ev.Name) and self.is_handed_on(method, event.value.id):
                    return True
        if self.is_gathered_anew(method, name):
            return True
        for other in (m for c in family for m in c.methods.values()):
            if name in other.called and (other.called & CONTAINERS or any(n[:1].isupper() for n in other.called)):
                if self.is_handed_on(other, f"self.{name}", made=other is not method):
                    return True
            wanted = (
                other.called & REGISTERING
                or (other.name in VISITING and is_mode_override(other))
                or (other.called & {"eval", "train", "apply"} and self.may_switch(other, name))
            )
            if says == "parameters":
                wanted = wanted or other.called & {"parameters", "named_parameters", "state_dict"}
            if wanted and other is not method and self.mentions(other, name):
                return True
            if other is method and other.called & {"eval", "apply"} and self.is_visited(other, name):
                return True
            if other is not method and name in set(attributes_set(other)) and name not in set(attributes_collected(other)):
                return True  # it is something else later
        return False

    def is_gathered_anew(self, method: Function, name: str) -> bool:
        """Whether a loop over a collection puts its parts elsewhere: `for layer in self.layers: parts.append(layer)`."""
        for event in every(method.body):
            if isinstance(event, ev.Loop) and event.source is not None and event.target is not None and self.reads(event.source, name):
                targets = {item.id for item in inside(event.target) if isinstance(item, ev.Name)}
                for met in calls_under(method):
                    put = last_name(met.call.func) in ADDING or last_name(met.call.func)[:1].isupper()
                    given = (*met.call.args, *(v for _, v in met.call.keywords)) if put else ()
                    if any(isinstance(item, ev.Name) and item.id in targets for arg in given for item in inside(arg)):
                        return True
        return False

    def is_visited(self, method: Function, name: str) -> bool:
        """Whether a loop over a collection switches what it holds: `for block in self.blocks: block.eval()`."""
        for event in every(method.body):
            if isinstance(event, ev.Loop) and isinstance(event.target, ev.Name) and self.reads(event.source, name):
                if self.is_switched(method, event.target.id):
                    return True
        return any(
            isinstance(met.call.func, ev.Attr) and met.call.func.name in ("eval", "train", "apply") and self.reads(met.call.func, name)
            for met in calls_under(method)
        )

    def may_switch(self, method: Function, name: str) -> bool:
        """Whether a mode call in a method may be meant for what is in a collection: not `self.model.eval()`, nor `fish.train(x, y)`."""
        for met in calls_under(method):
            func = met.call.func
            if isinstance(func, ev.Attr) and func.name in ("eval", "train", "apply"):
                single = len(met.call.args) + len(met.call.keywords) < 2
                if single and asked_of_self(func.base) in ("", name) and text_of(func.base) != "self":
                    return True
        return False

    def mentions(self, method: Function, name: str) -> bool:
        """Whether a method says `self.name` anywhere."""
        return any(self.reads(value, name) for event in every(method.body) for value in values_in(event))

    def reads(self, value: Value, name: str) -> bool:
        """Whether a value holds `self.name`."""
        return any(asked_of_self(item) == name for item in inside(value))


def held_in(value: Value) -> Iterator[Value]:
    """A value and all values in it, without those of which a call makes a number or a text: `len(self.layers)`."""
    if isinstance(value, ev.Text) or (isinstance(value, ev.Call) and last_name(value.func) in TELLING):
        return
    yield value
    for item in items_of(value):
        yield from held_in(item)


def is_mode_override(method: Function) -> bool:
    """Whether a method called `train` or `eval` can be what `nn.Module` calls: `train(x, y)` is a procedure."""
    return len([p for p in method.params[1:] if p.default is None and p.kind == "pos"]) < 2


def is_owner(name: str) -> bool:
    """Whether a layer of torch.nn has parameters, by its name."""
    return name in RECURRENT or name in INDEPENDENT - WITHOUT_PARAMETERS
