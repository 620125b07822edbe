"""A diff put onto the files on the disk: which file is which, where a line was and is, and what the program was before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from evallint.changes.diff import FileChange
from evallint.gathering import Past, Text
from evallint.source.reading import Unreadable, read_bytes
from evallint.source.walking import SUFFIXES


@dataclass(frozen=True)
class Diff:
    """Changes of files; the names in them are relative to `root`, an absolute folder with links resolved."""

    root: str
    files: tuple[FileChange, ...]

    @cached_property
    def by_new(self) -> dict[str, FileChange]:
        """The changes by the real path that the file has now."""
        return {self.real(change.new): change for change in self.files if change.new is not None}

    @cached_property
    def by_old(self) -> dict[str, FileChange]:
        """The changes by the real path that the file had."""
        return {self.real(change.old): change for change in self.files if change.old is not None}

    def real(self, name: str) -> str:
        """The real path of a file that the diff names."""
        return os.path.realpath(os.path.join(self.root, name))

    def now(self, path: str, line: int) -> tuple[str, int] | None:
        """Where a line is now (real path, 1-based line); None if the diff removes it."""
        change = self.by_old.get(path)
        if change is None:
            return path, line
        there = change.now(line)
        return None if there is None or change.new is None else (self.real(change.new), there)

    def before(self, path: str, line: int) -> tuple[str, int] | None:
        """Where a line was; None if the diff adds it."""
        change = self.by_new.get(path)
        if change is None:
            return path, line
        there = change.before(line)
        return None if there is None or change.old is None else (self.real(change.old), there)

    def adds(self, path: str, line: int) -> bool:
        """Whether the diff adds this line of the file that has this real path now."""
        return path in self.by_new and self.by_new[path].adds(line)

    def past(self, given: Sequence[str]) -> Past:
        """The program before, its files named as in `given`. Raises DoesNotFit if the diff does not lead to the files on the disk."""
        was: dict[str, Text | None] = {}
        gone: list[Text] = []
        for change in self.files:
            if not change.readable:
                continue
            old = "" if change.old is None else _written(self.real(change.old), given)
            real = None if change.new is None else self.real(change.new)
            text = change.text_before(b"" if real is None else _read(real))
            if real is None:
                gone.append(Text(old, text))
            else:
                was[real] = Text(old, text) if old else None
        return Past(was, gone)


def placed(files: Iterable[FileChange], folders: Sequence[str], given: Sequence[str]) -> Diff:
    """The changes of Python files and of those in `given`, seen from that one of `folders` in which most of their names lead to a file."""
    named = {os.path.realpath(path) for path in given}
    rows = tuple(files)

    def hits(folder: str) -> int:
        return sum(change.new is not None and os.path.isfile(os.path.join(folder, change.new)) for change in rows)

    root = max(folders, key=hits)
    kept = [
        change
        for change in rows
        if any(
            name and (name.endswith(SUFFIXES) or os.path.realpath(os.path.join(root, name)) in named) for name in (change.old, change.new)
        )
    ]
    return Diff(os.path.realpath(root), tuple(kept))


def _read(path: str) -> bytes:
    try:
        return read_bytes(path)
    except Unreadable:
        return b""  # then the diff does not fit, unless it empties the file


def _written(path: str, given: Sequence[str]) -> str:
    """A real path as the walk of the given paths would write it."""
    for one in given:
        real = os.path.realpath(one)
        if path == real:
            return one
        if path.startswith(real.rstrip(os.sep) + os.sep):
            inside = os.path.relpath(path, real)
            return inside if one in (".", "./") else os.path.join(one, inside)
    return os.path.relpath(path)
