"""One file's text, decoded: what the visitor reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A file to lint: its path as the user named it, and its text (universal newlines are not applied).

    `context` marks a file that was read only because a linted file needs it: it is analysed, but nothing in it is reported.
    `helper` marks one that is read only for what others call in it: nothing begins there.
    `imported` says that other files, which are not read here, import it: callers of its functions may be out of sight.
    """

    path: str
    text: str
    context: bool = False
    helper: bool = False
    imported: bool = False
