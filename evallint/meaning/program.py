"""Where the analysis begins: module bodies first, then what nobody is seen to call, each in the states that it can be entered in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any

from evallint.events import ANY_METHOD, Class, Const, Function
from evallint.meaning import names
from evallint.meaning.facts import Facts, Forward, Stop
from evallint.meaning.framework_hooks import STEPS, FrameworkHooks, Root
from evallint.meaning.idle import idle_statements, idle_switches
from evallint.meaning.machine import Args, Fork, Frame, TooLong
from evallint.meaning.methods import is_abstract, is_mode_method
from evallint.meaning.project import GRAD_SWITCHES, Project
from evallint.meaning.regions import PARTS
from evallint.meaning.states import self_loc, strip
from evallint.meaning.survey import survey
from evallint.meaning.values import UNKNOWN, Mode, V, World, const, of
from evallint.meaning.vocabulary import FLAGS, PHASES
from evallint.meaning.walk import decorator_names, is_static, steps_environment

MOST_RUNS = 8
MOST_STEPS_OF_ROOT = 8000
LEAST_STEPS_OF_RUN = 3000
MOST_PLAYED = 20
PLAIN_BASES = (".object", ".ABC", ".Generic", ".Protocol", ".Mixin")
OFFERED = (("sample",), ("generate",), ("infer",), ("inference",), ("fit",), ("train",))


class Program(FrameworkHooks):
    """Runs every root of a project and gathers the facts."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self.told: set[Any] = set()
        """What the runs so far have said; after one that says nothing new, no more of its root's conditions are told apart."""
        self.unsure = False, False, False
        self.offered = False
        self.midway = False
        self.played: Counter[int] = Counter()

    def analyse(self) -> Facts:
        """The facts of the whole program."""
        for path, file in self.project.files.items():
            if file.context:
                self.worlds[path] = World()
            else:
                self.perform(("module", path), partial(self.module, path))
        functions = [
            f for file in self.project.files.values() if not file.context for f in file.functions if id(f) in self.project.relevant
        ]
        methods = {id(m) for pairs in self.project.methods.values() for _, m in pairs}
        tops = [f for f in functions if "." not in f.qualname or id(f) in methods]
        tops = [f for f in tops if self.is_root(f) and not self.project.is_test(f)]
        self.hand_out([f for f in tops if id(f) not in methods])
        for f in tops:
            if not self.has_callers(f) and not self.called_by_base(f):
                picked = self.is_picked_by_name(f)
                self.unsure = picked or self.is_switched_beside(f), picked, picked
                self.reach(f)
        played: set[int] = set()
        for f in tops:
            cls = self.project.class_of_method.get(id(f))
            if cls is not None and id(cls) not in played and id(f) not in self.visited and self.called_by_base(f):
                played.add(id(cls))
                self.inherited(cls)
        waiting = {id(f): f for f in tops}
        for f in tops:
            reached = id(f) in self.visited
            self.callers_first(f, waiting)
            if reached and self.is_offered(f):
                self.unsure = self.may_be_switched(f)
                self.offered = True
                self.function(f)
                self.offered = False
        for file in self.project.files.values():
            for cls in file.classes:
                if any(name in cls.methods for name in STEPS) and not file.context and self.project.is_a(cls, "framework_classes"):
                    self.hooks_of(cls)
        self.facts.turned = idle_switches(self.project, self.facts.turned)
        self.facts.mark_probed()
        self.facts.mark_outer()
        self.facts.mark_shared()
        self.facts.take(self.survey())
        return self.facts

    def survey(self) -> Facts:
        """What the code of the program tells without being run."""
        return Facts(lapses=survey(self), idle=idle_statements(self.project))

    def hand_out(self, functions: list[Function]) -> None:
        """Run `load_model` and the like for what they hand to constructors; their facts are met again later."""
        wrappers = {c.name for file in self.project.files.values() for c in file.classes if self.is_wrapper(c)}
        visited, self.may_fork = self.visited, False
        self.visited = visited.copy()
        for f in functions:
            if f.called & wrappers and names.prepares(f.name):
                rows: list[list[Any]] = [self.facts.forwards, self.facts.kept, self.facts.backwards]
                before = [len(row) for row in rows]
                self.function(f)
                for row, length in zip(rows, before, strict=True):
                    del row[length:]
        self.visited, self.may_fork = visited, True

    def is_wrapper(self, cls: Class) -> bool:
        """Whether a class is handed a model and is none itself."""
        init = cls.methods.get("__init__")
        return init is not None and not self.project.is_module(cls) and any(names.is_model_name(p.name) for p in init.params[1:])

    def callers_first(self, f: Function, waiting: dict[int, Function]) -> None:
        """Enter a function that nothing has reached, after those that are sure to call it."""
        if waiting.pop(id(f), None) is None or id(f) in self.visited:
            return
        for caller in self.project.called_names.get(f.name, ()):
            if id(caller) in waiting and self.project.names_it(caller, f):
                self.callers_first(caller, waiting)
        if id(f) not in self.visited:
            self.unsure = (True, True, True) if self.called_by_base(f) else self.may_be_switched(f)
            self.reach(f)

    def reach(self, f: Function) -> None:
        """Run a function that nothing has reached, and say of what it meets whether others of its class call it."""
        self.midway = self.is_inner(f) or self.is_left_over(f) or self.is_prepared_by_base(f)
        cls = self.project.class_of_method.get(id(f))
        overridden = cls is not None and any(f.name in c.methods for c in self.project.subclasses.get(id(cls), ()))
        asked = cls is not None and any(("self", f.name) in m.receivers for m in cls.methods.values())
        self.offered = overridden and asked and self.is_offered(f)  # its class runs it on objects of subclasses alone
        self.function(f)
        self.midway = self.offered = False

    def is_left_over(self, f: Function) -> bool:
        """Whether a private method is called by nobody, and no class outside the project may ask for it."""
        cls = self.project.class_of_method.get(id(f))
        if cls is None or not f.name.startswith("_") or f.name.startswith("__") or self.has_callers(f) or "eval" in f.called:
            return False
        family = self.project.family(cls)
        outside = [b for c in family for b in self.project.outside_bases(c) if not b.endswith((".Module", "object", ".ABC", ".Generic"))]
        return not outside and not any(ANY_METHOD in m.called for c in family for m in c.methods.values())

    def is_inner(self, f: Function) -> bool:
        """Whether a private method is called by others of its class, handed on by them, or a hook of a base that cannot be seen."""
        cls = self.project.class_of_method.get(id(f))
        if cls is None or not f.name.startswith("_"):
            return False
        family = self.project.family(cls)
        if not self.project.is_module(cls) and any(not b.endswith(PLAIN_BASES) for b in self.project.outside_bases(cls)):
            return True
        return any(f.name in m.called for c in family for m in c.methods.values() if m is not f)

    def inherited(self, cls: Class) -> None:
        """Enter the inherited methods that run a method which only they call (a template's hooks), on an object of the class."""
        hooks = [m.name for m in cls.methods.values() if id(m) in self.project.relevant and self.called_by_base(m)]
        for entry in self.project.entries(cls, hooks):
            if self.framework_hook(cls, entry) or not self.is_root(entry) or self.project.is_test(entry) or self.is_inner(entry):
                continue
            if self.played[id(entry)] < MOST_PLAYED:
                self.played[id(entry)] += 1
                self.unsure = self.is_switched_beside(entry), False, False
                self.function(entry, cls)

    def called_by_base(self, f: Function) -> bool:
        """Whether a base of its class calls the method on its own object."""
        cls = self.project.class_of_method.get(id(f))
        bases = self.project.mro(cls)[1:] if cls is not None else []
        return any(("self", f.name) in m.receivers for base in bases for m in base.methods.values())

    def is_prepared_by_base(self, f: Function) -> bool:
        """Whether a base of its class calls the method on its own object, and switches modes or recording for it."""
        cls = self.project.class_of_method.get(id(f))
        callers = [m for base in (self.project.mro(cls)[1:] if cls is not None else []) for m in base.methods.values()]
        callers = [m for m in callers if ("self", f.name) in m.receivers]
        said = [name for m in callers for name in decorator_names(m)]
        return any("eval" in m.called or switches_grad(m) for m in callers) or any("no_grad" in n or "inference_mode" in n for n in said)

    def is_offered(self, fn: Function) -> bool:
        """Whether a class offers a method to its users, whoever else calls it: a public one that predicts, generates or trains."""
        cls = self.project.class_of_method.get(id(fn))
        if cls is None or fn.name.startswith("_") or self.project.is_module(cls) or not self.has_callers(fn):
            return False
        return offers(fn.name)

    def is_root(self, fn: Function) -> bool:
        """Whether a function may be entered from outside by its user (a framework's hooks and forwards are not)."""
        cls = self.project.class_of_method.get(id(fn))
        if cls is None:
            return True
        if self.framework_hook(cls, fn) or self.is_called_by_hook(cls, fn) or self.serves_hooks(fn):
            return False
        if fn.name in ("forward", "__init__", "train", "eval") and self.project.is_module(cls):
            if fn.name == "train":
                return len(fn.params) > 2 or "backward" in fn.called
            return fn.name == "eval" and len(fn.params) > 1 and not is_mode_method(fn)
        return fn.name != "__init__" and not is_abstract(fn)

    def is_called_by_hook(self, cls: Class, fn: Function) -> bool:
        """Whether a framework's hook on the same object calls the method, itself or through others."""
        if not self.project.is_a(cls, "framework_classes"):
            return False
        methods = [(c, m) for c in self.project.family(cls) for m in c.methods.values()]
        reached, queue = {fn.name}, [fn.name]
        while queue:
            name = queue.pop()
            for c, m in methods:
                if ("self", name) in m.receivers and m.name not in reached:
                    if self.framework_hook(c, m):
                        return True
                    reached.add(m.name)
                    queue.append(m.name)
        return False

    def serves_hooks(self, fn: Function) -> bool:
        """Whether a method is called by frameworks' hooks alone, on whatever object."""
        callers = [c for c in self.project.called_names.get(fn.name, ()) if c is not fn and self.project.reaches(c.path, fn)]
        owners = [self.project.class_of_method.get(id(c)) for c in callers]
        return bool(callers) and all(o is not None and self.framework_hook(o, c) for c, o in zip(callers, owners, strict=True))

    def has_callers(self, fn: Function) -> bool:
        """Whether anything in the project calls something of this name, or passes it on."""
        cls = self.project.class_of_method.get(id(fn))
        names_of = [cls.name, *(c.name for c in self.project.subclasses.get(id(cls), ()))] if cls is not None else []
        made = cls is None or len(names.words(fn.name)) > 1 or any(self.called_in_sight(n, fn) for n in names_of)
        return self.called_in_sight(fn.name, fn, by_self_only=not made)

    def may_be_switched(self, f: Function) -> tuple[bool, bool, bool]:
        """Whether a caller that could not be followed may set eval mode, the grad mode, or training mode."""
        if self.is_picked_by_name(f):
            return True, True, True
        grad = trains = False
        mode = self.is_switched_beside(f)
        for other in self.project.called_names.get(f.name, ()):
            near = self.project.may_reach(other, f) or self.project.is_distinct(f)
            if other is f or self.project.is_test(other) or not near or not self.may_mean(other, f):
                continue
            cls = self.project.class_of_method.get(id(other))
            family = [m for m in cls.methods.values() if m.name == "__init__" or names.prepares(m.name)] if cls is not None else []
            prepared = [g for name in other.called if names.prepares(name) for g in self.by_name.get(name, ())]
            mode |= any("eval" in g.called or "evaluating" in g.called for g in (other, *family, *prepared))
            trains |= "train" in other.called
            above = self.project.called_names.get(other.name, ()) if not other.name.startswith("<") else ()
            grad |= any(switches_grad(g) for g in (other, *prepared, *(above if len(above) <= 5 else ())))
        return mode, grad, trains

    def is_picked_by_name(self, f: Function) -> bool:
        """Whether a private method may be what its class asks itself for: `getattr(self, "_" + mode)(x)`."""
        cls = self.project.class_of_method.get(id(f))
        if cls is None or not f.name.startswith("_") or f.name.startswith("__"):
            return False
        family = self.project.family(cls)
        return any(ANY_METHOD in m.called for c in family for m in c.methods.values())

    def is_switched_beside(self, f: Function) -> bool:
        """Whether somebody writes `model.eval(); model.predict(x)` with a method of this name, whatever `model` is."""
        own = self.project.class_of_method.get(id(f))
        if own is not None and self.project.is_module(own):
            beside = [m for c in self.project.mro(own) for m in c.methods.values() if m is not f]
            if any(("self", "eval") in m.receivers or (m.name == "from_pretrained" and "eval" in m.called) for m in beside):
                return True  # … or a module whose own training, or loading, ends in evaluation mode
        named = [g for g in self.project.called_names.get(f.name, ()) if g is not f and not self.project.is_test(g)]
        callers = [g for g in named if self.project.connected(g.path, f.path)]
        if any((receiver, "eval") in g.receivers for g in callers for receiver, method in g.receivers if method == f.name):
            return True
        asking = [g for g in callers if {"getattr", "hasattr"} & g.called and all(method != f.name for _, method in g.receivers)]
        families = [self.project.class_of_method.get(id(g)) for g in asking]
        return any("eval" in m.called for cls in families if cls is not None for m in cls.methods.values())

    def may_mean(self, caller: Function, f: Function) -> bool:
        """Whether a caller's `x.name(...)` may be this method: the class is named there, or `x` is named like it."""
        cls = self.project.class_of_method.get(id(f))
        if cls is None or len(names.words(f.name)) > 1:
            return True
        if cls.name in caller.called or cls.name in self.project.globals[caller.path]:
            return True
        said = set(names.words(cls.name))
        return any(
            called == f.name and (receiver in ("self", "") or said & set(names.words(receiver))) for receiver, called in caller.receivers
        )

    @cached_property
    def by_name(self) -> dict[str, list[Function]]:
        """Every function and method of the program by its name, where the name tells one from another."""
        table: dict[str, list[Function]] = {}
        for file in self.project.files.values():
            for f in file.functions:
                table.setdefault(f.name, []).append(f)
        return {name: found for name, found in table.items() if len(found) <= 5}

    def called_in_sight(self, name: str, fn: Function, by_self_only: bool = False) -> bool:
        """Whether connected code that is no test calls something of this name."""
        cls = self.project.class_of_method.get(id(fn))
        for other in self.project.called_names.get(name, ()):
            if other is fn or self.project.is_test(other) or not self.project.reaches(other.path, fn):
                continue
            receivers = {r for r, n in other.receivers if n == name}
            theirs = self.project.class_of_method.get(id(other))
            own = receivers & ({"self", ""} if "super" in other.called else {"self"})
            related = cls is not None and theirs is not None and (theirs in self.project.mro(cls) or cls in self.project.mro(theirs))
            if name == fn.name and own and related:
                return True
            if name not in other.called and not related:
                continue  # an attribute of the same name
            if not by_self_only and (not receivers or receivers - own or cls is None):
                return True
        return False

    # Roots

    def module(self, path: str) -> None:
        """Run a module's body; the state that it leaves is what its functions find."""
        result = World()
        body = self.project.body_of(path)

        def root(w: World) -> V:
            stop = Stop(path, "<module>", None, acts=steps_environment(body))
            frame = Frame(body, self.owner(path), None, None, stop)
            self.frames.append(frame)
            try:
                after = self.run(body.body, w)
            finally:
                self.frames.pop()
            if after is not None:
                result.become(after)
            return UNKNOWN

        if body.called or self.project.silences(path) is not None:
            self.root(root, World())
        strip(result)
        self.worlds[path] = result

    def function(self, fn: Function, on: Class | None = None) -> None:
        """Run a function that is called from outside: its parameters are anything, its object is in any state that its methods leave."""
        cls = on or self.project.class_of_method.get(id(fn))
        if cls is not None:
            self.class_world(cls)
        self.perform(("function", fn, cls), partial(self.enter_from_outside, lambda w: self.enter_root(fn, cls, w), fn.path, cls))

    def enter_from_outside(self, run: Root, path: str, cls: Class | None) -> None:
        """Run a root in the state in which methods of the class, or functions of the file, can be entered."""
        self.root(run, self.class_worlds[id(cls)] if cls is not None else self.worlds[path])

    def enter_root(self, fn: Function, cls: Class | None, w: World) -> V:
        """Call a root with symbolic arguments."""
        static = is_static(cls, fn)
        me = of(("o", self_loc(cls))) if cls is not None and not static else None
        if cls is not None and any(getattr(d, "id", "") == "classmethod" for d in fn.decorators):
            me = of(("k", cls))
        params = fn.params[1:] if me is not None else fn.params
        args = Args([], {})
        for param in params:
            if param.kind in ("pos", "kw"):
                value = self.parameter(fn, param)
                if fn.name == "prediction_step":  # the framework's evaluation loop has set eval mode, and nothing else
                    for atom in value.atoms:
                        w.modes[atom[1]] = frozenset((Mode("given"),))
                default = param.default
                if isinstance(default, Const) and isinstance(default.value, (bool, str)):
                    for atom in value.atoms:
                        self.thing(atom[1]).default = const(default.value)
                args.kw[param.name] = value
        return self.call_function(fn, 0, me, args, None, w, self.project.class_of_method.get(id(fn)))

    def root(self, run: Root, start: World) -> None:
        """Run a root under every combination of answers to the conditions that matter, and keep the facts."""
        waiting: list[dict[Any, bool]] = [{}]
        runs = spent = 0
        stale = False
        may_fork, joined = self.may_fork, False
        met: list[tuple[dict[Any, bool], list[Forward]]] = []
        while waiting and not joined:
            joined = runs >= MOST_RUNS or stale  # the broadest of what is left is run as it comes
            assumptions = waiting.pop(0 if joined else -1)
            self.may_fork = may_fork and not joined
            runs += 1
            self.begin(assumptions)
            self.most_steps = max(MOST_STEPS_OF_ROOT - spent, LEAST_STEPS_OF_RUN)
            w = start.copy()
            value = UNKNOWN
            try:
                value = run(w)
            except Fork as fork:
                spent += self.steps
                waiting += [{**assumptions, fork.key: True}, {**assumptions, fork.key: False}]
                continue
            except TooLong:
                self.frames.clear()
            spent += self.steps
            for number in value.graph:
                self.forwards[number].escapes = True
            offbeat = joined or any(self.is_offbeat(key, answer) for key, answer in assumptions.items())
            for forward in self.forwards:
                forward.offbeat = offbeat
                forward.hidden = self.project.is_imported_elsewhere(forward.stops[0].path)
                forward.mode_by_caller, forward.grad_by_caller, forward.train_by_caller = self.unsure
                forward.mode_by_caller |= self.project.is_served(forward.path)
                forward.offered, forward.midway = self.offered, self.midway
                forward.unswitched = not forward.hidden and self.project.is_unswitched(forward.path)
            new = {forward.news() for forward in self.forwards}
            stale = bool(new) and all(row in self.told for row in new)
            self.told |= new
            self.facts.forwards += self.forwards
            self.hand_in()
            met.append((assumptions, self.forwards))
        mark_steps_left_out(met)
        self.may_fork = may_fork

    def hand_in(self) -> None:
        """Keep what a run has met beside forwards."""
        for kept in self.kept.values():
            kept.forwards = [self.forwards[number] for number in sorted(kept.numbers)]
        for backward in self.backwards.values():
            backward.forwards = [self.forwards[number] for number in sorted(backward.numbers)]
        self.facts.kept += self.kept.values()
        self.facts.backwards += self.backwards.values()
        self.facts.turned += self.turned

    def is_offbeat(self, key: Any, answer: bool) -> bool:
        """Whether an assumption contradicts a parameter's default."""
        default = self.thing(key[1]).default if key[1] in self.things else None
        if default is None:
            return False
        value = next(iter(default.atoms))[2]
        if key[0] == "true":
            return bool(value) != answer
        return bool((value == key[2]) != answer)


