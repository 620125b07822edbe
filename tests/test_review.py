"""The body of a review: suggestions that replace exactly the lines of a fix, and text that no code can break out of."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from evallint import lint_source
from evallint.finding import Anchor, Edit, Finding, Fix, Shown, Step
from evallint.linting import Report
from evallint.report.formats import renderer
from evallint.report.style import Style
from tests.examples import LINE, MISSING_EVAL


def _report(finding: Finding, text: str = MISSING_EVAL, shown: frozenset[int] = frozenset(range(1, 40))) -> Report:
    path = finding.place.path
    return Report(findings=[finding], texts={path: text}, anchors=[Anchor(path, LINE, "now")], shown={path: Shown(path, shown)})


def _comment(report: Report) -> dict[str, object]:
    (comment,) = json.loads(renderer("github-review")(report, Style()))["comments"]
    assert isinstance(comment, dict)
    return comment


@pytest.fixture
def finding() -> Finding:
    (found,) = lint_source(MISSING_EVAL, "train.py")
    return found


def _applied(text: str, comment: dict[str, object]) -> str:
    """What GitHub makes of a text when a suggestion is taken over."""
    body = str(comment["body"])
    found = re.search(r"^(`{3,})suggestion\n(.*?)^\1$", body, re.MULTILINE | re.DOTALL)
    assert found is not None, body
    lines = text.splitlines(keepends=True)
    first, last = int(str(comment.get("start_line", comment["line"]))), int(str(comment["line"]))
    return "".join([*lines[: first - 1], found[2], *lines[last:]])


# line 13 is `correct = 0`, line 14 the `with`, line 15 the loop
INSERTION = Edit(LINE - 1, 1, LINE - 1, 1, "    model.eval()\n")
WRAP = (Edit(LINE, 1, LINE, 1, "        if True:\n    "), Edit(LINE + 1, 1, LINE + 1, 1, "    "))
DELETION = Edit(LINE - 2, 1, LINE - 1, 1, "")
FENCE = Edit(LINE - 1, 5, LINE - 1, 5, '"""\n````\n"""\n    ')


def _edited(text: str, edits: tuple[Edit, ...]) -> str:
    """The edits applied by offsets, last first."""
    lines = text.splitlines(keepends=True)
    for edit in sorted(edits, key=lambda e: (e.start_line, e.start_column), reverse=True):
        start = sum(map(len, lines[: edit.start_line - 1])) + edit.start_column - 1
        end = sum(map(len, lines[: edit.end_line - 1])) + edit.end_column - 1
        text = text[:start] + edit.text + text[end:]
    return text


@pytest.mark.parametrize(
    ("edits", "lines"),
    [
        ((INSERTION,), (None, LINE - 1)),
        (WRAP, (LINE, LINE + 1)),
        ((DELETION,), (None, LINE - 2)),
        ((DELETION, INSERTION), (LINE - 2, LINE - 1)),
        ((FENCE,), (None, LINE - 1)),
        ((Edit(LINE, 9, LINE + 1, 13, "x"),), (LINE, LINE + 1)),
    ],
)
def test_a_suggestion_is_the_fix(finding: Finding, edits: tuple[Edit, ...], lines: tuple[int | None, int]) -> None:
    comment = _comment(_report(replace(finding, fix=Fix("safe", edits))))
    assert (comment.get("start_line"), comment["line"], comment["side"]) == (*lines, "RIGHT")
    assert ("start_side" in comment) == ("start_line" in comment)
    assert _applied(MISSING_EVAL, comment) == _edited(MISSING_EVAL, edits)


def test_a_fix_that_is_not_safe_or_not_in_the_diff_is_no_suggestion(finding: Finding) -> None:
    assert "suggestion" not in str(_comment(_report(replace(finding, fix=Fix("unsafe", (INSERTION,)))))["body"])
    report = _report(replace(finding, fix=Fix("safe", WRAP)), shown=frozenset({LINE}))
    comment = _comment(report)
    assert "suggestion" not in str(comment["body"])
    assert (comment["line"], "start_line" in comment) == (LINE, False)


def test_the_old_line_and_what_has_no_line(finding: Finding) -> None:
    report = replace(_report(finding), anchors=[Anchor("other.py", 3, "before")])
    comment = _comment(report)
    assert (comment["path"], comment["line"], comment["side"]) == ("other.py", 3, "LEFT")
    review = json.loads(renderer("github-review")(replace(report, anchors=[None]), Style()))
    assert review["comments"] == []
    assert "`train.py:15`" in review["body"]
    assert "EVL001" in review["body"]


def test_very_many_findings_do_not_make_very_many_comments(finding: Finding) -> None:
    many = [replace(finding, function=f"f{number}") for number in range(200)]
    review = json.loads(
        renderer("github-review")(replace(_report(finding), findings=many, anchors=[Anchor("train.py", LINE, "now")] * 200), Style())
    )
    assert (len(review["comments"]), review["body"].count("EVL001")) == (50, 50)
    assert "and 100 more" in review["body"]
    assert len(review["body"]) < 65536


HOSTILE = [
    "`@team`",
    "``` \n@team",
    "<img src=x onerror=y>",
    "[a](http://b)",
    "@team #1 :smile: http://x <!-- -->",
    "a`b``c",
    "\x1b[31m",
    "--> x",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_hostile_code_stay_text(finding: Finding, name: str) -> None:
    place = replace(finding.place, path=f"{name}.py")
    hostile = replace(
        finding, place=place, message=f"`{name}` and {name} are in training mode", trail=(Step(place, f"`{name}`"), Step(place, name))
    )
    report = _report(hostile)
    for text in (str(_comment(report)["body"]), json.loads(renderer("github-review")(replace(report, anchors=[None]), Style()))["body"]):
        plain = re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", text.replace("\\`", ""))  # without code spans, as CommonMark finds them
        plain = re.sub(r"<!-- evallint:[0-9a-f]{32} -->|\*\*\[EVL001\]\(https://github\.com/evallint[^)]*\)\*\*", "", plain)
        assert not re.search(r"@\w|#\d|<|(?<!\\)[`\[\]]|(?<!\\):\w|\x1b", plain), plain
