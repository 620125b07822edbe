"""The formats by name; each is a module with `render(report, style) -> str`, imported when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from evallint.linting import Report
from evallint.report.style import Style

FORMATS: dict[str, str] = {
    "full": "evallint.report.full",
    "concise": "evallint.report.concise",
    "json": "evallint.report.json_format",
}
FOR_PROGRAMS = frozenset({"json"})
"""Formats whose text is for programs, so that nothing else may be printed with it."""

FIXES_SHOWN = frozenset({"json", "sarif", "rdjson"})
"""Formats that show fixes."""


class Render(Protocol):
    """What a format is."""

    def __call__(self, report: Report, style: Style) -> str:
        """The whole report, without a newline at its end."""


def renderer(name: str) -> Render:
    """The format of that name. Raises KeyError on another name."""
    render: Render = import_module(FORMATS[name]).render
    return render
