"""The program: what of it can matter to a rule, how its files reach each other, and which of them are another framework's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from evallint.events import (
    Assign,
    Attr,
    Call,
    Class,
    Comprehension,
    Event,
    File,
    Function,
    Import,
    Map,
    Name,
    Return,
    Seq,
    Value,
    blocks,
)
from evallint.meaning import names
from evallint.meaning.absence import frameworks_switch, switches_to_eval
from evallint.meaning.index import USUAL, Index
from evallint.meaning.libraries import LIBRARIES
from evallint.meaning.signs import is_check, is_unit_test
from evallint.meaning.walk import attributes_set, calls_parameter, deep, every
from evallint.modules import connected

MODE_CALLS = frozenset(
    "eval train backward no_grad inference_mode set_grad_enabled enable_grad requires_grad_ manual_backward forward from_pretrained"
    " DataParallel DistributedDataParallel create_model generate AveragedModel step".split()
)


GRAD_SWITCHES = frozenset(("no_grad", "inference_mode", "set_grad_enabled"))
OTHER_FRAMEWORKS = frozenset(("tensorflow", "keras", "jax", "flax", "paddle", "mxnet"))
TORCH_LIBRARIES = LIBRARIES.libraries - {"numpy", "copy", "contextlib", "functools", "tensorflow", "keras", "sklearn", "jax"}
NOISE = frozenset(
    "get set update add append items keys values pop copy open close read"
    " write split join format index count sort size shape mean sum max min next"
    " info debug warning error log print start stop to type apply filter"
    " map reset clear name insert remove extend load save view item flush setup"
    " setdefault replace encode decode strip lower upper find exists mkdir dump dumps loads device dtype register __init__ __call__"
    " data int long bool clone tensor batch labels label graph func unique clamp numpy cpu cuda item items out result results norm".split()
)
MAKERS = frozenset(
    ("deepcopy", "from_pretrained", "create_model", "DataParallel", "DistributedDataParallel", "AveragedModel", "Sequential", "compile")
)
HOLDING = frozenset(("ModuleDict", "ModuleList", "OrderedDict", "dict", "list", "tuple"))


class Project(Index):
    """Every file of one program."""

    @cached_property
    def foreign(self) -> set[str]:
        """Files without PyTorch that import another framework, or neither reach nor are reached by a file that speaks of PyTorch."""
        found: set[str] = set()
        speaking = [self._reach[path] for path in self.files if self.libraries_of(path) & TORCH_LIBRARIES]
        torch_files = union(own for own, _ in speaking)
        torch_reach = union(reach for _, reach in speaking)
        for path in self.files:
            roots = self.libraries_of(path)
            own, reach = self._reach[path]
            near = own & torch_reach or reach & torch_files  # such a file reaches it, or it reaches one
            if "torch" not in roots and (roots & OTHER_FRAMEWORKS or not near):
                found.add(path)
        return found

    def libraries_of(self, path: str) -> set[str]:
        """The top-level names that a file imports absolutely; torch also by a `from everything import *` out of sight."""
        found = {e.module.split(".")[0] for e in self.import_events(path) if not e.level}
        brought = any(self.find_module(path, star.module, star.level) is None for star in self.stars.get(path, ()))
        file = self.files[path]
        if brought and any(base in USUAL for f in (file.body, *file.functions) for base, _ in f.receivers):
            found.add("torch")
        return found

    @cached_property
    def differentiating(self) -> set[str]:
        """The first file of every connected part of the program in which some module's own methods call `autograd.grad`."""
        return {
            self._component[cls.path]
            for file in self.files.values()
            for cls in file.classes
            if self.is_module(cls) and "forward" in cls.methods and cls.methods["forward"].called & self.differentiators
        }

    @cached_property
    def physical(self) -> set[str]:
        """The first files of those connected parts in which more than a few modules differentiate in their forward."""
        total: Counter[str] = Counter()
        some: Counter[str] = Counter()
        imported = {t for path in self.files for pair in self.imports(path) for t in pair if t != path}
        for file in self.files.values():
            for cls in file.classes:
                if "forward" in cls.methods and self.is_module(cls):
                    total[self._component[cls.path]] += 1
                    some[self._component[cls.path]] += bool(cls.methods["forward"].called & self.differentiators) and cls.path in imported
        spoken = {self._component[f.path] for file in self.files.values() for f in file.functions if f.mentions_forces}
        return {part for part, count in some.items() if part in spoken and count > total[part] / 40}

    @cached_property
    def differentiators(self) -> frozenset[str]:
        """Names of calls that lead to `autograd.grad` within two steps."""
        found = {"grad"}
        for _ in range(2):
            found |= {
                f.name for file in self.files.values() for f in file.functions if f.called & found and "forc" in f.name + str(f.called)
            }
        return frozenset(found)

    def differentiates(self, path: str) -> bool:
        """Whether models in reach of this file may differentiate inside their forward (forces from energies)."""
        return self._component[path] in self.differentiating

    def is_physical(self, path: str) -> bool:
        """Whether a model of unknown class in this file may well differentiate inside its forward."""
        return self._component[path] in self.physical

    def is_imported_elsewhere(self, path: str) -> bool:
        """Whether files that are not of this program import a file."""
        file = self.files.get(path)
        return file is not None and file.imported

    def is_test(self, fn: Function) -> bool:
        """A test function of a test file: it may run anything in any mode."""
        cls = self.class_of_method.get(id(fn))
        return is_unit_test(fn.path, fn.name, cls.name if cls is not None else "") or is_check(fn)

    def is_unswitched(self, path: str) -> bool:
        """Whether the part of the program that imports connect with a file trains, and puts no model in evaluation mode anywhere."""
        part = self.part(path)
        found = self._switched.get(part)
        if found is None:
            files, functions = self._contents(part)
            trains = any("backward" in g.called or "step" in g.called for g in functions)
            imports = [e for f in files for e in self.import_events(f.path)]
            helped = frameworks_switch((f"{e.module}.{e.name}" if e.name else e.module for e in imports), self.libraries)
            found = self._switched[part] = trains and not helped and not any(switches_to_eval(g) for g in functions)
        return found

    def is_served(self, path: str) -> bool:
        """Whether the part of the program that imports connect with a file trains nothing, and hands out models in evaluation mode."""
        part = self.part(path)
        found = self._served.get(part)
        if found is None:
            _, functions = self._contents(part)
            handed_out = any(names.prepares(g.name) and "eval" in g.called for g in functions)
            found = self._served[part] = handed_out and not any("backward" in g.called for g in functions)
        return found

    def _contents(self, part: str) -> tuple[list[File], list[Function]]:
        """The files of a part of the program, and their functions other than tests."""
        files = [f for p, f in self.files.items() if self.part(p) == part]
        return files, [g for f in files for g in (*f.functions, f.body) if not self.is_test(g)]

    @cached_property
    def _served(self) -> dict[str, bool]:
        return {}

    def is_switched_from_outside(self, cls: Class, name: str) -> bool:
        """Whether others put an attribute of this name, of an object that they hold, in eval mode: `run.model.eval()`."""
        family = self.family(cls)
        return any(
            self.connected(f.path, cls.path) and self.class_of_method.get(id(f)) not in family for f in self._outside_switches.get(name, ())
        )

    @cached_property
    def _outside_switches(self) -> dict[str, list[Function]]:
        """The functions that put an attribute of an object other than their own in eval mode, by the attribute's name."""
        found: dict[str, list[Function]] = {}
        for f in self.called_names.get("eval", ()):
            if not is_unit_test(f.path, f.name, ""):
                for name in {name for name, method in f.receivers if method == "eval"} & held_by_others(f):
                    found.setdefault(name, []).append(f)
        return found

    @cached_property
    def _switched(self) -> dict[str, bool]:
        return {}

    def helper_kept(self, cls: Class, name: str) -> Class | None:
        """The class, no module, of which a constructor makes the object that a class keeps under a name, if that is plain to see."""
        key = id(cls), name
        if key not in self._helpers:
            first = (next(self.made_in_init(c, name), None) for c in self.mro(cls))
            self._helpers[key] = next((k for k in first if k is not None and not self.is_module(k)), None)
        return self._helpers[key]

    @cached_property
    def _helpers(self) -> dict[tuple[int, str], Class | None]:
        return {}

    def uses(self, path: str, name: str) -> frozenset[str]:
        """The methods that a file calls on what has this name."""
        return self._uses[path].get(name, frozenset())

    @cached_property
    def _uses(self) -> dict[str, dict[str, frozenset[str]]]:
        found: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        for path, file in self.files.items():
            table: dict[str, set[str]] = defaultdict(set)
            for fn in (*file.functions, file.body):
                for receiver, method in fn.receivers:
                    table[receiver].add(method)
            found[path] = {name: frozenset(methods) for name, methods in table.items()}
        return found

    def undecorated(self, fn: Function) -> Function:
        """The function without its decorators; always the same."""
        if fn.plain is None:
            fn.plain = replace(fn, decorators=())
        if id(fn) in self.relevant:
            self.relevant.add(id(fn.plain))
        if id(fn) in self.class_of_method:
            self.class_of_method[id(fn.plain)] = self.class_of_method[id(fn)]
        return fn.plain

    def body_of(self, path: str) -> Function:
        """The body of a file."""
        return self.files[path].body

    # Relevance

    @cached_property
    def relevant(self) -> set[int]:
        """Ids of the functions that can touch a mode, the grad mode, a forward or a training step, directly or through a call."""
        functions = [f for file in self.files.values() for f in file.functions]
        modules = [c for file in self.files.values() for c in file.classes if self.is_module(c)]
        module_classes = {c.name for c in modules}
        in_modules = {id(m) for c in modules for m in c.methods.values()}
        makers = module_classes | MAKERS
        makers |= {f.name for f in functions if f.called & makers and id(f) not in self.class_of_method and builds(f.body, makers)} - NOISE
        holders = {n for f in functions if f.called & makers for n in held_names(f.body, makers) if not names.is_loss_name(n)} - NOISE
        callers: dict[str, list[Function]] = defaultdict(list)
        total = Counter(f.name for f in functions)
        relevant_of_name: Counter[str] = Counter()
        good: set[int] = set()
        queue: list[Function] = []

        def take(f: Function) -> None:
            if id(f) not in good:
                good.add(id(f))
                queue.append(f)

        handed = {id(m): parts for c in modules if (parts := handed_on(c)) for m in c.methods.values()}
        switched = {path: switched_names([*file.functions, file.body]) for path, file in self.files.items()}
        for path, file in self.files.items():
            if file.body.called & makers:
                switched[path] |= {n for n in held_names(file.body.body, makers) if not names.is_loss_name(n)} - NOISE
        params = {(f.path, f.qualname): {p.name for p in f.params} for f in functions}
        for f in functions:
            for name in f.called:
                callers[name].append(f)
            if f.called & params.get((f.path, f.qualname.rpartition(".")[0]), set()):
                take(f)  # what a decorator puts in a function's place
            own = f.called & MODE_CALLS or f.called & module_classes or ("self" in f.called and id(f) in in_modules)
            if (
                own
                or ("training" in f.called and id(f) not in in_modules)
                or "_modules" in f.called
                or f.called & holders
                or f.called & switched[f.path]
                or f.called & handed.get(id(f), frozenset())
                or calls_parameter(f)
                or any(names.is_model_name(n) and not self.is_imported(f.path, n) for n in f.called)
                or any(names.is_model_name(r) and len(r) > 1 for r, _ in f.receivers)
                or (f.name == "__init__" and id(f) in in_modules and "training" in attributes_set(f))
                or ("torch", "load") in f.receivers  # perhaps a whole module, whatever it is called
            ):
                take(f)
        owner = self.class_of_method
        vague: dict[str, list[Function]] = defaultdict(list)
        while queue:
            f = queue.pop()
            relevant_of_name[f.name] += 1
            # a name that mostly stands for something else says nothing
            telling = f.name not in NOISE and 2 * relevant_of_name[f.name] >= total[f.name]
            vague[f.name].append(f)
            meant = [(f.name, g) for g in vague.pop(f.name)] if telling else []
            if f.name in ("__init__", "__call__", "__enter__", "__exit__", "forward") and id(f) in owner:
                meant.append((owner[id(f)].name, f))
            for key, g in meant:
                sole = total[key] == 1 and id(g) in in_modules and len(names.words(key)) > 1
                for caller in callers.get(key, ()):
                    handed_one = sole and self.connected(caller.path, g.path) and any(key == method for _, method in caller.receivers)
                    if id(caller) not in good and (handed_one or self.may_reach(caller, g)):
                        take(caller)
            for caller in callers.get(f.name, ()):
                beside = caller.path == f.path and names.has_words(f.name, names.EVALUATION_WORDS)
                if id(caller) not in good and (beside or self.names_it(caller, f)):
                    take(caller)
        return good

    def may_reach(self, caller: Function, f: Function) -> bool:
        """Whether a call can mean `f`: the caller's file imports its file, or the other way round and it evaluates (a callback)."""
        there, here = self._reach[f.path], self._reach[caller.path]
        if here[1] & there[0]:
            return True
        return bool(there[1] & here[0]) and names.has_words(f.name, names.EVALUATION_WORDS)

    @cached_property
    def _reach(self) -> dict[str, tuple[int, int]]:
        """For each file its own bit, and the bits of all files that it imports, directly or through others."""
        own = {path: 1 << number for number, path in enumerate(self.files)}
        targets = {path: [t for e in self.imports(path) for t in e if t is not None and t in own] for path in self.files}
        reach = dict(own)
        changed = True
        while changed:
            changed = False
            for path, others in targets.items():
                bits = reach[path]
                for other in others:
                    bits |= reach[other]
                if bits != reach[path]:
                    reach[path], changed = bits, True
        return {path: (own[path], reach[path]) for path in self.files}

    def imports(self, path: str) -> Iterator[tuple[str | None, str | None]]:
        """What a file imports: for each import the module, and the module that the name may be."""
        for event in self.import_events(path):
            sub = f"{event.module}.{event.name}" if event.name and event.module else event.name or event.module
            yield self.find_module(path, event.module, event.level), self.find_module(path, sub, event.level)

    def import_events(self, path: str) -> list[Import]:
        """Every import of a file, those inside functions included."""
        return [e for e in (*self.globals[path].values(), *self.stars[path], *self.inner_imports[path]) if isinstance(e, Import)]

    @cached_property
    def inner_imports(self) -> dict[str, list[Import]]:
        """The imports inside functions, by file."""
        return {path: [e for f in file.functions for e in imports_of(f)] for path, file in self.files.items()}

    def names_it(self, caller: Function, f: Function) -> bool:
        """Whether a function that calls something of `f`'s name can only mean `f`: by its import, or as a method of its own object."""
        mine, theirs = self.class_of_method.get(id(f)), self.class_of_method.get(id(caller))
        if mine is None:
            return self.lookup(caller.path, f.name) == ("f", f, 0, None)
        if theirs is None or ("self", f.name) not in caller.receivers:
            return False
        return theirs is mine or mine in self.mro(theirs) or theirs in self.mro(mine)

    def holds_something(self, cls: Class) -> bool:
        """Whether it matters what an object keeps from its constructor: one of its methods matters, or it wraps a model."""
        found = self._holders.get(id(cls))
        if found is None:
            init = cls.methods.get("__init__")
            handed = {"module", "modules", *handed_on(cls)}
            wraps = init is not None and any(names.is_model_name(p.name.removesuffix("s")) or p.name in handed for p in init.params[1:])
            wraps |= init is not None and ("jit", "load") in init.receivers
            open_ = wraps or not self.is_module(cls) or self.own_call(cls) is not None
            found = open_ and any(id(m) in self.relevant for c in self.mro(cls) for m in c.methods.values())
            self._holders[id(cls)] = found
        return found

    @cached_property
    def part_names(self) -> frozenset[str]:
        """The attributes under which the program's modules keep parts, other than those that share their name with a method."""
        inits = [m for file in self.files.values() for c in file.classes if self.is_module(c) and (m := c.methods.get("__init__"))]
        held = {name for m in inits for name in held_names(m.body, {n for n in m.called if n[:1].isupper()})}
        return frozenset(name for name in held if name not in self.methods and not names.is_loss_name(name))

    @cached_property
    def quiet(self) -> frozenset[str]:
        """The context managers of the program that turn recording off, by name."""
        functions = [f for file in self.files.values() for f in file.functions if f.is_generator]
        return frozenset(f.name for f in functions if f.called & GRAD_SWITCHES)

    @cached_property
    def quieting(self) -> frozenset[str]:
        """The decorators of the program that turn recording off, by name."""
        functions = [f for file in self.files.values() for f in file.functions if f.has_closures]
        return frozenset(f.name for f in functions if f.called & (GRAD_SWITCHES | self.quiet) and not f.called & {"backward"})

    def own_call(self, cls: Class) -> tuple[Class, Function] | None:
        """The `__call__` of a module that runs no forward of its own: a loss that back-propagates itself, a facade of other objects."""
        found = self.method(cls, "__call__")
        if found is None or ("backward" not in found[1].called and {"__call__", "forward"} & found[1].called):
            return None
        return found

    def is_imported(self, path: str, name: str) -> bool:
        """Whether a short name is a module here (`functional as F`), however much it looks like a model's."""
        return name in names.MODEL_SHORT and isinstance(self.globals[path].get(name), Import)

    @cached_property
    def called_names(self) -> dict[str, list[Function]]:
        """For each name, the functions (and modules' bodies) that call it or pass it on."""
        table: dict[str, list[Function]] = defaultdict(list)
        for file in self.files.values():
            for f in (*file.functions, file.body):
                for name in f.called | f.aliased:
                    table[name].append(f)
        return table

    @cached_property
    def _component(self) -> dict[str, str]:
        """For each file the first file of those that imports connect with it."""
        return connected(self.files, ((path, target) for path in self.files for found in self.imports(path) for target in found))

    def part(self, path: str) -> str:
        """The first file of those that imports connect with a file: the name of that part of the program."""
        return self._component[path]

    def reaches(self, path: str, f: Function) -> bool:
        """Whether code of a file can mean a method by its name."""
        return self.connected(path, f.path) or self.is_distinct(f)

    def is_distinct(self, f: Function) -> bool:
        """Whether a method has so long a name, and alone, that whoever says it means the method."""
        return len(names.words(f.name)) > 2 and len(self.methods.get(f.name, ())) == 1

    def connected(self, a: str, b: str) -> bool:
        """Whether imports connect two files: what is in neither's reach is another program."""
        return a == b or self._component[a] == self._component[b]


