"""Facts whose places are told in the lines of pieces of files, told in the lines of the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from evallint.events import LINES
from evallint.meaning.facts import Backward, Facts, Forward, Kept, LoopFact, Stop
from evallint.meaning.values import Mode

Starts = Mapping[int, int]
"""For the number of a piece, how many lines of its file are above it."""
Fact = TypeVar("Fact", Forward, Stop, LoopFact, Kept, Backward)
Place = TypeVar("Place", Stop, LoopFact)
Reach = TypeVar("Reach", Kept, Backward)


def located(part: Any, starts: Starts) -> Any:
    """A tuple of whatever kind with every span in it told in the lines of its file."""
    if not isinstance(part, tuple):
        return part
    if len(part) == 4 and all(type(each) is int for each in part) and part[0] >= LINES:
        above = starts[part[0] // LINES]
        return part[0] % LINES + above, part[1], part[2] % LINES + above, part[3]
    return tuple(located(inner, starts) for inner in part)


def copy(fact: Fact) -> Fact:
    """A shallow copy, as `copy.copy` makes it, in a third of its time."""
    made: Fact = object.__new__(type(fact))
    for name in fact.__dataclass_fields__:
        setattr(made, name, getattr(fact, name))
    return made


class Locating:
    """Copies of facts; what several share, the copies share."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts
        self._made: dict[int, Any] = {}
        self._modes: dict[Mode, Mode] = {}

    def facts(self, facts: Facts) -> Facts:
        """Copies of facts that go on to live until this ends."""
        made = Facts([self._forward(forward) for forward in facts.forwards])
        made.lapses = [replace(lapse, span=self._at(lapse.span), steps=self._at(lapse.steps)) for lapse in facts.lapses]
        made.kept = [self._reaching(kept) for kept in facts.kept]
        made.backwards = [self._reaching(backward) for backward in facts.backwards]
        made.idle = [replace(idle, span=self._at(idle.span)) for idle in facts.idle]
        made.turned = [replace(turned, span=self._at(turned.span), loc=self._at(turned.loc)) for turned in facts.turned]
        return made

    def _at(self, part: Any) -> Any:
        return located(part, self._starts)

    def _forward(self, forward: Forward) -> Forward:
        made = self._made[id(forward)] = copy(forward)
        made.span, made.loc = self._at(forward.span), self._at(forward.loc)
        made.stops = tuple(self._placed(stop) for stop in forward.stops)
        made.loops = tuple(self._placed(loop) for loop in forward.loops)
        made.modes = frozenset(self._mode(mode) for mode in forward.modes)
        made.feeds = {self._at(loc) for loc in forward.feeds}
        made.own_switches = {self._at(span) for span in forward.own_switches}
        made.hushed = frozenset(self._at(hush) for hush in forward.hushed)
        made.follows = frozenset(self._at(place) for place in forward.follows)
        made.uses = set(forward.uses)
        return made

    def _reaching(self, fact: Reach) -> Reach:
        """A copy of what forwards flow into; they are among the facts themselves."""
        made = copy(fact)
        made.span = self._at(fact.span)
        made.forwards = [self._made[id(forward)] for forward in fact.forwards]
        if isinstance(made, Kept):
            made.loop = self._placed(made.loop)
        else:
            made.hushed = frozenset(self._at(hush) for hush in made.hushed)
        return made

    def _placed(self, fact: Place) -> Place:
        found: Place | None = self._made.get(id(fact))
        if found is None:
            found = self._made[id(fact)] = copy(fact)
            found.span = self._at(fact.span)
            if isinstance(found, Stop):
                found.span_of_function = self._at(found.span_of_function)
        return found

    def _mode(self, mode: Mode) -> Mode:
        found = self._modes.get(mode)
        if found is None:
            found = self._modes[mode] = replace(mode, where=self._at(mode.where))
        return found
