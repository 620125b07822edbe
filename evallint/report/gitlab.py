"""`--output-format gitlab`: GitLab's Code Quality report."""

from __future__ import annotations

from evallint.finding import Severity
from evallint.fingerprints import fingerprints
from evallint.linting import Report
from evallint.report.json_text import dumps
from evallint.report.paths import folder, located
from evallint.report.style import Style

_SEVERITIES: dict[Severity, str] = {"error": "critical", "warning": "major", "note": "info"}


def render(report: Report, style: Style) -> str:
    """The findings as a JSON array; paths are as seen from the project's folder (`CI_PROJECT_DIR`)."""
    top = folder("CI_PROJECT_DIR")
    rows = [
        {
            "description": f"{finding.code} {finding.message}",
            "check_name": finding.code,
            "fingerprint": fingerprint,
            "severity": _SEVERITIES[finding.severity],
            "location": {
                "path": located(finding.place.path, top),
                "lines": {"begin": finding.place.line, "end": finding.place.end_line},
            },
        }
        for finding, fingerprint in zip(report.findings, fingerprints(report.findings, report.texts), strict=True)
    ]
    return dumps(rows)
