"""What a module puts into a plain list, tuple or dict: which modules these are, and whether they are registered beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from evallint import events as ev
from evallint.events import Class, Function, Param, Value
from evallint.meaning import names, slices
from evallint.meaning.bound import EACH, Picked, called_with, elements_of, given_to, kinds_called
from evallint.meaning.guarded import Met, calls_under, inside, items_of, values_in
from evallint.meaning.layers import CONTAINERS, INDEPENDENT, PARAMETERLESS, Layers, is_false
from evallint.meaning.walk import asked_of_self, every, is_collection, last_name, text_of

REGISTERING = frozenset("add_module register_module setattr __setattr__ register_parameter extra_modules".split())
"""Calls by which a module registers a part that it keeps elsewhere as well."""
HARMLESS = frozenset(
    "append extend insert len enumerate zip range list tuple reversed print iter update items keys values isinstance hasattr type any all"
    " sum str repr id next info debug warning error format deepcopy map filter sorted setdefault".split()
)
"""Calls that do nothing to the modules of a collection that they are handed."""
ADDING = frozenset(("append", "extend", "insert", "add", "update", "setdefault"))
GATHERING = ev.COLLECTIONS | {"zip", "reversed", "sorted", "enumerate"}
"""Calls that make a collection of what is in others."""
TELLING = frozenset("len isinstance hasattr type any all sum str repr id".split())
"""Calls that tell something of a collection."""
PASSING = frozenset("to cuda cpu half float double bfloat16 type requires_grad_ apply".split())
VIEWING = frozenset(("values", "items", "copy", "children"))
"""Methods of a collection, or of a network, that give what is in it."""
RANK = ("none", "unknown", "handed", "parameters", "dependent")
"""What a part says of the mode; "handed" is a module that the constructor is given."""
WITHOUT_PARAMETERS = PARAMETERLESS | {"Parameter", "Module", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"}
RECURRENT = frozenset(("LSTM", "GRU", "RNN"))
MANY = frozenset("List list Sequence Iterable Tuple tuple Dict dict Mapping OrderedDict".split())
"""How annotations spell collections."""
PLAIN = frozenset("List list Sequence Tuple tuple".split())
DEEPEST = 6
"""How many names and helpers are followed, one through the other."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A module in a collection: what it says of the mode (one of `RANK`), the call or statement that makes it, and what it is called."""

    says: str
    span: ev.Span
    text: str
    layer: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """Where a value is looked at: the class, the function that says it, the call that puts it there, and how far the look has gone.

    `free`: it is copied, or goes into a container, so that it does not matter whether it is registered itself.
    """

    cls: Class | None
    method: Function
    put: Met | None = None
    depth: int = 0
    free: bool = False
    span: ev.Span = ev.NOWHERE
    """Where something is put into the collection."""

    def deeper(self, *, free: bool | None = None) -> Spot:
        """The same, one name further on."""
        return Spot(self.cls, self.method, self.put, self.depth + 1, self.free if free is None else free, self.span)


