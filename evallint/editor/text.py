"""Texts as editors see them: lines count from 0, and in a line the units of an encoding count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Literal

Unit = Literal["utf-8", "utf-16", "utf-32"]
Position = tuple[int, int]
"""Line and unit in it, both from 0."""

_NEWLINE = re.compile(r"\r\n|\r|\n")


def width(text: str, unit: Unit) -> int:
    """The units of a text; half of a surrogate pair, which editors may send, is one of UTF-16."""
    if unit == "utf-32" or text.isascii():
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2 if unit == "utf-16" else len(text.encode("utf-8", "surrogatepass"))


def characters(line: str, units: int, unit: Unit) -> int:
    """How many characters of a line lie in its first `units`; a character that is cut counts as outside."""
    if unit == "utf-32" or line.isascii():
        return min(max(units, 0), len(line))
    seen = 0
    for number, character in enumerate(line):
        seen += width(character, unit)
        if seen > units:
            return number
    return len(line)


def position(lines: Sequence[str], line: int, column: int, unit: Unit) -> Position:
    """Where an editor has a 1-based line and column of characters; what is outside of the text is brought to its edge."""
    if line > len(lines):
        return max(len(lines) - 1, 0), width(lines[-1], unit) if lines else 0
    row = max(line, 1) - 1
    return row, width(lines[row][: max(column, 1) - 1], unit)


def column(lines: Sequence[str], at: Position, unit: Unit) -> tuple[int, int]:
    """The 1-based line and column of characters of an editor's position."""
    row, units = at
    if row >= len(lines):
        return max(len(lines), 1), len(lines[-1]) + 1 if lines else 1
    return row + 1, characters(lines[row], units, unit) + 1


def edited(text: str, start: Position, end: Position, new: str, unit: Unit) -> str:
    """A text with `new` in place of what lies between two positions; positions outside of it are brought to its edge."""
    first = _offset(text, start, unit)
    return text[:first] + new + text[max(_offset(text, end, unit), first) :]


def _offset(text: str, at: Position, unit: Unit) -> int:
    row, units = at
    begin = 0
    if row > 0:
        before = next(islice(_NEWLINE.finditer(text), row - 1, None), None)
        if before is None:
            return len(text)
        begin = before.end()
    after = _NEWLINE.search(text, begin)
    return begin + characters(text[begin : after.start() if after else len(text)], units, unit)
