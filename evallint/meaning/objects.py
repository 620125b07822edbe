"""Methods of objects: what `x.name(...)` does when x is a model, an optimizer, a tensor, an instance, or not known."""

from __future__ import annotations

from typing import Any

from evallint import events as ev
from evallint.events import Call, Class, Function, Value
from evallint.meaning import names
from evallint.meaning.absence import SETTERS
from evallint.meaning.evaluate import SELF_ATTRIBUTES
from evallint.meaning.forwards import MADE_UP
from evallint.meaning.machine import Args, Thing, holder, last_name, made, text_of
from evallint.meaning.methods import (
    NO_FORWARD_PREFIXES,
    computes,
    fits,
    is_abstract,
    is_class_name,
    is_part,
    is_stand_in,
    thing_like,
)
from evallint.meaning.owned import Owned
from evallint.meaning.tensors import gives_places
from evallint.meaning.torch_calls import takes_parameters
from evallint.meaning.values import NO_IDS, OFF, ON, UNKNOWN, V, World, constants, flowed, join, of
from evallint.meaning.vocabulary import (
    CLUSTERING,
    COMMON_METHODS,
    CUTTING,
    FORWARD_METHODS,
    METRICS,
    MODE_METHODS,
    NOT_FORWARDS,
    SAME_OBJECT,
)
from evallint.meaning.walk import has_branch

LOSSES = frozenset("loss losses criterion criterions crit objective".split())
"""Words of functions that compute a loss, and may run the model for it."""
STEPPING = frozenset(("step", "zero_grad"))
"""What nothing but an optimizer, or an engine around one, has both of."""
SUBMODULES = frozenset(
    "base body neck fc bottleneck nn net extractor trunk head heads tower stem projector projection features layers blocks".split()
)
GETTERS = frozenset(
    "get_output_embeddings get_input_embeddings get_encoder get_decoder get_base_model get_model get_submodule get_classifier".split()
)
"""Methods that hand out a part of a model, or the model itself."""


NO_MODELS_THERE = frozenset("metric metrics loss losses data dataset datasets transform transforms optim util utils logger logging".split())
"""Words of modules whose classes are no models."""
BOOKKEEPING = frozenset("manager logger meter tracker recorder handler counter monitor writer".split())
"""Last words of classes that keep books of what models do."""


def makes_no_model(node: Call, name: str) -> bool:
    """Whether a class that cannot be seen is none of models, by its name or its module's: `metrics.MetricManager(...)`."""
    module = last_name(node.func.base) if isinstance(node.func, ev.Attr) else ""
    if names.is_model_name(name):
        return False
    said = names.words(name)
    return (
        names.is_loss_name(name)
        or names.is_not_model_name(name)
        or (bool(said) and said[-1] in BOOKKEEPING)
        or names.has_words(module, NO_MODELS_THERE)
    )