def mark_steps_left_out(met: Sequence[tuple[dict[Any, bool], list[Forward]]]) -> None:
    """Tell of a call whose loop trains under some answers that it evaluates under none, unless an answer speaks of the phase."""
    training = [{called_by(f) for f in forwards if f.trained and len(f.stops) > 1} for _, forwards in met]
    somewhere = frozenset[Any]().union(*training)
    for (assumptions, forwards), here in zip(met, training, strict=True) if somewhere else ():
        if not any((PHASES | FLAGS) & {*words_in(key[1])} for key in assumptions):
            for forward in forwards:
                forward.spoiled |= not forward.trained and called_by(forward) in somewhere - here


def called_by(forward: Forward) -> tuple[Any, ...]:
    """By which calls, in which rounds, the loop of a forward is reached, or the forward where there is none."""
    inside = bool(forward.loops) and forward.depth_of_loop[-1] == len(forward.stops) - 1
    return forward.path, forward.loops[-1].span if inside else forward.span, tuple(stop.span for stop in forward.stops), forward.rounds


def words_in(asked: Any) -> Iterator[str]:
    """The words of the names in what a condition asks about: a parameter, a global name, an attribute and what it is one of."""
    while isinstance(asked, tuple) and asked[:1] == ("child",):
        yield from names.words(str(asked[2]))
        asked = asked[1]
    if isinstance(asked, tuple) and asked[:1] in (("param",), ("class",), ("global",)):
        yield from names.words(str(asked[2 if asked[0] == "global" else 3]))


def switches_grad(f: Function) -> bool:
    """Whether a function or a decorator of it sets the grad mode."""
    return bool((f.called | decorator_names(f)) & GRAD_SWITCHES)


def offers(name: str) -> bool:
    """Whether a method of this name is what users call for results: `predict`, `predict_proba`, `generate`; not `inference_step`."""
    said = names.words(name)
    return (said[:1] == ("predict",) and not set(said) & PARTS) or said in OFFERED


__all__ = ["Forward", "Program"]
