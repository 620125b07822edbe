"""Conditions: what is known of them, what a run assumes, and when it must be run again with each answer."""

from __future__ import annotations

from typing import Any

from evallint import events as ev
from evallint.events import Value
from evallint.meaning import names
from evallint.meaning.containers import Containers
from evallint.meaning.machine import Fork, last_name
from evallint.meaning.values import V, World, constants


class Conditions(Containers):
    """Answers whether conditions hold."""

    def is_something(self, atom: tuple[Any, ...]) -> bool:
        """Whether an atom is certainly not None."""
        if atom[0] == "o":
            thing = self.things.get(atom[1])
            kept = thing is not None and thing.required and names.is_optimizer_name(thing.name)  # a trainer is not built without
            return bool(atom[1][0] == "new") or kept
        return atom[0] in ("f", "k", "q", "l", "d", "p", "m", "g")

    def key_of(self, value: V) -> tuple[Any, bool] | None:
        """A name for the truth of a value that is not known but stays the same."""
        if len(value.atoms) != 1:
            return None
        (atom,) = value.atoms
        if atom[0] == "b":
            return atom[1], atom[2]
        if atom[0] == "o" and not value.data and atom[1][0] in ("param", "child", "global", "ret"):
            return ("true", atom[1]), True
        return None

    def known(self, value: V) -> bool | None:
        """The truth of a value, where it is certain or assumed."""
        values = constants(value)
        if values is not None:
            answers = {bool(v) for v in values}
            return answers.pop() if len(answers) == 1 else None
        if len(value.atoms) == 1:
            (atom,) = value.atoms
            if atom[0] == "s":
                modes = {m.mode for m in atom[2]}
                if modes <= {"train", "fresh"}:
                    return True
                if modes <= {"eval", "given"}:
                    return False
                return None
        key = self.key_of(value)
        if key is not None:
            return self.assumed(*key)
        if value.atoms and all(self.is_something(a) for a in value.atoms) and all(a[0] in ("f", "k", "o", "g") for a in value.atoms):
            return True
        there = [a[1] for a in value.atoms if a[0] == "o"]
        if there and all(a[0] == "o" or a == ("c", "NoneType", None) for a in value.atoms):
            if len(there) < len(value.atoms) and any(self.thing(loc).kind == "model" for loc in there):
                return True  # where there is none, nothing runs
        return None

    def assumed(self, key: Any, polarity: bool) -> bool | None:
        """Whether this run assumes an answer of this polarity."""
        self.supposed = True
        answer = self.answer(key)
        if self.records:
            self.records[-1].asked[key] = answer
        return None if answer is None else answer == polarity

    def answer(self, key: Any) -> bool | None:
        """The answer that this run assumes. An object that is None is false, one that equals a text is true."""
        answer = self.assumptions.get(key)
        if answer is None and key[0] == "true":
            if self.assumptions.get(("is", key[1], None)):
                answer = False
        elif answer is None and key[0] == "is" and key[2] is None:
            if self.assumptions.get(("true", key[1])):
                answer = False
        elif answer is None and key[0] == "is":
            for (kind, *rest), holds in self.assumptions.items():
                if kind == "is" and rest[0] == key[1] and holds and rest[1] != key[2]:
                    answer = False
        return answer

    def truth(self, node: Value, w: World, site: int, matters: bool, switches: bool = False, alone: bool = False) -> bool | None:
        """Whether a condition holds. Where it `matters` it is remembered, and splits the run when it is met again, or `alone` at once."""
        if isinstance(node, ev.Not):
            inner = self.truth(node.item, w, site, matters, switches, alone)
            return None if inner is None else not inner
        if isinstance(node, ev.Bool):
            left = self.truth(node.left, w, site, matters, switches, alone)
            if left is not None and left == (node.op == "or"):
                return left
            right = self.truth(node.right, w, site + 1, matters, switches, alone)
            if right is not None and right == (node.op == "or"):
                return right
            return right if left is not None else None
        if isinstance(node, ev.Compare) and is_main(node):
            return self.frame.stop.span is None
        value = self.value(node, w)
        known = self.known(value)
        if known is None and switches and isinstance(node, ev.Call) and last_name(node.func) == "get" and len(node.args) == 2:
            usual = node.args[1]  # a setting that says by default whether to switch
            known = usual.value if isinstance(usual, ev.Const) and isinstance(usual.value, bool) else None
        key = self.key_of(value) if known is None else None
        if key is not None and switches:
            self.switching_keys.add(key[0])
        if key is not None and (matters or key[0] in self.switching_keys):
            self.meet_key(key[0], site)
            if alone:
                self.meet_key(key[0], -site)
        return known

    def meet_key(self, key: Any, site: int) -> None:
        """Remember that a condition was met; the second place that tests it splits the run. Raises Fork."""
        places = self.met.setdefault(key, set())
        places.add(site)
        if len(places) > 1 and key not in self.assumptions and len(self.assumptions) < 6:
            raise Fork(key)


def is_main(node: ev.Compare) -> bool:
    """`__name__ == "__main__"`."""
    return node.op == "==" and any(isinstance(s, ev.Name) and s.id == "__name__" for s in (node.left, node.right))
