"""Decorators: what they put around a function, or in its place."""

from __future__ import annotations

from typing import Any

from evallint import events as ev
from evallint.events import Function
from evallint.meaning.facts import Stop
from evallint.meaning.machine import Frame, last_name
from evallint.meaning.summaries import Summaries
from evallint.meaning.values import World
from evallint.meaning.vocabulary import names_evaluation

PLAIN_DECORATORS = frozenset(
    ("staticmethod", "classmethod", "property", "abstractmethod", "override", "wraps", "lru_cache", "cache", "cached_property")
)


class Decorators(Summaries):
    """Reads decorators, once a function."""

    def decorated(self, fn: Function, act: int, w: World) -> list[tuple[str, Any]]:
        """What a function's decorators do, the outermost first."""
        if not fn.decorators:
            return []
        found = self.decorations.get(id(fn))
        if found is None:
            found = self.decorations[id(fn)] = []
            self.frames.append(Frame(fn, act or self.owner(fn.path), None, None, Stop(fn.path, fn.qualname, None)))
            try:
                for decorator in fn.decorators:
                    called = decorator.func if isinstance(decorator, ev.Call) else decorator
                    name = last_name(called)
                    if self.project.restores(fn.path, called):
                        found.append(("evaluates", False))
                    elif name in ("contextmanager", "asynccontextmanager"):
                        found.append(("context", None))
                    elif name not in PLAIN_DECORATORS:
                        world = w.copy()
                        value = self.value(decorator, world)
                        closed = {a: row for a, row in world.vars.rows.items() if a not in w.vars.rows}
                        if closed:
                            found.append(("closes over", closed))
                        for atom in value.atoms:
                            if atom[0] == "g":
                                found.append(("grad", atom[1]))
                            elif atom[0] == "x" and atom[1].rsplit(".", 1)[-1] in ("no_grad", "inference_mode"):
                                found.append(("grad", "off"))
                            elif atom[0] == "x" and atom[1].endswith(".enable_grad"):
                                found.append(("grad", "on"))
                            elif atom[0] == "x" and "." in atom[1] and names_evaluation(name):
                                found.append(("evaluates", True))  # by its name it switches what it is given
                            elif atom[0] == "f":
                                found.append(("wrap", value))
                            elif atom[0] == "y":  # what `contextmanager` makes is a decorator too
                                found.append(("around", value))
            finally:
                self.frames.pop()
        return found