def held_by_others(fn: Function) -> set[str]:
    """The attributes of what is not `self` on which a function calls `eval`."""
    calls = (node.func for _, node in deep(fn.body) if isinstance(node, Call) and isinstance(node.func, Attr) and node.func.name == "eval")
    bases = (func.base for func in calls if isinstance(func.base, Attr))
    return {base.name for base in bases if not (isinstance(base.base, Name) and base.base.id == "self")}


def handed_on(cls: Class) -> frozenset[str]:
    """What a class's constructor is handed and another of its methods calls, other than losses."""
    init = cls.methods.get("__init__")
    given = {p.name for p in init.params[1:] if not names.is_loss_name(p.name)} - NOISE if init is not None else set()
    called = {r for m in cls.methods.values() if m is not init for r in m.called}
    return frozenset(given & called) if given else frozenset()


def switched_names(functions: Iterable[Function]) -> set[str]:
    """The names of what some function of a file puts in evaluation mode or takes the parameters of, whatever they sound like."""
    return {r for f in functions for r, method in f.receivers if method in ("eval", "parameters") and len(r) > 1} - NOISE - {"self"}


def union(bits: Iterable[int]) -> int:
    """All the bits."""
    total = 0
    for some in bits:
        total |= some
    return total


def imports_of(function: Function) -> Iterable[Import]:
    """The imports of a function's body."""
    if function.glance is not None:
        return function.glance.imports
    return (event for event in every(function.body) if isinstance(event, Import))


