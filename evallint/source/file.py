"""One file's text, decoded: what the visitor reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A file to lint: its path as the user named it, and its text (universal newlines are not applied).

    `context` marks a file that was read only because a linted file needs it: it is analysed, but nothing in it is reported.
    """

    path: str
    text: str
    context: bool = False
