"""Takes the protections of right code away, one region at a time, and asks whether the linter notices.

The changed text is linted under the name of the original, which is never written to. Some mutants are as right as before
(another line protects as well), so not every one can be noticed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from evallint.finding import Finding
from tests.corpus.labels import Region

ABOVE = 4
"""A decorator is looked for so many lines above the `def`."""
NEAR = 5
"""A finding may lie so many lines above the region's function (in its decorators, say)."""

_OBJECT = r"[\w.\[\]'\"]+"
_STATEMENT = rf"^(?P<indent>\s*)(?:[\w.]+\s*=\s*)?{_OBJECT}\."
_END = r"\s*(?:#.*)?$"
_GUARD = r"(?:torch\.)?(?:no_grad|inference_mode)\(\)"
_EVAL = re.compile(rf"{_STATEMENT}(?:eval\(\)|train\((?:mode\s*=\s*)?False\)){_END}")
_TRAIN = re.compile(rf"{_STATEMENT}train\((?:(?:mode\s*=\s*)?True)?\){_END}")
_WITH = re.compile(rf"^(?P<indent>\s*)with\s+{_GUARD}\s*:{_END}")
_DECORATOR = re.compile(rf"^(?P<indent>\s*)@{_GUARD}{_END}")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A region whose protection against one rule is taken away: new text for some lines of its file, by index."""

    code: str
    region: Region
    lines: dict[int, str]

    def applied_to(self, text: str) -> str:
        """The text with the lines replaced."""
        lines = text.split("\n")
        for index, line in self.lines.items():
            lines[index] = line
        return "\n".join(lines)

    def noticed_by(self, findings: Iterable[Finding]) -> bool:
        """Whether one of the findings of the changed file is the one that is due."""
        first, last = self.region.function_lines
        places = [each.place.line for each in findings if each.code == self.code]
        return bool(places) if self.code == "EVL003" else any(first - NEAR <= line <= last for line in places)


@dataclass(slots=True)
class Outcome:
    """What became of one rule's mutants."""

    possible: int
    made: int = 0
    survivors: list[Mutant] = field(default_factory=list)

    @property
    def noticed(self) -> int:
        """How many the linter noticed."""
        return self.made - len(self.survivors)


def mutants_of(region: Region, text: str) -> Iterator[Mutant]:
    """The mutants of one region, at most one a rule: where the label says ok, and why so can be seen near enough."""
    lines = text.split("\n")
    first, last = region.function_lines[0] - 1, min(region.function_lines[1], len(lines))
    function = range(first, last)
    if region.needs == "local" and region.verdicts["EVL001"] == "ok":
        yield from _mutant("EVL001", region, _replaced(_EVAL, "pass", lines, function))
    if region.needs == "local" and region.verdicts["EVL002"] == "ok":
        head = range(max(0, first - ABOVE), min(first + ABOVE, len(lines)))
        blanked = {index: "" for index in head if _DECORATOR.match(lines[index])}
        yield from _mutant("EVL002", region, _replaced(_WITH, "if True:", lines, function) | blanked)
    if region.needs in ("local", "file") and region.verdicts["EVL003"] == "ok":
        yield from _mutant("EVL003", region, _replaced(_TRAIN, "pass", lines, range(len(lines))))


def _mutant(code: str, region: Region, lines: dict[int, str]) -> Iterator[Mutant]:
    if lines:
        yield Mutant(code, region, lines)


def _replaced(pattern: re.Pattern[str], by: str, lines: list[str], where: range) -> dict[int, str]:
    matches = {index: pattern.match(lines[index]) for index in where}
    return {index: match["indent"] + by for index, match in matches.items() if match}


def read(path: Path) -> str:
    """A file's text; bytes that are not UTF-8 survive a round trip."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def mutate(
    regions: Iterable[Region], folder: Path, lint: Callable[[Path, bytes], list[Finding]], *, limit: int, seed: int
) -> dict[str, Outcome]:
    """Make up to `limit` mutants a rule, drawn at random, and lint each (the path, and the bytes in its place)."""
    pools: dict[str, list[Mutant]] = {}
    for region in regions:
        path = folder / region.file
        if path.suffix == ".py":
            for mutant in mutants_of(region, read(path)):
                pools.setdefault(mutant.code, []).append(mutant)
    outcomes = {}
    for code, pool in sorted(pools.items()):
        random.Random(seed).shuffle(pool)
        outcome = outcomes[code] = Outcome(possible=len(pool))
        for mutant in pool[:limit]:
            path = folder / mutant.region.file
            changed = mutant.applied_to(read(path)).encode("utf-8", "surrogateescape")
            outcome.made += 1
            if not mutant.noticed_by(lint(path, changed)):
                outcome.survivors.append(mutant)
    return outcomes
