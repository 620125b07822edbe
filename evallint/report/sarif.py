"""`--output-format sarif`: SARIF 2.1.0, as GitHub's code scanning and other viewers take it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from evallint import __version__
from evallint.finding import Edit, Finding, Fix, Place
from evallint.fingerprints import VERSION, fingerprints
from evallint.linting import Report
from evallint.report.described import HOME, Described, described, url
from evallint.report.json_text import dumps
from evallint.report.lines import lines_of
from evallint.report.paths import folder, folder_uri, located, uri
from evallint.report.style import Style, path_text

_ROOT, _OUTSIDE = "%SRCROOT%", "%FILESYSTEM%"
"""What a file's URI is relative to; code scanning refuses a report with an absolute one."""
_CONTEXT = 2
"""Lines shown around a finding."""


def render(report: Report, style: Style) -> str:
    """The report as one run; paths are as seen from the repository (`GITHUB_WORKSPACE`, or else the working folder)."""
    codes = described()
    places = _Places(folder("GITHUB_WORKSPACE"), lines_of(report.texts))
    index = {each.code: number for number, each in enumerate(codes)}
    marks = fingerprints(report.findings, report.texts)
    run = {
        "tool": {
            "driver": {
                "name": "evallint",
                "version": __version__,
                "semanticVersion": __version__,
                "informationUri": HOME,
                "rules": [_rule(each) for each in codes],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not report.errors,
                "toolExecutionNotifications": [
                    {"level": "error", "message": _message(f"{path_text(problem.path)}: {problem.message}")} for problem in report.errors
                ],
            }
        ],
        "originalUriBaseIds": {_ROOT: {"uri": folder_uri(places.top)}, _OUTSIDE: {"uri": folder_uri("/")}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(f, index[f.code], mark, places) for f, mark in zip(report.findings, marks, strict=True)],
    }
    return dumps({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]})


def _rule(each: Described) -> dict[str, Any]:
    return {
        "id": each.code,
        "name": each.name,
        "shortDescription": {"text": _sentence(each.summary)},
        "fullDescription": {"text": each.paragraph},
        "help": {"text": each.page, "markdown": each.page},
        "helpUri": url(each.code),
        "defaultConfiguration": {"level": each.severity},
        "properties": {"tags": ["correctness", "pytorch"], "problem.severity": each.severity},
    }


def _sentence(phrase: str) -> str:
    return f"{phrase[0].upper()}{phrase[1:]}."


def _result(finding: Finding, rule: int, mark: str, places: _Places) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": _message(finding.message),
        "locations": [{"physicalLocation": places.of(finding.place, shown=True)}],
        "partialFingerprints": {f"evallintFingerprint/v{VERSION}": mark},
        "properties": {"confidence": finding.confidence, "function": finding.function, "model": finding.model},
    }
    if finding.function:
        row["locations"][0]["logicalLocations"] = [{"fullyQualifiedName": finding.function, "kind": "function"}]
    if finding.trail:
        steps = [{"location": {"physicalLocation": places.of(step.place), "message": _message(step.note)}} for step in finding.trail]
        row["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
    if finding.fix is not None:
        row["fixes"] = [_fix(finding.fix, places.file(finding.place.path))]
    return row


def _message(text: str) -> dict[str, str]:
    return {"text": text.replace("](", "] (")}  # `nets[0](x)` would be a link


def _fix(fix: Fix, file: dict[str, Any]) -> dict[str, Any]:
    replacements = [{"deletedRegion": _region(edit), "insertedContent": {"text": edit.text}} for edit in fix.edits]
    return {
        "description": {"text": f"A fix that is {fix.applicability}."},
        "artifactChanges": [{"artifactLocation": file, "replacements": replacements}],
    }


def _region(span: Place | Edit) -> dict[str, int]:
    line, column = (span.line, span.column) if isinstance(span, Place) else (span.start_line, span.start_column)
    return {"startLine": line, "startColumn": column, "endLine": span.end_line, "endColumn": span.end_column}


class _Places:
    """Where files are, and what stands there."""

    def __init__(self, top: str, lines: dict[str, list[str]]) -> None:
        self.top = top
        self._lines = lines

    def file(self, path: str) -> dict[str, Any]:
        """An artifact location."""
        where = located(path, self.top)
        return {"uri": uri(where), "uriBaseId": _OUTSIDE if os.path.isabs(where) else _ROOT}

    def of(self, place: Place, *, shown: bool = False) -> dict[str, Any]:
        """A physical location; if `shown`, with its text and the lines around it, where they are known."""
        region: dict[str, Any] = dict(_region(place))
        found = {"artifactLocation": self.file(place.path), "region": region}
        lines = self._lines.get(place.path, [])
        if shown and place.end_line <= len(lines):
            region["snippet"] = {"text": _cut(place, lines)}
            first, last = max(1, place.line - _CONTEXT), min(len(lines), place.end_line + _CONTEXT)
            found["contextRegion"] = {"startLine": first, "endLine": last, "snippet": {"text": "\n".join(lines[first - 1 : last])}}
        return found


def _cut(place: Place, lines: Sequence[str]) -> str:
    """The text of a place."""
    rows = list(lines[place.line - 1 : place.end_line])
    rows[-1] = rows[-1][: place.end_column - 1]
    rows[0] = rows[0][place.column - 1 :]
    return "\n".join(rows)
