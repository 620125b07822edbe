"""What every part of the flow analysis shares: the frames, the objects, the run's assumptions and its facts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evallint.events import Assign, Call, Class, Event, Function, Loop, Span, Value
from evallint.meaning import names
from evallint.meaning.facts import Backward, Forward, Kept, LoopFact, Stop, Turned
from evallint.meaning.keepers import Keeping
from evallint.meaning.project import Project
from evallint.meaning.values import NO_IDS, UNKNOWN, Ids, Loc, Mode, Modes, Spot, V, World
from evallint.meaning.walk import last_name, text_of

MOST_STEPS = 6000
MOST_STEPS_OF_CONSTRUCTOR = 1200
MOST_FRAMES = 14
CHAIN = 3
"""How many of the last calls tell objects apart that one line makes."""


PLAIN = frozenset(("c", "x", "k", "m", "g", "b"))
"""Atoms that name no object."""


class Fork(Exception):
    """The run needs to know the truth of a condition that it met twice: run again with each answer."""

    def __init__(self, key: tuple[Any, ...]) -> None:
        self.key = key


class TooLong(Exception):
    """The run has taken as many steps as one may."""


@dataclass(slots=True)
class Thing:
    """What is known of an object: its class, what made it, how it is named."""

    cls: Class | None = None
    made_by: str = ""
    kind: str = ""
    """"model", "loss", "optimizer", "instance", "data", or empty."""
    name: str = ""
    default: V | None = None
    """For a parameter of a root: its default."""
    trains: tuple[Loc, ...] = ()
    """For an optimizer: the modules whose parameters it was given; for a library's trainer, the model that it trains."""
    opaque: bool = False
    """An optimizer that was given something else than a module's parameters, or a trainer that was given data to evaluate with."""
    call: Call | None = None
    """For a module of torch.nn: the constructor's call."""
    misfit: bool = False
    """For a module of the program: its constructor, as it is in sight, cannot be called so."""
    required: bool = False
    """For a parameter of a constructor: it has no default."""

    def copy(self) -> Thing:
        """What is known now."""
        return replace(self)


@dataclass(slots=True, eq=False)
class Frame:
    """One activation of a function."""

    function: Function
    act: int
    self_loc: Loc | None
    cls: Class | None
    stop: Stop
    returns: list[tuple[World, V]] = field(default_factory=list)
    breaks: list[list[World]] = field(default_factory=list)
    continues: list[list[World]] = field(default_factory=list)
    raised: list[list[World]] = field(default_factory=list)
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)
    nested: list[tuple[Function, int]] = field(default_factory=list)
    forwards: list[int] = field(default_factory=list)
    yielded: V = UNKNOWN
    on_yield: Callable[[World, V], World | None] | None = None
    switches: set[Span] = field(default_factory=set)
    """The mode calls that ran in this activation."""


@dataclass(slots=True, eq=False)
class Args:
    """Evaluated arguments; `open` when a starred argument of unknown length was among them."""

    pos: list[V]
    kw: dict[str, V]
    open: bool = False

    def all(self) -> list[V]:
        """Every argument."""
        return [*self.pos, *self.kw.values()]

    def get(self, index: int, name: str) -> V | None:
        """An argument by position or name."""
        if index < len(self.pos):
            return self.pos[index]
        return self.kw.get(name)


