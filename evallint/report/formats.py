"""The formats by name; each is a module with `render(report, style) -> str`, imported when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from evallint.linting import Report
from evallint.report.places import in_cells, in_files
from evallint.report.style import Style

FORMATS: dict[str, str] = {
    "full": "evallint.report.full",
    "concise": "evallint.report.concise",
    "json": "evallint.report.json_format",
    "sarif": "evallint.report.sarif",
    "github": "evallint.report.github",
    "gitlab": "evallint.report.gitlab",
    "rdjson": "evallint.report.rdjson",
    "junit": "evallint.report.junit",
    "github-review": "evallint.report.github_review",
}
FOR_PROGRAMS = frozenset(FORMATS) - {"full", "concise"}
"""Formats whose text is for programs: nothing else may be printed with it, and it is UTF-8 everywhere."""
IN_CELLS = frozenset({"full", "concise", "json", "junit", "github-review"})
"""Formats that tell the cell of a notebook and its line; the others annotate files, so they get the lines of those.

A review is on lines of a diff, which it has apart, and tells people of cells."""

FIXES_SHOWN = frozenset({"json", "sarif", "rdjson", "github-review"})
"""Formats that show fixes."""


class Render(Protocol):
    """What a format is."""

    def __call__(self, report: Report, style: Style) -> str:
        """The whole report, without a newline at its end."""


def renderer(name: str) -> Render:
    """The format of that name. Raises KeyError on another name."""
    render: Render = import_module(FORMATS[name]).render
    placed = in_cells if name in IN_CELLS else in_files
    return lambda report, style: render(placed(report), style)
