"""Idle statements: what is written to switch a mode or recording, and switches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass

from evallint import events as ev
from evallint.events import Call, Event, Function, Value, blocks
from evallint.meaning import names
from evallint.meaning.facts import Idle, Turned
from evallint.meaning.project import Project
from evallint.meaning.signs import is_unit_test
from evallint.meaning.vocabulary import MODE_METHODS
from evallint.meaning.walk import every, last_name, text_of

CONTEXTS = frozenset(("no_grad", "inference_mode", "enable_grad"))
SIGNS = frozenset("parameters named_parameters state_dict load_state_dict zero_grad eval".split())
"""Methods that are called on modules."""
MOVING = frozenset("to cuda cpu half float double bfloat16 requires_grad_".split())
"""Methods that return the module itself."""
KEEPING = frozenset("load_state_dict state_dict update update_parameters".split())
"""Methods that run nothing of a module, and hand nothing of it out that runs."""


def idle_statements(project: Project) -> list[Idle]:
    """Every statement of a project that names a mode method without calling it, or makes a grad mode that nobody enters."""
    found: list[Idle] = []
    for path, file in project.files.items():
        if file.context or path in project.foreign:
            continue
        for function in (file.body, *file.functions):
            cls = project.class_of_method.get(id(function))
            if is_unit_test(path, function.name, cls.name if cls is not None else ""):
                continue
            for text, span in function.alone:
                idle = of_attribute(project, function, text)
                if idle is not None:
                    found.append(Idle(path, span, text, function.qualname, *idle))
            if not function.called.isdisjoint(CONTEXTS):
                found += contexts(project, function)
            if "deepcopy" in function.called and not function.called.isdisjoint(MODE_METHODS):
                found += copies(project, function)
    return found


def of_attribute(project: Project, function: Function, text: str) -> tuple[str, bool] | None:
    """What an attribute that stands alone would switch if it were called, and whether it is sure that it would."""
    base, _, name = text.rpartition(".")
    if name in CONTEXTS:
        return ("grad", True) if is_context(project, function.path, dotted(text)) else None
    if name not in MODE_METHODS or "(" in base:
        return None
    if function.name == "<module>" and function.path.endswith(".ipynb"):
        return None  # the last expression of a cell is shown
    last = base.removesuffix(".module").rsplit(".", 1)[-1].split("[")[0]  # `model.module` is the model in its wrapper
    if base == "self":
        cls = project.class_of_method.get(id(function))
        return ("mode", True) if cls is not None and project.is_module(cls) and name not in project.constants_of(cls) else None
    if names.is_not_model_name(last) or names.is_optimizer_name(last):
        return None
    file = project.files[function.path]
    used = {method for f in (file.body, *file.functions) for receiver, method in f.receivers if receiver == last}
    known = bool(used & SIGNS) or (names.is_model_name(last) and last in function.called)
    return ("mode", known) if known or names.is_model_name(last) else None


def dotted(text: str) -> Value:
    """`torch.no_grad` as a value."""
    first, *others = text.split(".")
    value: Value = ev.Name(first)
    for name in others:
        value = ev.Attr(value, name)
    return value


def contexts(project: Project, function: Function) -> Iterator[Idle]:
    """The calls of grad modes that are statements by themselves."""
    for call in lone_calls(function.body):
        if is_context(project, function.path, call.func):
            yield Idle(function.path, call.span, text_of(call.func), function.qualname, "grad", True)


def lone_calls(body: Sequence[Event]) -> Iterator[ev.Call]:
    """The calls of a body whose result nobody takes; not what a `try` does alone, to see whether it can be done."""
    for event in body:
        if isinstance(event, ev.Do) and isinstance(event.value, ev.Call):
            yield event.value
        for block in blocks(event):
            if not (isinstance(event, ev.Try) and block is event.body and len(block) == 1):
                yield from lone_calls(block)


def is_context(project: Project, path: str, func: Value) -> bool:
    """Whether a value is `torch.no_grad` or another grad mode that only a `with` or a decorator enters."""
    atom = project.dotted(path, func)
    text = str(atom[1]) if atom is not None and atom[0] == "x" else text_of(func) if atom is None else ""
    return text.startswith("torch.") and text.rsplit(".", 1)[-1] in CONTEXTS


def copies(project: Project, function: Function) -> Iterator[Idle]:
    """The statements `deepcopy(model).eval()`: the copy that is switched is gone at once."""
    for call in lone_calls(function.body):
        if isinstance(call.func, ev.Attr) and call.func.name in MODE_METHODS:
            made = call.func.base
            while isinstance(made, Call) and isinstance(made.func, ev.Attr) and made.func.name in MOVING:
                made = made.func.base
            if isinstance(made, Call) and made.args and project.dotted(function.path, made.func) == ("x", "copy.deepcopy"):
                yield Idle(function.path, call.span, f"{text_of(made.args[0])}.{call.func.name}", function.qualname, "copy", True)


def idle_switches(project: Project, turned: Sequence[Turned]) -> list[Turned]:
    """Of the switches to eval those of objects that their functions use for nothing else."""
    known: dict[tuple[str, str, str], bool] = {}
    found = []
    for switch in dict.fromkeys(turned):
        name = switch.text.partition(".")[0].split("[")[0]
        key = (switch.path, switch.function, name)
        if key not in known:
            known[key] = name != "self" and name.isidentifier() and is_unused(project, *key)
        if known[key]:
            found.append(switch)
    return found


def is_unused(project: Project, path: str, qualname: str, name: str) -> bool:
    """Whether a variable of a function is made, loaded, copied and switched, and nothing more."""
    file = project.files[path]
    if qualname == "<module>":
        bodies = [file.body, *file.functions]
    else:
        bodies = [f for f in file.functions if f.qualname == qualname or f.qualname.startswith(f"{qualname}.")]
    own = next((f for f in bodies if f.qualname == qualname), None)
    if own is None or any(isinstance(event, ev.Outer) and name in event.names for f in bodies for event in every(f.body)):
        return False
    bound = any(p.name == name for p in own.params) or any(name in names_bound(event) for event in every(own.body))
    return bound and not any(uses(f.body, name) for f in bodies)


def names_bound(event: Event) -> set[str]:
    """The variables that an assignment binds."""
    targets = list(event.targets) if isinstance(event, ev.Assign) else []
    found = set()
    while targets:
        target = targets.pop()
        if isinstance(target, ev.Name):
            found.add(target.id)
        elif isinstance(target, ev.Seq):
            targets += target.items
    return found


def uses(node: object, name: str) -> bool:
    """Whether a variable is used in events or values for anything but what keeps a model as it is, copies it or sets its mode."""
    if isinstance(node, ev.Name):
        return node.id == name
    if isinstance(node, tuple):
        return any(uses(item, name) for item in node)
    if isinstance(node, ev.Do) and root_of(node.value) == name:
        return False
    if isinstance(node, ev.Assign):
        into = tuple(t for t in node.targets if name not in names_bound(ev.Assign((t,), node.value)))
        return uses(into, name) or (uses(node.value, name) and bool(into or root_of(node.value) != name))
    if isinstance(node, Call):
        if isinstance(node.func, ev.Attr) and node.func.name in KEEPING and root_of(node.func.base) == name:
            return uses(node.args, name)
        if last_name(node.func) == "deepcopy":
            return False
    if isinstance(node, ev.Define):
        return False  # it is looked through by itself
    if isinstance(node, ev.Lambda):
        return uses(node.function.body, name)
    return is_dataclass(node) and any(uses(getattr(node, field.name), name) for field in fields(node))


def root_of(node: Value) -> str:
    """The name that a dotted value begins with, also through calls that return the module itself: `net` of `net.to(device).eval()`."""
    while not isinstance(node, ev.Name):
        if isinstance(node, Call) and isinstance(node.func, ev.Attr) and node.func.name in MOVING | MODE_METHODS:
            node = node.func.base
        elif isinstance(node, ev.Attr):
            node = node.base
        else:
            return ""
    return node.id
