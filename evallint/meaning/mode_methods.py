"""Overrides of `train` and `eval` in modules: what becomes of `model.eval()` where a class has its own.

Sorts of lapses: "procedure" (a method of that name that does something else), "dropped" (the mode that is asked for is not passed on),
"unreached" (the mode of the module and its parts is never set), "behind" (that of its parts is, and the module asks for its own), "none"
(the override returns nothing), "part" (it returns a part of the module in its place), "attribute" (no override, but a flag that is kept
under that name).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evallint import events as ev
from evallint.events import Class, Function, Span, Value
from evallint.meaning.facts import Lapse
from evallint.meaning.guarded import Met, calls_under, inside, named, values_in
from evallint.meaning.index import Index
from evallint.meaning.methods import is_abstract, is_mode_method
from evallint.meaning.vocabulary import MODE_METHODS
from evallint.meaning.walk import asked_of_self, attributes_set, every, last_name, text_of

SETTING = frozenset("train eval apply set_training_mode".split())
FLAGS = frozenset("train eval training is_train is_training istrain mode phase split is_eval evaluate".split())
"""Names of parameters and settings that hold a flag."""


class ModeMethods:
    """Looks for overrides that break the mode."""

    def __init__(self, project: Index) -> None:
        self.project = project

    def lapses_in(self, classes: Sequence[Class]) -> Iterator[Lapse]:
        """The lapses in the classes of a file."""
        for cls in classes:
            own = [cls.methods[name] for name in ("train", "eval") if name in cls.methods]
            if own and self.project.is_module(cls):
                for method in own:
                    yield from self.lapses_of(cls, method)
            if any(not MODE_METHODS.isdisjoint(attributes_set(m)) for m in cls.methods.values()) and self.project.is_module(cls):
                yield from self.flags_of(cls)

    def flags_of(self, cls: Class) -> Iterator[Lapse]:
        """Flags that a class keeps under the name of a method: `self.train = train`."""
        for method in cls.methods.values():
            for event in every(method.body) if not MODE_METHODS.isdisjoint(attributes_set(method)) else ():
                if isinstance(event, ev.Assign) and is_flag(method, event.value):
                    for name in MODE_METHODS.intersection(map(asked_of_self, event.targets)):
                        text, sure = f"self.{name}", self.project.is_known_module(cls)
                        step = cls.path, event.span, f"`{text}` is no method from here on"
                        yield Lapse("override", "attribute", cls.path, event.span, method.qualname, text, sure, (step,), name)

    def lapses_of(self, cls: Class, method: Function) -> Iterator[Lapse]:
        """The lapse in one override, if there is one."""
        if is_abstract(method) or (method.is_generator and not needed(method)):  # a context manager of that name
            return
        sort, span = self.sort_of(cls, method)
        if not sort:
            return
        line, column = method.span[:2]
        head = line, column, line, column + len(f"def {method.name}")
        text = f"{cls.name}.{method.name}"
        steps = [(cls.path, head, f"`{text}` overrides `nn.Module.{method.name}`")]
        if span is not None:
            steps.append((cls.path, span, "the mode that was asked for does not get here"))
        yield Lapse(
            "override", sort, cls.path, span or head, method.qualname, text, self.project.is_known_module(cls), tuple(steps), method.name
        )  # fmt: skip

    def sort_of(self, cls: Class, method: Function) -> tuple[str, Span | None]:
        """What is wrong with an override, and the call that is, if it is one."""
        mets = list(calls_under(method))
        supers = [m for m in mets if is_super(m.call, method.name)]
        if any(p.kind in ("*", "**") for p in method.params) and method.name == "train" and not needed(method):
            always = all(isinstance(test, ev.Const) for m in supers for test in m.tests)
            lost = supers and always and not any(m.call.args or m.call.keywords for m in supers)
            if lost:
                return "dropped", supers[0].call.span
            return (result_of(method) if supers else "", None)  # it hands on what it is given
        if method.name == "eval":
            return self.sort_of_eval(cls, method, mets, supers)
        if "backward" in method.called or not is_mode_method(method):
            asked = method.params[1].name if len(method.params) > 1 else ""
            single = len([p for p in method.params[1:] if p.default is None and p.kind == "pos"]) < 2
            handed = single and any(last_name(m.call.func) == "train" and asked in names_handed(m.call) for m in mets)
            return ("" if asked and handed else "procedure"), None
        mode = method.params[1].name if len(method.params) > 1 else ""
        if not mode:
            return "dropped", None
        blind = [m for m in supers if self.is_blind(m, mode)]
        if blind:
            return "dropped", blind[0].call.span
        if not supers and not sets_mode(method, mets):
            return ("unreached", None) if is_more_than_nothing(method) or keeps(method, mode) else ("", None)
        if not supers and self.stays_behind(cls, method, mets):
            return "behind", None
        return result_of(method), None

    def stays_behind(self, cls: Class, method: Function, mets: Sequence[Met]) -> bool:
        """Whether a method switches parts alone, and the class asks itself for its mode elsewhere."""
        if sets_training(method) or any("self" in names_handed(m.call) for m in mets):
            return False
        parts = [m.call.func.base for m in mets if isinstance(m.call.func, ev.Attr) and m.call.func.name in MODE_METHODS]
        if not parts or not all(asked_of_self(part) for part in parts):
            return False
        others = (m for c in self.project.mro(cls) for m in c.methods.values() if m.name not in MODE_METHODS)
        return any(asked_of_self(item) == "training" for m in others for e in every(m.body) for v in values_in(e) for item in inside(v))

    def sort_of_eval(self, cls: Class, method: Function, mets: Sequence[Met], supers: Sequence[Met]) -> tuple[str, Span | None]:
        """`sort_of` for an override of `eval`."""
        if not supers and not needed(method) and self.stays_behind(cls, method, mets):
            return "behind", None
        if supers or sets_mode(method, mets):
            return "" if needed(method) else result_of(method), None
        if needed(method) or is_more_than_nothing(method):
            return "procedure", None
        return "", None

    def is_blind(self, met: Met, mode: str) -> bool:
        """Whether a call of the base's `train` asks for training mode whatever it was asked for."""
        args = [a for a in met.call.args if not (isinstance(a, ev.Name) and a.id in ("self", "cls"))]
        given = [*args, *(v for _, v in met.call.keywords)]
        if any(mode in named(test) for test in met.tests):
            return False
        return not given or (isinstance(given[0], ev.Const) and given[0].value is True)


