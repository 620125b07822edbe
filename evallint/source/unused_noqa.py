"""EVL910: `# noqa` comments that name codes of evallint where nothing of these is found. Told on request alone."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evallint.finding import Edit, Finding, Fix, Place
from evallint.source.noqa import INLINE, WHOLE_FILE, split_lines

UNUSED = ("EVL910", "unused-noqa")
_CODE = re.compile(r"[A-Z]+[0-9]*", re.IGNORECASE)
_MAYBE = re.compile(rb"noqa[^\r\n]*evl", re.IGNORECASE)


def bytes_silence(data: bytes) -> bool:
    """Whether a file may hold a comment that names codes of evallint."""
    return _MAYBE.search(data) is not None


@dataclass(frozen=True, slots=True)
class _Comment:
    """A comment: its line, the 0-based column where it begins, its text, and the first and last line that it holds for."""

    line: int
    start: int
    text: str
    first: int
    last: int


def unused_noqa(path: str, text: str, found: Sequence[Finding], judged: Callable[[str], bool]) -> list[Finding]:
    """The EVL910 findings of one file, of which `found` is all that is found in it, whatever is shown.

    `judged` says whether findings of a code, or of codes that start so, would be shown in this file: only then nothing means none.
    """
    if not bytes_silence(text.encode("utf-8", "surrogatepass")) or any(f.code == "EVL900" for f in found):
        return []
    lines = split_lines(text)
    whole = [match for line in lines if (match := WHOLE_FILE.match(line)) is not None]
    if any(match["codes"] is None or _names_this(match) for match in whole):
        return []
    rows = []
    for comment in _comments(lines):
        directive, first, last = INLINE.search(comment.text), comment.first, comment.last
        if directive is None and not lines[comment.line - 1][: comment.start].strip():
            directive, first, last = WHOLE_FILE.match(comment.text), 1, len(lines)
        if directive is None or directive["codes"] is None or _names_this(directive):
            continue
        here = [f.code for f in found if first <= f.place.line <= last]
        codes = _CODE.findall(directive["codes"].upper())
        unused = [c for c in codes if c.startswith("EVL") and not any(code.startswith(c) for code in here) and judged(c)]
        if unused:
            kept = [code for code in _CODE.findall(directive["codes"]) if code.upper() not in unused]
            rows.append(_finding(path, lines[comment.line - 1], comment, directive, unused, kept))
    return rows


def _names_this(directive: re.Match[str]) -> bool:
    """Whether a comment silences EVL910 itself."""
    return any(len(code) > len("EVL9") and UNUSED[0].startswith(code) for code in _CODE.findall(directive["codes"].upper()))


def _comments(lines: Sequence[str]) -> Iterator[_Comment]:
    """The comments that silence; as flake8 has it, one holds for all lines of the strings that end on its line, and the first counts."""
    first = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
            if token.type in (tokenize.NL, tokenize.NEWLINE):
                first = 0
            elif token.type == tokenize.COMMENT:
                line, start = token.start
                before = "\n".join([*lines[(first or line) - 1 : line - 1], lines[line - 1][:start]])
                if not INLINE.search(before):
                    yield _Comment(line, start, token.string, first or line, line)
            elif token.type not in (tokenize.INDENT, tokenize.DEDENT):
                first = first or token.start[0]
    except (tokenize.TokenError, SyntaxError):
        return


def _finding(path: str, line: str, comment: _Comment, directive: re.Match[str], unused: list[str], kept: list[str]) -> Finding:
    code, name = UNUSED
    start, end = comment.start + directive.start(), comment.start + directive.end()
    place = Place(path, comment.line, start + 1, comment.line, end + 1)
    said = f"this comment silences nothing: no {' and no '.join(unused)} is found here"
    edit = _shortened(comment, directive, kept) if kept else _removed(line, comment, start, end)
    return Finding(place, code, name, said, "high", "warning", fix=Fix("safe", (edit,)))


def _shortened(comment: _Comment, directive: re.Match[str], kept: list[str]) -> Edit:
    """The codes that are left, in place of all."""
    start, end = directive.span("codes")
    return Edit(comment.line, comment.start + start + 1, comment.line, comment.start + end + 1, ", ".join(kept))


def _removed(line: str, comment: _Comment, start: int, end: int) -> Edit:
    """The comment without what stands from `start` to `end` of its line; what else it says stays a comment."""
    at, rest = comment.line, line[end:].lstrip(" \t,;:.-–—")
    if rest:
        return Edit(at, start + 1, at, len(line) - len(rest) + 1, "" if rest.startswith("#") else "# ")
    before = line[:start].rstrip()
    if before:
        return Edit(at, len(before) + 1, at, len(line) + 1, "")
    return Edit(at, 1, at + 1, 1, "")
