"""Edits: what tells two texts apart, and a text with edits made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

from evallint.finding import Edit

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def lines_of(text: str) -> list[str]:
    """The lines of a text as Python counts them, with their ends."""
    return _LINE.findall(text)


def edits_between(before: str, after: str) -> tuple[Edit, ...]:
    """The edits of whole lines that make `after` of `before`."""
    old, new = lines_of(before), lines_of(after)
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    middle, changed = old[first : len(old) - last], new[first : len(new) - last]
    found = []
    for what, i, j, k, m in SequenceMatcher(None, middle, changed, autojunk=False).get_opcodes():
        if what != "equal":
            found.append(Edit(*_start(first + i, old), *_start(first + j, old), "".join(changed[k:m])))
    return tuple(found)


def _start(index: int, lines: list[str]) -> tuple[int, int]:
    """Where a line begins; after the last one, where the text ends."""
    if index == len(lines) and lines and not lines[-1].endswith(("\r", "\n")):
        return index, len(lines[-1]) + 1
    return index + 1, 1


def with_edits(text: str, edits: Iterable[Edit]) -> str:
    """`text` with `edits`, which do not overlap, made."""
    starts = [0]
    for line in lines_of(text):
        starts.append(starts[-1] + len(line))
    pieces, done = [], 0
    for edit in sorted(edits, key=lambda e: (e.start_line, e.start_column, e.end_line, e.end_column)):
        pieces += [text[done : starts[edit.start_line - 1] + edit.start_column - 1], edit.text]
        done = starts[edit.end_line - 1] + edit.end_column - 1
    return "".join((*pieces, text[done:]))


def extent(edits: Iterable[Edit]) -> tuple[int, int]:
    """The first and the last line that edits touch."""
    rows = list(edits)
    return min(e.start_line for e in rows), max(e.end_line for e in rows)