class Collected:
    """Looks into the collections of modules."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self.project = layers.project
        self.owners: dict[int, bool] = {}

    def parts_in(self, cls: Class, method: Function, name: str) -> Iterator[Part]:
        """The modules that a method puts into an attribute that is a collection."""
        text = f"self.{name}"
        given = [e for e in every(method.body) if isinstance(e, ev.Assign) and any(asked_of_self(t) == name for t in e.targets)]
        sources = {text, *(e.value.id for e in given if isinstance(e.value, ev.Name))}
        sources |= {t.id for e in given if is_collection(e.value) for t in e.targets if isinstance(t, ev.Name)}
        made = [e.value for e in given if isinstance(e.value, ev.Call) and not is_collection(e.value)]
        spot = Spot(cls, method)
        whole = [call for call in made if self.returns_collection(spot, call)]
        for call in whole:
            yield from self.parts_of(spot, call)
        grown = sources if len(whole) == len(made) else set()  # in one arm it may be a `ModuleDict`
        yield from self.put_into(spot, sources, grown)
        for event in given:
            if isinstance(event.value, ev.Name) and self.is_handed(spot, event.value.id, several=True):
                yield Part("handed", event.span, event.value.id)

    def put_into(self, spot: Spot, sources: set[str], grown: set[str]) -> Iterator[Part]:
        """The modules that a function puts into the collections of these names: at once, and (`grown`) bit by bit."""
        for event in every(spot.method.body):
            if isinstance(event, ev.Assign):
                for target in event.targets:
                    whole = text_of(target) in sources and is_collection(event.value)
                    if whole or (isinstance(target, ev.Sub) and text_of(target.base) in grown):
                        yield from self.parts_of(replace(spot, span=event.span), event.value)
        for met in calls_under(spot.method) if grown else ():
            func = met.call.func
            if isinstance(func, ev.Attr) and (func.name in ADDING or func.name == "add_module") and met.call.args:
                base = func.base.base if isinstance(func.base, ev.Sub) else func.base  # `self.layers[key].append(layer)`
                if text_of(base) in grown:
                    yield from self.parts_of(replace(spot, put=met, span=met.call.span), met.call.args[-1])

    def parts_of(self, spot: Spot, value: Value) -> Iterator[Part]:
        """The modules that a value is, or that are in it."""
        if isinstance(value, (ev.Seq, ev.Mix)):
            for item in value.items:
                yield from self.parts_of(spot, item)
        elif isinstance(value, ev.Map):
            for _, item in value.items:
                yield from self.parts_of(spot, item)
        elif isinstance(value, ev.Comprehension):
            yield from self.parts_repeated(spot, value)
        elif isinstance(value, ev.IfValue):
            yield from self.parts_of(spot, value.then)
            yield from self.parts_of(spot, value.other)
        elif isinstance(value, ev.Bool):
            yield from self.parts_of(spot, value.left)
            yield from self.parts_of(spot, value.right)
        elif isinstance(value, ev.Star):
            yield from self.parts_of(spot, value.item)
        elif isinstance(value, ev.Sub) and is_collection(value):
            yield from self.parts_of(spot, value.base)
        elif isinstance(value, Picked):
            helper = self.helper(spot, value.source) if isinstance(value.source, ev.Call) and value.place != EACH else None
            if helper is not None and isinstance(value.source, ev.Call):
                yield from self.parts_returned(spot, value.source, helper, value.place)
                return
            for item in elements_of(value):
                yield from self.parts_of(spot, item)
        elif spot.depth >= DEEPEST:
            return
        elif isinstance(value, ev.Name):
            yield from self.parts_named(spot, value.id)
        elif asked_of_self(value):
            yield from self.parts_kept(spot, value)
        elif isinstance(value, ev.Call):
            yield from self.part_made(spot, value)

    def parts_repeated(self, spot: Spot, value: ev.Comprehension) -> Iterator[Part]:
        """The modules of a comprehension: those that its item makes, or those of the collection that it goes through."""
        bound = {t.id: Picked(source, EACH) for target, source, _ in value.loops for t in inside(target) if isinstance(t, ev.Name)}
        picked = value.item.items[-1] if isinstance(value.item, ev.Mix) and value.item.items else value.item
        if isinstance(picked, ev.Name) and picked.id in bound:
            yield from self.parts_of(spot, bound[picked.id])
        else:
            yield from self.parts_of(spot, value.item)

    def parts_named(self, spot: Spot, name: str) -> Iterator[Part]:
        """The modules that a local name stands for, or that are in the collection that it is."""
        if not spot.free and is_registered(spot.method, name, spot.put):
            return
        collected = False
        for given in given_to(spot.method, name):
            collected = collected or is_collection(given) or (isinstance(given, ev.Call) and last_name(given.func) in CONTAINERS)
            yield from self.parts_of(spot.deeper(), given)
        if collected:
            deeper = spot.deeper()
            yield from self.put_into(deeper, set(), {name})
        if self.is_handed(spot, name):
            yield Part("handed", spot.span, name)

    def parts_kept(self, spot: Spot, value: Value) -> Iterator[Part]:
        """The module that an attribute stands for, if it is copied, or if the attribute is another one in each turn of a loop."""
        if spot.free or is_overwritten(spot.method, value):
            for given in given_to(spot.method, text_of(value)):
                yield from self.parts_of(spot.deeper(), given)

    def part_made(self, spot: Spot, call: ev.Call) -> Iterator[Part]:
        """The module that a call makes, or those of the collection that it makes."""
        func = call.func
        name = last_name(func)
        if isinstance(func, ev.Name) and name in GATHERING:
            for value in (*call.args, *(v for _, v in call.keywords)):
                yield from self.parts_of(spot, value)
        elif isinstance(func, ev.Name) and name == "map" and len(call.args) > 1:
            made = call.args[0]
            last = made.function.body[-1] if isinstance(made, ev.Lambda) else ev.Return(ev.Call(made, call.args[1:], (), call.span))
            yield from self.parts_of(spot, last.value or ev.NOTHING) if isinstance(last, ev.Return) else ()
        elif isinstance(func, ev.Attr) and isinstance(func.base, (ev.Call, ev.Name)) and name in PASSING | VIEWING:
            yield from self.parts_of(spot, func.base)
        elif name == "deepcopy" and call.args:
            yield from (Part(p.says, call.span, p.text, p.layer) for p in self.parts_of(spot.deeper(free=True), call.args[0]))
        elif isinstance(func, ev.Sub):
            for value in self.table(spot, func.base):
                yield from self.part_made(spot.deeper(), ev.Call(value, call.args, call.keywords, call.span))
        elif (helper := self.helper(spot, call)) is not None:
            yield from self.parts_returned(spot, call, helper)
        elif isinstance(func, ev.Name) and spot.depth < DEEPEST and (kinds := list(kinds_called(spot.method, func.id))):
            for kind in kinds:
                if isinstance(kind, Function):
                    yield from self.parts_returned(spot, call, kind)
                else:
                    yield from self.part_made(spot.deeper(), called_with(kind, call))
        elif self.is_handed_class(spot, call):
            yield Part("handed", call.span, text_of(func))
        else:
            says, layer = self.says_of(spot, call)
            if says != "none":
                yield Part(says, call.span, text_of(func), layer)

    # Helpers

    def helper(self, spot: Spot, call: ev.Call) -> Function | None:
        """The function or method of the program that is called."""
        name = asked_of_self(call.func)
        if name:
            found = self.project.method(spot.cls, name) if spot.cls is not None else None
            return found[1] if found is not None and found[1] is not spot.method else None
        if isinstance(call.func, ev.Sub):
            return None
        atom = self.project.dotted(spot.method.path, call.func)
        return atom[1] if atom is not None and atom[0] == "f" else None

    def returns_collection(self, spot: Spot, call: ev.Call) -> bool:
        """Whether a helper that is called returns a list, tuple or dict that it makes."""
        helper = self.helper(spot, call)
        for event in every(helper.body) if helper is not None else ():
            value = event.value if isinstance(event, ev.Return) else None
            if value is not None and is_collection(value):
                return True
            if isinstance(value, ev.Name) and helper is not None and any(map(is_collection, given_to(helper, value.id))):
                return True
        return False

    def parts_returned(self, spot: Spot, call: ev.Call, helper: Function, place: int = EACH) -> Iterator[Part]:
        """The modules that a helper makes and returns, or the one at a place of the tuple that it returns."""
        if helper.called & REGISTERING or helper.is_generator or spot.depth >= DEEPEST:
            return
        inner = Spot(spot.cls if asked_of_self(call.func) else None, helper, None, spot.depth + 1, spot.free)
        for event in every(helper.body):
            if isinstance(event, ev.Return) and event.value is not None:
                value = event.value
                if isinstance(value, ev.Seq) and 0 <= place < len(value.items):
                    value = value.items[place]
                for part in self.parts_of(inner, value):
                    if part.says != "handed":
                        yield Part(part.says, call.span, text_of(call.func), part.layer or part.text)

    def table(self, spot: Spot, base: Value) -> Iterator[Value]:
        """The classes and functions in a dict from which one is chosen by its key: `KINDS[kind](width)`."""
        name = asked_of_self(base)
        bodies: list[Sequence[ev.Event]] = []
        if name and spot.cls is not None:
            bodies = [c.body for c in self.project.mro(spot.cls)]
        elif isinstance(base, ev.Name):
            name = base.id
            event = self.project.global_event(spot.method.path, name)
            bodies = [spot.method.body, (event,) if event is not None else ()]
        for body in bodies:
            for event in body:
                if isinstance(event, ev.Assign) and isinstance(event.value, ev.Map) and any(text_of(t) == name for t in event.targets):
                    yield from (item for _, item in event.value.items if isinstance(item, (ev.Name, ev.Attr)))

    # What is handed in

    def is_handed(self, spot: Spot, name: str, *, several: bool = False) -> bool:
        """Whether a name is a parameter that is said to be a module, or `several`; what is copied needs no such word."""
        param = next((p for p in spot.method.params[1:] if p.name == name), None)
        if param is None or spot.method.name != "__init__" or is_no_part(name):
            return False
        said = param.annotation
        if not several:
            return spot.free or self.says_module(spot.method.path, said) or self.asks_for_module(spot.method)
        inner = [item.index for item in inside(said) if isinstance(item, ev.Sub) and last_name(item) in MANY] if said is not None else []
        return any(self.says_module(spot.method.path, item) for item in inner) or self.is_list_of_models(spot, param)

    def is_list_of_models(self, spot: Spot, param: Param) -> bool:
        """Whether a parameter is named for several models, and is a list: by its annotation, or by what a caller in sight hands in."""
        if spot.cls is None or not names.is_models_name(param.name):
            return False
        if param.annotation is not None:
            return any(last_name(item) in PLAIN for item in inside(param.annotation))
        place = spot.method.params.index(param) - 1
        callers = self.project.called_names.get(spot.cls.name, ())
        return any(self.hands_in_list(f, spot.cls, place, param.name) for f in callers)

    def hands_in_list(self, f: Function, cls: Class, place: int, name: str) -> bool:
        """Whether a function, where it builds a class, hands in a list that it makes."""
        for met in calls_under(f):
            if last_name(met.call.func) == cls.name:
                value = next((v for k, v in met.call.keywords if k == name), met.call.args[place] if len(met.call.args) > place else None)
                made = list(given_to(f, value.id)) if isinstance(value, ev.Name) else [value]
                if made and all(v is not None and is_collection(v) for v in made):
                    return True
        return False

    def is_handed_class(self, spot: Spot, call: ev.Call) -> bool:
        """Whether a constructor calls, with sizes, what it is handed: `self.cell(before, after)`. That is a part, if the class runs it."""
        kept = asked_of_self(call.func)
        given = list(given_to(spot.method, f"self.{kept}")) if kept else [call.func]
        said = {item.id for item in given if isinstance(item, ev.Name)}
        handed = {p.name for p in spot.method.params[1:] if p.default is None and p.kind in ("pos", "kw")}
        begins = spot.method.name == "__init__" and bool(call.args)
        return begins and bool(said) and said <= handed and not any(map(is_no_part, said | {kept}))

    def asks_for_module(self, method: Function) -> bool:
        """Whether a function asks of what it is handed if it is a module: `isinstance(layer, nn.Module)`."""
        asked = (met.call for met in calls_under(method) if last_name(met.call.func) == "isinstance")
        return any(self.says_module(method.path, arg) for call in asked for arg in call.args[1:])

    def says_module(self, path: str, annotation: Value | None) -> bool:
        """Whether an annotation speaks of `nn.Module` or of a class of the program that is one, and of nothing that is called."""
        said = list(inside(annotation)) if annotation is not None else []
        if any(last_name(item) in ("Callable", "Type", "type") for item in said):
            return False
        atoms = (self.project.dotted(path, item) for item in said if isinstance(item, (ev.Name, ev.Attr)))
        return any(a == ("x", "torch.nn.Module") or (a is not None and a[0] == "k" and self.project.is_known_module(a[1])) for a in atoms)

    # What a constructor says

    def says_of(self, spot: Spot, call: ev.Call) -> tuple[str, str]:
        """What a constructor's call says of the mode (one of `RANK`), and the layer that depends on it."""
        path = spot.method.path
        atom = self.project.dotted(path, call.func)
        name = last_name(call.func)
        if isinstance(call.func, ev.Call) and last_name(call.func.func) == "getattr" and call.func.args and len(call.args) > 1:
            if self.project.dotted(path, call.func.args[0]) == ("x", "torch.nn"):
                return "parameters", ""  # `getattr(nn, kind)(before, after)`: a layer with sizes
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
            return self.says_outside(dotted), ""
        if name in CONTAINERS:
            inner = [(part.says, part.layer) for arg in call.args for part in self.parts_of(spot.deeper(free=True), arg)]
            return max(inner, key=lambda found: RANK.index(found[0]), default=("none", ""))
        says, layer = self.layers.called_layer(path, call, set())
        if says == "some":
            return "dependent", layer
        return ("parameters" if is_owner(name) else "none"), ""

    def says_outside(self, dotted: str) -> str:
        """`says_of` for what is neither of torch.nn nor of the program."""
        tables = self.project.libraries
        if tables.matches("models_in_training_mode", dotted) and not tables.matches("losses", dotted):
            return "dependent"
        model, _, method = dotted.rpartition(".")
        if method == "from_pretrained" and tables.is_module_class(model):
            return "parameters"  # it is in evaluation mode, and stays there
        if method[:1].isupper() and tables.is_module_class(dotted) and not tables.matches("losses", dotted):
            return "parameters"
        return "unknown" if dotted else "none"

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
        called = [m for m in cls.methods.values() if init is not None and ("self", m.name) in init.receivers]
        for method in (init, *called) if init is not None else ():
            for met in calls_under(method):
                name = last_name(met.call.func)
                if name in ("Parameter", "register_parameter"):
                    if not any(k == "requires_grad" and is_false(v) for k, v in met.call.keywords):
                        return True
                elif name not in CONTAINERS and self.says_of(Spot(cls, met.functions[0]), met.call)[0] in ("parameters", "dependent"):
                    return True
        return False