def is_flag(method: Function, value: Value) -> bool:
    """Whether a value is a flag, and not something that can be called: a constant, a comparison, a parameter or setting of such a name."""
    if isinstance(value, (ev.Const, ev.Compare, ev.Not)):
        return True
    if isinstance(value, ev.Attr):
        return not asked_of_self(value) and value.name in FLAGS and not asked_of_self(value.base)
    param = next((p for p in method.params[1:] if p.name == text_of(value)), None)
    if param is None or (param.annotation is not None and last_name(param.annotation) not in ("bool", "str", "int")):
        return False
    return param.name in FLAGS and (param.default is None or isinstance(param.default, ev.Const))


def sets_mode(method: Function, mets: Sequence[Met]) -> bool:
    """Whether a method sets the mode itself: of its parts, of all its modules, or its own `training`."""
    asked = {p.name for p in method.params[1:]}
    handed = any("self" in names_handed(m.call) and asked & names_handed(m.call) for m in mets)  # to a function that does it
    return handed or sets_training(method) or any(last_name(m.call.func) in SETTING and not isinstance(m.call.func, ev.Name) for m in mets)


def sets_training(method: Function) -> bool:
    """Whether a method assigns a `training` itself."""
    assigned = (target for event in every(method.body) if isinstance(event, ev.Assign) for target in event.targets)
    return any(isinstance(target, ev.Attr) and target.name == "training" for target in assigned)


def names_handed(call: ev.Call) -> set[str]:
    """The names among the arguments of a call."""
    return {value.id for value in (*call.args, *(v for _, v in call.keywords)) if isinstance(value, ev.Name)}


def is_super(call: ev.Call, name: str) -> bool:
    """`super().train(…)`, `Base.train(self, …)`."""
    func = call.func
    if not isinstance(func, ev.Attr) or func.name not in (name, "train"):
        return False
    if isinstance(func.base, ev.Call) and last_name(func.base.func) == "super":
        return True
    return bool(call.args) and isinstance(call.args[0], ev.Name) and call.args[0].id == "self" and text_of(func.base) != "self"


def needed(method: Function) -> bool:
    """Whether a method cannot be called without arguments."""
    return any(p.default is None and p.kind in ("pos", "kw") for p in method.params[1:])


def result_of(method: Function) -> str:
    """The sort of lapse in what a method returns, if any."""
    returned = [event.value for event in every(method.body) if isinstance(event, ev.Return) and event.value is not None]
    if all(map(is_none, returned)):
        return "none"
    if any(isinstance(value, ev.Seq) for value in returned):
        return "procedure"  # what it has measured
    return "part" if any(isinstance(value, ev.Call) and is_switch_of_part(value) for value in returned) else ""


def is_switch_of_part(call: ev.Call) -> bool:
    """`self.net.eval()`, which gives the part."""
    return isinstance(call.func, ev.Attr) and call.func.name in MODE_METHODS and bool(asked_of_self(call.func.base))


def is_none(value: Value) -> bool:
    return isinstance(value, ev.Const) and value.value is None


def keeps(method: Function, name: str) -> bool:
    """Whether a method keeps a parameter in an attribute of its own: `self.is_training = mode`."""
    given = (event for event in every(method.body) if isinstance(event, ev.Assign) and text_of(event.value) == name)
    return any(asked_of_self(target) for event in given for target in event.targets)


def is_more_than_nothing(method: Function) -> bool:
    """Whether a method does more than to return the module, or nothing: a part that is meant to stay in its mode."""
    return any(isinstance(item, ev.Call) for event in every(method.body) for value in values_in(event) for item in inside(value))
