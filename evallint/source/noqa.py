"""`# noqa` as flake8 reads it: on the line, over the lines of a multi-line string, and `# flake8: noqa` for a file."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable

from evallint.finding import Finding

_CODE = r"(?:EVL\b|[A-Z]+[0-9]+)"
_CODES = rf"(?::\s?(?P<codes>{_CODE}(?:[,\s]+{_CODE})*))?"  # words that are no codes make the comment one for all codes, as in flake8
INLINE = re.compile(r"# noqa" + _CODES, re.IGNORECASE)
WHOLE_FILE = re.compile(r"\s*# flake8[:=]\s*noqa" + _CODES, re.IGNORECASE)
_NEWLINE = re.compile(r"\r\n|\r|\n")


def split_lines(text: str) -> list[str]:
    """The lines of `text` as Python counts them (form feeds and Unicode separators end no line), without their ends."""
    return _NEWLINE.split(text)


def without_noqa(findings: Iterable[Finding], text: str) -> list[Finding]:
    """The findings of one file, whose text is `text`, that no comment silences."""
    rows = list(findings)
    if not rows or "noqa" not in text.lower():
        return rows
    lines = split_lines(text)
    for line in lines:
        whole = WHOLE_FILE.match(line)
        if whole:
            rows = [f for f in rows if not _silences(whole, f.code)]
    if not any(_silences(comment, f.code) for comment in INLINE.finditer(text) for f in rows):
        return rows  # what follows has to read the file token by token
    joined = _joined_lines(lines)
    kept = []
    for finding in rows:
        line = joined.get(finding.place.line) or (lines[finding.place.line - 1] if finding.place.line <= len(lines) else "")
        comment = INLINE.search(line)
        if comment is None or not _silences(comment, finding.code):
            kept.append(finding)
    return kept


def _silences(comment: re.Match[str], code: str) -> bool:
    codes = comment.group("codes")
    return codes is None or code.startswith(tuple(c for c in re.split(r"[,\s]+", codes.upper()) if c))


def _joined_lines(lines: list[str]) -> dict[int, str]:
    """For each line, the text in which its comment is sought: tokens that span lines join them."""
    found: dict[int, str] = {}
    first, last = len(lines) + 2, -1
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
            if token.type in (tokenize.ENDMARKER, tokenize.DEDENT):
                continue
            first, last = min(first, token.start[0]), max(last, token.end[0])
            if token.type in (tokenize.NL, tokenize.NEWLINE):
                found.update(dict.fromkeys(range(first, last + 1), "\n".join(lines[first - 1 : last])))
                first, last = len(lines) + 2, -1
    except (tokenize.TokenError, SyntaxError):
        return {}
    return found