def is_overwritten(method: Function, value: Value) -> bool:
    """Whether a loop assigns an attribute anew in each turn and keeps it: `self.block = Block(); self.blocks.append(self.block)`."""
    for event in every(method.body):
        if isinstance(event, ev.Loop):
            inner = list(every(event.body))
            assigned = any(isinstance(e, ev.Assign) and any(text_of(value) in slices.whole(t) for t in e.targets) for e in inner)
            if assigned and any(isinstance(e, ev.Do) and any(item is value for item in inside(e.value)) for e in inner):
                return True
    return False


def is_registered(method: Function, name: str, put: Met | None = None) -> bool:
    """Whether a local module, or a local collection, is registered by the method: assigned to an attribute, handed to a container.

    With the call that has `put` it into a collection, it must be handed on wherever that runs: in both arms of an `if`, or in none.
    """
    if is_kept(method, name):
        return True
    return is_handed_on(method, name, put=put) or is_switched(method, name) or is_added(method, name)


def is_kept(method: Function, name: str) -> bool:
    """Whether a method assigns a local name to an attribute."""
    for event in every(method.body):
        if isinstance(event, ev.Assign) and isinstance(event.value, ev.Name) and event.value.id == name:
            if any(asked_of_self(t) for t in event.targets):
                return True
    return False


