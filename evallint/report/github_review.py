"""`--output-format github-review`: the body of GitHub's "create a review for a pull request".

Comments are on lines of the diff alone, as GitHub takes no others; what has no such line is told in the review's own text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evallint.finding import Anchor, Finding, Place
from evallint.fingerprints import fingerprints
from evallint.linting import Report
from evallint.report.described import url
from evallint.report.json_text import dumps
from evallint.report.lines import lines_of
from evallint.report.markdown import code, fenced, prose
from evallint.report.paths import folder, located
from evallint.report.style import Style
from evallint.report.suggestion import suggestion

MOST = 50
"""Comments of one review, and findings told in its text."""
_LONGEST = 6
"""Steps of a trail that are told."""
_SIDES = {"now": "RIGHT", "before": "LEFT"}


def render(report: Report, style: Style) -> str:
    """The review as JSON: its text, and a comment for each finding that has a place in the diff. A hidden mark tells findings apart."""
    top, lines = folder("GITHUB_WORKSPACE"), lines_of(report.texts)
    anchors = report.anchors or [None] * len(report.findings)
    comments: list[dict[str, Any]] = []
    others: list[str] = []
    for finding, anchor, mark in zip(report.findings, anchors, fingerprints(report.findings, report.texts), strict=True):
        hidden = f"<!-- evallint:{mark} -->"
        if anchor is None or len(comments) == MOST:
            others.append(f"- {_where(finding.place, top)}: {_claim(finding)} {hidden}")
        else:
            comments.append(_comment(finding, anchor, report, lines.get(finding.place.path, []), top, hidden))
    return dumps({"event": "COMMENT", "body": _body(len(report.findings), others), "comments": comments})


def _body(count: int, others: Sequence[str]) -> str:
    rows = [f"evallint: {count} new finding{'' if count == 1 else 's'}."]
    if others:
        more = [f"- … and {len(others) - MOST} more"] if len(others) > MOST else []
        rows += ["", "Without a comment of their own:", "", *others[:MOST], *more]
    return "\n".join(rows)


def _comment(finding: Finding, anchor: Anchor, report: Report, text: Sequence[str], top: str, hidden: str) -> dict[str, Any]:
    row: dict[str, Any] = {"path": anchor.path, "line": anchor.line, "side": _SIDES[anchor.side]}
    blocks = [_claim(finding)]
    steps = finding.trail
    if len(steps) > 1 or any(step.place != finding.place for step in steps):
        more = [f"{_LONGEST + 1}. …"] if len(steps) > _LONGEST else []
        trail = [f"{number}. {_where(step.place, top)}: {prose(step.note)}" for number, step in enumerate(steps[:_LONGEST], 1)]
        blocks.append("\n".join([*trail, *more]))
    shown = report.shown.get(finding.place.path)
    offer = suggestion(finding, text, shown.lines) if shown is not None else None
    if offer is not None and shown is not None:
        first, last, lines = offer
        row = {"path": shown.path, "line": last, "side": "RIGHT"}
        if first < last:
            row |= {"start_line": first, "start_side": "RIGHT"}
        blocks.append(fenced(lines, "suggestion"))
    blocks.append(f"Confidence: {finding.confidence}. To silence it: `# noqa: {finding.code}` at {_where(finding.place, top)}. {hidden}")
    return {**row, "body": "\n\n".join(blocks)}


def _claim(finding: Finding) -> str:
    return f"**[{finding.code}]({url(finding.code)})** {prose(finding.message)}"


def _where(place: Place, top: str) -> str:
    cell = f":cell {place.cell}" if place.cell else ""
    return code(f"{located(place.path, top)}{cell}:{place.line}")
