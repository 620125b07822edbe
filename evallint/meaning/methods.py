"""What a method is, by its code and its name: an override of the mode switch, a forward of parts, a stub."""

from __future__ import annotations

from evallint import events as ev
from evallint.events import Class, Function
from evallint.meaning import names
from evallint.meaning.machine import Args, last_name
from evallint.meaning.project import held_names
from evallint.meaning.values import V
from evallint.meaning.vocabulary import NOT_FORWARDS
from evallint.meaning.walk import deep

NO_FORWARD_PREFIXES = (
    "set_",
    "load_",
    "save_",
    "init",
    "_init",
    "freeze",
    "unfreeze",
    "register_",
    "log",
    "reset",
    "update_",
    "configure",
    "add_",
    "make_",
    "build",
)
RUN_BACKWARDS = frozenset(("reverse", "inverse", "invert"))
"""Methods by which a flow is run the other way."""


def is_part(name: str) -> bool:
    """Whether an attribute that a module calls on itself is one of its layers, by its name."""
    return not (
        names.is_loss_name(name)
        or names.is_not_model_name(name)
        or name in NOT_FORWARDS
        or name.startswith((*NO_FORWARD_PREFIXES, "_", "get_", "is_", "has_", "compute_", "print"))
    )


def computes(fn: Function, cls: Class) -> bool:
    """Whether a module's method runs parts of it: it calls itself, or attributes that its class fills with built objects."""
    if ("self", "forward") in fn.receivers or ("self" in fn.called and calls_itself(fn)):
        return True
    called = {n for r, n in fn.receivers if r == "self" and n not in cls.methods}
    if any(names.is_model_name(n) for n in called):
        return True
    if fn.name in RUN_BACKWARDS:
        called |= {r for r, n in fn.receivers if n == fn.name and r not in ("self", "")}  # `self.flows.reverse(z)`, in `reverse`
    makers = {n for m in cls.methods.values() for n in m.called if n[:1].isupper()}
    return bool(called) and bool(called & {n for m in cls.methods.values() for n in held_names(m.body, makers)})


def calls_itself(fn: Function) -> bool:
    """Whether a method calls its own object, `self(x)`; `called` also holds names that are only passed on."""
    return any(isinstance(node, ev.Call) and isinstance(node.func, ev.Name) and node.func.id == "self" for _, node in deep(fn.body))


def delegated_to(fn: Function) -> str:
    """The attribute of `self` that `__getattr__` passes requests on to; empty where there is none."""
    for _, node in deep(fn.body):
        if isinstance(node, ev.Call) and isinstance(node.func, ev.Name) and node.func.id == "getattr" and node.args:
            asked = node.args[0]
            if isinstance(asked, ev.Attr) and isinstance(asked.base, ev.Name) and asked.base.id == "self":
                return asked.name
    return ""


def is_class_name(name: str) -> bool:
    """CapWords: a call of it constructs."""
    return len(name) > 2 and name[:1].isupper() and not name.isupper()


def thing_like(value: V) -> bool:
    """Whether an attribute can be called: it is not a constant or a container."""
    return any(a[0] not in ("c", "q", "l", "d", "b", "s") for a in value.atoms)


def is_mode_method(fn: Function) -> bool:
    """An override of `Module.train(mode)` or `Module.eval()`, not a procedure of that name."""
    params = [p for p in fn.params[1:] if p.kind in ("pos", "kw")]
    if fn.name == "eval":
        return not params and not fn.called & {"no_grad", "inference_mode", "set_grad_enabled"}
    if len(params) > 1:
        return False
    if not params:
        return "train" in fn.called or "super" in fn.called or "eval" in fn.called
    return params[0].name in ("mode", "training", "train", "flag", "is_train") or (
        isinstance(params[0].default, ev.Const) and params[0].default.value is True
    )


def is_abstract(fn: Function) -> bool:
    """A body that does nothing but raise, pass or hold a docstring."""
    if any(last_name(d) == "abstractmethod" for d in fn.decorators):
        return True
    if fn.glance is not None:
        return fn.glance.raises
    return all(isinstance(e, ev.Exit) and e.kind == "raise" for e in fn.body)


def is_stand_in(cls: Class) -> bool:
    """A class that stands in for another in tests."""
    return "mock" in cls.path.lower() or any(word in ("mock", "dummy", "fake", "stub") for word in names.words(cls.name))


def fits(fn: Function, args: Args) -> bool:
    """Whether a method can be called with these arguments."""
    plain = [p for p in fn.params[1:] if p.kind == "pos"]
    if any(p.kind in ("*", "**") for p in fn.params) or args.open:
        return True
    names_ = {p.name for p in fn.params}
    needed = [p for p in plain if p.default is None]
    return len(args.pos) <= len(plain) and all(k in names_ for k in args.kw) and len(args.pos) + len(args.kw) >= len(needed)
