"""The program's index: its modules, what their names stand for, classes with their bases, and which functions can matter."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from evallint.events import (
    Assign,
    Attr,
    Branch,
    Call,
    Class,
    Define,
    DefineClass,
    Event,
    File,
    Function,
    Import,
    Loop,
    Name,
    Try,
    Value,
    With,
)
from evallint.meaning import names
from evallint.meaning.libraries import LIBRARIES
from evallint.meaning.values import Atom

MODE_CALLS = frozenset(
    "eval train backward no_grad inference_mode set_grad_enabled enable_grad requires_grad_ manual_backward forward from_pretrained"
    " DataParallel DistributedDataParallel create_model generate AveragedModel step".split()
)


NOISE = frozenset(
    "get set update add append items keys values pop copy open close read"
    " write split join format index count sort size shape mean sum max min next"
    " info debug warning error log print start stop to type apply filter"
    " map reset clear name insert remove extend load save view item flush setup"
    " setdefault replace encode decode strip lower upper find exists mkdir dump dumps loads device dtype register __init__ __call__".split()
)
MAKERS = frozenset(
    ("deepcopy", "from_pretrained", "create_model", "DataParallel", "DistributedDataParallel", "AveragedModel", "Sequential")
)


def plain_path(path: str) -> str:
    """A path with forward slashes, without `.` and `..` where they can be resolved."""
    return posixpath.normpath(path.replace("\\", "/"))


class Project:
    """Every file of one program."""

    def __init__(self, files: Iterable[File], extend_models: Sequence[str] = ()) -> None:
        self.files = {f.path: f for f in files}
        self.extend_models = frozenset(extend_models)
        self.by_stem: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        self.globals: dict[str, dict[str, Event]] = {}
        self.stars: dict[str, list[Import]] = {}
        self.class_of_method: dict[int, Class] = {}
        self.methods: dict[str, list[tuple[Class, Function]]] = defaultdict(list)
        for path, file in self.files.items():
            parts = tuple(p for p in plain_path(path).split("/") if p)
            stem = parts[-1].rsplit(".", 1)[0]
            dotted = parts[:-1] if stem == "__init__" else (*parts[:-1], stem)
            if dotted:
                self.by_stem[dotted[-1]].append((dotted, path))
            table: dict[str, Event] = {}
            stars: list[Import] = []
            collect(file.body.body, table, stars)
            self.globals[path], self.stars[path] = table, stars
            for cls in file.classes:
                for name, method in cls.methods.items():
                    self.class_of_method[id(method)] = cls
                    self.methods[name].append((cls, method))
        self._bases: dict[int, tuple[list[Class], list[str]]] = {}
        self._found: dict[tuple[str, str], Atom | None] = {}
        self._modules: dict[tuple[str, str, int], str | None] = {}

    # Names

    def find_module(self, path: str, dotted: str, level: int) -> str | None:
        """The file that `dotted`, imported in `path` with `level` leading dots, stands for; None outside the project."""
        key = (path, dotted, level)
        if key not in self._modules:
            self._modules[key] = self._find_module(path, dotted, level)
        return self._modules[key]

    def _find_module(self, path: str, dotted: str, level: int) -> str | None:
        here = tuple(p for p in plain_path(path).split("/") if p)[:-1]
        wanted = tuple(p for p in dotted.split(".") if p)
        if level:
            base = here[: len(here) - level + 1]
            target = base + wanted
            if not target:
                return None
            return next((f for d, f in self.by_stem.get(target[-1], ()) if d == target), None)
        if not wanted:
            return None
        best: str | None = None
        score = -1
        for parts, file in self.by_stem.get(wanted[-1], ()):
            if parts[-len(wanted) :] != wanted:
                continue
            root = parts[: -len(wanted)]
            if wanted[0] in LIBRARIES.libraries and self.is_package(root):
                continue  # a module of a package does not hide a library of the same name
            common = sum(1 for _ in common_prefix(root, here))
            if common == len(root):  # a folder above the importing file, or its own
                rank = 1000 + common
            elif len(root) - common <= 2:  # a sibling folder: src layouts, scripts beside packages
                rank = common
            else:
                continue
            if rank > score and file != path:
                best, score = file, rank
        return best

    def is_package(self, folder: tuple[str, ...]) -> bool:
        """Whether a folder is a package of the program."""
        return bool(folder) and any(d == folder for d, _ in self.by_stem.get(folder[-1], ()))

    def lookup(self, path: str, name: str, depth: int = 0) -> Atom | None:
        """What a global name of a module stands for, if it is a definition or an import."""
        key = (path, name)
        if key not in self._found:
            self._found[key] = None
            self._found[key] = self._lookup(path, name, depth)
        return self._found[key]

    def _lookup(self, path: str, name: str, depth: int) -> Atom | None:
        event = self.globals.get(path, {}).get(name)
        if isinstance(event, Define):
            return ("f", event.function, 0, None)
        if isinstance(event, DefineClass):
            return ("k", event.cls)
        if isinstance(event, Import):
            return self.imported(path, event, depth)
        if event is None and depth < 8:
            for star in self.stars.get(path, ()):
                module = self.find_module(path, star.module, star.level)
                if module is not None and module != path:
                    found = self.lookup(module, name, depth + 1)
                    if found is not None:
                        return found
                elif star.module in LIBRARIES.star_modules and name in LIBRARIES.star_modules[star.module]:
                    return ("x", f"{star.module}.{name}")
        return None

    def imported(self, path: str, event: Import, depth: int = 0) -> Atom | None:
        """What an import binds."""
        if event.name is None:
            module = self.find_module(path, event.module if event.bound != event.module else event.module.split(".")[0], 0)
            if event.bound == event.module and "." in event.module and module is None:
                return ("x", event.module.split(".")[0])
            return ("m", module) if module is not None else ("x", event.module)
        whole = f"{event.module}.{event.name}" if event.module else event.name
        module = self.find_module(path, event.module, event.level) if event.module or event.level else None
        if module is not None and depth < 8:
            found = self.lookup(module, event.name, depth + 1)
            if found is not None:
                return found
        sub = self.find_module(path, whole, event.level)
        if sub is not None:
            return ("m", sub)
        if module is not None:
            return ("v", module, event.name)
        return ("x", whole) if not event.level else None

    def dotted(self, path: str, value: Value) -> Atom | None:
        """What a dotted expression at module level stands for, without running anything."""
        if isinstance(value, Name):
            return self.lookup(path, value.id)
        if isinstance(value, Attr):
            base = self.dotted(path, value.base)
            if base is None:
                return None
            if base[0] == "x":
                return ("x", f"{base[1]}.{value.name}")
            if base[0] == "m":
                return self.lookup(base[1], value.name)
        return None

    # Classes

    def bases(self, cls: Class) -> tuple[list[Class], list[str]]:
        """The bases of a class: those of the project, and the dotted names of the others."""
        if id(cls) not in self._bases:
            ours: list[Class] = []
            others: list[str] = []
            self._bases[id(cls)] = (ours, others)
            for base in cls.bases:
                atom = self.dotted(cls.path, base)
                if atom is not None and atom[0] == "k" and atom[1] is not cls:
                    ours.append(atom[1])
                elif atom is not None and atom[0] == "x":
                    others.append(atom[1])
                elif isinstance(base, (Name, Attr)):
                    others.append("?." + (base.id if isinstance(base, Name) else base.name))
        return self._bases[id(cls)]

    def mro(self, cls: Class) -> list[Class]:
        """The class and its bases of the project, nearest first."""
        order: list[Class] = []
        queue = [cls]
        while queue and len(order) < 30:
            head = queue.pop(0)
            if head not in order:
                order.append(head)
                queue = self.bases(head)[0] + queue
        return order

    def outside_bases(self, cls: Class) -> list[str]:
        """Dotted names of all bases outside the project."""
        return [name for c in self.mro(cls) for name in self.bases(c)[1]]

    def method(self, cls: Class, name: str, after: Class | None = None) -> tuple[Class, Function] | None:
        """The method that `name` finds on the class (with `after`: beyond that class, as super() does)."""
        order = self.mro(cls)
        if after is not None and after in order:
            order = order[order.index(after) + 1 :]
        for owner in order:
            found = owner.methods.get(name)
            if found is not None:
                return owner, found
        return None

    @cached_property
    def subclasses(self) -> dict[int, list[Class]]:
        """Direct and indirect subclasses by the id of the class."""
        table: dict[int, list[Class]] = defaultdict(list)
        for file in self.files.values():
            for cls in file.classes:
                for base in self.mro(cls)[1:]:
                    table[id(base)].append(cls)
        return table

    def is_module(self, cls: Class) -> bool:
        """Whether the class is an `nn.Module`."""
        for name in self.outside_bases(cls):
            if LIBRARIES.is_module_class(name):
                return True
            if name.startswith("?.") and "forward" in cls.methods and names.words(name)[-1:] != ("function",):
                return True
        return cls.name in self.extend_models

    def is_a(self, cls: Class, table: str) -> bool:
        """Whether a base outside the project is in this table of libraries.toml."""
        return any(LIBRARIES.matches(table, name) for name in self.outside_bases(cls))

    @cached_property
    def foreign(self) -> set[str]:
        """Files that import another framework and not PyTorch: their models are none of ours."""
        found: set[str] = set()
        for path, table in self.globals.items():
            roots = {e.module.split(".")[0] for e in (*table.values(), *self.stars[path]) if isinstance(e, Import) and not e.level}
            if roots & {"tensorflow", "keras", "jax", "flax", "paddle", "mxnet"} and "torch" not in roots:
                found.add(path)
        return found

    @cached_property
    def differentiating(self) -> set[str]:
        """The first file of every connected part of the program in which some module's own methods call `autograd.grad`."""
        return {
            self._component[cls.path]
            for file in self.files.values()
            for cls in file.classes
            if self.is_module(cls) and "forward" in cls.methods and cls.methods["forward"].called & self._differentiators
        }

    @cached_property
    def _differentiators(self) -> frozenset[str]:
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

    # Relevance

    @cached_property
    def relevant(self) -> set[int]:
        """Ids of the functions that can touch a mode, the grad mode, a forward or a training step, directly or through a call."""
        functions = [f for file in self.files.values() for f in file.functions]
        module_classes = {c.name for file in self.files.values() for c in file.classes if self.is_module(c)}
        makers = module_classes | MAKERS
        holders = {n for f in functions if f.called & makers for n in held_names(f.body, makers)}
        callers: dict[str, list[Function]] = defaultdict(list)
        good: set[int] = set()
        queue: list[Function] = []
        for f in functions:
            for name in f.called:
                callers[name].append(f)
            own = f.called & MODE_CALLS or f.called & module_classes
            if (
                own
                or f.called & holders
                or any(names.is_model_name(n) for n in f.called)
                or any(names.is_model_name(r) for r, _ in f.receivers)
            ):
                good.add(id(f))
                queue.append(f)
        owner = self.class_of_method
        while queue:
            f = queue.pop()
            keys = [f.name] if f.name not in NOISE else []
            if f.name in ("__init__", "__call__", "__enter__", "__exit__", "forward") and id(f) in owner:
                keys.append(owner[id(f)].name)
            for key in keys:
                for caller in callers.get(key, ()):
                    if id(caller) not in good:
                        good.add(id(caller))
                        queue.append(caller)
        return good

    @cached_property
    def called_names(self) -> dict[str, list[Function]]:
        """For each name, the functions (and modules' bodies) that call it or pass it on."""
        table: dict[str, list[Function]] = defaultdict(list)
        for file in self.files.values():
            for f in (*file.functions, file.body):
                for name in f.called:
                    table[name].append(f)
        return table

    @cached_property
    def _component(self) -> dict[str, str]:
        """For each file the first file of those that imports connect with it."""
        leader = {path: path for path in self.files}

        def find(path: str) -> str:
            while leader[path] != path:
                leader[path] = path = leader[leader[path]]
            return path

        for path, table in self.globals.items():
            for event in (*table.values(), *self.stars[path]):
                if isinstance(event, Import):
                    sub = f"{event.module}.{event.name}" if event.name and event.module else event.name or event.module
                    for target in (self.find_module(path, event.module, event.level), self.find_module(path, sub, event.level)):
                        if target is not None:
                            leader[find(path)] = find(target)
        return {path: find(path) for path in self.files}

    def connected(self, a: str, b: str) -> bool:
        """Whether imports connect two files: what is in neither's reach is another program."""
        return a == b or self._component[a] == self._component[b]


