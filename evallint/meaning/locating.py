"""Facts whose places are told in the lines of pieces of files, told in the lines of the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

from evallint.events import LINES
from evallint.meaning.facts import Forward, Lapse, LoopFact, Stop
from evallint.meaning.values import Mode

Starts = Mapping[int, int]
"""For the number of a piece, how many lines of its file are above it."""
Fact = TypeVar("Fact", Stop, LoopFact)


def located(part: Any, starts: Starts) -> Any:
    """A tuple of whatever kind with every span in it told in the lines of its file."""
    if not isinstance(part, tuple):
        return part
    if len(part) == 4 and all(type(each) is int for each in part) and part[0] >= LINES:
        above = starts[part[0] // LINES]
        return part[0] % LINES + above, part[1], part[2] % LINES + above, part[3]
    return tuple(located(inner, starts) for inner in part)


class Locating:
    """Copies of facts; what several share, the copies share."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts
        self._made: dict[int, Any] = {}
        self._modes: dict[Mode, Mode] = {}

    def forwards(self, forwards: Sequence[Forward]) -> list[Forward]:
        """Copies of forwards that go on to live until this ends."""
        return [self._forward(forward) for forward in forwards]

    def lapses(self, lapses: Sequence[Lapse]) -> list[Lapse]:
        """Copies of lapses."""
        return [replace(lapse, span=located(lapse.span, self._starts), steps=located(lapse.steps, self._starts)) for lapse in lapses]

    def _forward(self, forward: Forward) -> Forward:
        made = copy(forward)
        made.span, made.loc = located(forward.span, self._starts), located(forward.loc, self._starts)
        made.stops = tuple(self._placed(stop) for stop in forward.stops)
        made.loops = tuple(self._placed(loop) for loop in forward.loops)
        made.modes = frozenset(self._mode(mode) for mode in forward.modes)
        made.feeds = {located(loc, self._starts) for loc in forward.feeds}
        made.own_switches = {located(span, self._starts) for span in forward.own_switches}
        made.uses = set(forward.uses)
        return made

    def _placed(self, fact: Fact) -> Fact:
        found: Fact | None = self._made.get(id(fact))
        if found is None:
            found = self._made[id(fact)] = copy(fact)
            found.span = located(fact.span, self._starts)
            if isinstance(found, Stop):
                found.span_of_function = located(found.span_of_function, self._starts)
        return found

    def _mode(self, mode: Mode) -> Mode:
        found = self._modes.get(mode)
        if found is None:
            found = self._modes[mode] = replace(mode, where=located(mode.where, self._starts))
        return found
