"""Forward calls: whether an object is a model, and the fact that its forward runs here."""

from __future__ import annotations

from typing import Any, Literal

from evallint.events import Attr, Call, Class, Value
from evallint.meaning import names
from evallint.meaning.contexts import Contexts
from evallint.meaning.facts import Forward
from evallint.meaning.layers import CONTAINERS, DEPENDENT, FUNCTIONAL, Layers, built, handed_to
from evallint.meaning.machine import Args, Thing, holder, is_below, last_name, text_of, top_of
from evallint.meaning.project import GRAD_SWITCHES
from evallint.meaning.values import NO_IDS, OFF, ON, UNKNOWN, UNKNOWN_MODE, Modes, V, World, alive, const, flowed
from evallint.meaning.walk import decorator_names, names_in

EVIDENCE = frozenset(
    "parameters named_parameters state_dict load_state_dict eval named_modules requires_grad_ zero_grad children modules".split()
)
DERIVATIVES = frozenset("hessian jacobian force forces stress stresses virial virials gradient gradients grad".split())
NO_MODEL = [("tokenizer",), ("processor",), ("config",), ("scheduler",), ("vocab",)]
MADE_UP = frozenset(
    f"torch.{name}" for name in "rand randn randint zeros ones empty arange full linspace tensor LongTensor FloatTensor Tensor eye".split()
) | frozenset(
    f"numpy.{name}" for name in "ones zeros random.rand random.randn random.random random.uniform random.normal random.randint".split()
)
CONVERTERS = frozenset(f"torch.{name}" for name in "from_numpy tensor as_tensor Tensor FloatTensor LongTensor".split())
FIXED = frozenset(("fixed", "fix", "noise", "noises"))
NO_THING = Thing()