class Machine(ABC):
    """The state of one run over a program, and the calls by which its parts reach each other."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.things: dict[Loc, Thing] = {}
        self.children: dict[Loc, set[str]] = {}
        self.defaults: dict[Loc, Modes] = {}
        self.parents: dict[int, int] = {}
        self.module_acts: dict[str, int] = {}
        self.acts = 0
        self.act_owners: dict[int, tuple[str, bool]] = {}
        self.visited: set[int] = set()
        self.decorations: dict[int, list[tuple[str, Any]]] = {}
        self.hooks: dict[int, bool] = {}
        self.layer_cache: dict[int, tuple[str, str]] = {}
        self.empty_classes: dict[int, bool] = {}
        self.own_grad: dict[int, bool] = {}
        self.forward_methods: dict[int, frozenset[str]] = {}
        self.asking: dict[int, bool] = {}
        self.attacking: dict[int, bool] = {}
        self._matters: dict[int, tuple[bool, bool]] = {}
        self._guards: dict[int, bool] = {}
        self.started_names: dict[int, tuple[frozenset[str], frozenset[str]]] = {}
        """For each loop and function, what it back-propagates, and what that is the sum of."""
        self.detached_names: dict[int, frozenset[str]] = {}
        """For each function, the lists that it stacks, and takes off their graph."""
        self.handed_names: dict[int, frozenset[str]] = {}
        """For each function, what it hands to those that back-propagate."""
        self.left_behind_by: dict[int, tuple[frozenset[str], bool, tuple[bool, ...]]] = {}
        """For each forward, the losses that it leaves on its module, and what of its output it takes off the graph: all, or items."""
        self.number_methods: dict[str, bool] = {}
        """For each name of methods, whether all give numbers."""
        self.passes: dict[int, tuple[tuple[frozenset[str], ...], tuple[bool, ...]]] = {}
        """For each function, whose graphs the values that it returns carry on, and which of them are numbers."""
        self.losses_back: dict[int, tuple[bool, ...]] = {}
        """For each function, which of the values that it returns it has back-propagated."""
        self.keepers: dict[int, tuple[Keeping, ...]] = {}
        """For each function, what it keeps of what it is handed."""
        self.owners_of_wrapped: dict[int, V] = {}
        self.wrapping = False
        """Whether the function that is entered next is what a decorator made."""
        self.returned = True
        """Whether the function that ended last returned on some path."""
        self.on_exit: dict[Loc, list[Call]] = {}
        """What each `ExitStack` calls when it ends."""
        self.chosen: set[int] = set()
        """Ids of the mode calls of a branch whose other arm puts the same object in the other mode."""
        self.frozen_classes: set[int] = set()
        """Ids of the classes of the modules that were frozen whole: what their methods record is nothing, wherever they are entered."""
        self.makers: set[int] = set()
        """Ids of the calls `model = model(**options)`: what is called is a class."""
        self.supposed = False
        """Whether the truth of the last condition is but this run's assumption."""
        self.worlds: dict[str, World] = {}
        """For each file, the state that its body left."""
        self.given: dict[tuple[int, str], set[Mode]] = {}
        """For each constructor and parameter, the modes of the models that it was handed."""
        self.summaries: dict[tuple[Any, ...], Any] = {}
        self.begin({})

    def begin(self, assumptions: dict[tuple[Any, ...], bool]) -> None:
        """Start a run under these assumptions."""
        self.assumptions = assumptions
        self.met: dict[tuple[Any, ...], set[int]] = {}
        self.switching_keys: set[tuple[Any, ...]] = set()
        self.frames: list[Frame] = []
        self.loops: list[tuple[LoopFact, int]] = []
        self.tags: list[Any] = []
        self.loop_facts: dict[tuple[Any, ...], LoopFact] = {}
        self.loop_events: dict[int, Loop] = {}
        self.kept: dict[tuple[Any, ...], Kept] = {}
        self.backwards: dict[tuple[Any, ...], Backward] = {}
        self.turned: dict[Turned, None] = {}
        self.thrown: Ids = NO_IDS
        self.unpacking: Ids = NO_IDS
        """Forwards whose output goes into `_`."""
        self.streamed: Ids = NO_IDS
        """Forwards whose outputs a generator yields, round by round."""
        self.streams: dict[int, Ids] = {}
        """For each loop over a generator, the forwards that run in its rounds."""
        self.forwards: list[Forward] = []
        self.forward_ids: dict[tuple[Any, ...], int] = {}
        self.pending: set[int] = set()
        self.muted = 0
        self.asked_for_grad = 0
        """Arms of branches around what runs that are taken where gradients are asked for: `if self.enable_grad:`."""
        self.tick = 0
        self.last_made = 0
        self.made_at: dict[Loc, tuple[int, int]] = {}
        """When in the run each object was made, and under how many calls; what is not in it was there before."""
        self.loaded: set[Loc] = set()
        self.twins: dict[int, Loc] = {}
        """For each module class, the first part of it that a constructor has built."""
        self.records: list[Any] = []
        self.steps = 0
        self.most_steps = MOST_STEPS

    # Objects

    def thing(self, loc: Loc) -> Thing:
        """What is known of the object at a location."""
        found = self.things.get(loc)
        if found is None:
            found = self.things[loc] = Thing()
            if loc[0] == "child":
                found.name = loc[2]
        return found

    def make(self, loc: Loc, thing: Thing) -> None:
        """A new object."""
        self.things[loc] = thing
        self.made_at[loc] = self.tick, len(self.frames)
        self.last_made = self.tick

    def child(self, loc: Loc, name: str) -> Loc:
        """The location of an attribute or item that nobody has assigned."""
        depth, up = 0, loc
        while up[0] == "child":
            depth, up = depth + 1, up[1]
        if depth > 5:
            return loc
        return ("child", loc, name)

    def chain(self) -> tuple[Any, ...]:
        """The last calls: tells apart objects made by one line for two callers."""
        return tuple(f.stop.span for f in self.frames[-CHAIN:])

    def context(self) -> tuple[Any, ...]:
        """The whole stack of calls and the rounds of unrolled loops: what one fact is told apart by."""
        return (*((id(f.function), f.stop.span) for f in self.frames), *self.tags)

    def set_attr(self, w: World, loc: Loc, name: str, value: V) -> None:
        """Assign an attribute."""
        w.attrs[loc, name] = value
        if self.records:
            self.records[-1].written[loc, name] = None
        self.children.setdefault(loc, set()).add(name)
        child = ("child", loc, name)
        if child in w.modes and ("o", child) not in value.atoms:
            del w.modes[child]

    def owner(self, path: str) -> int:
        """The activation of a module's body."""
        if path not in self.module_acts:
            self.module_acts[path] = self.new_act(0)
        return self.module_acts[path]

    def new_act(self, parent: int) -> int:
        """A new activation; `parent` is the one that its free names are looked up in."""
        self.acts += 1
        self.parents[self.acts] = parent
        return self.acts

    @property
    def frame(self) -> Frame:
        """The innermost activation."""
        return self.frames[-1]

    @property
    def path(self) -> str:
        """The file of the code that is running."""
        return self.frames[-1].function.path if self.frames else ""

    def step(self) -> None:
        """Count one event. Raises TooLong."""
        self.steps += 1
        if self.steps > self.most_steps:
            raise TooLong

    # Modes

    def mode_of(self, w: World, loc: Loc) -> Modes:
        """The modes that the module at `loc` can be in."""
        return w.mode(loc, self.defaults)

    def set_mode(self, w: World, loc: Loc, modes: Modes, seen: set[Loc] | None = None) -> None:
        """Put a module and all that it holds in one of `modes`."""
        seen = seen if seen is not None else set()
        if loc in seen or len(seen) > 400:
            return
        self.touch(loc)
        seen.add(loc)
        for other in [k for k in w.modes if k[0] == "child" and is_below(k, loc)]:
            del w.modes[other]
        w.modes[loc] = modes
        for name in self.children.get(loc, ()):
            value = w.attrs.get((loc, name))
            if value is not None:
                for atom in value.atoms:
                    if (atom[0] == "o" and self.thing(atom[1]).kind not in ("optimizer", "loss", "instance", "data")) or (
                        atom[0] == "o" and (cls := self.thing(atom[1]).cls) is not None and self.project.is_module(cls)
                    ):
                        self.set_mode(w, atom[1], modes, seen)

    def modules_in(self, w: World, loc: Loc) -> frozenset[Loc]:
        """A module, and all modules that it holds."""
        found, waiting = {loc}, [loc]
        while waiting and len(found) < 400:
            whole = waiting.pop()
            held = [value for name in self.children.get(whole, ()) if (value := w.attrs.get((whole, name))) is not None]
            inner = {a[1] for value in held for a in value.atoms if a[0] == "o" and self.thing(a[1]).kind == "model"} - found
            waiting += inner
            found |= inner
        return frozenset(found)

    # The parts

    @abstractmethod
    def run(self, events: Sequence[Event], w: World) -> World | None:
        """Run events; the state after them, or None where no path comes through."""

    @abstractmethod
    def value(self, node: Value, w: World) -> V:
        """Evaluate a value."""

    @abstractmethod
    def bind(self, target: Value, value: V, w: World) -> None:
        """Assign a value to a target."""

    @abstractmethod
    def call(self, node: Call, w: World) -> V:
        """Evaluate a call."""

    @abstractmethod
    def call_value(self, func: V, args: Args, node: Call, w: World, display: Value, name: str) -> V:
        """Call a value."""

    @abstractmethod
    def call_function(
        self, fn: Function, act: int, self_value: V | None, args: Args, node: Call | None, w: World, cls: Class | None = None
    ) -> V:
        """Run a function of the project in the current state."""

    @abstractmethod
    def call_external(self, dotted: str, args: Args, node: Call, w: World) -> V:
        """Call something outside the project."""

    @abstractmethod
    def call_object(self, loc: Loc, base: V, method: str, args: Args, node: Call, w: World) -> V:
        """Call a method of an object."""

    @abstractmethod
    def forward(self, loc: Loc, method: str, args: Args, node: Call, w: World, display: Value, known: bool) -> V:
        """Record a forward call."""

    @abstractmethod
    def attribute(self, base: V, name: str, w: World) -> V:
        """Read an attribute."""

    @abstractmethod
    def truth(self, node: Value, w: World, site: int, matters: bool, switches: bool = False, alone: bool = False) -> bool | None:
        """Whether a condition holds, where that is known or assumed."""

    @abstractmethod
    def with_values(self, values: list[tuple[V, Value | None]], body: Callable[[World], World | None], w: World) -> World | None:
        """Run a body inside context managers."""

    @abstractmethod
    def unseen_context(self, item: Value, value: V, w: World) -> V:
        """What a context manager outside the project does, by how it is written."""

    @abstractmethod
    def yields_silently(self, source: Value) -> bool:
        """Whether a loop runs over a generator that yields while recording is off."""

    @abstractmethod
    def set_grad(self, w: World, setting: str, spot: Spot | None = None, kind: str = "context") -> None:
        """Enter a grad mode; `spot` is what enters it, a "context" or a "call"."""

    @abstractmethod
    def call_later(self, func: V, args: Args, node: Call, w: World) -> V:
        """Call a function that was handed to code outside the project."""

    @abstractmethod
    def grows(self, event: Assign, added: V, w: World) -> None:
        """Note that an assignment may add what a forward has recorded to what there is already."""

    @abstractmethod
    def notice(self) -> None:
        """Note that something happens that a rule may ask for."""

    @abstractmethod
    def touch(self, loc: Loc) -> None:
        """Note that an object is switched."""

    @abstractmethod
    def is_empty(self, cls: Class) -> bool:
        """Whether a module class builds no part at all."""

    @abstractmethod
    def called_by_forward(self, cls: Class) -> frozenset[str]:
        """The methods that a module's `forward` calls on its own object."""

    @abstractmethod
    def training_step(self, ids: Ids, w: World, graph: Ids = NO_IDS) -> None:
        """A backward ran through the graphs of these forwards."""


