"""What a step of the analysis reads and writes, noted while it runs: the tables that steps share, and what they ask the program.

Everything that a step can see of the others is in such tables; everything else is the program's, whose functions and classes never
change: what was edited is another object.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, NoReturn

Row = tuple[Hashable, Any, Any]
"""A key, and what was under it before and after."""


class Absent:
    """There is nothing under a key."""


ABSENT = Absent()


class Table(dict[Any, Any]):
    """A dict that remembers of each key that was asked for or set what was under it at first.

    `copied` makes a copy of a value that later changes do not reach; values that nobody changes need none.
    """

    __slots__ = ("_copied", "met")

    def __init__(self, copied: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self._copied = copied
        self.met: dict[Any, Any] = {}

    def meet(self, key: Any) -> None:
        """Remember what is under a key that was not met yet."""
        self.met[key] = self._kept(dict.get(self, key, ABSENT))

    def _kept(self, value: Any) -> Any:
        return value if self._copied is None or value is ABSENT else self._copied(value)

    def rows(self) -> Iterator[Row]:
        """What was met since `met` was emptied."""
        for key, before in self.met.items():
            after = dict.get(self, key, ABSENT)
            yield key, before, before if after == before else self._kept(after)

    def holds(self, rows: Iterable[Row]) -> bool:
        """Whether under every key is what was there before."""
        now = super().get
        for key, before, _ in rows:
            found = now(key, ABSENT)
            if found is not before and found != before:
                return False
        return True

    def put_back(self, rows: Iterable[Row]) -> None:
        """Leave under the keys what a step has left."""
        for key, before, after in rows:
            if after is before:
                continue
            if after is ABSENT:
                dict.pop(self, key, None)
            else:
                dict.__setitem__(self, key, self._kept(after))

    def get(self, key: Any, default: Any = None) -> Any:
        if key not in self.met:
            self.meet(key)
        return dict.get(self, key, default)

    def __getitem__(self, key: Any) -> Any:
        if key not in self.met:
            self.meet(key)
        return dict.__getitem__(self, key)

    def __contains__(self, key: object) -> bool:
        if key not in self.met:
            self.meet(key)
        return dict.__contains__(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if key not in self.met:
            self.meet(key)
        dict.__setitem__(self, key, value)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self.met:
            self.meet(key)
        return dict.setdefault(self, key, default)

    def update(self, rows: Iterable[tuple[Any, Any]]) -> None:  # type: ignore[override]
        for key, value in rows:
            self[key] = value

    def unnoted(self, *_: object) -> NoReturn:
        """What would read or change the whole, which no step does."""
        raise TypeError("not kept by the journal")

    __iter__ = keys = values = items = pop = popitem = clear = copy = __delitem__ = __ior__ = __or__ = __len__ = unnoted


class Members(set[Any]):
    """A set that remembers of each item that was asked for, added or removed whether it was in it at first."""

    __slots__ = ("met",)

    def __init__(self, items: Iterable[Any] = (), met: dict[Any, bool] | None = None) -> None:
        super().__init__(items)
        self.met: dict[Any, bool] = {} if met is None else met

    def rows(self) -> Iterator[Row]:
        """What was met since `met` was emptied."""
        return ((item, before, set.__contains__(self, item)) for item, before in self.met.items())

    def holds(self, rows: Iterable[Row]) -> bool:
        """Whether every item is in it or not, as it was before."""
        return all(set.__contains__(self, item) == before for item, before, _ in rows)

    def put_back(self, rows: Iterable[Row]) -> None:
        """Leave items in or out."""
        for item, before, after in rows:
            if after is not before:
                (set.add if after else set.discard)(self, item)

    def copy(self) -> Members:
        """Another set with the same items, for a while: what is met in it is met in this one."""
        return Members(set.__iter__(self), self.met)

    def __contains__(self, item: object) -> bool:
        if item not in self.met:
            self.met[item] = set.__contains__(self, item)
        return set.__contains__(self, item)

    def add(self, item: Any) -> None:
        if item not in self.met:
            self.met[item] = set.__contains__(self, item)
        set.add(self, item)

    def discard(self, item: Any) -> None:
        if item not in self.met:
            self.met[item] = set.__contains__(self, item)
        set.discard(self, item)

    def update(self, *others: Iterable[Any]) -> None:
        for other in others:
            for item in other:
                self.add(item)

    def __ior__(self, other: Iterable[Any]) -> Members:  # type: ignore[misc]
        self.update(other)
        return self

    def unnoted(self, *_: object) -> NoReturn:
        """What would read or change the whole, which no step does."""
        raise TypeError("not kept by the journal")

    __iter__ = pop = clear = remove = __and__ = __or__ = __sub__ = __le__ = __lt__ = __ge__ = __gt__ = __len__ = unnoted


Question = tuple[Any, ...]
"""What is asked of the program: the name of an attribute, then `CALL` and the arguments, `GET` and a key, or nothing."""
CALL, GET = "()", "[]"


def answer(program: Any, question: Question) -> Any:
    """What the program says."""
    value = getattr(program, question[0])
    if len(question) == 1:
        return value
    if question[1] == CALL:
        return value(*question[2:])
    return value.get(question[2], ABSENT) if isinstance(value, dict) else question[2] in value


class Witness:
    """Stands in a program's place and notes in `answers` what it is asked and says. What it hands out is not to be changed."""

    def __init__(self, program: Any) -> None:
        self._program = program
        self.answers: dict[Question, Any] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._program, name)
        if isinstance(value, (dict, set)):
            value = Entries(self, name)
        elif callable(value):
            value = self._call(name)
        else:
            value = self.noted((name,))
        setattr(self, name, value)
        return value

    def noted(self, question: Question) -> Any:
        """The answer to a question, asked once."""
        try:
            return self.answers[question]
        except KeyError:
            found = self.answers[question] = answer(self._program, question)
            return found

    def _call(self, name: str) -> Callable[..., Any]:
        return lambda *args: self.noted((name, CALL, *args))


class Entries:
    """A table of the program, or a set, of which single keys are asked for."""

    def __init__(self, witness: Witness, name: str) -> None:
        self._witness, self._name = witness, name

    def get(self, key: Any, default: Any = None) -> Any:
        """What is under a key."""
        found = self._witness.noted((self._name, GET, key))
        return default if found is ABSENT else found

    def __getitem__(self, key: Any) -> Any:
        found = self._witness.noted((self._name, GET, key))
        if found is ABSENT:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        found = self._witness.noted((self._name, GET, key))
        return found is not ABSENT and found is not False
