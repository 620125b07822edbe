"""How findings are scored against labels. Plain values in, plain values out: nothing is read or run here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic

from tests.corpus.labels import VERDICTS, AnyLabel, Lines, Region

EVL003 = "EVL003"


@dataclass(frozen=True, slots=True)
class Said:
    """What the linter said: a finding, as far as scoring needs it."""

    file: str
    """As `Region.file`."""
    line: int
    code: str
    message: str = ""
    function: str = ""
    """The qualified name of the function it stands in, where that is known."""


@dataclass(slots=True)
class Tally(Generic[AnyLabel]):
    """What one rule said of some labels, each of which is counted once, however many findings it has."""

    code: str
    right: list[AnyLabel] = field(default_factory=list)
    """Labelled wrong, and reported."""
    false: list[AnyLabel] = field(default_factory=list)
    """Reported, and labelled otherwise."""
    missed: list[AnyLabel] = field(default_factory=list)
    """Labelled wrong, and not reported."""
    quiet: list[AnyLabel] = field(default_factory=list)
    """Neither."""

    @property
    def recall(self) -> float:
        """The share of the wrong labels that is reported."""
        return share(len(self.right), len(self.right) + len(self.missed))

    def count(self, label: AnyLabel, *, is_wrong: bool, is_reported: bool) -> None:
        """Count a label."""
        if is_wrong:
            (self.right if is_reported else self.missed).append(label)
        else:
            (self.false if is_reported else self.quiet).append(label)


@dataclass(slots=True)
class Score(Tally[Region]):
    """The tally of one rule over one set of regions."""

    unlabelled: list[Said] = field(default_factory=list)
    """Findings of labelled files on no labelled region: neither right nor wrong until somebody reads them."""
    at: dict[str, int] = field(default_factory=dict)
    """The line of the last finding on a region, by the region's id."""

    @property
    def precision(self) -> float:
        """The share of the reported regions that is right."""
        return share(len(self.right), len(self.right) + len(self.false))

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return share(2 * self.precision * self.recall, self.precision + self.recall)

    @property
    def missed_by_needs(self) -> dict[str, int]:
        """How many were missed, by how far one must look to see them: the function, the file, the project."""
        return dict(Counter(each.needs for each in self.missed))

    def reaches(self, precision: float, recall: float) -> bool:
        """Whether both figures are at least so much."""
        return self.precision >= precision and self.recall >= recall


def share(part: float, whole: float) -> float:
    """The part of the whole; 0 of nothing."""
    return part / whole if whole else 0.0


def region_of(said: Said, regions: Sequence[Region]) -> Region | None:
    """The region that a finding speaks of, among those of its file.

    For EVL003 the first that lists the line in `train_after_lines`; then the innermost region around the line; then the
    innermost function around it (of several regions in that function, the one that starts nearest); else None.
    """
    if said.code == EVL003:
        for each in regions:
            if any(_holds(lines, said.line) for lines in each.train_after_lines):
                return each
    inside = [each for each in regions if _holds(each.lines, said.line)]
    if inside:
        return min(inside, key=lambda each: _length(each.lines))
    around = [each for each in regions if _holds(each.function_lines, said.line)]
    return min(around, key=lambda each: (_length(each.function_lines), abs(each.lines[0] - said.line)), default=None)


def _holds(lines: Lines, line: int) -> bool:
    return lines[0] <= line <= lines[1]


def _length(lines: Lines) -> int:
    return lines[1] - lines[0]


def score(regions: Sequence[Region], findings: Iterable[Said]) -> dict[str, Score]:
    """The score of each rule, by its code. Findings of other rules and of files without labels are left out."""
    by_file: dict[str, list[Region]] = defaultdict(list)
    for each in regions:
        by_file[each.file].append(each)
    scores = {code: Score(code) for code in VERDICTS}
    for said in findings:
        if said.code not in scores or said.file not in by_file:
            continue
        found = region_of(said, by_file[said.file])
        if found is None:
            scores[said.code].unlabelled.append(said)
        else:
            scores[said.code].at[found.id] = said.line
    for code, tally in scores.items():
        for each in regions:
            tally.count(each, is_wrong=each.verdicts[code] == "missing", is_reported=each.id in tally.at)
    return scores


def together(scores: Iterable[dict[str, Score]]) -> dict[str, Score]:
    """The scores of several label files as one."""
    whole = {code: Score(code) for code in VERDICTS}
    for part in scores:
        for code, tally in part.items():
            into = whole[code]
            into.right += tally.right
            into.false += tally.false
            into.missed += tally.missed
            into.quiet += tally.quiet
            into.unlabelled += tally.unlabelled
            into.at |= tally.at
    return whole
