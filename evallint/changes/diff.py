"""Unified diffs as plain values, and the text of a file before one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+$")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_PREFIX = re.compile(rb"^[abciow12]/")
"""The prefixes that git gives."""
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)")
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_HEADER = re.compile(
    rb"(old mode|new mode|deleted file mode|new file mode|copy from|copy to|rename from|rename to|similarity index|dissimilarity index"
    rb"|index|Binary files|GIT binary patch)(?: (.*)|$)"
)
_BINARY = frozenset((b"Binary files", b"GIT binary patch"))
_LINK = b"120000"
_MODES = (b"index", b"new file mode", b"deleted file mode", b"old mode", b"new mode")
_NOTHING = b"/dev/null"
_COLOUR = b"\x1b["


class DiffError(Exception):
    """A diff that cannot be had or read; the message is fit to show."""


class DoesNotFit(Exception):
    """A text is not the one that a diff leads to."""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that follow each other and were replaced: where they were, where they are (1-based), and what they said and say, as bytes.

    Where there are no lines on one side, its number is that of the line before which they would be.
    """

    old: int
    removed: tuple[bytes, ...]
    new: int
    added: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FileChange:
    """What a diff does to one file: its paths before and after (None: there was or is none), as the diff names them, and its blocks."""

    old: str | None
    new: str | None
    blocks: tuple[Block, ...] = ()
    readable: bool = True
    """False for binary files, links and the like, of which the diff does not say what they hold."""
    context: tuple[tuple[int, bytes], ...] = field(default=(), compare=False, repr=False)
    """Lines around the blocks, by their numbers now."""

    def adds(self, line: int) -> bool:
        """Whether the diff adds this line of the file as it is now."""
        return any(block.new <= line < block.new + len(block.added) for block in self.blocks)

    def now(self, line: int) -> int | None:
        """Where a line that was there before is now; None if the diff removes it."""
        shift = 0
        for block in self.blocks:
            if line < block.old:
                break
            if line < block.old + len(block.removed):
                return None
            shift += len(block.added) - len(block.removed)
        return line + shift

    def before(self, line: int) -> int | None:
        """Where a line that is there now was before; None if the diff adds it."""
        return FileChange(self.new, self.old, tuple(Block(b.new, b.added, b.old, b.removed) for b in self.blocks)).now(line)

    def text_before(self, text: bytes) -> bytes:
        """The file as it was before the diff, given what it is now. Raises DoesNotFit. Line ends may be other ones than the diff's."""
        lines = _LINE.findall(text)
        kept: list[bytes] = []
        if any(number > len(lines) or not _alike(lines[number - 1], line) for number, line in self.context):
            raise DoesNotFit
        at = 0
        for block in self.blocks:
            start, end = block.new - 1, block.new - 1 + len(block.added)
            if start > len(lines) or len(lines[start:end]) < len(block.added) or not all(map(_alike, lines[start:end], block.added)):
                raise DoesNotFit
            kept += [*lines[at:start], *block.removed]
            at = end
        return b"".join([*kept, *lines[at:]])


def _alike(one: bytes, other: bytes) -> bool:
    """Whether two lines are the same but for their ends."""
    return one.rstrip(b"\r\n") == other.rstrip(b"\r\n")


def parse(data: bytes) -> list[FileChange]:
    """The files of a unified diff, as git and others write it. Raises DiffError on anything else; an empty one changes nothing."""
    reader = _Reader(data.split(b"\n"))
    found = list(reader.files())
    if not found and data.strip():
        hint = "; take colours off it (--no-color)" if _COLOUR in data else ""
        raise DiffError(f"it is not a unified diff{hint}")
    return found


