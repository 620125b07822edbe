"""What calls mean to PyTorch: mode switches, grad modes, forwards, backwards, optimizer steps."""

from __future__ import annotations

from typing import Any

from evallint import events as ev
from evallint.events import Call, Value
from evallint.meaning import names
from evallint.meaning.facts import Forward
from evallint.meaning.forwards import CONVERTERS, MADE_UP
from evallint.meaning.layers import CONTAINERS
from evallint.meaning.machine import Args, Thing, is_below, last_name, made, text_of
from evallint.meaning.switches import Switches
from evallint.meaning.tensors import gives_places
from evallint.meaning.values import (
    NO_IDS,
    OFF,
    ON,
    UNKNOWN,
    UNKNOWN_MODE,
    Ids,
    Mode,
    Modes,
    V,
    World,
    alive,
    constants,
    flowed,
    join,
    of,
)
from evallint.meaning.vocabulary import CLUSTERING, CUTTING, HIGHER_ORDER, HOLDERS, METRICS

VAGUE_CLASSES = frozenset(
    "encoder decoder parser detector tagger predictor generator classifier sampler ranker recognizer vocoder segmenter".split()
)
"""Last words of classes that outside of PyTorch's libraries are seldom modules."""
TENSORS = frozenset(("tensor", "LongTensor", "FloatTensor", "Tensor"))
"""What makes a tensor of what it is handed."""
TABLES = frozenset(("torch", "torch.nn.functional"))
"""Modules from which a function is chosen by its name: `getattr(torch, reduction)(x)`."""
CHOSEN = "<chosen>"
"""What such a function is called."""
LAZY_IMPORTS = frozenset(("LazyLoader", "import_module", "lazy_import", "lazy_loader", "importorskip"))


