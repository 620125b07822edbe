"""The event tree: what the visitor makes of a file. Plain, picklable data that knows no syntax library.

A function is a sequence of events (assignments, calls, branches, loops, with-blocks, tries, exits); an event holds values
(names, attributes, calls, constants, and `Mix` for everything whose only meaning here is what flows into it).
Spans are `(line, column, end_line, end_column)`, 1-based, in characters, the end exclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Span = tuple[int, int, int, int]
LINES = 1 << 24
"""More lines than a file has. In a process that goes on, a line is that of a piece of the file, `LINES` times its number further down."""


@dataclass(slots=True, eq=False)
class Value:
    """Base of all values."""


@dataclass(slots=True, eq=False)
class Name(Value):
    """A variable read."""

    id: str


@dataclass(slots=True, eq=False)
class Const(Value):
    """A literal: bool, None, str, int or float; any other literal is `Mix(())`."""

    value: bool | str | int | float | None


@dataclass(slots=True, eq=False)
class Attr(Value):
    """`base.name`."""

    base: Value
    name: str


@dataclass(slots=True, eq=False)
class Call(Value):
    """`func(*args, **keywords)`; a starred argument is a `Star`, a double-starred one has the keyword `**`."""

    func: Value
    args: tuple[Value, ...]
    keywords: tuple[tuple[str, Value], ...]
    span: Span


@dataclass(slots=True, eq=False)
class Sub(Value):
    """`base[index]`."""

    base: Value
    index: Value


@dataclass(slots=True, eq=False)
class Seq(Value):
    """A list, tuple or set display."""

    items: tuple[Value, ...]


@dataclass(slots=True, eq=False)
class Map(Value):
    """A dict display; the key of a `**` item is None."""

    items: tuple[tuple[Value | None, Value], ...]


@dataclass(slots=True, eq=False)
class Compare(Value):
    """A comparison with one operator: `is`, `is not`, `==`, `!=`, `in`, `not in`; all others are `Mix`."""

    op: str
    left: Value
    right: Value


@dataclass(slots=True, eq=False)
class Not(Value):
    """`not item`."""

    item: Value


@dataclass(slots=True, eq=False)
class Bool(Value):
    """`left and right` or `left or right`."""

    op: str
    left: Value
    right: Value


@dataclass(slots=True, eq=False)
class IfValue(Value):
    """`then if test else other`."""

    test: Value
    then: Value
    other: Value


@dataclass(slots=True, eq=False)
class Lambda(Value):
    """A lambda, as a function of one return."""

    function: Function


@dataclass(slots=True, eq=False)
class Comprehension(Value):
    """A comprehension or generator expression: a loop that yields `item` (for dicts, a `Mix` of key and value)."""

    kind: str
    item: Value
    loops: tuple[tuple[Value, Value, tuple[Value, ...]], ...]


@dataclass(slots=True, eq=False)
class Star(Value):
    """`*item` in a call, a display or a target."""

    item: Value


@dataclass(slots=True, eq=False)
class Walrus(Value):
    """`target := item`."""

    target: Value
    item: Value


@dataclass(slots=True, eq=False)
class Yield(Value):
    """`yield item`."""

    item: Value | None


@dataclass(slots=True, eq=False)
class Mix(Value):
    """Any other expression: arithmetic, slices, f-strings. What flows into it flows out."""

    items: tuple[Value, ...]


@dataclass(slots=True, eq=False)
class Text(Mix):
    """A text made of values: an f-string, `"loss: %f" % loss`."""


NOTHING = Mix(())
NOWHERE: Span = (1, 1, 1, 1)


@dataclass(slots=True, eq=False)
class Event:
    """Base of all events."""


@dataclass(slots=True, eq=False)
class Assign(Event):
    """`targets[0] = targets[1] = … = value`; `augmented` for `+=` and its kin."""

    targets: tuple[Value, ...]
    value: Value
    augmented: bool = False
    annotation: Value | None = None
    span: Span = NOWHERE


@dataclass(slots=True, eq=False)
class Do(Event):
    """An expression statement."""

    value: Value


@dataclass(slots=True, eq=False)
class Assert(Event):
    """`assert test`."""

    test: Value


@dataclass(slots=True, eq=False)
class Branch(Event):
    """`if test: then else: other`; `test` is None where nothing is known of it (a `match` case)."""

    test: Value | None
    then: tuple[Event, ...]
    other: tuple[Event, ...]


@dataclass(slots=True, eq=False)
class Loop(Event):
    """`for target in source` or, with no target, `while source`. The span is the header's, from the keyword on."""

    target: Value | None
    source: Value
    body: tuple[Event, ...]
    other: tuple[Event, ...]
    span: Span


@dataclass(slots=True, eq=False)
class With(Event):
    """`with item as target, …: body`."""

    items: tuple[tuple[Value, Value | None], ...]
    body: tuple[Event, ...]


