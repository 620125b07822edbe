"""The lines of the files that a report tells of, and positions in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evallint.source.noqa import split_lines


def lines_of(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """The lines of each file."""
    return {path: split_lines(text) for path, text in texts.items()}


def utf8_column(lines: Sequence[str], line: int, column: int) -> int:
    """A column that counts characters as one that counts bytes of UTF-8 (both 1-based); as it is where the line is not known."""
    if not 0 < line <= len(lines):
        return column
    before = lines[line - 1][: column - 1]
    return column + len(before.encode("utf-8", "surrogatepass")) - len(before)