class Forwards(Layers, Contexts):
    """Records forwards."""

    def is_differentiation(self, cls: Class) -> bool:
        """Whether a class is an `autograd.Function`: what its methods run is part of training."""
        return any(base.endswith("autograd.Function") for base in self.project.outside_bases(cls))

    def modelness(self, loc: Any, name: str) -> str:
        """Whether the object is a model: "known" by class, constructor or use, "named" by its name alone, or empty."""
        thing = self.things.get(loc)
        if thing is not None and thing.made_by == "torch.load" and not thing.kind and names.is_model_name(name):
            return "known"  # a whole module that was pickled
        if thing is not None and thing.kind and not (thing.kind == "model" and thing.cls is None and names.words(name)[-1:] in NO_MODEL):
            return "known" if thing.kind == "model" else ""
        own = name or (thing.name if thing is not None else "")
        used = self.project.uses(self.path, own) if own not in ("", "self", "cls") else frozenset()
        misnamed = names.is_not_model_name(own) and "parameters" not in used
        if names.is_loss_name(own) or misnamed or names.is_optimizer_name(own):
            return ""
        if not used & EVIDENCE and loc[0] == "child" and isinstance(loc[2], str) and loc[2].isidentifier():
            used = self.project.uses(self.path, loc[2]) or used  # another name for an attribute
            own = loc[2] if used & EVIDENCE else own
        if used & EVIDENCE and (used & {"parameters", "named_parameters", "load_state_dict"} or names.is_model_name(own) or "eval" in used):
            return "known"
        if thing is not None and thing.name != own and names.is_model_name(thing.name) and loc[0] in ("param", "child", "global"):
            return "named"
        if own in self.project.extend_models:
            return "named"
        holder = self.frames[-1].cls if self.frames else None
        if holder is not None and names.words(holder.name)[-1:] in NO_MODEL:
            return ""
        if names.is_model_name(own):
            return "named"
        whole = self.things.get(loc[1]) if loc[0] == "child" else None
        kept = self.project.module_kept(whole.cls, loc[2]) if whole is not None and whole.cls is not None else None
        return "known" if kept is not None and not self.is_empty(kept) else ""

    def forward(self, loc: Any, method: str, args: Args, node: Call, w: World, display: Value, known: bool) -> V:
        self.notice()
        if (
            self.muted
            or self.path in self.project.foreign
            or any(f.cls is not None and self.is_differentiation(f.cls) for f in self.frames)
        ):
            return self.result(node, args)
        if method == "__call__" and any(names.has_words(k, names.LOADER_WORDS) for k, _ in node.keywords):
            return self.result(node, args)  # `model(loader=...)` is no forward, but a loop of its own
        key = (id(node), loc, self.context())
        number = self.forward_ids.get(key)
        modes = self.inner_modes(loc, w) or self.mode_of(w, loc)
        if number is None:
            number = self.forward_ids[key] = len(self.forwards)
            known = known or self.is_part_of_module(loc)
            layers, layer = self.layers_of(loc)
            fact = Forward(
                self.path, node.span, self.shown_name(display, loc), method,
                tuple(f.stop for f in self.frames), tuple(f for f, _ in self.loops), tuple(d for _, d in self.loops),
                modes, w.grad, w.is_frozen(loc), layers, layer, known,
            )  # fmt: skip
            fact.loc, fact.rounds, fact.misfit = loc, tuple(self.tags), self.things.get(top_of(loc), NO_THING).misfit
            fact.silenced_at = w.grad_at[0] if w.grad == OFF else -1
            self.forwards.append(fact)
        else:
            fact = self.forwards[number]
            fact.modes |= modes
            fact.grad |= w.grad
        if "off" in w.grad:
            fact.hushed |= w.grad_at[1]
            fact.cut |= w.grad == OFF and any(v.graph for v in args.all())
        if any(f.function.mentions_forces for f in self.frames) and self.project.differentiates(self.path):
            fact.may_differentiate = True
        cls = self.thing(loc).cls
        if cls is None:
            fact.may_differentiate |= self.project.is_physical(self.path)
        elif method in ("__call__", "forward"):
            fact.own_grad = self.sets_own_grad(cls)
            fact.differentiates = fact.own_grad and self.differentiates(cls)
        fact.pickled = self.things.get(top_of(loc), NO_THING).made_by == "torch.load"
        fact.loaded = loc in self.loaded or fact.pickled
        given = [self.is_made_up(v) for v in args.all()]
        fact.synthetic = bool(given) and (all(given) or (given[0] and self.frame.function.name.startswith("test_")))
        fact.gives_losses = len(args.all()) > 1 and self.project.libraries.matches("loss_givers", self.thing(loc).made_by)
        fact.fed = frozenset(name for arg in node.args for name in names_in(arg))
        fact.fixed_noise = any(names.has_words(name, FIXED) for name in fact.fed)
        fact.may_differentiate |= self.asked_for_grad > 0
        fact.may_differentiate |= any(names.has_words(k, DERIVATIVES) for k, _ in node.keywords)
        fact.partly |= any(m.mode == "eval" for m in modes) and self.has_part(loc, w, "train")
        fact.divided |= all(m.mode in ("train", "fresh") for m in modes) and self.has_part(loc, w, "eval")
        fact.sorted_out |= self.has_sort_in_eval(loc, w)
        fact.carries_no_grad = self.carries_no_grad(loc, method)
        for frame in self.frames:
            frame.forwards.append(number)
        flow = flowed(args.all())
        if method != "__call__":
            own = [before for at in flow.data if (before := self.forwards[at]).loc == loc]
            fact.follows |= {(before.path, before.span) for before in own}
        for frame in self.frames:
            fact.own_switches |= frame.switches
        for other in flow.data:
            if self.forwards[other].loc != loc and known and not names.is_loss_name(self.thing(loc).made_by.rsplit(".", 1)[-1]):
                self.forwards[other].feeds.add(loc)
        recorded = w.grad != OFF and not fact.carries_no_grad
        data = flow.data | {number}
        graph = (flow.graph | {number}) if recorded else frozenset()
        live = NO_IDS
        if w.grad == ON and not (fact.carries_no_grad or fact.own_grad):
            live = frozenset().union(*map(alive, args.all()))
            whole = method == "__call__" or names.words(method)[:1] == ("forward",)
            if not fact.frozen and whole and not (cls is not None and self.is_empty(cls)):
                live |= {number}
        return V((("o", ("ret", self.path, node.span, self.chain())),), data, graph, live)

    def is_part_of_module(self, loc: Any) -> bool:
        """Whether an object hangs on one that is known to be a module: what is called there is one as well."""
        while loc[0] == "child":
            loc = loc[1]
            cls = self.thing(loc).cls
            if cls is not None and self.project.is_module(cls):
                return not self.is_empty(cls) or bool(self.project.subclasses.get(id(cls)))
        return False

    def inner_modes(self, loc: Any, w: World) -> Modes | None:
        """The modes of a wrapper's parts where they were all put in eval mode by themselves and it has no other; else None."""
        cls = self.thing(loc).cls
        if cls is None or loc[0] != "new" or any(m.mode not in ("train", "fresh") for m in self.mode_of(w, loc)):
            return None
        held = [w.attrs.get((loc, name)) for name in self.children.get(loc, ())]
        parts = {
            a[1] for v in held if v is not None for a in v.atoms if a[0] == "o" and (self.thing(a[1]).kind == "model" or a[1] in w.modes)
        }
        parts = {p for p in parts if self.children.get(p) or self.thing(p).made_by.rsplit(".", 1)[-1] not in CONTAINERS}
        modes: Modes = frozenset().union(*(self.mode_of(w, part) for part in parts))
        if any(m.mode not in ("eval", "given", "unknown") for m in modes):
            return None
        own = [(c, node) for c in self.project.mro(cls) for _, _, node in built(c)]
        reads = any(isinstance(n, Attr) or (isinstance(n, Call) and last_name(n.func) in DEPENDENT | FUNCTIONAL) for _, n in own)
        made = [(c, n) for c, n in own if isinstance(n, Call) and last_name(n.func)[:1].isupper()]
        passes = bool(made) and all(last_name(n.func) in CONTAINERS and handed_to(c, n) for c, n in made)
        return None if reads else modes or (UNKNOWN_MODE if passes else None)

    def is_instance(self, value: V, kind: V, name: str) -> V:
        """`isinstance(x, nn.Module)` of a model, or of an object whose class is known."""
        things = [a[1] for a in value.atoms if a[0] == "o"]
        kinds = [k for a in kind.atoms for k in ((x for v in a[1] for x in v.atoms) if a[0] == "q" else (a,))]
        if not things or len(things) < len(value.atoms) or not kinds:
            return UNKNOWN
        if any(k[0] == "x" and k[1].endswith(".Module") for k in kinds):
            if all(self.modelness(t, name) for t in things) or all(holder(t) is not None for t in things):
                return const(True)  # of what an object holds, the modules are asked for
        classes = [self.thing(t).cls for t in things]
        lines = [self.project.mro(c) if c is not None else [] for c in classes]
        if all(any(k[0] == "k" and k[1] in line for k in kinds) for line in lines):
            return const(True)
        known = all(t[0] == "new" and line for t, line in zip(things, lines, strict=True))
        outside = {b.rpartition(".")[2] for c in classes if c is not None for b in self.project.outside_bases(c)}
        asked = {k[1].name if k[0] == "k" else str(k[1]).rpartition(".")[2] for k in kinds if k[0] in ("k", "x")}
        if known and len(asked) == len(kinds) and not any(k[0] == "k" and k[1] in line for k in kinds for line in lines):
            return UNKNOWN if asked & (outside | {"Module"}) else const(False)
        return UNKNOWN

    def is_made_up(self, value: V) -> bool:
        """Whether a tensor was made on the spot, out of nothing."""
        return bool(value.atoms) and all(
            (a[0] == "c" and a[1] is not None)
            or (a[0] == "d" and all(self.is_made_up(v) for _, v in a[1]))
            or (a[0] == "q" and all(self.is_made_up(v) for v in a[1]))
            or (a[0] == "o" and (thing := self.things.get(a[1])) is not None and thing.made_by in MADE_UP)
            for a in value.atoms
        )

    def has_part(self, loc: Any, w: World, mode: Literal["train", "eval"]) -> bool:
        """Whether a part of the module is certainly in a mode, put there by itself."""
        held = [v for name in self.children.get(loc, ()) if (v := w.attrs.get((loc, name))) is not None]
        parts = [k for k in w.modes if k[0] == "child" and is_below(k, loc)] + [a[1] for v in held for a in v.atoms if a[0] == "o"]
        found = [{m.mode for m in w.modes[part]} for part in parts if w.modes.get(part)]
        return any(mode in modes and not modes & ({"train", "eval"} - {mode}) for modes in found)

    def has_sort_in_eval(self, loc: Any, w: World) -> bool:
        """Whether some of the module's parts, whichever they are, were put in eval mode."""
        sorts = [k for k in w.modes if k[0] == "child" and k[2] in ("<child>", "<each>") and is_below(k, loc)]
        return any(m.mode == "eval" and m.where is not None for k in sorts for m in w.modes[k])

    def carries_no_grad(self, loc: Any, method: str) -> bool:
        """Whether a library's method turns recording off itself."""
        thing = self.thing(loc)
        if method == "__call__" or (thing.cls is not None and self.project.method(thing.cls, method) is not None):
            return False
        if thing.cls is None and (defined := self.project.methods.get(method)):
            if 2 * sum(bool(GRAD_SWITCHES & decorator_names(fn)) for _, fn in defined) >= len(defined):
                return True  # most likely
        return self.project.libraries.matches("no_grad_methods", method) or self.project.libraries.matches("no_grad_models", thing.made_by)

    def shown_name(self, display: Value, loc: Any) -> str:
        """The model as the user names it: for calls inside a module's own methods, the receiver outside."""
        for frame in reversed(self.frames):
            if frame.stop.module and frame.stop.caller and frame.stop.caller != "self":
                return frame.stop.caller
            if not frame.stop.module:
                break
        return text_of(display)
