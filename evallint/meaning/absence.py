"""What a program never does: the parts of it in which nothing puts a model in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable

from evallint import events as ev
from evallint.events import Function
from evallint.meaning.libraries import Libraries
from evallint.meaning.walk import deep

SETTERS = frozenset(("set_training_mode", "set_train_mode", "set_mode", "set_training"))
NO_MODELS = frozenset(("pd", "df", "ast", "re", "expr", "parser", "optimizer"))


def switches_to_eval(fn: Function) -> bool:
    """Whether a function may put a model in evaluation mode: `x.eval()`, `x.train(flag)`, a setter of the mode."""
    if any(method == "eval" and receiver not in NO_MODELS for receiver, method in fn.receivers) or fn.called & SETTERS:
        return True
    if "eval" in fn.called and not fn.receivers:
        return True
    if all(method != "train" for _, method in fn.receivers):
        return False
    calls = [node for _, node in deep(fn.body) if isinstance(node, ev.Call)]
    return any(isinstance(c.func, ev.Attr) and c.func.name == "train" and len(c.args) + len(c.keywords) == 1 for c in calls)


def frameworks_switch(modules: Iterable[str], libraries: Libraries) -> bool:
    """Whether one of these libraries puts models in evaluation mode by itself."""
    return any(libraries.matches("switching_libraries", name) for name in modules)