def collect(body: Sequence[Event], table: dict[str, Event], stars: list[Import]) -> None:
    """The global definitions of a module's body, those under `if`, `try` and `with` included; the first definition of a name stays."""
    for event in body:
        if isinstance(event, Define):
            table[event.function.name] = event
        elif isinstance(event, DefineClass):
            table[event.cls.name] = event
        elif isinstance(event, Import):
            if event.name == "*":
                stars.append(event)
            else:
                bound = event.bound if event.name is not None or "." not in event.bound else event.bound.split(".")[0]
                table.setdefault(bound, event)
        elif isinstance(event, Assign):
            for target in event.targets:
                if isinstance(target, Name):
                    table.setdefault(target.id, event)
        else:
            for block in blocks(event):
                collect(block, table, stars)


def held_names(body: Sequence[Event], classes: set[str]) -> Iterator[str]:
    """The names to which objects of these classes are assigned, as they are or after `.to()`, `.eval()` and the like."""
    for event in body:
        if isinstance(event, Assign):
            value = event.value
            while isinstance(value, Call):
                inner = value.func
                if (isinstance(inner, Name) and inner.id in classes) or (isinstance(inner, Attr) and inner.name in classes):
                    target = event.targets[0]
                    if isinstance(target, (Name, Attr)):
                        yield target.id if isinstance(target, Name) else target.name
                    break
                value = inner.base if isinstance(inner, Attr) else inner
        for block in blocks(event):
            yield from held_names(block, classes)


def blocks(event: Event) -> Iterator[Sequence[Event]]:
    """The bodies inside an event."""
    if isinstance(event, Branch):
        yield event.then
        yield event.other
    elif isinstance(event, Loop):
        yield event.body
        yield event.other
    elif isinstance(event, With):
        yield event.body
    elif isinstance(event, Try):
        yield event.body
        yield from event.handlers
        yield event.other
        yield event.final


def common_prefix(a: Sequence[str], b: Sequence[str]) -> Iterator[str]:
    """The leading items that both share."""
    for x, y in zip(a, b, strict=False):
        if x != y:
            return
        yield x
