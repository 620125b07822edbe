"""Facts: what the flow analysis found out, as plain data. The only thing that rules read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from evallint.events import Span
from evallint.meaning.values import Hush, Modes


@dataclass(slots=True, eq=False)
class LoopFact:
    """One loop on the way to a forward, in one context of calls."""

    path: str
    span: Span
    function: str
    source: str
    """The names in what is looped over, joined by spaces."""
    target: str = ""
    trains: bool = False
    """A training step runs somewhere inside."""
    inline: bool = False
    """A comprehension: it has no header of its own."""
    endless: bool = False
    """A `while` loop."""
    repeater: str = ""
    """Who runs a function again and again, where no loop in sight does: "the framework", "the optimizer". The span is the function's."""


@dataclass(slots=True, eq=False)
class Stop:
    """One function on the stack of calls: its name, its class, where it was called from."""

    path: str
    function: str
    span: Span | None
    """The call that entered it (None for the root)."""
    caller: str = ""
    owner: str = ""
    module: bool = False
    """It is a method of an `nn.Module`."""
    span_of_function: Span = (1, 1, 1, 1)
    trains: bool = False
    """A training step runs in this activation."""
    wants_grad: bool = False
    """It reads the gradient of something that is no parameter, or asks for it."""
    acts: bool = False
    """It steps an environment."""
    wraps: bool = False
    """It is what a decorator has put in the place of the function that it calls."""
    told: bool = False
    """The call that entered it says that it evaluates (`evaluate=True`, `training=False`), or the user does."""
    checks: bool = False
    """It is a unit test, whatever its file is called."""
    part: bool = False
    """Its class is built by the constructors of other modules alone: what it is a part of decides on its mode."""
    attacks: bool = False
    """It calls what is named for an attack, which computes gradients of the model that it evaluates."""
    shared: bool = False
    """A training step somewhere back-propagates through what this function returns, or the module's own `forward` does: it is no place
    for `no_grad`."""


