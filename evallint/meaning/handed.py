"""Functions that are handed to a pool, a thread or a process: they run with what is handed over beside them."""

from __future__ import annotations

from evallint.events import Call
from evallint.meaning.forwards import Forwards
from evallint.meaning.machine import Args
from evallint.meaning.values import UNKNOWN, V, World, join, of

EACH = frozenset("map imap imap_unordered map_async".split())
SPREAD = frozenset("starmap starmap_async".split())
AT_ONCE = frozenset("submit apply apply_async run_in_executor".split())
STARTED = frozenset(("Thread", "Process", "Timer"))


class Handed(Forwards):
    """Runs functions that others call."""

    def hand_on(self, name: str, args: Args, node: Call, w: World) -> V | None:
        """`pool.map(f, xs)`, `Thread(target=f, args=(…))`, `mp.spawn(f, args=(…))`; None where the call is no such thing."""
        target = args.kw.get("target") if name in STARTED else args.pos[0] if args.pos else args.kw.get("fn")
        if name == "run_in_executor" and len(args.pos) > 1:
            target, args = args.pos[1], Args(args.pos[1:], args.kw, args.open)
        if target is None or not any(a[0] in ("f", "p") for a in target.atoms):
            return None
        rest = args.pos[1:]
        if name in EACH and rest:
            items = [self.item_of(v, ("item", self.path, node.span, n)) for n, v in enumerate(rest)]
        elif name in SPREAD and rest:
            items = unpacked(self.item_of(rest[0], ("item", self.path, node.span)))
        elif name in AT_ONCE:
            items = rest if name != "apply_async" else unpacked(rest[0] if rest else args.kw.get("args", UNKNOWN))
        elif name in STARTED:
            items = unpacked(args.kw.get("args", UNKNOWN))
        elif name == "spawn":
            items = [UNKNOWN, *unpacked(args.kw.get("args", rest[0] if rest else UNKNOWN))]
        else:
            return None
        found = UNKNOWN
        for atom in target.atoms:
            if atom[0] in ("f", "p"):
                found = join(found, self.call_later(of(atom), Args(items, {}, open=not items), node, w))
        return V((("l", found),), found.data, found.graph) if name in EACH | SPREAD else found


def unpacked(value: V) -> list[V]:
    """The items of a tuple of arguments; none where they are not known."""
    return next((list(a[1]) for a in value.atoms if a[0] == "q"), [])
