"""How findings are scored against marks: places of the other rules, where a rule should speak or should not.

Plain values in, plain values out: nothing is read or run here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.corpus.labels import Mark
from tests.corpus.scoring import Said, Tally, share

NEAR = 1
"""A finding may stand so many lines off."""
EVL203 = "EVL203"
"""Several lines make a collection, and the rule may speak at any of them."""

_HEAD = f"{'rule':8}{'bugs':>6}{'found':>7}{'recall':>8}{'right':>7}{'reported':>10}   by function: bugs, found, recall"


class MarkTally(Tally[Mark]):
    """What one rule said of its marks."""

    __slots__ = ()

    @property
    def functions(self) -> dict[tuple[str, str], bool]:
        """The functions (file and name) that have bugs, and whether all of those are reported."""
        whole = {(each.file, each.function): True for each in self.right}
        return whole | {(each.file, each.function): False for each in self.missed}


def tells(said: Said, mark: Mark) -> bool:
    """Whether a finding speaks of a mark: on its lines or next to them.

    For EVL203 a bug may be told anywhere in its function, and a right place on its own lines alone.
    """
    if (said.file, said.code) != (mark.file, mark.code):
        return False
    if mark.code == EVL203 and mark.is_bug and said.function == mark.function:
        return True
    first, last = mark.lines
    near = 0 if mark.code == EVL203 and not mark.is_bug else NEAR
    return first - near <= said.line <= last + near


def score(marks: Sequence[Mark], findings: Iterable[Said]) -> dict[str, MarkTally]:
    """The tally of each rule that has marks, by its code."""
    by_place: dict[tuple[str, str], list[Said]] = defaultdict(list)
    for said in findings:
        by_place[said.file, said.code].append(said)
    tallies = {code: MarkTally(code) for code in sorted({each.code for each in marks})}
    for each in marks:
        is_told = any(tells(said, each) for said in by_place[each.file, each.code])
        tallies[each.code].count(each, is_wrong=each.is_bug, is_reported=is_told)
    return tallies


def table(tallies: Mapping[str, MarkTally]) -> Iterator[str]:
    """The figures, one line a rule."""
    yield _HEAD
    for code, tally in sorted(tallies.items()):
        bugs, right = len(tally.right) + len(tally.missed), len(tally.false) + len(tally.quiet)
        whole = list(tally.functions.values())
        by_function = f"{len(whole):17}{sum(whole):7}{share(sum(whole), len(whole)):8.3f}"
        yield f"{code:8}{bugs:6}{len(tally.right):7}{tally.recall:8.3f}{right:7}{len(tally.false):10}   {by_function}"


def details(tally: MarkTally, root: Path) -> Iterator[str]:
    """Every right place that is reported, and every missed bug."""
    for word, marks in (("FP", tally.false), ("FN", tally.missed)):
        for each in marks:
            yield f"    {word} {each.code} {root / each.subfolder / each.file}:{each.lines[0]} [{each.function}] {each.id}: {each.why}"
