"""`--output-format json`: the whole report as one object, for programs."""

from __future__ import annotations

from evallint.linting import Report
from evallint.report.json_text import dumps
from evallint.report.style import Style


def render(report: Report, style: Style) -> str:
    """The report as JSON, version 1."""
    return dumps(
        {
            "version": 1,
            "findings": [finding.to_json() for finding in report.findings],
            "files": report.files,
            "parsed": report.parsed,
            "errors": [{"path": problem.path, "message": problem.message} for problem in report.errors],
        }
    )
