"""Idle statements: what is written to switch a mode or recording, and switches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evallint import events as ev
from evallint.events import Event, Function, Value, blocks
from evallint.meaning import names
from evallint.meaning.facts import Idle
from evallint.meaning.project import Project
from evallint.meaning.signs import is_unit_test
from evallint.meaning.walk import text_of

MODE_METHODS = frozenset(("eval", "train"))
CONTEXTS = frozenset(("no_grad", "inference_mode", "enable_grad"))
SIGNS = frozenset("parameters named_parameters state_dict load_state_dict zero_grad eval".split())
"""Methods that are called on modules."""


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
    last = base.rsplit(".", 1)[-1].split("[")[0]
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