class Objects(Owned):
    """Calls methods of objects."""

    def call_object(self, loc: Any, base: V, method: str, args: Args, node: Call, w: World) -> V:
        display = node.func
        if method != "__call__":
            stored = w.attrs.get((loc, method))
            if stored is not None and stored.atoms and thing_like(stored):
                return self.call_value(self.stained(stored, w), args, node, w, display, method)
        thing = self.thing(loc)
        if method == "load_state_dict":
            self.loaded.add(loc)
        shown = display.base if method != "__call__" and isinstance(display, ev.Attr) else display
        if thing.cls is None and not thing.kind and loc[0] in ("param", "child", "global", "var") and not is_class_name(last_name(shown)):
            self.name_class(loc, last_name(shown))
            if thing.cls is None and thing.name:
                self.name_class(loc, thing.name)
        if method in ("step", "zero_grad") and isinstance(display, ev.Attr) and names.is_optimizer_name(last_name(display.base)):
            return self.call_optimizer(loc, method, args, node, w)
        if thing.cls is not None:
            found = self.call_own(loc, thing.cls, method, args, node, w)
            if found is not None:
                return found
        if method == "zero_grad" and not args.pos:
            self.pending.clear()
        if thing.kind == "data" and method == "train" and thing.trains:
            return self.trained_by_library(thing.trains, thing.opaque, node, w)
        if thing.kind == "optimizer" or (method == "step" and self.steps_optimizer(loc, args)):
            return self.call_optimizer(loc, method, args, node, w)
        if method in MODE_METHODS and self.is_mode_call(loc, method, args, node):
            self.switch(loc, method, args, node, w, text_of(display))
            return V(base.atoms) if base.atoms else of(("o", loc))
        if (
            method in SETTERS
            and len(args.all()) == 1
            and (self.modelness(loc, last_name(display.base)) if isinstance(display, ev.Attr) else "")
        ):
            self.switch(loc, "train", args, node, w, text_of(display))
            return UNKNOWN
        special = self.call_special(loc, base, method, args, node, w)
        if special is not None:
            return special
        if method in SELF_ATTRIBUTES and isinstance(display, ev.Attr):
            return self.forward(loc, "__call__", args, node, w, display, True)
        while isinstance(shown, ev.Attr) and shown.name in SELF_ATTRIBUTES and last_name(shown.base) != "self":
            shown = shown.base
        kind = self.modelness(loc, last_name(shown))
        if kind and method in GETTERS:
            return of(("o", loc if method in ("get_model", "get_base_model") else self.child(loc, method)))
        if method == "__call__":
            if not kind and thing.made_by == "torch.load" and args.pos and not names.is_not_model_name(last_name(shown)):
                kind = "known"  # a whole module that was pickled: nothing else that is saved can be called
            return self.call_callable(loc, base, kind, args, node, w, shown)
        inner = self.child(loc, method)
        if (
            thing.kind == "model"
            and thing.cls is not None
            and self.frame.self_loc == loc
            and isinstance(display, ev.Attr)
            and is_part(method)
        ):
            return self.forward(inner, "__call__", args, node, w, display, True)
        if is_class_name(method) and not base.data:
            return self.new_unknown(node, method)
        if kind and thing.cls is None and loc[0] != "void":
            value = self.call_defined(loc, method, args, node, w)
            if value is not None:
                return value
        if kind and method in self.project.part_names and isinstance(display, ev.Attr) and args.all():
            return self.forward(inner, "__call__", args, node, w, display, kind == "known")
        if kind and method not in NOT_FORWARDS and not method.startswith(NO_FORWARD_PREFIXES):
            named = names.words(method)
            noun = names.is_model_name(method) or (kind == "known" and SUBMODULES & set(named[-1:]))
            if noun and method not in FORWARD_METHODS and isinstance(display, ev.Attr) and args.all():
                return self.forward(inner, "__call__", args, node, w, display, kind == "known")
            if (
                method in FORWARD_METHODS
                or (names.is_model_name(method) and (args.all() or args.open))
                or named[:1]
                in (("encode",), ("decode",), ("forward",), ("predict",), ("generate",), ("sample",), ("infer",), ("extract",), ("embed",))
                or named[-1:] in (("decode",), ("generate",), ("predict",), ("inference",))  # `model.beam_decode(x)`
            ):
                return self.forward(loc, method, args, node, w, shown, kind == "known")
            defined = [f for c, f in self.project.methods.get(method, ()) if self.project.is_module(c) and computes(f, c)]
            if defined and method not in MODE_METHODS and not method.startswith("get_"):
                return self.forward(loc, method, args, node, w, shown, kind == "known")
        if (
            not kind
            and self.modelness(inner, method)
            and isinstance(display, ev.Attr)
            and method not in COMMON_METHODS
            and not self.methods_named(method)
            and args.all()
        ):
            return self.forward(inner, "__call__", args, node, w, display, self.modelness(inner, method) == "known")
        if method in SAME_OBJECT and not base.data and base.atoms:
            return V(base.atoms)
        return self.call_unknown(loc, base, method, args, node, w, kind)

    def call_callable(self, loc: Any, base: V, kind: str, args: Args, node: Call, w: World, shown: Value) -> V:
        """`x(...)`."""
        if (last_name(shown) == "cls" and loc != self.frame.self_loc) or (id(node) in self.makers and self.thing(loc).cls is None):
            return self.new_unknown(node, last_name(shown))
        if isinstance(shown, Call) and last_name(shown.func) == "getattr" and shown.args:
            if any(a[0] in ("x", "m") for a in self.value(shown.args[0], w).atoms):
                return self.new_unknown(node, "getattr")  # a class, picked by name from a module
        if kind and loc[0] in ("void", "global") and is_class_name(last_name(shown)):
            return self.new_unknown(node, last_name(shown))
        if kind:
            if loc[0] == "child" and loc[2] in FORWARD_METHODS and last_name(shown) == loc[2] and not names.is_model_name(loc[2]):
                return self.forward(loc[1], loc[2], args, node, w, shown, kind == "known")
            return self.forward(loc, "__call__", args, node, w, shown, kind == "known")
        thing = self.thing(loc)
        name = last_name(shown) or thing.name
        if names.is_optimizer_name(name) and takes_parameters(args):
            return self.optimizer(name, args, node)  # its class was handed in
        flow = flowed(args.all())
        if flow.data:
            if names.is_loss_name(name) or thing.kind == "loss":
                self.used(flow, "metric")
            if self.is_training_call(name, args, f"*.{name}"):
                self.training_step(flow.data, w, flow.graph)
        for value in args.all():
            for atom in value.atoms:
                if atom[0] == "f" and thing.kind != "optimizer":
                    self.frames[0].nested.append((atom[1], atom[2])) if atom[3] is None else None
        if "callback" in name.lower() or "callback" in thing.name.lower() or self.looped_over("callbacks", name):
            guessed = [
                (c, f)
                for c, f in self.project.methods.get("__call__", ())
                if "allback" in c.name and id(f) in self.project.relevant and fits(f, args)
            ]
            if guessed and self.project.connected(self.path, guessed[0][1].path):
                self.any_of(guessed[:3], ("void", "callback", node.span), args, node, w)
        found = self.runs_argument(args, node, w, name)
        result = self.result(node, args, base)
        return V(result.atoms, result.data | found.data, result.graph | found.graph)

    def new_unknown(self, node: Call, name: str) -> V:
        """A model of a class that cannot be seen: in a mode that nobody here knows."""
        loc = ("ret", self.path, node.span, self.chain())
        self.make(loc, Thing(None, name, "data" if makes_no_model(node, name) else "model", ""))
        return of(("o", loc))

    def looped_over(self, source: str, name: str) -> bool:
        """Whether the innermost loop runs over something of this name and calls its item."""
        return bool(self.loops) and source in self.loops[-1][0].source.split() and name in self.loops[-1][0].target.split()

    def runs_argument(self, args: Args, node: Call, w: World, name: str) -> V:
        """An unknown callable that runs a model which it is handed: an inferer, or a loss that is handed no output with it."""
        found = UNKNOWN
        losses = names.has_words(name, LOSSES) and not is_class_name(name) and len(args.all()) > 1 and not flowed(args.all()).data
        if losses or "inferer" in name.lower() or "inference" in name.lower():
            for value, shown in self.shown(args, node):
                for atom in value.atoms:
                    if atom[0] == "o" and self.modelness(atom[1], last_name(shown)):
                        found = join(found, self.forward(atom[1], "__call__", Args([], {}), node, w, shown, True))
                    elif atom[0] in ("f", "p") and not losses:
                        found = join(found, self.call_later(of(atom), Args([], {}, open=True), node, w))
        return found

    # Objects of unknown class

    def is_mode_call(self, loc: Any, method: str, args: Args, node: Call) -> bool:
        """Whether `.eval()` / `.train(...)` on an unknown object is `nn.Module`'s."""
        thing = self.thing(loc)
        if thing.kind in ("loss", "data"):
            return thing.kind == "loss"
        if thing.kind == "instance":
            return False
        values = args.all()
        name = last_name(node.func.base) if isinstance(node.func, ev.Attr) else ""
        misnamed = names.is_optimizer_name(name) or (names.is_not_model_name(name) and not names.is_model_name(name))
        part = (loc[0] == "child" and self.thing(loc[1]).kind == "model") or holder(loc) is not None
        if misnamed and thing.kind != "model" and not part and not self.modelness(loc, name):
            return False
        if method == "eval":
            return not values
        if len(values) > 1 or any(k != "mode" for k in args.kw):
            return False
        if not values:
            return True
        flag = values[0]
        if isinstance(node.args[0] if node.args else None, (ev.Const,)):
            return self.known(flag) is not None
        return self.modelness(loc, name) != "" or any(a[0] in ("b", "s") or a[:2] == ("c", "bool") for a in flag.atoms)

    def steps_optimizer(self, loc: Any, args: Args) -> bool:
        name = self.thing(loc).name or (loc[2] if loc[0] == "child" else "")
        return (
            names.is_optimizer_name(name)
            or self.project.uses(self.path, name) >= STEPPING
            or name in ("scaler", "grad_scaler", "amp_scaler", "accelerator", "engine", "model_engine")
            or any(
                a[0] == "o" and (self.thing(a[1]).kind == "optimizer" or names.is_optimizer_name(self.thing(a[1]).name))
                for v in args.all()
                for a in v.atoms
            )
        )

    def call_optimizer(self, loc: Any, method: str, args: Args, node: Call, w: World) -> V:
        if method == "step":
            for value in args.all():
                for atom in value.atoms:
                    if atom[0] in ("f", "p"):
                        self.call_closure(atom, node, w)
            which = next((a[1] for v in args.all() for a in v.atoms if a[0] == "o" and self.thing(a[1]).kind == "optimizer"), loc)
            self.optimizer_step(which, w)
            return UNKNOWN
        if method == "zero_grad":
            self.pending.clear()
        flow = flowed(args.all())
        if flow.graph:  # whatever its name: an optimizer that is handed a loss
            self.training_step(flow.data, w, flow.graph)
        if method == "minimize":
            self.optimizer_step(loc, w)
        return V((), flow.data, flow.graph)

    def call_closure(self, closure: Any, node: Call, w: World) -> None:
        """Call what an optimizer is handed, and calls as often as it likes."""
        self.call_later(of(closure), Args([], {}), node, w)

    def call_special(self, loc: Any, base: V, method: str, args: Args, node: Call, w: World) -> V | None:
        """Methods whose name alone says what they do."""
        flow = flowed([base, *args.all()])
        if method == "backward" or method in ("manual_backward", "backward_step"):
            self.training_step(flow.data, w, flow.graph)
            return UNKNOWN
        if method == "grad" and flow.data and not self.thing(loc).kind:
            for number in flow.data:
                self.forwards[number].grad_used = True
        if method == "requires_grad_":
            return self.requires_grad(loc, base, args, node, w)
        if method in ("add_module", "register_module") and len(args.pos) == 2 and (keys := constants(args.pos[0])):
            self.set_attr(w, loc, str(keys[0]), args.pos[1])
            return UNKNOWN
        if method == "update" and loc[0] == "child" and loc[2] == "__dict__" and is_locals(node):
            for name, value in list(w.vars.rows.get(self.frame.act, {}).items()):
                self.set_attr(w, loc[1], name, value)
            return UNKNOWN
        if method == "apply" and args.pos and any(a[0] in ("f", "p") for a in args.pos[0].atoms):
            each = self.child(loc, "<each>")
            self.call_later(args.pos[0], Args([of(("o", each))], {}), node, w)
            modes = w.modes.pop(each, frozenset())
            left = {m.mode for m in modes}
            some = any(a[0] == "f" and has_branch(a[1].body) for a in args.pos[0].atoms)
            if left == {"eval"} or (left == {"train"} and not some):  # some layers put in training mode are meant to be
                self.set_mode(w, loc, modes)
            elif "eval" in left:
                w.modes[each] = modes  # those of some kind
            return V(base.atoms)
        if method in ("parameters", "named_parameters"):
            parameter = ("o", ("child", loc, "<parameter>"))
            item = of(parameter) if method == "parameters" else of(("q", (UNKNOWN, of(parameter))))
            return V((("l", item), ("o", ("child", loc, "<parameters>"))))
        if method in ("children", "modules", "named_children", "named_modules"):
            inner = of(("o", self.child(loc, "<child>")))
            return of(("l", inner if not method.startswith("named") else of(("q", (UNKNOWN, inner)))))
        if method == "prepare" and args.pos:
            return args.pos[0] if len(args.pos) == 1 else of(("q", tuple(args.pos)))
        if method in ("unwrap_model", "setup_model", "setup_module") and args.pos:
            return args.pos[0]
        if method == "from_pretrained" and isinstance(node.func, ev.Attr):
            said = names.words(last_name(node.func.base))
            if {"tokenizer", "config", "processor", "extractor", "scheduler"} & set(said):
                return self.new_thing("data", "?.X", args, node, w)
            return self.new_model("?.from_pretrained", "given", args, node, w)
        if method == "callback" and loc in self.on_exit and node.args:
            self.on_exit[loc].append(Call(node.args[0], node.args[1:], node.keywords, node.span))
            return args.pos[0]
        if method == "enter_context" and args.pos:
            for atom in args.pos[0].atoms:
                if atom[0] == "g":
                    self.set_grad(w, atom[1], (self.path, node.span), "call")
                elif atom[0] == "e":
                    for model in atom[1]:
                        self.set_mode(w, model, made("eval", self.path, node.span, self.frame.stop.function, "eval"))
            return args.pos[0]
        if method.endswith("_") and not method.startswith("_") and flow.data and isinstance(node.func, ev.Attr):
            target: Value = node.func.base  # in place: what is handed over flows into `x` of `x.view(-1).add_(y)`
            while isinstance(target, Call) and isinstance(target.func, ev.Attr):
                target = target.func.base
            self.stain(target, flow, w)
        if base.data and method != "__call__":
            return self.call_on_output(base, flow, method, args, node, w)
        if method in ("append", "extend", "add", "put", "update", "store", "push", "record", "insert", "log", "add_scalar") and flow.data:
            self.used(flow, "append" if method not in ("update", "log", "add_scalar") else "metric")
            if isinstance(node.func, ev.Attr):
                self.stain(node.func.base, flow, w)
            return UNKNOWN
        if method == "items" and not args.all():
            return of(("l", of(("q", (UNKNOWN, self.held_items(loc, w))))))
        if method == "values" and not args.all():
            return of(("l", self.held_items(loc, w)))
        return None

    def call_on_output(self, base: V, flow: V, method: str, args: Args, node: Call, w: World) -> V:
        """A method of something computed by a forward."""
        if method in METRICS:
            self.used(base, method)
        if method == "numpy" and base.graph and w.grad == ON:
            for number in base.graph:
                self.forwards[number].uses.add("raw")
        atoms = (("o", ("ret", self.path, node.span, self.chain())),)
        if method == "requires_grad_":
            return V(atoms, flow.data, flow.graph)
        if base.graph and gives_places(method, node.args, node):
            return self.with_places(node, V(atoms, flow.data, flow.graph, base.live if w.grad == ON else NO_IDS))
        return V(atoms, flow.data, frozenset() if method in CUTTING else flow.graph)

    def requires_grad(self, loc: Any, base: V, args: Args, node: Call, w: World) -> V:
        flag = args.get(0, "requires_grad")
        on = self.known(flag) is not False if flag is not None else True
        name = last_name(node.func.base) if isinstance(node.func, ev.Attr) else ""
        if loc[0] == "child" and loc[2] == "<parameter>":
            w.frozen = w.frozen - {loc[1]} if on else w.frozen | {loc[1]}
        elif self.modelness(loc, name):
            held = self.modules_in(w, loc)
            w.frozen = w.frozen - held if on else w.frozen | held
            if not on and (cls := self.thing(loc).cls) is not None:
                self.frozen_classes.add(id(cls))
        elif on and not names.is_loss_name(name):
            self.frame.stop.wants_grad = True
        return base if base.atoms else of(("o", loc))

    def methods_named(self, method: str) -> list[tuple[Class, Function]]:
        """The project's methods of a name, where the name says enough to guess them from it."""
        if method in COMMON_METHODS or method in MODE_METHODS:
            return []
        found = [
            (c, f)
            for c, f in self.project.methods.get(method, ())
            if not is_stand_in(c) and id(f) in self.project.relevant and not is_abstract(f) and self.project.reaches(self.path, f)
        ]
        return found if len(found) <= 2 else []

    def call_unknown(self, loc: Any, base: V, method: str, args: Args, node: Call, w: World, kind: str) -> V:
        """A method of an object of unknown class: the project's own of that name, or no effect but the flow of its arguments."""
        flow = flowed([base, *args.all()])
        if method == "optimizer_step":
            handed = [a[1] for v in args.all() for a in v.atoms if a[0] == "o"]
            steps = [o for o in handed if self.thing(o).kind == "optimizer" or names.is_optimizer_name(self.thing(o).name or str(o[-1]))]
            if steps:
                self.optimizer_step(steps[0], w)
                return UNKNOWN
        own = set(names.words(last_name(node.func.base) if isinstance(node.func, ev.Attr) else ""))
        guessed = [
            (c, f)
            for c, f in ([] if base.data or loc[0] == "ret" or method.startswith(("init", "_init")) else self.methods_named(method))
            if (not kind or self.project.is_module(c)) and (len(names.words(method)) > 1 or own & set(names.words(c.name)))
        ]
        if guessed and not any(a[0] in ("x",) for a in base.atoms):
            fitting = [(c, f) for c, f in guessed if fits(f, args)]
            if fitting:
                return self.any_of(fitting, loc, args, node, w)
        if flow.data and self.is_training_call(method, args, text_of(node.func)):
            self.training_step(flow.data, w, flow.graph)
        elif self.is_training_name(method) and not kind:
            self.training_step(flow.data, w, flow.graph) if flow.data else None
        if flow.data and (names.is_loss_name(method) or "acc" in method or "metric" in method):
            self.used(flow, "metric")
        if flow.data and names.has_words(text_of(node.func), CLUSTERING):
            self.used(flow, "cluster")
        if flow.data and names.is_shown(method):
            self.used(flow, "show")
        ran = self.hand_on(method, args, node, w)
        for value in args.all() if ran is None else ():
            for atom in value.atoms:
                if atom[0] == "f" and atom[3] is None:
                    self.frames[0].nested.append((atom[1], atom[2]))
        found = ran if ran is not None else self.runs_argument(args, node, w, method)
        atoms = found.atoms if ran is not None and found.atoms else (("o", ("ret", self.path, node.span, self.chain())),)
        result = V(atoms, flow.data | found.data, flow.graph | found.graph)
        if method in ("size", "dim", "numel") and base.data:
            return V(result.atoms)  # nobody has looked at the numbers
        if method in CUTTING:
            return V(result.atoms, result.data)
        if loc[0] == "ret" and (source := self.things.get(loc)) is not None and source.made_by in MADE_UP and not flow.data:
            self.things["ret", self.path, node.span, self.chain()] = source.copy()  # `torch.arange(6).view(2, 3)`
        return result

    def is_training_name(self, name: str) -> bool:
        """A method whose name says that it trains with what it is handed."""
        return bool(name) and (
            "backward" in name or name in ("train_step", "optimize_parameters", "update_parameters", "train_on_batch", "optimizer_step")
        )

    def framework_hook(self, cls: Class, fn: Function) -> bool:
        key = id(fn)
        found = self.hooks.get(key)
        if found is None:
            found = self.hooks[key] = (
                fn.name != "__init__"
                and self.project.libraries.matches("framework_hooks", fn.name)
                and any(self.project.is_a(c, "framework_classes") for c in (cls, *self.project.subclasses.get(id(cls), ())))
            )
        return found


def is_locals(node: Call) -> bool:
    """`f(locals())`."""
    return bool(node.args) and isinstance(node.args[0], Call) and last_name(node.args[0].func) == "locals"


__all__ = ["OFF", "Objects"]
