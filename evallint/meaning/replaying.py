"""An analysis that takes no step again of which nothing has changed that it read: it puts back what the step left, last time.

A layer around the steps of `Program`: of what they do it knows nothing. A step is taken again unless every key that it met in the
tables that steps share has the value that it had then, and the program answers all that it asked as it did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from evallint.meaning.facts import Facts
from evallint.meaning.journal import Members, Question, Row, Table, Witness, answer
from evallint.meaning.locating import Locating, Starts
from evallint.meaning.machine import Thing
from evallint.meaning.program import Program
from evallint.meaning.project import Project

ACTS = 1 << 24
"""More activations than one step has: those of each step are counted from a number of its own, so that they are the same next time."""
PLAIN = (
    "parents module_acts act_owners hooks layer_cache empty_classes own_grad forward_methods asking _matters _guards owners_of_wrapped"
    " worlds class_worlds summaries"
).split()
"""The tables of which nobody changes a value once it is there."""
MEMBERS = ("visited", "chosen", "frozen_classes", "makers", "told")
Key = tuple[Any, ...]

_numbers = count(1)


@dataclass(slots=True)
class Step:
    """What a step has met, by table, what the program answered it, and the facts that it found."""

    number: int
    rows: dict[str, list[Row]] = field(default_factory=dict)
    answers: dict[Question, Any] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)


@dataclass(slots=True)
class Steps:
    """The steps that the last analysis of a program took."""

    taken: dict[Key, Step] = field(default_factory=dict)


class Replaying(Program):
    """Takes the steps that something has changed for; of the others it puts back what they left. `starts` tell facts' places."""

    project: Any

    def __init__(self, project: Project, steps: Steps, starts: Starts) -> None:
        super().__init__(project)
        self._steps, self._before, self._starts = steps, steps.taken, starts
        steps.taken = {}
        self._program = project
        self._answers: dict[Question, Any] = {}
        tables = {name: Table() for name in PLAIN}
        tables |= {
            "things": Table(Thing.copy),
            "children": Table(set),
            "given": Table(set),
            "decorations": Table(list),
            "on_exit": Table(list),
        }
        self._shared = (*tables, *MEMBERS)
        for name, table in tables.items():
            setattr(self, name, table)
        for name in MEMBERS:
            setattr(self, name, Members())

    def survey(self) -> Facts:
        return Locating(self._starts).facts(super().survey())

    def perform(self, key: Key, step: Callable[[], None]) -> None:
        key = (*key, self.may_fork, self.offered, self.midway, *self.unsure)
        while key in self._steps.taken:  # taken twice
            key = (*key, None)
        known = self._before.pop(key, None)
        if known is None or not self._holds(known):
            known = self._noted(known.number if known is not None else next(_numbers), step)
        else:
            for name, rows in known.rows.items():
                getattr(self, name).put_back(rows)
        self._steps.taken[key] = known
        self.facts.take(Locating(self._starts).facts(known.facts))

    def _holds(self, known: Step) -> bool:
        """Whether a step would meet what it met."""
        for name, rows in known.rows.items():
            if not getattr(self, name).holds(rows):
                return False
        for question, said in known.answers.items():
            if question not in self._answers:
                self._answers[question] = answer(self._program, question)
            if self._answers[question] != said:
                return False
        return True

    def _noted(self, number: int, step: Callable[[], None]) -> Step:
        """Take a step, and note what it does."""
        known = Step(number)
        for name in self._shared:
            getattr(self, name).met.clear()
        before, self.facts = self.facts, known.facts
        self.acts = number * ACTS
        self.project = witness = Witness(self._program)
        try:
            step()
        finally:
            self.project, self.facts = self._program, before
        known.rows = {name: rows for name in self._shared if (rows := list(getattr(self, name).rows()))}
        known.answers = witness.answers
        return known
