"""`--output-format github`: workflow commands, which GitHub Actions shows as annotations."""

from __future__ import annotations

from evallint.finding import Finding, Severity
from evallint.linting import Report
from evallint.report.paths import folder, located
from evallint.report.style import Style, legible, path_text, plain

_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "notice"}


def render(report: Report, style: Style) -> str:
    """A command a finding, and one for each path that could not be read; nothing where there is none."""
    top = folder("GITHUB_WORKSPACE")
    rows = [_finding(finding, top) for finding in report.findings]
    rows += [_command("error", {"title": "evallint"}, f"{path_text(problem.path)}: {problem.message}") for problem in report.errors]
    return "\n".join(rows)


def _finding(finding: Finding, top: str) -> str:
    here = finding.place
    properties: dict[str, object] = {"title": f"evallint ({finding.code})", "file": located(here.path, top), "line": here.line}
    if here.end_line == here.line:
        properties |= {"col": here.column, "endLine": here.end_line, "endColumn": here.end_column}
    else:
        properties["endLine"] = here.end_line  # the runner refuses columns of a place that spans lines
    message = f"{path_text(here.path)}:{here.line}:{here.column}: {finding.code} {finding.message}"
    return _command(_LEVELS[finding.severity], properties, message)


def _command(level: str, properties: dict[str, object], message: str) -> str:
    written = ",".join(f"{name}={_escaped(str(value)).replace(':', '%3A').replace(',', '%2C')}" for name, value in properties.items())
    return f"::{level} {written}::{_escaped(message)}"


def _escaped(text: str) -> str:
    """`text` as the runner reads it back, but for other control characters, which the log would show raw."""
    return plain(legible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))