def holder(loc: Any) -> Any | None:
    """The object of which something is a part that is picked by a name which is not known: `self.__dict__[name]`, `vars(self).values()`."""
    inner = loc[1] if loc[0] == "child" else None
    if inner is not None and inner[0] == "child" and inner[2] == "__dict__":
        return inner[1]
    return inner if inner is not None and loc[2] == "<part>" else None


def is_below(loc: Loc, top: Loc) -> bool:
    """Whether `loc` is a descendant of `top`."""
    while loc[0] == "child":
        loc = loc[1]
        if loc == top:
            return True
    return False


def objects_in(part: Any, into: dict[Loc, None]) -> None:
    """The objects that a value, or a part of one, speaks of; for a part of an object the whole."""
    if isinstance(part, V):
        for atom in part.atoms:
            if atom[0] == "o":
                into[top_of(atom[1])] = None
            elif atom[0] not in PLAIN:
                objects_in(atom[1:], into)
    elif isinstance(part, tuple):
        if part and part[0] in ("new", "ret", "child"):
            into[top_of(part)] = None
        else:
            for inner in part:
                objects_in(inner, into)


def top_of(loc: Loc) -> Loc:
    """The object that a part hangs on in the end."""
    while loc[0] == "child":
        loc = loc[1]
    return loc


def made(mode: str, path: str, span: Span | None, function: str = "", text: str = "", over: bool = False, chosen: bool = False) -> Modes:
    """A single mode as a set."""
    return frozenset((Mode(mode, path, span, function, text, over, chosen),))


__all__ = ["Args", "Fork", "Frame", "Machine", "Thing", "TooLong", "holder", "is_below", "last_name", "made", "names", "text_of"]
