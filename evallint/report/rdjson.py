"""`--output-format rdjson`: Reviewdog Diagnostic Format. Its columns count bytes of UTF-8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evallint.finding import Edit, Finding, Place, Severity
from evallint.linting import Report
from evallint.report.described import HOME, url
from evallint.report.json_text import dumps
from evallint.report.lines import lines_of, utf8_column
from evallint.report.paths import folder, located
from evallint.report.style import Style, path_text

_SEVERITIES: dict[Severity, str] = {"error": "ERROR", "warning": "WARNING", "note": "INFO"}


def render(report: Report, style: Style) -> str:
    """The findings as one DiagnosticResult."""
    top, lines = folder(), lines_of(report.texts)
    rows = [_diagnostic(finding, top, lines) for finding in report.findings]
    return dumps({"source": {"name": "evallint", "url": HOME}, "diagnostics": rows})


def _diagnostic(finding: Finding, top: str, lines: dict[str, list[str]]) -> dict[str, Any]:
    here = finding.place
    row: dict[str, Any] = {
        "message": finding.message,
        "location": _location(here, top, lines),
        "severity": _SEVERITIES[finding.severity],
        "code": {"value": finding.code, "url": url(finding.code)},
        "original_output": f"{path_text(here.path)}:{here.line}:{here.column}: {finding.code} {finding.message}",
    }
    if finding.trail:
        row["related_locations"] = [{"message": step.note, "location": _location(step.place, top, lines)} for step in finding.trail]
    if finding.fix is not None:
        text = lines.get(here.path, [])
        row["suggestions"] = [{"range": _range(edit, text), "text": edit.text} for edit in finding.fix.edits]
    return row


def _location(place: Place, top: str, lines: dict[str, list[str]]) -> dict[str, Any]:
    return {"path": located(place.path, top), "range": _range(place, lines.get(place.path, []))}


def _range(span: Place | Edit, text: Sequence[str]) -> dict[str, Any]:
    """A place or an edit."""
    ends = {
        "start": (span.line, span.column) if isinstance(span, Place) else (span.start_line, span.start_column),
        "end": (span.end_line, span.end_column),
    }
    return {name: {"line": line, "column": utf8_column(text, line, column)} for name, (line, column) in ends.items()}