@dataclass(slots=True, eq=False)
class Forward:
    """One forward call in one context."""

    path: str
    span: Span
    text: str
    """The called object as written: `model`, `self.net`."""
    method: str
    stops: tuple[Stop, ...]
    """The stack of functions, the root first."""
    loops: tuple[LoopFact, ...]
    depth_of_loop: tuple[int, ...]
    """For each loop, the index in `stops` of the function that holds it."""
    modes: Modes
    grad: frozenset[str]
    frozen: bool
    layers: str = "unknown"
    """What the class says of the mode: "none" (no mode-dependent layer), "some", "bare" (one plain layer of torch.nn) or "unknown"."""
    layer: str = ""
    """A mode-dependent layer of the class, as it is called there."""
    known: bool = False
    """The object is known to be a module by construction, class or use, and not by name alone."""
    mode_by_caller: bool = False
    """The root of its stack is called in ways that could not be followed, and such a caller may set the mode."""
    grad_by_caller: bool = False
    """… or the grad mode."""
    train_by_caller: bool = False
    """… or put it in training mode."""
    carries_no_grad: bool = False
    own_grad: bool = False
    """Its forward sets the grad mode or differentiates itself."""
    differentiates: bool = False
    """… it does the latter."""
    partly: bool = False
    """Parts of it were put back in training mode by themselves."""
    divided: bool = False
    """Parts of it are in eval mode, put there by themselves, while it is in training mode."""
    sorted_out: bool = False
    """Those of some kind are, whichever they be: `if isinstance(part, nn.BatchNorm2d): part.eval()`."""
    may_differentiate: bool = False
    """Its class is not known, and some module of the program differentiates inside its own methods."""
    trained: bool = False
    """A backward reached what was computed from it."""
    stepped: bool = False
    """An optimizer step followed that backward."""
    feeds: set[tuple[Any, ...]] = field(default_factory=set)
    """The other modules into whose forwards its output goes."""
    grad_used: bool = False
    """`autograd.grad` or an input's `.grad` was computed through it."""
    escapes: bool = False
    """Its graph leaves through the return of a function whose callers cannot be seen."""
    stored: bool = False
    """Its graph is kept in an attribute."""
    uses: set[str] = field(default_factory=set)
    """How its output is used: "item", "detach", "argmax", "append", "metric", …"""
    misfit: bool = False
    """Its class, as it is in sight, cannot be built as it was: dead code, or files of different days."""
    spoiled: bool = False
    """In a training loop whose step could not be followed."""
    own_switches: set[Span] = field(default_factory=set)
    """The mode calls that ran in the functions on the stack."""
    silenced_at: int = -1
    """The index in `stops` of the function that turned recording off."""
    hushed: frozenset[Hush] = frozenset()
    """What had turned recording off, where that is known."""
    cut: bool = False
    """What it is handed has a graph, which ends in it."""
    lost: bool = False
    """A loss was taken of its output, and of nothing that has a graph."""
    loc: tuple[Any, ...] | None = None
    offbeat: bool = False
    """Met only when a parameter has another value than its default."""
    hidden: bool = False
    """Other files, not read in this run, import the file of its root: a caller there may decide."""
    offered: bool = False
    """Met in a method that its class offers and also calls itself: entered in whatever mode the other methods leave."""
    midway: bool = False
    """Its root is a private method that others of its class call: entered in whatever state the class's methods leave."""
    unswitched: bool = False
    """Nothing in the program, as far as imports connect it, puts any model in evaluation mode."""
    loaded: bool = False
    """Its weights were read from a file."""
    pickled: bool = False
    """It comes out of `torch.load`, whole."""
    synthetic: bool = False
    """All that the model is fed was made up on the spot: random numbers, zeros, literals."""
    follows: frozenset[tuple[str, Span]] = frozenset()
    """For a method other than the forward: where the outputs of the same model come from that it is handed."""
    gives_losses: bool = False
    """A detector of a library, handed targets as well: it gives losses, which it does in training mode alone."""
    fed: frozenset[str] = frozenset()
    """The names in its arguments."""
    fixed_noise: bool = False
    """What it is fed is noise, or stays the same all through training, by its name: `fixed_noise`."""
    rounds: tuple[Any, ...] = ()
    """The rounds of unrolled loops (`for phase in ["train", "val"]`) that it is met in."""
    framework: bool = False
    """Met in a framework's hook, which it enters in a mode and grad mode of its choice."""

    def news(self) -> tuple[Any, ...]:
        """What tells it from other forwards, for a rule."""
        used = (
            self.trained,
            self.stepped,
            self.grad_used,
            self.escapes,
            self.stored,
            self.carries_no_grad,
            self.spoiled,
            frozenset(self.uses),
        )
        return self.path, self.span, self.modes, self.grad, self.frozen, tuple(loop.span for loop in self.loops), used


@dataclass(slots=True, eq=False)
class Kept:
    """A statement that adds, round by round, what forwards have recorded to something that outlives the round."""

    path: str
    span: Span
    text: str
    """What it is added to, as written: `total`, `self.losses`."""
    how: str
    """"sum", "list" (appended), "item" (stored under an index) or "gather" (by a comprehension, which has no name)."""
    function: str
    loop: LoopFact
    """The loop that repeats it."""
    fed: bool
    """A backward goes through the sum: it is part of training."""
    given: str = ""
    """What is added, as written, where a function that the statement calls adds it: `loss` in `meter.update(loss, n)`."""
    streamed: bool = False
    """The loop is over a generator that yields what is added: the forwards run there."""
    bare: bool = False
    """No forward was seen that made what is added, but the loop back-propagates it."""
    stepping: bool = False
    """The loop updates parameters: it trains, if only by a closure."""
    numbers: set[int] = field(default_factory=set)
    forwards: list[Forward] = field(default_factory=list)
    """The forwards whose graphs it keeps."""


@dataclass(slots=True, eq=False)
class Backward:
    """A backward through the outputs of forwards of which some ran without recording."""

    path: str
    span: Span
    text: str
    function: str
    grad: frozenset[str]
    hushed: frozenset[Hush]
    pure: bool
    """Nothing but the forwards' outputs, data and known operations on tensors goes into what it starts from."""
    recorded: bool
    """Some recorded forward flows in."""
    numbers: set[int] = field(default_factory=set)
    forwards: list[Forward] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Idle:
    """A statement that switches nothing that is used: `model.eval` without its call, `torch.no_grad()` outside a `with`,
    `deepcopy(model).eval()` by itself."""

    path: str
    span: Span
    text: str
    function: str
    kind: str
    """"mode", "grad", or "copy" (the mode of a copy that nobody keeps)."""
    sure: bool
    """What it hangs on is a module by its class or use, not by its name alone."""


