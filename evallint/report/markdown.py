"""Text of somebody's code in Markdown: it may show, and never mention anybody, link, or begin markup."""

from __future__ import annotations

import re

from evallint.report.style import legible, plain

_CODE = re.compile(r"`([^`]+)`")
_TICKS = re.compile(r"`+")
_MARKUP = re.compile(r"[\\`*_{}\[\]<>&|~$!#]|:(?=[\w/+-])")
_PINGS = re.compile(r"([@#])(?=\w)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def prose(message: str) -> str:
    """A message on one line: what it quotes stays code, the rest is plain text."""
    parts = _CODE.split(plain(legible(message)))
    return "".join(code(part) if number % 2 else _text(part) for number, part in enumerate(parts))


def code(text: str) -> str:
    """`text` as a code span."""
    text = plain(legible(text))
    ticks = "`" * (_longest(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def fenced(text: str, language: str) -> str:
    """`text` (lines) as a fenced block, whatever fences it holds itself."""
    ticks = "`" * max(3, _longest(text) + 1)
    return "\n".join([f"{ticks}{language}", *([text] if text else []), ticks])


def _longest(text: str) -> int:
    return max((len(run) for run in _TICKS.findall(text)), default=0)


def _text(text: str) -> str:
    text = _PINGS.sub("\\1\u200b", text)  # no escape keeps GitHub from reading `@name`
    return _MARKUP.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), text)
