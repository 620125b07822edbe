"""`# noqa` as flake8 reads it: on the line, over the lines of a multi-line string, and `# flake8: noqa` for a file."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable

from evallint.finding import Edit, Finding

_CODE = r"(?:EVL\b|[A-Z]+[0-9]+)"
_CODES = rf"(?::\s?(?P<codes>{_CODE}(?:[,\s]+{_CODE})*))?"  # words that are no codes make the comment one for all codes, as in flake8
INLINE = re.compile(r"# noqa" + _CODES, re.IGNORECASE)
WHOLE_FILE = re.compile(r"\s*# flake8[:=]\s*noqa" + _CODES, re.IGNORECASE)
_NEWLINE = re.compile(r"\r\n|\r|\n")


def split_lines(text: str) -> list[str]:
    """The lines of `text` as Python counts them (form feeds and Unicode separators end no line), without their ends."""
    return _NEWLINE.split(text) if "\r" in text else text.split("\n")


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


def silencing(text: str, finding: Finding) -> Edit | None:
    """The edit of `text` that silences a finding in it on its line alone, beside the codes that its `# noqa` names; None if none can."""
    lines = split_lines(text)
    line = finding.place.line
    if line > len(lines):
        return None
    first, last = _joined_spans(lines).get(line, (line, line))
    joined = "\n".join(lines[first - 1 : last])
    comment = INLINE.search(joined)
    if comment is not None and comment["codes"]:
        before = joined[: comment.end("codes")]
        row, column = first + before.count("\n"), len(before) - (before.rfind("\n") + 1) + 1
        edit = Edit(row, column, row, column, f", {finding.code}")
    else:
        code = lines[last - 1].rstrip()
        edit = Edit(last, len(code) + 1, last, len(lines[last - 1]) + 1, f"  # noqa: {finding.code}")
    row = edit.start_line - 1
    lines[row] = lines[row][: edit.start_column - 1] + edit.text + lines[row][edit.end_column - 1 :]
    return None if without_noqa([finding], "\n".join(lines)) else edit


def _silences(comment: re.Match[str], code: str) -> bool:
    codes = comment.group("codes")
    return codes is None or code.startswith(tuple(c for c in re.split(r"[,\s]+", codes.upper()) if c))


def _joined_lines(lines: list[str]) -> dict[int, str]:
    """For each line, the text in which its comment is sought: tokens that span lines join them."""
    return {line: "\n".join(lines[first - 1 : last]) for line, (first, last) in _joined_spans(lines).items()}


def _joined_spans(lines: list[str]) -> dict[int, tuple[int, int]]:
    """For each line, the first and the last of those that tokens join with it; none if the text cannot be read token by token."""
    found: dict[int, tuple[int, int]] = {}
    first, last = len(lines) + 2, -1
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline):
            if token.type in (tokenize.ENDMARKER, tokenize.DEDENT):
                continue
            first, last = min(first, token.start[0]), max(last, token.end[0])
            if token.type in (tokenize.NL, tokenize.NEWLINE):
                found.update(dict.fromkeys(range(first, last + 1), (first, last)))
                first, last = len(lines) + 2, -1
    except (tokenize.TokenError, SyntaxError):
        return {}
    return found
