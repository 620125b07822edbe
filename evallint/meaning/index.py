"""The program's index: its modules, what their names stand for, and classes with their bases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from evallint.events import (
    Assign,
    Attr,
    Branch,
    Call,
    Class,
    Const,
    Define,
    DefineClass,
    Do,
    Event,
    File,
    Function,
    Import,
    Name,
    Seq,
    Sub,
    Try,
    Value,
    blocks,
)
from evallint.meaning import names
from evallint.meaning.libraries import LIBRARIES, Libraries
from evallint.meaning.values import Atom, Spot
from evallint.meaning.walk import asked_of_self, attributes_set, every, text_of
from evallint.modules import Modules, plain_path

MODULE_ENDINGS = [("model",), ("module",), ("network",), ("net",), ("layer",)]
USUAL = {"torch": "torch", "nn": "torch.nn", "F": "torch.nn.functional", "optim": "torch.optim"}
"""What names stand for that a `from utils import *` must bring, where its module is not in sight."""
NO_MODULES = frozenset(("?.object", "?.ABC", "?.Protocol", "?.Generic", "?.Exception"))


def run_always(body: Sequence[Event]) -> Iterator[Event]:
    """The statements of a body that run whatever happens, those of `try` and `if True` among them."""
    for event in body:
        if isinstance(event, Try):
            yield from run_always(event.body)
        elif isinstance(event, Branch) and isinstance(event.test, Const) and event.test.value:
            yield from run_always(event.then)
        else:
            yield event


class Index:
    """Every file of one program, its names and its classes.

    `extend_models` are names of variables and classes (dotted, for a class outside the program) that the user calls models,
    `evaluation_functions` names of functions that evaluate.
    """

    def __init__(
        self,
        files: Iterable[File],
        libraries: Libraries = LIBRARIES,
        extend_models: Sequence[str] = (),
        evaluation_functions: Sequence[str] = (),
    ) -> None:
        self.files = {f.path: f for f in files}
        self.libraries = libraries
        self.extend_models = frozenset(extend_models)
        self.evaluation_functions = frozenset(evaluation_functions)
        self.modules = Modules(self.files, libraries.libraries)
        self.globals: dict[str, dict[str, Event]] = {}
        self.stars: dict[str, list[Import]] = {}
        self.class_of_method: dict[int, Class] = {}
        self.methods: dict[str, list[tuple[Class, Function]]] = defaultdict(list)
        for path, file in self.files.items():
            table: dict[str, Event] = {}
            stars: list[Import] = []
            collect(file.body.body, table, stars)
            self.globals[path], self.stars[path] = table, stars
            for cls in file.classes:
                for name, method in cls.methods.items():
                    self.class_of_method[id(method)] = cls
                    self.methods[name].append((cls, method))
        self._mro: dict[int, list[Class]] = {}
        self._outside: dict[int, list[str]] = {}
        self._module_classes: dict[int, bool] = {}
        self._constants: dict[int, dict[str, Const]] = {}
        self._methods: dict[tuple[int, str], tuple[Class, Function] | None] = {}
        self._bases: dict[int, tuple[list[Class], list[str]]] = {}
        self._found: dict[tuple[str, str], Atom | None] = {}
        self._holders: dict[int, bool] = {}
        self._modules: dict[tuple[str, str, int], str | None] = {}
        self._anew: dict[str, frozenset[str]] = {}
        self._silent: dict[str, Spot | None] = {}
        self._kept: dict[tuple[int, str], Class | None] = {}

    # Names

    def global_event(self, path: str, name: str) -> Event | None:
        """The event that defines a global name of a module, if it is there."""
        return self.globals.get(path, {}).get(name)

    def is_defined_anew(self, path: str, name: str) -> bool:
        """Whether a file defines functions or classes of this name one after the other: a call means the one that is there by then."""
        if path not in self._anew:
            body = self.files[path].body.body
            said = Counter(e.function.name if isinstance(e, Define) else e.cls.name for e in body if isinstance(e, (Define, DefineClass)))
            self._anew[path] = frozenset(each for each, count in said.items() if count > 1)
        return name in self._anew[path]

    def find_module(self, path: str, dotted: str, level: int) -> str | None:
        """The file that `dotted`, imported in `path` with `level` leading dots, stands for; None outside the project."""
        key = (path, dotted, level)
        if key not in self._modules:
            self._modules[key] = self.modules.find(path, dotted, level)
        return self._modules[key]

    def asks_for_other_library(self, path: str, test: Value) -> bool:
        """`isinstance(x, C)` with the class of a library whose objects are no modules, or switch modes themselves."""
        if not (isinstance(test, Call) and isinstance(test.func, Name) and test.func.id == "isinstance" and len(test.args) == 2):
            return False
        said = test.args[1].items if isinstance(test.args[1], Seq) else (test.args[1],)
        found = [self.dotted(path, node) for node in said]
        matches = self.libraries.matches
        return bool(found) and all(
            a is not None and a[0] == "x" and (matches("foreign", a[1]) or matches("framework_classes", a[1])) for a in found
        )

    def silenced_by(self, path: str, event: Import) -> Spot | None:
        """Where recording is turned off for good when this import runs what it imports; None where it is not."""
        whole = f"{event.module}.{event.name}" if event.name and event.module else event.name or event.module
        for dotted in (event.module, whole):
            module = self.find_module(path, dotted, event.level) if dotted or event.level else None
            if module is not None and module != path and (spot := self.silences(module)) is not None:
                return spot
        return None

    def silences(self, path: str) -> Spot | None:
        """Where a file's body, or what that imports, turns recording off for whoever imports the file."""
        if path not in self._silent:
            self._silent[path] = None
            for event in run_always(self.files[path].body.body):
                self._silent[path] = self._silenced_after(path, event, self._silent[path])
        return self._silent[path]

    def _silenced_after(self, path: str, event: Event, before: Spot | None) -> Spot | None:
        """Where recording was turned off, after a statement of a file's body."""
        if isinstance(event, Import):
            return self.silenced_by(path, event) or before
        if isinstance(event, Do) and isinstance(call := event.value, Call) and call.args and isinstance(flag := call.args[0], Const):
            if self.dotted(path, call.func) == ("x", "torch.set_grad_enabled"):
                return None if flag.value else (path, call.span)
        return before

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
            unseen = False
            for star in self.stars.get(path, ()):
                module = self.find_module(path, star.module, star.level)
                unseen |= module is None
                if module is not None and module != path:
                    found = self.lookup(module, name, depth + 1)
                    if found is not None:
                        return found
                elif star.module in self.libraries.star_modules and name in self.libraries.star_modules[star.module]:
                    return ("x", f"{star.module}.{name}")
            if unseen and name in USUAL:
                return ("x", USUAL[name])
        if event is None and path.endswith("__init__.py"):
            part = self.find_module(path, name, 1)  # `import package.part`, and then `package.part.f()`
            return ("m", part) if part is not None and part != path else None
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
        return ("x", public_name(whole)) if not event.level else None

    def dotted(self, path: str, value: Value) -> Atom | None:
        """What a dotted expression at module level stands for, without running anything."""
        if isinstance(value, Name):
            return self.lookup(path, value.id)
        if isinstance(value, Attr):
            base = self.dotted(path, value.base)
            if base is None:
                return None
            if base[0] == "x":
                return ("x", public_name(f"{base[1]}.{value.name}"))
            if base[0] == "m":
                return self.lookup(base[1], value.name)
        return None

    def restores(self, path: str, func: Value) -> bool:
        """Whether the user says of what is called that it puts models in evaluation mode and restores their modes when it is left."""
        if not self.libraries.restores:
            return False
        found = self.dotted(path, func)
        said = [text_of(func)]
        if found is not None and found[0] == "x":
            said.append(found[1])
        elif found is not None and isinstance(found[1], (Function, Class)):
            module = found[1].path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            said.append(f"{module}.{found[1].qualname}")
        return any(self.libraries.matches("restoring_contexts", name) for name in said)

    # Classes

    def bases(self, cls: Class) -> tuple[list[Class], list[str]]:
        """The bases of a class: those of the project, and the dotted names of the others."""
        if id(cls) not in self._bases:
            ours: list[Class] = []
            others: list[str] = []
            self._bases[id(cls)] = (ours, others)
            for base in cls.bases:
                while isinstance(base, Sub):  # `Model[Sentence]`
                    base = base.base
                atom = self.dotted(cls.path, base)
                if atom is not None and atom[0] == "k" and atom[1] is not cls:
                    ours.append(atom[1])
                elif atom is not None and atom[0] == "x":
                    others.append(atom[1])
                elif isinstance(base, (Name, Attr)):
                    others.append("?." + (base.id if isinstance(base, Name) else base.name))
        return self._bases[id(cls)]

    def mro(self, cls: Class) -> list[Class]:
        """The class and its bases of the project, nearest first. Not to be changed."""
        known = self._mro.get(id(cls))
        if known is not None:
            return known
        order: list[Class] = []
        queue = [cls]
        while queue and len(order) < 30:
            head = queue.pop(0)
            if head not in order:
                order.append(head)
                queue = self.bases(head)[0] + queue
        self._mro[id(cls)] = order
        return order

    def outside_bases(self, cls: Class) -> list[str]:
        """Dotted names of all bases outside the project. Not to be changed."""
        known = self._outside.get(id(cls))
        if known is None:
            known = self._outside[id(cls)] = [name for c in self.mro(cls) for name in self.bases(c)[1]]
        return known

    def method(self, cls: Class, name: str, after: Class | None = None) -> tuple[Class, Function] | None:
        """The method that `name` finds on the class (with `after`: beyond that class, as super() does)."""
        if after is None:
            key = id(cls), name
            if key not in self._methods:
                self._methods[key] = first_with(self.mro(cls), name)
            return self._methods[key]
        order = self.mro(cls)
        return first_with(order[order.index(after) + 1 :] if after in order else order, name)

    def constants_of(self, cls: Class) -> dict[str, Const]:
        """The plain constants in the bodies of a class and its bases, by name; annotated ones are left out."""
        known = self._constants.get(id(cls))
        if known is None:
            known = self._constants[id(cls)] = {}
            for event in (event for owner in self.mro(cls) for event in owner.body):
                if isinstance(event, Assign) and isinstance(event.value, Const) and event.annotation is None:
                    for target in event.targets:
                        if isinstance(target, Name):
                            known.setdefault(target.id, event.value)
        return known

    def entries(self, cls: Class, hooks: Sequence[str]) -> list[Function]:
        """The inherited methods that nothing of the class calls itself and from which one of its `hooks` is reached through `self`."""
        table = {n: m for c in reversed(self.mro(cls)) for n, m in c.methods.items()}
        calls = {n: {called for receiver, called in m.receivers if receiver == "self"} & table.keys() - {n} for n, m in table.items()}
        inner = set().union(*calls.values())
        reach: dict[str, set[str]] = {}
        for first, method in table.items():
            if first in inner or method in cls.methods.values():
                continue
            reached, queue = {first}, [first]
            while queue:
                for other in calls[queue.pop()] - reached:
                    reached.add(other)
                    queue.append(other)
            reach[first] = reached - {first}
        return list(dict.fromkeys(table[first] for name in hooks for first, reached in reach.items() if name in reached))

    def named_like(self, said: tuple[str, ...]) -> Class | None:
        """The only class whose name has exactly these words, two or more."""
        found = self._by_words.get(said, ()) if len(said) > 1 else ()
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_words(self) -> dict[tuple[str, ...], list[Class]]:
        table: dict[tuple[str, ...], list[Class]] = defaultdict(list)
        for file in self.files.values():
            for cls in file.classes:
                table[names.words(cls.name)].append(cls)
        return table

    @cached_property
    def subclasses(self) -> dict[int, list[Class]]:
        """Direct and indirect subclasses by the id of the class."""
        table: dict[int, list[Class]] = defaultdict(list)
        for file in self.files.values():
            for cls in file.classes:
                for base in self.mro(cls)[1:]:
                    table[id(base)].append(cls)
        return table

    def family(self, cls: Class) -> tuple[Class, ...]:
        """A class, its bases in the order in which methods are looked up, and the classes derived from it."""
        return (*self.mro(cls), *self.subclasses.get(id(cls), ()))

    def module_kept(self, cls: Class, name: str) -> Class | None:
        """The module class of which the constructor of a class, or of one derived from it, makes what it keeps under a name."""
        key = id(cls), name
        if key not in self._kept:
            made = (k for c in self.family(cls) for k in self.made_in_init(c, name))
            self._kept[key] = next((k for k in made if k is not None and self.is_module(k)), None)
        return self._kept[key]

    def made_in_init(self, cls: Class, name: str) -> Iterator[Class | None]:
        """For each call whose result a class's own constructor keeps under a name: the class that it calls, None if it calls no class."""
        init = cls.methods.get("__init__")
        for event in every(init.body) if init is not None and name in set(attributes_set(init)) else ():
            if isinstance(event, Assign) and isinstance(call := event.value, Call) and any(asked_of_self(t) == name for t in event.targets):
                made = self.dotted(cls.path, call.func)
                yield made[1] if made is not None and made[0] == "k" else None

    @cached_property
    def part_classes(self) -> frozenset[str]:
        """The names of classes that nothing but constructors of modules mentions."""
        inits: set[str] = set()
        others: set[str] = set()
        building = {id(m) for c, m in self.methods.get("__init__", ()) if self.is_module(c)}
        for file in self.files.values():
            others |= file.body.called
            for function in file.functions:
                (inits if id(function) in building else others).update(function.called)
        return frozenset(inits - others)

    def is_module(self, cls: Class) -> bool:
        """Whether the class is an `nn.Module`."""
        known = self._module_classes.get(id(cls))
        if known is None:
            known = self._module_classes[id(cls)] = self._is_module(cls)
        return known

    def _is_module(self, cls: Class) -> bool:
        for name in self.outside_bases(cls):
            if self.libraries.is_module_class(name) or (name.endswith(".Module") and "forward" in cls.methods):
                return True
            if name.startswith("?.") and name not in NO_MODULES and "forward" in cls.methods and names.words(name)[-1:] != ("function",):
                return True
            if names.words(name)[-1:] in MODULE_ENDINGS and any("forward" in c.methods for c in self.mro(cls)):
                return not self.libraries.matches("foreign", name)  # `trainer.TrainerModel`
        return self.is_called_model(cls)

    def is_known_module(self, cls: Class) -> bool:
        """Whether a base that can be told makes the class an `nn.Module`."""
        return any(self.libraries.is_module_class(name) for name in self.outside_bases(cls))

    def is_called_model(self, cls: Class) -> bool:
        """Whether the user calls the class a model: by its name, or by the name of a package around it as well."""
        named = (name.split(".") for name in self.extend_models)
        around = [folders[:1] for *folders, last in named if last == cls.name]
        return any(set(plain_path(cls.path).removesuffix(".py").split("/")).issuperset(package) for package in around)

    def is_a(self, cls: Class, table: str) -> bool:
        """Whether a base outside the project is in this table of libraries.toml."""
        return any(self.libraries.matches(table, name) for name in self.outside_bases(cls))


def first_with(order: Sequence[Class], name: str) -> tuple[Class, Function] | None:
    """The first class that has a method, with it."""
    return next(((owner, found) for owner in order if (found := owner.methods.get(name)) is not None), None)


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


def public_name(dotted: str) -> str:
    """The name by which PyTorch shows a class of its own: `torch.nn.modules.distance.PairwiseDistance` is torch.nn's."""
    name = dotted.rpartition(".")[2]
    return f"torch.nn.{name}" if dotted.startswith("torch.nn.modules.") and name[:1].isupper() else dotted
