"""Which findings a diff brought, and where in it each can be told."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from evallint.changes.anchoring import At, FunctionsOf, anchor, loses, shown
from evallint.changes.diff import DoesNotFit
from evallint.changes.functions import Function, function_at, functions
from evallint.changes.placing import Diff
from evallint.finding import SEVERITIES, Finding, Place
from evallint.fingerprints import content, essence
from evallint.gathering import Past
from evallint.linting import Report
from evallint.source.noqa import split_lines
from evallint.source.notebook import SUFFIX
from evallint.source.reading import UNREADABLE, Unreadable, decode, read_bytes


@dataclass(frozen=True, slots=True)
class _Seen:
    """A finding as a diff sees it: where it is, what it is told apart by wherever it is, and what the lines of its trail say."""

    finding: Finding
    at: At
    says: tuple[str, ...]
    lines: Mapping[At, str]

    @property
    def function(self) -> str:
        """The last name of its function."""
        return self.finding.function.rpartition(".")[2]


def brought(report: Report, diff: Diff, paths: Sequence[str], lint: Callable[[Past], Report]) -> tuple[Report, bool]:
    """What of a report on `paths` the diff brought, with anchors: what was not found before, and what has an edited line in its trail.

    `lint` lints the program as it was. If the diff does not lead to the files on the disk (the second value is then False), it is
    whatever has an added line in its trail, or lost a line in a function that its trail goes through.
    """
    now = _seen(report)
    functions_now = _functions_of(Past({}))
    if not now or not diff.files:
        return replace(report, findings=[], anchors=[]), True
    try:
        past = diff.past(paths)
    except DoesNotFit:
        kept = [one for one in now if any(diff.adds(*at) for at in one.lines) or loses(list(one.lines), diff, functions_now)]
        return _anchored(report, kept, diff, functions_now), False
    known = _known(now, _seen(lint(past)), diff, functions_now, _functions_of(past))
    kept = [one for number, one in enumerate(now) if number not in known or _edited(one, known[number], diff)]
    return _anchored(report, kept, diff, functions_now), True


def _anchored(report: Report, kept: Sequence[_Seen], diff: Diff, functions_of: FunctionsOf) -> Report:
    anchors = [anchor(one.at, list(one.lines), diff, functions_of) for one in kept]
    found = {}
    for path in {one.finding.place.path for one in kept}:
        book = report.notebooks.get(path)
        text = book.raw if book is not None else report.texts.get(path, "")
        found[path] = shown(os.path.realpath(path), diff, len(split_lines(text.removesuffix("\n"))))
    return replace(
        report, findings=[one.finding for one in kept], anchors=anchors, shown={path: one for path, one in found.items() if one is not None}
    )


# Findings


def _seen(report: Report) -> list[_Seen]:
    lines = {path: split_lines(text) for path, text in report.texts.items()}
    real = cache(os.path.realpath)

    def touched(place: Place) -> Iterator[tuple[At, str]]:
        text, book = lines.get(place.path, []), report.notebooks.get(place.path)
        last = place.end_line if place.end_column > 1 else place.end_line - 1
        for line in range(place.line, max(place.line, last) + 1):
            there = line if book is None else book.in_file(replace(place, line=line, column=1, end_line=line, end_column=1)).line
            yield (real(place.path), there), essence(text[line - 1]) if line <= len(text) else ""

    found = []
    for finding in report.findings:
        own = list(touched(finding.place))
        trail = [row for step in finding.trail for row in touched(step.place)]
        found.append(_Seen(finding, own[0][0], content(finding, lines.get(finding.place.path, [])), dict([*own, *trail])))
    return found


def _known(
    now: Sequence[_Seen], old: Sequence[_Seen], diff: Diff, functions_now: FunctionsOf, functions_old: FunctionsOf
) -> dict[int, _Seen]:
    """For each finding of now (by its number) that was there before, what it was: one at the same line, or else one that moved."""
    known: dict[int, _Seen] = {}
    taken: set[int] = set()
    stayed: dict[At, list[int]] = defaultdict(list)
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, was in enumerate(old):
        alike[was.says].append(number)
        there = diff.now(*was.at)
        if there is not None:
            stayed[there].append(number)

    def take(number: int, candidates: Sequence[int]) -> None:
        one = now[number]
        free = [n for n in candidates if n not in taken and old[n].finding.code == one.finding.code and not _graver(one, old[n])]
        if free:
            best = min(free, key=lambda n: (old[n].at[0] != one.at[0], old[n].function != one.function))
            known[number] = old[best]
            taken.add(best)

    # a file that the diff left broken is told of, however it was before
    rows = [(n, one) for n, one in enumerate(now) if not (one.finding.code == UNREADABLE[0] and one.at[0] in diff.by_new)]
    for number, one in rows:
        take(number, [n for n in stayed[one.at] if old[n].finding.model == one.finding.model])
    for number, one in rows:
        if number not in known and _moved(one, diff.before(*one.at), functions_old):
            take(number, [n for n in alike[one.says] if _moved(old[n], diff.now(*old[n].at), functions_now)])
    return known


def _graver(one: _Seen, was: _Seen) -> bool:
    """Whether a finding weighs more than it did: a note that became a warning is news."""
    return SEVERITIES.index(one.finding.severity) > SEVERITIES.index(was.finding.severity)


def _moved(one: _Seen, there: At | None, functions_of: FunctionsOf) -> bool:
    """Whether the line of a finding is no line of its function on the other side of the diff, where it would be at `there`."""
    if there is None:
        return True
    if there[0].endswith(SUFFIX):
        return False  # whose functions are not looked for
    function = function_at(functions_of(there[0]), there[1])
    return (function.name if function is not None else "") != one.function


def _edited(one: _Seen, was: _Seen, diff: Diff) -> bool:
    """Whether a line of a finding's trail was edited, and not only moved or indented."""
    before = set(was.lines.values())
    return any(diff.adds(*at) and says not in before for at, says in one.lines.items())


# Texts


def _functions_of(past: Past) -> FunctionsOf:
    """The functions of a file (by its real path), as they were in the past."""
    texts = {os.path.realpath(text.path): text.encoded for text in (*past.was.values(), *past.gone) if text is not None}

    @cache
    def functions_of(path: str) -> tuple[Function, ...]:
        try:
            return functions(decode(texts[path] if path in texts else read_bytes(path)))
        except Unreadable:
            return ()

    return functions_of
