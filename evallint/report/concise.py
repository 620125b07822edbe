"""`--output-format concise`: one line a finding, `path:line:column: CODE message`."""

from __future__ import annotations

from evallint.linting import Report
from evallint.report.style import Style, path_text


def render(report: Report, style: Style) -> str:
    """One line a finding; nothing where there is none."""
    rows = []
    for f in report.findings:
        place = f"{style.bold(path_text(f.place.file))}:{f.place.line}:{f.place.column}"
        rows.append(f"{place}: {style.code(f)} {style.message(f.message)}")
    return "\n".join(rows)
