"""What comments say of a place in a text."""

from __future__ import annotations

import re

_COMMENT = re.compile(r"(?:^|\s)#+\s?(.*)$")
MOST_LINES = 12


def comment_at(lines: list[str], first: int, last: int) -> str:
    """The comments at the end of some lines (1-based, both included) and in the block of comments right above them."""
    start = first - 1
    while start > 0 and first - start <= MOST_LINES and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    found = (_COMMENT.search(line) for line in lines[start:last])
    return " ".join(match[1].strip() for match in found if match)
