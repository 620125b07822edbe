"""Code frames: a source line with what is around it and an underline."""

from __future__ import annotations

from evallint.finding import Place
from evallint.report.style import Style, cells, width


def frame(place: Place, text: list[str], gutter: int, style: Style, underline: str, context: int = 0) -> list[str]:
    """The line of a place, with `context` lines that are not blank before it, and its underline."""
    rows = []
    for number in range(max(1, place.line - context), place.line + 1):
        if number == place.line or text[number - 1].strip():
            rows.append(f"{style.dim(f'{number:>{gutter}} |')} {cells(text[number - 1])}")
    before = width(text[place.line - 1][: place.column - 1])
    rows.append(f"{style.dim(' ' * gutter + ' |')} {' ' * before}{underline}")
    return rows


def span(place: Place, text: list[str]) -> int:
    """How many cells of its first line a place covers, at least one."""
    line = text[place.line - 1]
    end = place.end_column - 1 if place.end_line == place.line else len(line.rstrip())
    return max(1, width(line[place.column - 1 : end]))
