"""Containers: what lists, dicts and unknown objects with items hold, and what reading one item may give."""

from __future__ import annotations

from functools import reduce
from typing import Any

from evallint import events as ev
from evallint.events import Call, Value
from evallint.meaning.machine import Args
from evallint.meaning.targets import Targets
from evallint.meaning.values import UNKNOWN, Loc, V, World, constants, flowed, join, of

MOST_KEYS = 40
BUILDERS = 30
"""A dict of up to so many functions or classes is a registry: any of them may be meant."""


class Containers(Targets):
    """Keeps and reads items."""

    def held_items(self, loc: Loc, w: World) -> V:
        """What any item of an object can be: what was put into it, or a part that nobody has assigned."""
        keys = sorted(k for k in self.children.get(loc, ()) if k.startswith("["))
        held = [w.attrs[loc, k] for k in keys if (loc, k) in w.attrs]
        found = reduce(join, (v for v in held if v.atoms), UNKNOWN)
        return found if found.atoms else of(("o", self.child(loc, "[]")))

    def item_at(self, atom: Any, index: V, site: int, w: World) -> V:
        """`atom[index]`."""
        keys = constants(index)
        key = keys[0] if keys and len(keys) == 1 else None
        if atom[0] == "q" and isinstance(key, int) and -len(atom[1]) <= key < len(atom[1]):
            item: V = atom[1][key]
            return item
        if atom[0] in ("q", "l"):
            return self.item_of(of(atom), ("item", self.path, site))
        if atom[0] == "d":
            return item_of_dict(atom[1], keys)
        if atom[0] == "o":
            for slot in (slot_of(key), "[]"):
                value = w.attrs.get((atom[1], slot))
                if value is not None and value.atoms:
                    return value
            return self.held_items(atom[1], w) if key is None else of(("o", self.child(atom[1], slot_of(key))))
        return of(atom) if atom[0] in ("x", "f", "k") else UNKNOWN

    def bind_item(self, target: ev.Sub, value: V, w: World) -> None:
        """`base[index] = value`."""
        base, index = self.value(target.base, w), constants(self.value(target.index, w))
        key = index[0] if index and len(index) == 1 else None
        for atom in base.atoms:
            if atom[0] == "o":
                self.set_attr(w, atom[1], slot_of(key), value)
        if len(base.atoms) == 1 and base.atoms[0][0] == "d" and any(a[0] in ("o", "f", "k", "s") for a in value.atoms):
            self.grow(target.base, base, key, value, w)
        if value.data:
            self.used(value, "append")
            self.stain(target.base, value, w)

    def grow(self, target: Value, base: V, key: Any, value: V, w: World) -> None:
        """Put an object into a dict whose keys were known so far."""
        if not isinstance(target, (ev.Name, ev.Attr)):
            return
        items = tuple((k, v) for k, v in base.atoms[0][1] if k != key)
        if key is not None and len(items) < MOST_KEYS:
            self.bind(target, V((("d", (*items, (key, value))),), base.data, base.graph), w)
        else:
            self.bind(target, self.box(id(target), reduce(join, (v for _, v in items), value), w, base), w)

    def box(self, site: int, item: V, w: World, flow: V = UNKNOWN) -> V:
        """An object that holds items under keys that are not known."""
        loc = ("item", self.path, site, self.chain(), "box")
        self.set_attr(w, loc, "[]", item)
        return V((("o", loc),), flow.data | item.data, flow.graph | item.graph)

    def call_container(self, atom: Any, base: V, func: ev.Attr, args: Args, node: Call, w: World) -> V:
        """Methods of lists and dicts with known items."""
        name = func.name
        if name in ("append", "add", "extend", "insert") and args.pos:
            added = args.pos[-1]
            if added.data:
                self.used(added, "append")
            grown = self.added(V((atom,)), of(("l", added)) if name != "extend" else added)
            value = V(grown.atoms, base.data | added.data, base.graph | added.graph)
            if isinstance(func.base, (ev.Name, ev.Attr)):
                self.bind(func.base, value, w)
            return UNKNOWN
        if atom[0] == "d" and name in ("items", "values", "keys"):
            if name == "items":
                values = tuple(of(("q", (of(("c", "str", k)), v))) for k, v in atom[1])
            else:
                values = tuple(v if name == "values" else of(("c", "str", k)) for k, v in atom[1])
            return of(("q", values)) if values else UNKNOWN
        if atom[0] == "d" and name == "get" and args.pos:
            keys = constants(args.pos[0])
            return dict(atom[1]).get(keys[0], UNKNOWN) if keys and len(keys) == 1 else UNKNOWN
        if atom[0] == "d" and name == "update" and isinstance(func.base, (ev.Name, ev.Attr)):
            rows = [a[1] for v in args.pos for a in v.atoms]
            if all(a[0] == "d" for v in args.pos for a in v.atoms) and len(rows) == len(args.pos) and not args.open:
                flow = flowed([base, *args.all()])
                items = {**dict(atom[1]), **{key: v for row in rows for key, v in row}, **args.kw}
                self.bind(func.base, V((("d", tuple(items.items())),), flow.data, flow.graph), w)
            return UNKNOWN
        if name == "pop":
            return self.item_of(of(atom), ("item", self.path, id(node)))
        return V((), base.data, base.graph)


def slot_of(key: Any) -> str:
    """The attribute under which an object's item is kept: `[name]`, or `[]` for a key that is not known."""
    return "[]" if key is None else f"[{key}]"


def item_of_dict(items: tuple[tuple[Any, V], ...], keys: list[Any] | None) -> V:
    """An item of a dict by constant keys, or by one that is not known."""
    if keys and len(keys) == 1:
        value = dict(items).get(keys[0], UNKNOWN)
        return value if any(a[0] != "c" for a in value.atoms) else UNKNOWN  # a setting: its user may have changed it
    if keys:
        return reduce(join, (v for k, v in items if k in keys), UNKNOWN)
    atoms = [a for _, v in items for a in v.atoms]
    builders = len(items) <= BUILDERS and all(a[0] in ("f", "k") for a in atoms)
    if atoms and (builders or all(a[0] == "o" for a in atoms)):
        return reduce(join, (v for _, v in items))
    return UNKNOWN