def is_added(method: Function, name: str) -> bool:
    """Whether a method adds a local module to a container, or to a list that one is made of: `parts.append(norm)`."""
    for met in calls_under(method):
        func = met.call.func
        if isinstance(func, ev.Attr) and func.name in ADDING and any(isinstance(a, ev.Name) and a.id == name for a in met.call.args):
            given = given_to(method, text_of(func.base))
            if any(isinstance(value, ev.Call) and last_name(value.func) in CONTAINERS for value in given):
                return True
            if isinstance(func.base, ev.Name) and is_handed_on(method, func.base.id):
                return True
    return False


def is_handed_on(method: Function, text: str, *, made: bool = False, put: Met | None = None) -> bool:
    """Whether a method hands something, by its name, to a call that may register it (`made`: a constructor)."""
    registers = any(last_name(met.call.func) in CONTAINERS and met.call.args for met in calls_under(method))
    under = {id(test) for test in put.tests} if put is not None else set()
    in_one_arm = 0
    for met in calls_under(method):
        if last_name(met.call.func) == "dict" and not registers:
            continue
        name = last_name(met.call.func)
        prepares = (name.endswith("_") or "init" in names.words(name)) and name != "__init__"  # `nn.init.normal_(layer.weight)`
        if name in HARMLESS or (made and not name[:1].isupper()) or prepares:
            continue
        given = (*met.call.args, *(v for _, v in met.call.keywords))
        if any(text_of(item) == text for arg in given for item in held_in(arg) if isinstance(item, (ev.Name, ev.Attr))):
            if put is None or (all(id(test) in under for test in met.tests) and not are_exclusive(method, put.call, met.call)):
                return True
            in_one_arm += 1
    return in_one_arm > 1


