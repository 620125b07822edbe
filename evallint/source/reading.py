"""Bytes to text, as Python itself would decode a source file, and never a crash."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from evallint.finding import Finding, Place

UNREADABLE = ("EVL900", "unreadable-file")
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_WRITTEN_IN_UTF8 = frozenset(("future_fstrings", "future-fstrings"))
"""Codecs that rewrite syntax which every supported Python reads by itself."""
_LINE_END = re.compile(rb"\r\n|\r|\n")
_CODING = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BLANK = re.compile(rb"[ \t\f]*(?:#|$)")


class Unreadable(Exception):
    """A file whose text cannot be had: the reason, and the 1-based line and column where it shows."""

    def __init__(self, reason: str, line: int = 1, column: int = 1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column

    def finding(self, path: str) -> Finding:
        """The EVL900 that says so."""
        return unreadable(path, self.reason, self.line, self.column)


def unreadable(path: str, reason: str, line: int = 1, column: int = 1) -> Finding:
    """An EVL900 finding at a 1-based line and column of `path`."""
    code, name = UNREADABLE
    return Finding(Place(path, line, column, line, column + 1), code, name, reason, "high", "error")


def read_bytes(path: str) -> bytes:
    """The bytes of a file. Raises Unreadable."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreadable(f"cannot read the file: {reason}") from None


def decode(data: bytes) -> str:
    """The text of a Python file: byte-order mark dropped, coding line (PEP 263) obeyed, line ends kept. Raises Unreadable."""
    for mark, encoding in _OTHER_MARKS:
        if data.startswith(mark):
            raise Unreadable(f"cannot decode the file: it is {encoding}, which Python does not read; save it as UTF-8")
    nul = data.find(b"\0")
    if nul >= 0:
        raise Unreadable("cannot decode the file: it contains a zero byte", *_position(data, nul))
    marked = data.startswith(codecs.BOM_UTF8)
    named = _coding_line(data)
    if marked and named and not _is_utf8(named):
        raise Unreadable(f"cannot decode the file: its byte-order mark says UTF-8, its coding line says {named}")
    try:
        return data.decode("utf-8-sig" if marked else named or "utf-8")
    except UnicodeDecodeError as error:
        # utf-8-sig reports positions after the mark
        at = error.start + (len(codecs.BOM_UTF8) if marked else 0)
        if named and not _is_utf8(named):
            raise Unreadable(f"cannot decode the file as {named}, which its coding line names", *_position(data, at)) from None
        hint = "" if named or marked else ", and no coding line names another encoding"
        raise Unreadable(f"cannot decode the file: byte 0x{data[at]:02x} is not UTF-8{hint}", *_position(data, at)) from None
    except (LookupError, UnicodeError, ValueError) as error:
        raise Unreadable(f"cannot decode the file as {named}, which its coding line names: {error}") from None


def encoded_like(data: bytes, text: str) -> bytes:
    """`text` in the encoding, and with the byte-order mark, of the Python file `data`. Raises Unreadable."""
    marked = data.startswith(codecs.BOM_UTF8)
    named = "utf-8-sig" if marked else _coding_line(data) or "utf-8"
    try:
        found = text.encode(named)
    except (LookupError, UnicodeError, ValueError) as error:
        raise Unreadable(f"cannot encode the file as {named}: {error}") from None
    if decode(found) != text:
        raise Unreadable(f"cannot encode the file as {named}")
    return found


def _coding_line(data: bytes) -> str | None:
    """The encoding that PEP 263 finds. Not tokenize.detect_encoding, which refuses a coding line with other than UTF-8 after it."""
    for line in _LINE_END.split(data.removeprefix(codecs.BOM_UTF8), maxsplit=2)[:2]:
        named = _CODING.match(line)
        if named:
            name = named.group(1).decode("ascii", "replace")
            return "utf-8" if name in _WRITTEN_IN_UTF8 else name
        if not _BLANK.match(line):
            return None
    return None


def _is_utf8(name: str) -> bool:
    try:
        return codecs.lookup(name).name in ("utf-8", "utf-8-sig")
    except LookupError:
        return False


def _position(data: bytes, at: int) -> tuple[int, int]:
    """The 1-based line and column of a byte."""
    before = data[:at].replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode("utf-8-sig", "replace")
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