class _Reader:
    """A diff's lines, and how far they are read."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.lines = lines
        self.at = 0
        self.context: list[tuple[int, bytes]] = []

    def files(self) -> Iterator[FileChange]:
        """Every file; what stands between them (messages of commits) is passed over."""
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.startswith((b"diff --cc ", b"diff --combined ")):
                raise DiffError("it is a combined diff of a merge; compare with one parent (git diff BASE...HEAD)")
            if line.startswith(b"diff --git "):
                yield self._git_file()
            elif self._names_follow():
                yield self._file({})
            else:
                self.at += 1

    def _names_follow(self) -> bool:
        return (
            self.lines[self.at].startswith(b"--- ")
            and self.at + 1 < len(self.lines)
            and self.lines[self.at + 1].startswith(b"+++ ")
            and self.at + 2 < len(self.lines)
            and self.lines[self.at + 2].startswith(b"@@ ")
        )

    def _git_file(self) -> FileChange:
        """A file with the extended header that git writes."""
        about = {b"git": self.lines[self.at].removeprefix(b"diff --git ").rstrip(b"\r")}
        self.at += 1
        while self.at < len(self.lines) and (row := _HEADER.match(self.lines[self.at].rstrip(b"\r"))):
            about[row[1]] = row[2]
            self.at += 1
        return self._file(about)

    def _file(self, about: dict[bytes, bytes]) -> FileChange:
        old, new = _git_names(about) if about else (b"", b"")
        blocks: tuple[Block, ...] = ()
        if self.at < len(self.lines) and self._names_follow():
            names = [_name(line[4:]) for line in self.lines[self.at : self.at + 2]]
            self.at += 2
            if not (old or new):
                old, new = _plain_names(*names)
            old, new = (b"" if name == _NOTHING else known for name, known in zip(names, (old, new), strict=True))
            self.context = []
            blocks = tuple(self._hunks())
        if b"new file mode" in about or b"copy from" in about:
            old = b""
        if b"deleted file mode" in about:
            new = b""
        modes = [about.get(key, b"").rpartition(b" ")[2] for key in _MODES]
        readable = about.keys().isdisjoint(_BINARY) and _LINK not in modes
        return FileChange(
            os.fsdecode(old) if old else None, os.fsdecode(new) if new else None, blocks, readable, tuple(self.context if blocks else ())
        )

    def _hunks(self) -> Iterator[Block]:
        while self.at < len(self.lines) and (head := _HUNK.match(self.lines[self.at])):
            left, right = (int(head[n]) if head[n] is not None else 1 for n in (2, 4))
            self.at += 1
            # where a side has no lines, the diff names the line after which they would be
            yield from self._hunk(int(head[1]) + (left == 0), left, int(head[3]) + (right == 0), right)

    def _hunk(self, old: int, left: int, new: int, right: int) -> Iterator[Block]:
        removed: list[bytes] = []
        added: list[bytes] = []

        def block() -> Iterator[Block]:
            if removed or added:
                yield Block(old - len(removed), tuple(removed), new - len(added), tuple(added))
                removed.clear()
                added.clear()

        last = added
        while left > 0 or right > 0 or self._at_mark():
            if self.at >= len(self.lines):
                raise DiffError("it ends inside a hunk")
            line = self.lines[self.at]
            sign, text = line[:1], line[1:] + b"\n"
            if sign == b"\\":
                if last:
                    last[-1] = last[-1][:-1]  # "\ No newline at end of file"
            elif sign == b"-":
                if added:
                    yield from block()
                removed.append(text)
                old, left, last = old + 1, left - 1, removed
            elif sign == b"+":
                added.append(text)
                new, right, last = new + 1, right - 1, added
            elif sign in (b" ", b"", b"\r"):  # some take the blank off an empty line
                yield from block()
                self.context.append((new, text))
                old, new, left, right, last = old + 1, new + 1, left - 1, right - 1, added
            else:
                raise DiffError(f"line {self.at + 1} belongs to no hunk")
            self.at += 1
        if left or right:
            raise DiffError(f"the hunk before line {self.at + 1} has more lines than it says")
        yield from block()

    def _at_mark(self) -> bool:
        return self.at < len(self.lines) and self.lines[self.at].startswith(b"\\ ")


# Names


def _name(text: bytes) -> bytes:
    """A name of a `---` or `+++` line, without the time that may follow it."""
    text = text.rstrip(b"\r")
    quoted = _QUOTED.match(text)
    return _unquoted(quoted[1]) if quoted else text.split(b"\t")[0]


def _unquoted(text: bytes) -> bytes:
    """A name as C would read it."""

    def character(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8) & 255]) if code.isdigit() else _LETTERS.get(code, code)

    return _ESCAPE.sub(character, text)


def _git_names(about: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """Both names of a file of git's: those that the header tells without a prefix, or else of its first line."""
    for verb in (b"rename", b"copy"):
        if verb + b" from" in about and verb + b" to" in about:
            return _name(about[verb + b" from"]), _name(about[verb + b" to"])
    line = about[b"git"]
    quoted = _QUOTED.match(line)
    if quoted:
        return _plain_names(_unquoted(quoted[1]), _name(line[quoted.end() + 1 :]))
    for at in (match.start() for match in re.finditer(rb" ", line)):
        old, new = line[:at], _name(line[at + 1 :])
        if old == new or old.partition(b"/")[2] == new.partition(b"/")[2] != b"":
            return _plain_names(old, new)
    return b"", b""


def _plain_names(old: bytes, new: bytes) -> tuple[bytes, bytes]:
    """Both names without the first folder, if that alone tells them apart (`a/` and `b/`)."""
    if _NOTHING in (old, new):
        return _PREFIX.sub(b"", old), _PREFIX.sub(b"", new)
    if old != new and old.partition(b"/")[2] == new.partition(b"/")[2] != b"":
        return old.partition(b"/")[2], new.partition(b"/")[2]
    return old, new
