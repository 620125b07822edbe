"""`--output-format github-review`: the body of GitHub's "create a review for a pull request".

Comments are put on lines of the diff alone, as GitHub takes no others; what has no such line is told in the review's own text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from evallint.finding import Anchor, Edit, Finding
from evallint.fingerprints import fingerprints
from evallint.linting import Report
from evallint.report.described import url
from evallint.report.json_text import dumps
from evallint.report.lines import lines_of
from evallint.report.paths import folder, located
from evallint.report.style import Style, plain

MOST = 50
"""Comments of one review, and findings told in its text."""
_SIDES = {"now": "RIGHT", "before": "LEFT"}
_CODE = re.compile(r"`([^`]+)`")
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+.!|~>@:$-])")


def render(report: Report, style: Style) -> str:
    """The review as JSON: its text, and a comment for each finding that has a place in the diff."""
    lines = lines_of(report.texts)
    anchors = report.anchors or [None] * len(report.findings)
    comments: list[dict[str, Any]] = []
    others: list[str] = []
    for finding, anchor, mark in zip(report.findings, anchors, fingerprints(report.findings, report.texts), strict=True):
        hidden = f"<!-- evallint:{mark} -->"
        if anchor is None or len(comments) == MOST:
            others.append(f"- {_where(finding)}: {_sentence(finding)} {hidden}")
        else:
            comments.append(_comment(finding, anchor, lines.get(finding.place.path, []), report, hidden))
    return dumps({"event": "COMMENT", "body": _body(len(report.findings), others), "comments": comments})


def _body(count: int, others: Sequence[str]) -> str:
    rows = [f"evallint: {count} new finding{'' if count == 1 else 's'}."]
    if others:
        more = [f"- and {len(others) - MOST} more"] if len(others) > MOST else []
        rows += ["", "Not on a line of this diff:", "", *others[:MOST], *more]
    return "\n".join(rows)


def _comment(finding: Finding, anchor: Anchor, text: Sequence[str], report: Report, hidden: str) -> dict[str, Any]:
    row: dict[str, Any] = {"path": anchor.path.replace("\\", "/"), "line": anchor.line, "side": _SIDES[anchor.side]}
    here = located(finding.place.path, folder("GITHUB_WORKSPACE"))
    at = finding.place.line == anchor.line and anchor.side == "now" and here.endswith(row["path"])
    blocks = [f"**[{finding.code}]({url(finding.code)})** {_sentence(finding)}"]
    if not at:
        blocks.append(f"Found at {_where(finding)}.")
    ...