class TorchCalls(Switches):
    """Gives calls their PyTorch meaning."""

    # Calls outside the project

    def call_external(self, dotted: str, args: Args, node: Call, w: World) -> V:
        tail = dotted.rsplit(".", 1)[-1]
        torchy = dotted.startswith(("torch.", "th."))
        if tail in ("no_grad", "inference_mode") and (torchy or tail == dotted):
            if args.pos and any(a[0] == "f" for a in args.pos[0].atoms):
                return of(("w", "off", args.pos[0]))
            flag = args.get(0, "mode")
            return of(("g", "on" if flag is not None and self.known(flag) is False else "off", (), (self.path, node.span)))
        if tail == "enable_grad" and torchy:
            return of(("g", "on", (), (self.path, node.span)))
        if tail == "is_grad_enabled" and torchy:
            return of(("r", tuple(sorted(w.grad))))
        if tail == "set_grad_enabled" and (torchy or tail == dotted):
            return self.set_grad_enabled(args, node, w)
        if self.project.libraries.matches("gradient_calls", dotted):
            for number in flowed(args.all()).data:
                self.forwards[number].grad_used = True
            for value in args.all():
                for atom in value.atoms:
                    if atom[0] in ("f", "p"):
                        self.frame.stop.wants_grad = True
            return self.result(node, args)
        if self.project.libraries.matches("training_calls", dotted):
            self.training_step(flowed(args.all()).data, w)
            return UNKNOWN
        if tail == "partial" and args.pos:
            return of(("p", args.pos[0], tuple(args.pos[1:]), tuple(sorted(args.kw.items(), key=lambda kv: kv[0]))))
        if self.project.libraries.matches("runs_model", dotted) or dotted in HIGHER_ORDER:
            return self.runs(args, node, w, handed_on="checkpoint" in tail)
        if self.project.libraries.matches("wrappers", dotted) and args.all():
            model = args.pos[0] if args.pos else args.all()[0]
            for atom in model.atoms:
                if atom[0] == "o" and not self.thing(atom[1]).kind and not model.data and "Parallel" in tail:
                    self.thing(atom[1]).kind = "model"
            if tail == "freeze":
                w.frozen |= frozenset(a[1] for a in model.atoms if a[0] == "o")
            return model if model.atoms and any(a[0] in ("o", "f") for a in model.atoms) else self.result(node, args)
        if self.project.libraries.matches("copies", dotted) and args.pos:
            return self.copied(args.pos[0], node, w)
        if dotted == "torch.load":
            loaded = ("ret", self.path, node.span, self.chain())
            self.make(loaded, Thing(None, dotted, "", ""))
            return of(("o", loaded))
        if tail in LAZY_IMPORTS and node.args and isinstance(first := node.args[0], ev.Const) and isinstance(first.value, str):
            return of(("x", first.value))
        if dotted in ("torch.autograd.Variable", "torch.autograd.variable.Variable") and args.pos:
            return args.pos[0]
        converted = dotted in CONVERTERS and bool(args.pos) and all(self.is_made_up(v) for v in args.all())
        literal = tail not in TENSORS or all(is_literal(a) for a in node.args)
        if converted or (dotted in MADE_UP and literal and not flowed(args.all()).data):
            made_up = ("ret", self.path, node.span, self.chain())
            self.make(made_up, Thing(None, "torch.tensor" if converted else dotted, "data", ""))
            return of(("o", made_up))
        if dotted.startswith("builtins."):
            return self.builtin(tail, args, node, w)
        if tail in ("ExitStack", "AsyncExitStack"):
            stack = self.new_thing("data", "contextlib.ExitStack", args, node, w)
            self.on_exit.update((atom[1], []) for atom in stack.atoms)
            return stack
        if self.project.libraries.matches("schedulers", dotted):
            return self.new_thing("data", dotted, args, node, w)
        if (self.project.libraries.matches("optimizers", dotted) or takes_parameters(args)) and tail[:1].isupper():
            return self.optimizer(dotted, args, node)
        if self.project.libraries.matches("eval_contexts", tail):
            found = self.eval_context(dotted, tail, args, node)
            if found is not None:
                return found
        if self.project.libraries.matches("losses", dotted):
            return self.new_thing("loss", dotted, args, node, w)
        if tail[:1].isupper() and self.project.libraries.matches("framework_classes", dotted):
            trainer = self.new_thing("data", dotted, args, node, w)
            trained = args.get(0, "model") if tail.endswith("Trainer") else None
            if trained is not None:
                thing = self.thing(trainer.atoms[0][1])
                thing.trains, thing.opaque = tuple(a[1] for a in trained.atoms if a[0] == "o"), "eval_dataset" in args.kw or args.open
            return trainer
        if self.project.libraries.matches("foreign", dotted) or self.project.libraries.matches("not_models", dotted):
            return self.new_thing("data", dotted, args, node, w)
        if tail == "from_pretrained" and dotted.startswith("torch.nn."):  # a table of given vectors, frozen unless told otherwise
            table = self.new_model(dotted, "fresh", args, node, w)
            flag = args.get(1, "freeze")
            if flag is None or self.known(flag) is not False:
                w.frozen |= frozenset(a[1] for a in table.atoms if a[0] == "o")
            return table
        if self.project.libraries.matches("models_in_eval_mode", dotted):
            left = self.project.libraries.matches("pretrained_in_training_mode", dotted)
            return self.new_model(dotted, "fresh" if left else "given", args, node, w)
        if self.project.libraries.matches("models_in_training_mode", dotted) and ".functional" not in dotted:
            made_here = self.new_model(dotted, "fresh", args, node, w)
            if tail in CONTAINERS:
                self.freeze_with_parts(made_here, args, w)
            beside = 2 if tail == "create_model_and_transforms" else int(dotted.startswith("esm.pretrained.") and "fold" not in tail)
            return of(("q", (made_here, *[UNKNOWN] * beside))) if beside else made_here  # the alphabet
        if (
            tail[:1].isupper()
            and names.is_model_name(tail)
            and not torchy
            and not flowed(args.all()).data
            and (names.words(tail)[-1] not in VAGUE_CLASSES or dotted.split(".")[0] in self.project.libraries.libraries)
        ):
            loc = ("ret", self.path, node.span, self.chain())
            self.make(loc, Thing(None, dotted, "model", ""))
            return of(("o", loc))
        return self.passed(dotted, tail, args, node, w)

    def passed(self, dotted: str, tail: str, args: Args, node: Call, w: World) -> V:
        """Any other function outside the project: training steps by name and arguments, callbacks, metrics."""
        flow = flowed(args.all())
        if flow.data:
            if self.is_training_call(tail, args, dotted):
                self.training_step(flow.data, w, flow.graph)
            if names.has_words(dotted, CLUSTERING):
                self.used(flow, "cluster")
            if names.is_shown(tail):
                self.used(flow, "show")
            if tail in METRICS or names.is_loss_name(tail) or "acc" in tail or "score" in tail:
                self.used(flow, "metric")
        handed = self.hand_on(tail, args, node, w)
        for value in args.all() if handed is None else ():
            for atom in value.atoms:
                if (
                    atom[0] in ("f", "p", "w")
                    and dotted.startswith(("torch.", "monai.", "ignite.")) is False
                    and tail in ("run", "apply", "submit")
                ):
                    self.call_later(of(atom), Args([], {}, open=True), node, w)
                elif atom[0] == "f" and "evaluator" in tail.lower():  # an engine that evaluates runs it without recording
                    before = w.grad, w.grad_at
                    self.set_grad(w, "off")
                    self.call_later(of(atom), Args([], {}, open=True), node, w)
                    w.grad, w.grad_at = before
        result = self.result(node, args)
        if tail in CUTTING or dotted.startswith(("numpy.", "np.")):
            return V(result.atoms, result.data)
        if result.graph and dotted.startswith("torch.") and gives_places(tail, node.args[1:], node):
            return self.with_places(node, V((), result.data, result.graph, alive(args.pos[0]) if args.pos and w.grad == ON else NO_IDS))
        return result

    def is_training_call(self, name: str, args: Args, written: str) -> bool:
        """A call that back-propagates, by its name and by what it is handed (a loss and an optimizer)."""
        if "backward" in name or self.project.libraries.matches("training_calls", written):
            return True
        if names.has_words(name, KEEPING):
            return False
        has_optimizer = any(
            a[0] == "o" and (self.thing(a[1]).kind == "optimizer" or names.is_optimizer_name(self.thing(a[1]).name))
            for v in args.all() for a in v.atoms
        )  # fmt: skip
        return has_optimizer

    def copied(self, value: V, node: Call, w: World) -> V:
        """A deep copy: a new object in the mode of the old one."""
        atoms: dict[Any, None] = {}
        for atom in value.atoms:
            if atom[0] == "o":
                loc = ("new", self.path, node.span, self.chain(), atom[1][0])
                old = self.thing(atom[1])
                kind = old.kind or ("model" if self.modelness(atom[1], last_name(node.args[0])) else "")
                self.make(loc, Thing(old.cls, old.made_by, kind, ""))
                for name in self.children.get(atom[1], set()):
                    inner = w.attrs.get((atom[1], name))
                    if inner is not None and not any(a[0] == "o" for a in inner.atoms):
                        self.set_attr(w, loc, name, inner)
                w.modes[loc] = self.mode_of(w, atom[1])
                atoms["o", loc] = None
            else:
                atoms[atom] = None
        return V(tuple(atoms), value.data, value.graph)

    def builtin(self, tail: str, args: Args, node: Call, w: World) -> V:
        first = args.pos[0] if args.pos else UNKNOWN
        if tail == "bool" and any(a[0] in ("s", "b", "c") for a in first.atoms):
            return first
        if tail in ("bool", "int") and len(first.atoms) == 1 and first.atoms[0][0] == "o" and first.atoms[0][1][0] == "param":
            return first  # a flag, however it is spelled
        if tail in ("next", "iter", "list", "tuple", "reversed", "sorted", "set"):
            if tail == "next":
                return self.item_of(first, ("item", self.path, node.span, self.chain()))
            if args.pos and tail == "sorted" and "key" in args.kw:
                self.call_later(args.kw["key"], Args([self.item_of(first, ("item", self.path, node.span))], {}), node, w)
            return first
        if tail == "zip":
            shared = [self.rounds(v) for v in args.pos]
            if shared and all(r is not None for r in shared):
                rows = tuple(of(("q", tuple(row))) for row in zip(*[r for r in shared if r is not None], strict=False))
                if rows:
                    return of(("q", rows))
            items = tuple(self.item_of(v, ("item", self.path, node.span, n)) for n, v in enumerate(args.pos))
            flow = flowed(args.pos)
            return V((("l", of(("q", items))),), flow.data, flow.graph)
        if tail == "enumerate":
            rounds = self.rounds(first)
            if rounds is not None:
                return of(("q", tuple(of(("q", (UNKNOWN, v))) for v in rounds)))
            item = self.item_of(first, ("item", self.path, node.span, self.chain()))
            return V((("l", of(("q", (UNKNOWN, item)))),), first.data, first.graph)
        if tail in ("map", "filter") and len(args.pos) > 1:
            each = [self.item_of(v, ("item", self.path, node.span, n)) for n, v in enumerate(args.pos[1:])]
            value = self.call_later(first, Args(each, {}), node, w)
            return V((("l", value),), value.data, value.graph)
        if tail == "getattr" and len(args.pos) >= 2:
            keys = constants(args.pos[1])
            if keys and len(keys) == 1 and isinstance(keys[0], str):
                return self.attribute(first, keys[0], w)
            table = next((a[1] for a in first.atoms if a[0] == "x" and a[1] in TABLES), "")
            if table:
                return of(("x", f"{table}.{CHOSEN}"))
            parts = tuple(("o", self.child(a[1], "<part>")) for a in first.atoms if a[0] == "o" and self.may_hold_modules(a[1]))
            return V(parts) if parts else self.result(node, args)
        if tail == "vars" and len(args.pos) == 1:
            return self.attribute(first, "__dict__", w)
        if tail == "isinstance" and len(args.pos) == 2:
            return self.is_instance(first, args.pos[1], last_name(node.args[0]))
        if tail == "setattr" and len(args.pos) == 3:
            keys = constants(args.pos[1])
            for atom in first.atoms:
                if atom[0] == "o" and keys and len(keys) == 1:
                    self.set_attr(w, atom[1], str(keys[0]), args.pos[2])
            return UNKNOWN
        if tail == "dict" and args.kw and not args.pos:
            return of(("d", tuple(args.kw.items())))
        if tail in ("float", "int", "print", "str", "round", "len", "range"):
            flow = flowed(args.all())
            if flow.data and tail != "len":
                self.used(flow, "item")
            return V((), flow.data)
        if tail in ("sum", "min", "max", "abs"):
            held = [a[1] if a[0] == "q" else (a[1],) for v in args.pos for a in v.atoms if a[0] in ("q", "l")]
            return flowed([*args.all(), *(item for row in held for item in row)])
        return V((), *(lambda f: (f.data, f.graph))(flowed(args.all()))) if tail != "type" else UNKNOWN

    def may_hold_modules(self, loc: Any) -> bool:
        """Whether an object is a module, or of a class of the program that keeps some."""
        thing = self.thing(loc)
        return thing.kind == "model" or (thing.cls is not None and self.project.holds_something(thing.cls))

    def optimizer(self, dotted: str, args: Args, node: Call) -> V:
        loc = ("new", self.path, node.span, self.chain())
        owners: set[Any] = set()
        opaque = False
        stack = list(args.pos[:1] or [args.kw.get("params", UNKNOWN)])
        while stack:
            value = stack.pop()
            for atom in value.atoms:
                if atom[0] == "o":
                    at = atom[1]
                    while at[0] == "child" and at[2] in ("<parameter>", "<parameters>"):
                        at = at[1]
                    if at != atom[1]:
                        owners.add(at)
                    elif at[0] == "ret":
                        opaque = False
                elif atom[0] in ("q",):
                    stack += atom[1]
                elif atom[0] == "l":
                    stack.append(atom[1])
                elif atom[0] == "d":
                    stack += [v for _, v in atom[1]]
        first = node.args[0] if node.args else None
        if isinstance(first, ev.Mix) and any(isinstance(i, ev.Seq) for i in first.items):  # `[latent] + noises`
            first = ev.Seq(tuple(x for i in first.items for x in (i.items if isinstance(i, ev.Seq) else (i,))))
        if not owners and isinstance(first, ev.Seq) and not any(isinstance(i, (ev.Call, ev.Map, ev.Star)) for i in first.items):
            opaque = True
        said = node.args[0] if node.args else next((v for k, v in node.keywords if k == "params"), None)
        if not isinstance(said, (ev.Call, ev.Seq, ev.Comprehension)):
            owners = set()  # collected elsewhere: some may have been lost on the way
        self.make(loc, Thing(None, dotted, "optimizer", "optimizer", trains=tuple(owners), opaque=opaque))
        return of(("o", loc))

    def eval_context(self, dotted: str, tail: str, args: Args, node: Call) -> V | None:
        locs = tuple(a[1] for v in args.all() for a in v.atoms if a[0] == "o")
        if not locs:
            return None
        silent = any(self.project.libraries.matches("no_grad_contexts", name) for name in (tail, dotted))
        return of(("e", locs, node.span, silent))

    def new_thing(self, kind: str, dotted: str, args: Args, node: Call, w: World) -> V:
        if not dotted.rsplit(".", 1)[-1][:1].isupper() and kind != "data":
            flow = flowed(args.all())
            if flow.data:
                self.used(flow, "metric")
            return V((("o", ("ret", self.path, node.span, self.chain())),), flow.data, flow.graph)
        loc = ("new", self.path, node.span, self.chain())
        self.make(loc, Thing(None, dotted, kind, ""))
        return of(("o", loc))

    def new_model(self, dotted: str, mode: str, args: Args, node: Call, w: World) -> V:
        loc = ("new", self.path, node.span, self.chain(), *self.tags)
        self.make(loc, Thing(None, dotted, "model", self.things[loc].name if loc in self.things else "", call=node))
        inner: Modes = frozenset()
        holds = dotted.startswith("torch.nn.") and dotted.rsplit(".", 1)[-1] in HOLDERS
        if holds and len(args.pos) > 1 and all(map(self.owns_nothing, args.pos)):  # what begins with one part is built on
            self.things[loc].kind = "loss"
        for number, value in enumerate(args.all()):
            for atom in value.atoms:
                held = (
                    atom[1]
                    if atom[0] in ("q",)
                    else (atom[1],)
                    if atom[0] == "l"
                    else tuple(v for _, v in atom[1])
                    if atom[0] == "d"
                    else (of(atom),)
                )
                for at, item in enumerate(held):
                    for one in item.atoms:
                        if one[0] == "o" and (self.thing(one[1]).kind == "model" or one[1][0] == "child"):
                            self.set_attr(w, loc, f"#{number}.{at}", of(one))
                            if holds:
                                inner |= self.mode_of(w, one[1])
        if inner and all(m.mode in ("eval", "given", "unknown") for m in inner):
            w.modes[loc] = inner  # parts of a model in eval mode, wrapped anew
        else:
            w.modes[loc] = made(mode, self.path, node.span, self.frame.stop.function, f"{text_of(node.func)}(…)")
        return of(("o", loc))

    def owns_nothing(self, value: V) -> bool:
        """Whether a value is certainly a module without parameters."""
        return bool(value.atoms) and all(a[0] == "o" and self.thing(a[1]).kind == "loss" for a in value.atoms)

    def runs(self, args: Args, node: Call, w: World, handed_on: bool = False) -> V:
        """A library function that runs the model or function handed to it, on its other arguments where they are `handed_on`."""
        rest = Args([v for v in args.all() if not any(a[0] in ("f", "p") for a in v.atoms)], {}, open=True)
        found = UNKNOWN
        for value, shown in self.shown(args, node):
            for atom in value.atoms:
                if atom[0] in ("f", "p", "w"):
                    given = Args(rest.pos, {}) if handed_on else Args([], {}, open=True)
                    found = join(found, self.call_later(of(atom), given, node, w))
                elif handed_on and args.pos and value is not args.pos[0]:
                    continue
                elif atom[0] == "o" and self.modelness(atom[1], last_name(shown)):
                    found = join(found, self.forward(atom[1], "__call__", rest, node, w, shown, True))
        flow = flowed([*args.all(), found])
        return V((("o", ("ret", self.path, node.span, self.chain())),), flow.data, flow.graph)

    def shown(self, args: Args, node: Call) -> list[tuple[V, Value]]:
        """Arguments with how they are written."""
        written = [a for a in node.args if not isinstance(a, ev.Star)]
        pairs = list(zip(args.pos, written, strict=False))
        return pairs + [(args.kw[k], v) for k, v in node.keywords if k in args.kw]

    def call_later(self, func: V, args: Args, node: Call, w: World) -> V:
        return self.call_value(func, args, node, w, node.func, last_name(node.func))

    # Training

    def training_step(self, ids: Ids, w: World, graph: Ids = NO_IDS) -> None:
        self.notice()
        for fact, _ in self.loops:
            fact.trains = True
        for frame in self.frames:
            frame.stop.trains = True
        around = {id(fact) for fact, _ in self.loops}
        for number in ids:
            forward = self.forwards[number]
            if graph and number not in graph and around and around.isdisjoint(map(id, forward.loops)):
                continue  # features that were worked out before the loop that trains on them
            if any(a != b for a, b in zip(forward.rounds, self.tags, strict=False) if a[0] == b[0]):
                continue  # another phase of one loop
            if self.is_beside(forward) and (all(m.mode == "eval" for m in forward.modes) or self.is_left_by_validation(forward)):
                continue  # what a loop that evaluates left in a variable
            forward.trained = True
            if not graph or number in graph:  # what came as mere numbers is not updated
                self.pending.add(number)
        if not ids:
            for number in self.frame.forwards:
                forward = self.forwards[number]
                direct = around.issuperset(map(id, forward.loops))
                forward.spoiled |= direct or any(m.mode != "eval" for m in forward.modes)
                if direct:
                    self.pending.add(number)

    def is_beside(self, forward: Forward) -> bool:
        """Whether a forward ran in a loop that is over, and what runs now is in another one."""
        if not self.loops or not forward.loops:
            return False
        return all(fact is not forward.loops[-1] for fact, _ in self.loops) and all(f is not self.loops[-1][0] for f in forward.loops)

    def is_left_by_validation(self, forward: Forward) -> bool:
        """Whether a forward ran with recording off in a loop that comes after this one, so that only the next epoch could meet it."""
        here, there = self.loops[-1][0], forward.loops[-1]
        same = (here.path, here.function) == (there.path, there.function)
        return forward.grad == OFF and same and here.span < there.span and here.span[0] > self.loops[0][0].span[0]

    def optimizer_step(self, loc: Any, w: World) -> None:
        """`optimizer.step()`: what was back-propagated since the last one is trained by it."""
        self.notice()
        thing = self.things.get(loc)
        for fact, _ in self.loops:
            fact.trains = True
        for frame in self.frames:
            frame.stop.trains = True
        around = {id(fact) for fact, _ in self.loops}
        for number in self.pending:
            forward = self.forwards[number]
            if around and forward.loops and around.isdisjoint(map(id, forward.loops)):
                continue  # what another loop has trained, with an optimizer of its own
            if thing is not None and thing.opaque:
                continue
            if is_copy(forward.loc) and (thing is None or forward.loc not in thing.trains):
                continue  # an optimizer has the original's parameters
            if thing is not None and thing.trains and set(thing.trains) == {forward.loc} and last_part(forward.loc) in HEADS:
                continue  # a head on a backbone that is meant to stay as it is
            if thing is not None and thing.trains and forward.loc is not None:
                if not any(self.related(forward.loc, t, w) for t in thing.trains):
                    continue
            forward.stepped = True

    def related(self, one: Any, other: Any, w: World) -> bool:
        """Whether an object is another, or a part of it, or the other way round."""
        return one == other or is_below(one, other) or is_below(other, one) or self.holds(one, other, w) or self.holds(other, one, w)

    def holds(self, whole: Any, part: Any, w: World, depth: int = 3) -> bool:
        """Whether an object keeps another in its attributes."""
        held = [w.attrs.get((whole, name)) for name in self.children.get(whole, ())]
        inner = [a[1] for value in held if value is not None for a in value.atoms if a[0] == "o" and a[1] != whole]
        return part in inner or (depth > 1 and any(self.holds(one, part, w, depth - 1) for one in inner))


KEEPING = frozenset("save serialize checkpoint load dump log print state resume write restore snapshot display plot report".split())
"""Words of what is handed an optimizer to keep or show it."""
HEADS = frozenset("head heads fc classifier linear probe adapter proj projection".split())


def is_literal(node: Value) -> bool:
    """A number, or a list of them."""
    return isinstance(node, ev.Const) or (isinstance(node, ev.Seq) and all(is_literal(item) for item in node.items))


def takes_parameters(args: Args) -> bool:
    """Whether a call is handed some module's `parameters()`."""
    return any(a[0] == "o" and a[1][0] == "child" and a[1][2] == "<parameters>" for v in args.all() for a in v.atoms)


def is_copy(loc: Any) -> bool:
    """Whether an object is a deep copy of another."""
    return loc is not None and loc[0] == "new" and len(loc) > 4 and isinstance(loc[4], str)


def last_part(loc: Any) -> str:
    """The name by which an object hangs on another."""
    return str(loc[2]) if loc is not None and loc[0] == "child" else ""


__all__ = ["ON", "UNKNOWN_MODE", "Mode", "TorchCalls"]