@dataclass(slots=True, eq=False)
class Try(Event):
    """try, its handlers' bodies, else and finally."""

    body: tuple[Event, ...]
    handlers: tuple[tuple[Event, ...], ...]
    other: tuple[Event, ...]
    final: tuple[Event, ...]


@dataclass(slots=True, eq=False)
class Return(Event):
    """`return value`."""

    value: Value | None


@dataclass(slots=True, eq=False)
class Exit(Event):
    """`break`, `continue` or `raise`."""

    kind: str
    value: Value | None = None


@dataclass(slots=True, eq=False)
class Define(Event):
    """A nested function definition."""

    function: Function


@dataclass(slots=True, eq=False)
class DefineClass(Event):
    """A class definition."""

    cls: Class


@dataclass(slots=True, eq=False)
class Import(Event):
    """`import module as bound` (`name` None) or `from module import name as bound`; `level` counts leading dots."""

    module: str
    level: int
    name: str | None
    bound: str


@dataclass(slots=True, eq=False)
class Outer(Event):
    """`global names` or `nonlocal names`."""

    names: tuple[str, ...]
    is_global: bool


@dataclass(slots=True, eq=False)
class Param:
    """A parameter: `kind` is `pos`, `kw`, `*` or `**`."""

    name: str
    kind: str
    default: Value | None
    annotation: Value | None


COLLECTIONS = frozenset(("list", "tuple", "set", "dict", "OrderedDict", "defaultdict"))
"""What makes a collection when it is called."""
JOINING = frozenset("cat concat concatenate stack hstack vstack dstack".split())
"""What makes one tensor of several, or one array."""
ANY_METHOD = "<any>"
"""In `Function.called`: `getattr` with a name that is not written there."""


@dataclass(slots=True, eq=False)
class Glance:
    """What is known of a function's body without reading it."""

    statements: int
    """How many events it has at least."""
    imports: tuple[Import, ...]
    raises: bool
    """It does nothing but raise, or nothing at all."""
    named: frozenset[str]
    """The names that it calls as they are: `f(x)`."""
    assigned: tuple[str, ...]
    """The attributes of `self` that it assigns, in the order of the text."""
    collected: tuple[str, ...]
    """Those to which it assigns a list, tuple, set or dict, written out there or where the name was made that it assigns."""


class Reader(Protocol):
    """Reads the bodies of functions, and remembers why one could not be read, and at which line and column."""

    failure: tuple[str, int, int] | None

    def read(self, function: Function) -> tuple[Event, ...]:
        """The events of a function's body."""


@dataclass(slots=True, eq=False)
class Function:
    """A function, method, lambda or (name `<module>`) a module's body."""

    name: str
    qualname: str
    params: tuple[Param, ...]
    events: tuple[Event, ...]
    """What the body does; empty while it is `unread`."""
    decorators: tuple[Value, ...]
    span: Span
    is_generator: bool
    called: frozenset[str]
    """Last names of everything that the body calls (nested functions included), and of all names passed on or asked for by `getattr`."""
    receivers: frozenset[tuple[str, str]]
    """(last name of the receiver, method) of every method call in the body."""
    path: str = ""
    mentions_forces: bool = False
    """Its names or texts speak of forces, stresses or derivatives: of gradients as results."""
    has_closures: bool = False
    """A nested function or lambda can outlive a call."""
    aliased: frozenset[str] = frozenset()
    """Attributes of `self` that an assignment gives another name: a method may be called by it."""
    glance: Glance | None = None
    """What is known of the body without reading it."""
    alone: tuple[tuple[str, Span], ...] = ()
    """The attributes that are statements by themselves, `model.eval`, as they are written, and where."""
    unread: bool = False
    """The body is read when somebody asks for it: of most functions nobody does."""
    reader: Reader | None = field(default=None, metadata={"kept": False})
    plain: Function | None = field(default=None, metadata={"kept": False})
    """The function without its decorators, once somebody has asked for it."""

    @property
    def body(self) -> tuple[Event, ...]:
        """What the body does."""
        if self.unread and self.reader is not None:
            self.events, self.unread = self.reader.read(self), False
        return self.events


@dataclass(slots=True, eq=False)
class Class:
    """A class: its bases, its body as the events of a function, and its methods by name."""

    name: str
    qualname: str
    bases: tuple[Value, ...]
    body: tuple[Event, ...]
    methods: dict[str, Function]
    decorators: tuple[Value, ...]
    span: Span
    path: str = ""


@dataclass(slots=True, eq=False)
class File:
    """One parsed file: its body as a function, and every function and class in it."""

    path: str
    body: Function
    functions: tuple[Function, ...]
    classes: tuple[Class, ...]
    context: bool = False
    """It is read only for what others call in it: nothing begins here."""
    imported: bool = False
    """Files that are not of this program import it: callers of its functions may be out of sight."""


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