def are_exclusive(method: Function, one: ev.Call, other: ev.Call) -> bool:
    """Whether two calls are in different arms of an `if`."""
    for event in every(method.body):
        if isinstance(event, ev.Branch):
            first, second = (
                {id(item) for e in every(arm) for v in values_in(e) for item in inside(v)} for arm in (event.then, event.other)
            )
            if (id(one) in first and id(other) in second) or (id(one) in second and id(other) in first):
                return True
    return False


def is_switched(method: Function, text: str) -> bool:
    """Whether a method puts what it calls `text` in a mode by hand."""
    calls = (met.call.func for met in calls_under(method))
    return any(isinstance(f, ev.Attr) and f.name in ("eval", "train") and text_of(f.base) == text for f in calls)


def held_in(value: Value) -> Iterator[Value]:
    """A value and all values in it, without those of which a call makes a number or a text: `len(self.layers)`."""
    if isinstance(value, ev.Text) or (isinstance(value, ev.Call) and last_name(value.func) in TELLING):
        return
    yield value
    for item in items_of(value):
        yield from held_in(item)


def is_no_part(name: str) -> bool:
    """Whether what has this name is called and owns nothing, as a rule: losses, metrics, activations, transforms."""
    return names.is_loss_name(name) or names.is_transform_name(name) or names.has_words(name, NO_PARTS)


NO_PARTS = frozenset(
    "act acts activation activations fn fns func funcs function functions nonlinearity nonlinearities transform transforms augmentation"
    " augmentations callback callbacks hook hooks metric metrics loss losses criteria regularizer regularizers teacher teachers frozen"
    " target targets reference references".split()
)
"""Words of what a module may be handed and need not own."""


def is_owner(name: str) -> bool:
    """Whether a layer of torch.nn has parameters, by its name."""
    return name in RECURRENT or name in INDEPENDENT - WITHOUT_PARAMETERS
