"""Colours, and text made safe for a terminal."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from typing import TextIO

from evallint.finding import Finding, Severity

_COLOURS: dict[Severity, str] = {"error": "31", "warning": "33", "note": "36"}
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
"""What moves the cursor, ends a line, turns the direction of writing, or is no character at all."""
_LONE = re.compile("[\ud800-\udfff]")
_CODE = re.compile(r"`[^`]+`")
_TAB = "    "


@dataclass(frozen=True, slots=True)
class Style:
    """Whether and how text is coloured."""

    coloured: bool = False

    def paint(self, text: str, codes: str) -> str:
        """`text` in the SGR attributes `codes`."""
        return f"\x1b[{codes}m{text}\x1b[0m" if self.coloured and text else text

    def bold(self, text: str) -> str:
        """`text` in bold."""
        return self.paint(text, "1")

    def dim(self, text: str) -> str:
        """`text` where it only frames something."""
        return self.paint(text, "34")

    def code(self, finding: Finding) -> str:
        """The code of a finding in the colour of its severity."""
        return self.paint(finding.code, f"1;{_COLOURS[finding.severity]}")

    def mark(self, text: str, finding: Finding) -> str:
        """`text` (an underline) in the colour of the finding's severity."""
        return self.paint(text, f"1;{_COLOURS[finding.severity]}")

    def quoted(self, text: str) -> str:
        """A message of ours, with what it quotes in bold."""
        return _CODE.sub(lambda quoted: self.bold(quoted.group()), text) if self.coloured else text

    def message(self, text: str) -> str:
        """A message, with what it quotes in bold."""
        return self.quoted(plain(text))


def style_for(stream: TextIO) -> Style:
    """Colours on a terminal; NO_COLOR and TERM=dumb take them away, FORCE_COLOR gives them to a pipe."""
    if os.environ.get("NO_COLOR"):
        return Style(False)
    if os.environ.get("FORCE_COLOR"):
        return Style(True)
    return Style(stream.isatty() and os.environ.get("TERM") != "dumb")


def plain(text: str) -> str:
    """`text` on one line with control characters made visible, so that no file can steer the terminal. Keeps one character for one."""
    return _CONTROL.sub(lambda c: chr(0x2400 + ord(c.group())) if ord(c.group()) < 32 else "\ufffd", text).replace("\t", " ")


def legible(text: str) -> str:
    """`text` with what no encoding can write spelled out: a byte of a name that is not UTF-8 as `\\xff`, other surrogates as `\\ud800`."""
    return _LONE.sub(lambda c: f"\\x{code - 0xDC00:02x}" if 0xDC80 <= (code := ord(c.group())) < 0xDD00 else f"\\u{code:04x}", text)


def path_text(path: str) -> str:
    """A path at the start of a line: plain, and never what a CI runner takes for one of its commands (`::error::`)."""
    shown = plain(legible(path))
    return f"./{shown}" if shown.lstrip().startswith("::") else shown


def cells(text: str) -> str:
    """`text` with tabs as spaces and control characters made visible: what is shown of a source line."""
    return plain(text.replace("\t", _TAB))


def width(text: str) -> int:
    """How many terminal cells `cells(text)` takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text.replace("\t", _TAB))