@dataclass(frozen=True, slots=True)
class Turned:
    """A call of `eval()` that a function makes on an object which it uses for nothing else."""

    path: str
    span: Span
    text: str
    function: str
    loc: tuple[Any, ...]


def wholes(loc: tuple[Any, ...] | None) -> Iterator[tuple[Any, ...]]:
    """An object, and what it is a part of."""
    while loc is not None:
        yield loc
        loc = loc[1] if loc[0] == "child" else None


@dataclass(slots=True, eq=False)
class Lapse:
    """A place where a module's own code loses the mode, whoever runs it."""

    kind: str
    """"functional" (a call that is not told the mode), "built" (a layer made in a forward), "hidden" (parts that are not registered) or
    "override" (a `train` or `eval` of its own)."""
    sort: str
    """What of this kind it is, in a word; each module that finds lapses says which there are."""
    path: str
    span: Span
    function: str
    text: str
    """What it is about, as it is written: `F.dropout`, `nn.Dropout`, `self.layers`, `Net.train`."""
    sure: bool
    """The class is known to be a module, and all that decides was read."""
    steps: tuple[tuple[str, Span, str], ...] = ()
    """The places that make it true, in their order: file, span, what happens there."""
    detail: str = ""
    """More of what it is about: the rate, a layer."""
    comment: str = ""
    """What comments on its lines and right above them say."""
    owned: bool = True
    """It is in a method of a module, so that `self` has a mode."""


@dataclass(slots=True, eq=False)
class Facts:
    """What was found in a program: all forwards, in the order in which they were met, what they flow into, and the lapses in its code."""

    forwards: list[Forward] = field(default_factory=list)
    lapses: list[Lapse] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    backwards: list[Backward] = field(default_factory=list)
    idle: list[Idle] = field(default_factory=list)
    turned: list[Turned] = field(default_factory=list)

    def take(self, more: Facts) -> None:
        """Take in what else was found."""
        self.forwards += more.forwards
        self.lapses += more.lapses
        self.kept += more.kept
        self.backwards += more.backwards
        self.idle += more.idle
        self.turned += more.turned

    def mark_probed(self) -> None:
        """Tell the backward that asks for an input's gradient from training: no optimizer ever steps that model."""
        stepped = {f.loc for f in self.forwards if f.stepped}
        probed = [f for f in self.forwards if f.trained and f.stops[-1].wants_grad and not any(w in stepped for w in wholes(f.loc))]
        for forward in probed:
            forward.trained, forward.grad_used = False, True
        training = [f for f in self.forwards if f.trained]
        kept = {id(place) for f in training for place in (*f.loops, *f.stops)}
        for forward in probed:
            places: list[LoopFact | Stop] = [*forward.loops, *forward.stops]
            for place in places:
                place.trains &= id(place) in kept

    def mark_outer(self) -> None:
        """Tell of a loop around others that it trains, if it does so under other answers to the conditions in it: it is no evaluation."""
        trained = [f for f in self.forwards if f.trained]
        places = {(f.path, f.span) for f in trained}
        training = {(loop.path, loop.span) for f in trained for loop in f.loops}
        phases = {id(f.loops[-1]) for f in self.forwards if f.loops and not f.trained and (f.path, f.span) in places}
        for loop in {id(loop): loop for f in self.forwards for loop in f.loops[:-1] if id(loop) not in phases}.values():
            loop.trains |= (loop.path, loop.span) in training

    def mark_shared(self) -> None:
        """Tell of every function on a stack whether training runs its forward as well."""
        shared = {(s.path, s.function) for f in self.forwards if f.trained and "on" in f.grad for s in f.stops if not s.trains}
        for forward in self.forwards:
            for stop in forward.stops:
                stop.shared |= (stop.path, stop.function) in shared
