"""Switches: what `.eval()`, `.train(flag)`, `requires_grad_` and `set_grad_enabled` do to the state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evallint.events import Call, Value
from evallint.meaning import names
from evallint.meaning.facts import Turned
from evallint.meaning.handed import Handed
from evallint.meaning.machine import Args, holder, last_name, made, objects_in
from evallint.meaning.values import Loc, Mode, Modes, V, World, of


class Switches(Handed):
    """Puts modules in modes, and autograd in its."""

    def freeze_with_parts(self, container: V, args: Args, w: World) -> None:
        """Freeze a container all of whose modules have been frozen: `nn.Sequential(*list(net.children())[:-1])`."""
        held: dict[Loc, None] = {}
        for value in args.all() if w.frozen else ():
            objects_in(value, held)
        if held and all(map(w.is_frozen, held)):
            w.frozen |= frozenset(atom[1] for atom in container.atoms if atom[0] == "o")

    def switch(self, loc: Any, name: str, args: Args, node: Call, w: World, text: str) -> None:
        before = self.mode_of(w, loc)
        flag = args.get(0, "mode")
        settings = {"eval"} if name == "eval" else {"train"}
        snapshot: Modes = frozenset()
        key = None
        if name == "train" and flag is not None:
            known, key = self.known(flag), self.key_of(flag)
            if known is None:
                for atom in flag.atoms:
                    if atom[0] == "s":
                        snapshot |= atom[2]
                if key is not None and not snapshot:
                    self.meet_key(key[0], id(node))
                    self.meet_key(key[0], -id(node))
                settings = set() if snapshot else {"train", "eval"}
            else:
                settings = {"train" if known else "eval"}
        over = any(m.mode in ("train", "fresh") or m.over for m in before)
        modes: Modes = snapshot
        function = self.frame.stop.function
        self.frame.switches.add(node.span)
        undone = any(m.mode == "eval" and m.function == function for m in before)
        for setting in settings:
            asked = key is not None if setting == "train" else len(settings) > 1  # `train(flag)`: who calls chooses
            chosen = id(node) in self.chosen or asked
            modes |= made(setting, self.path, node.span, function, text, over if setting == "eval" else undone, chosen)
        self.set_mode(w, loc, modes)
        if settings == {"eval"} and not self.muted:
            self.turned[Turned(self.path, node.span, text, function, loc)] = None
        if flag is not None and loc[0] == "child" and loc[2] == "<child>" and any(a[0] == "s" for a in flag.atoms):
            self.set_mode(w, loc[1], modes)  # each of its modules is put back as it was
        if (owner := holder(loc)) is not None and self.thing(owner).cls is not None:
            self.set_mode(w, owner, modes)  # `getattr(self, name).eval()` for name after name: all that it holds
        if loc[0] == "child" and loc[2] in ("model", "net", "network") and (whole := self.thing(loc[1])).cls is None:
            if whole.kind == "model" or names.is_model_name(whole.name):  # a wrapper, and all that it holds
                w.modes[loc[1]] = modes
        if loc[0] == "child" and loc[2] == "[]" and self.thing(loc[1]).cls is None:
            # `for k in nets: nets[k].eval()`, whatever its parts are called elsewhere; of one network, the code chooses the parts
            single = self.thing(loc[1]).made_by.startswith("torch.nn.") or names.is_model_name(self.thing(loc[1]).name)
            w.modes[loc[1]] = frozenset(replace(m, chosen=True) for m in modes) if single else modes

    def set_requires_grad(self, node: Value, base: V, value: V, w: World) -> None:
        flag = self.known(value)
        owners = [a[1] for a in base.atoms if a[0] == "o"]
        models = frozenset(m for loc in owners if loc[0] == "child" and loc[2] == "<parameter>" for m in self.modules_in(w, loc[1]))
        if flag is False:
            w.frozen |= models
        elif models:
            w.frozen -= models
        elif not names.is_model_name(last_name(node)):
            self.frame.stop.wants_grad = True

    def set_training(self, base: V, value: V, w: World) -> None:
        flag = self.known(value)
        snapshot: Modes = frozenset().union(*(a[2] for a in value.atoms if a[0] == "s"))
        for loc in (a[1] for a in base.atoms if a[0] == "o"):
            if snapshot and loc[0] == "child" and loc[2] == "<child>":  # each of its modules is put back as it was
                self.set_mode(w, loc[1], snapshot)
            own = self.frame.function.name == "__init__" and self.frame.self_loc == loc and flag is False
            layers = self.layers_of(loc)[0]
            if flag is not None and (layers == "none" or (own and layers == "unknown")):  # the layers inside do not hear of it
                self.set_mode(w, loc, frozenset((Mode("fresh" if flag else "given"),)))

    def set_grad_enabled(self, args: Args, node: Call, w: World) -> V:
        flag = args.get(0, "mode")
        kept = frozenset(setting for atom in (flag.atoms if flag is not None else ()) if atom[0] == "r" for setting in atom[1])
        if kept:  # what `is_grad_enabled()` said before
            before, at = tuple(sorted(w.grad)), w.grad_at
            self.set_grad(w, "both" if len(kept) > 1 else next(iter(kept)))
            return of(("g", "both" if len(kept) > 1 else next(iter(kept)), before, at))
        known = self.known(flag) if flag is not None else None
        key = self.key_of(flag) if flag is not None else None
        if known and key is not None:
            known = None  # whoever sets the flag wants the graph
        before, at = tuple(sorted(w.grad)), w.grad_at
        if known is None and key is not None:
            self.meet_key(key[0], id(node))
            self.meet_key(key[0], -id(node))
        setting = "both" if known is None else "on" if known else "off"
        self.set_grad(w, setting, (self.path, node.span), "call")
        return of(("g", setting, before, at))