def makes(value: Value, classes: set[str]) -> bool:
    """Whether a value is an object of one of these classes, as it is or after `.to()`, `.eval()` and the like, or holds some."""
    while isinstance(value, Call):
        inner = value.func
        name = inner.id if isinstance(inner, Name) else inner.name if isinstance(inner, Attr) else ""
        if name in classes:
            return True
        if name in HOLDING:
            return any(makes(arg, classes) for arg in (*value.args, *(v for _, v in value.keywords)))
        value = inner.base if isinstance(inner, Attr) else inner
    if isinstance(value, Seq):
        return any(makes(item, classes) for item in value.items)
    if isinstance(value, Map):
        return any(makes(item, classes) for _, item in value.items)
    return isinstance(value, Comprehension) and makes(value.item, classes)


def builds(body: Sequence[Event], classes: set[str]) -> bool:
    """Whether a function returns an object of one of these classes that it makes."""
    held = held_names(body, classes)
    given = [event.value for event in every(body) if isinstance(event, Return)]
    return any(v is not None and (makes(v, classes) or (isinstance(v, Name) and v.id in held)) for v in given)


def held_names(body: Sequence[Event], classes: set[str]) -> set[str]:
    """The names to which objects of these classes are assigned, as they are or after `.to()`, `.eval()`, under another name."""
    held = set[str]()
    for event in body:
        if isinstance(event, Assign):
            if makes(event.value, classes) or (isinstance(event.value, Name) and event.value.id in held):
                held |= {t.id if isinstance(t, Name) else t.name for t in event.targets[:1] if isinstance(t, (Name, Attr))}
        for block in blocks(event):
            held |= held_names(block, classes)
    return held
