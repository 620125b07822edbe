"""Assignments: what a name, an attribute or an item holds from here on."""

from __future__ import annotations

from functools import reduce

from evallint import events as ev
from evallint.events import Value
from evallint.meaning import names
from evallint.meaning.flow import Flow
from evallint.meaning.machine import Args, last_name
from evallint.meaning.values import NO_IDS, UNKNOWN, V, World, join, of

LIVELY = frozenset(
    "loss losses logits logit output outputs out recon reconstruction z latent latents feature features feat feats embedding embeddings emb"
    " embs mu logvar prob probs".split()
)
"""Words of what is a tensor with a graph, where a model hands out several things."""


class Targets(Flow):
    """Binds values to targets."""

    def used(self, value: V, use: str) -> None:
        """Remember how the outputs of forwards are used."""
        if value.data:
            self.notice()
        for number in value.data:
            self.forwards[number].uses.add(use)

    def bind(self, target: Value, value: V, w: World) -> None:
        if isinstance(target, ev.Name):
            self.bind_name(target.id, value, w)
        elif isinstance(target, ev.Attr):
            base = self.value(target.base, w)
            if target.name == "requires_grad":
                self.set_requires_grad(target.base, base, value, w)
                return
            if self.set_property(base, target.name, value, w):
                return
            if target.name == "training":
                self.set_training(base, value, w)
                return
            for atom in base.atoms:
                if atom[0] == "o":
                    self.set_attr(w, atom[1], target.name, value)
                    for number in value.graph:
                        self.forwards[number].stored = True
        elif isinstance(target, ev.Sub):
            self.bind_item(target, value, w)
        elif isinstance(target, ev.Star):
            self.bind(target.item, V((), value.data, value.graph), w)
        elif isinstance(target, ev.Seq):
            self.unpack(target, value, w)

    def bind_name(self, name: str, value: V, w: World) -> None:
        frame = self.frame
        act = frame.act
        if name in frame.globals:
            act = self.owner(self.path)
            self.notice()
        elif name in frame.nonlocals:
            self.notice()
            while act and (act, name) not in w.vars:
                act = self.parents.get(act, 0)
        for atom in value.atoms:
            if atom[0] == "o":
                thing = self.thing(atom[1])
                if not thing.name:
                    thing.name = name
        w.vars[act or frame.act, name] = value

    def unpack(self, target: ev.Seq, value: V, w: World) -> None:
        rows = [a[1] for a in value.atoms if a[0] == "q" and len(a[1]) == len(target.items)]
        own = any(
            a[1][:3] == ("ret", f.path, f.span) for a in value.atoms if a[0] == "o" for f in map(self.forwards.__getitem__, value.live)
        )
        parts = [reduce(join, column) for column in zip(*rows, strict=True)] if rows else None
        for number, inner in enumerate(target.items):
            if parts is not None:
                part = parts[number]
            else:
                atoms = tuple(("o", self.child(a[1], f"#{number}")) for a in value.atoms if a[0] == "o")
                if not atoms:
                    item = next((a[1] for a in value.atoms if a[0] == "l"), None)
                    atoms = item.atoms if item is not None else atoms
                held = [w.attrs[a[1], f"#{number}"] for a in value.atoms if a[0] == "o" and (a[1], f"#{number}") in w.attrs]
                part = held[0] if held else V(atoms)
            if value.data and parts is None and not part.data:
                lively = own and isinstance(inner, (ev.Name, ev.Attr)) and names.has_words(last_name(inner), LIVELY)
                part = V(part.atoms, value.data, value.graph, value.live if lively else NO_IDS)
            self.bind(inner, part, w)

    def stain(self, target: Value, value: V, w: World) -> None:
        """What flowed into the object that `target` names."""
        self.notice()
        if isinstance(target, (ev.Name, ev.Attr, ev.Sub)):
            base = self.value(target, w)
            for atom in base.atoms:
                if atom[0] == "o":
                    before = w.stained.get(atom[1], UNKNOWN)
                    w.stained[atom[1]] = V((), before.data | value.data, before.graph | value.graph)
            if isinstance(target, ev.Name) or (isinstance(target, ev.Attr) and not any(a[0] == "o" for a in base.atoms)):
                self.bind(target, V(base.atoms, base.data | value.data, base.graph | value.graph), w)
            elif isinstance(target, ev.Sub):
                self.stain(target.base, value, w)

    def set_requires_grad(self, node: Value, base: V, value: V, w: World) -> None:
        """`x.requires_grad = flag`: frozen parameters, or an input whose gradient is wanted."""
        raise NotImplementedError

    def set_training(self, base: V, value: V, w: World) -> None:
        """`x.training = flag`."""
        raise NotImplementedError

    def bind_item(self, target: ev.Sub, value: V, w: World) -> None:
        """`base[index] = value`."""
        raise NotImplementedError

    def set_property(self, base: V, name: str, value: V, w: World) -> bool:
        """`x.name = value` where the class of x has a setter for it."""
        found = False
        for atom in base.atoms:
            cls = self.thing(atom[1]).cls if atom[0] == "o" else None
            setter = self.project.method(cls, f"{name}=") if cls is not None else None
            if setter is not None:
                found = True
                self.call_function(setter[1], 0, of(atom), Args([value], {}), None, w, setter[0])
        return found
