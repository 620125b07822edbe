"""The formats, on findings made by hand: what exactly is printed."""

from __future__ import annotations

import io
import json

import pytest

from evallint.finding import Edit, Finding, Fix, Place, Step
from evallint.linting import Report
from evallint.report import statistics
from evallint.report.formats import FOR_PROGRAMS, FORMATS, renderer
from evallint.report.style import Style, style_for
from evallint.source.walking import Problem

TEXT = """\
def validate(model, val_loader):

    for x, y in val_loader:
        model(x)


model.train()
validate(model, loader)
"""


def _finding(**changes: object) -> Finding:
    values: dict[str, object] = {
        "place": Place("val.py", 3, 5, 4, 17),
        "code": "EVL001",
        "name": "missing-eval",
        "message": "`model` is in training mode in this validation loop: call `model.eval()` before it",
        "confidence": "high",
        "severity": "warning",
        "function": "validate",
        "model": "model",
        "trail": (
            Step(Place("val.py", 7, 1, 7, 14), "`model.train()` here"),
            Step(Place("helpers.py", 10, 5, 10, 8), "called here"),
            Step(Place("val.py", 4, 9, 4, 17), "forward here"),
        ),
    }
    return Finding(**{**values, **changes})  # type: ignore[arg-type]


def _report(*findings: Finding, text: str = TEXT) -> Report:
    return Report(findings=list(findings), files=4, parsed=2, texts={"val.py": text})


def _render(name: str, report: Report, coloured: bool = False) -> str:
    return renderer(name)(report, Style(coloured))


def test_full() -> None:
    assert (
        _render("full", _report(_finding()))
        == """\
EVL001 `model` is in training mode in this validation loop: call `model.eval()` before it
  --> val.py:3:5 in `validate` (warning, high confidence)
   |
 3 |     for x, y in val_loader:
   |     ^^^^^^^^^^^^^^^^^^^^^^^
   |
   | 1. `model.train()` here
 7 | model.train()
   | -------------
   | 2. called here (helpers.py:10:5)
   | 3. forward here
 4 |         model(x)
   |         --------

Found 1 finding in 1 file (4 files checked, 2 of them with PyTorch)"""
    )


def test_full_without_findings() -> None:
    assert _render("full", _report()) == "No findings (4 files checked, 2 of them with PyTorch)"


def test_full_counts_files_with_findings() -> None:
    other = _finding(place=Place("other.py", 1, 1, 1, 2))
    assert _render("full", _report(_finding(), _finding(code="EVL002"), other)).endswith(
        "Found 3 findings in 2 files (4 files checked, 2 of them with PyTorch)"
    )


@pytest.mark.parametrize(
    ("line", "column", "end", "under"),
    [
        ("\tfor x in y:", 2, 13, "    ^^^^^^^^^^^"),
        ("\t\tx = f(\ty)", 9, 11, " " * 14 + "^" * 5),
        ("名前 = model(x)", 6, 14, "       ^^^^^^^^"),
        ("e\u0301 = model(x)", 6, 14, "    ^^^^^^^^"),
        ("\x0cmodel(x)", 2, 10, " ^^^^^^^^"),
        ("model(x)", 9, 9, "        ^"),
        ("model(x)", 90, 95, "        ^"),
    ],
)
def test_the_underline_is_under_what_it_means(line: str, column: int, end: int, under: str) -> None:
    shown = _render("full", _report(_finding(place=Place("val.py", 1, column, 1, end), trail=()), text=line + "\n")).split("\n")
    assert shown[4] == f"  | {under}"


def test_no_file_can_steer_the_terminal() -> None:
    evil = _finding(place=Place("a\x1b[2Jb\n.py", 1, 1, 1, 2), message="`\x1b[31m` here\nthere", function="f\x07", trail=())
    for name in ("full", "concise"):
        shown = _render(name, Report(findings=[evil], files=1, parsed=1, texts={"a\x1b[2Jb\n.py": "x = '\x1b[0m\x9b31m'\n"}))
        assert not set(shown) & set(map(chr, [*range(10), *range(11, 32), *range(127, 160)]))
        assert "a␛[2Jb␊.py:1:1" in shown


def test_a_place_beyond_the_text_has_no_frame() -> None:
    shown = _render("full", _report(_finding(place=Place("val.py", 900, 1, 900, 2), trail=())))
    assert "--> val.py:900:1" in shown
    assert "^" not in shown


def test_concise() -> None:
    assert _render("concise", _report(_finding(), _finding(code="EVL002", message="m"))) == (
        "val.py:3:5: EVL001 `model` is in training mode in this validation loop: call `model.eval()` before it\nval.py:3:5: EVL002 m"
    )
    assert _render("concise", _report()) == ""


def test_json() -> None:
    fix = Fix("safe", (Edit(3, 1, 3, 1, "    model.eval()\n"),))
    report = _report(_finding(fix=fix, trail=_finding().trail[:1]), _finding(trail=()))
    report.errors.append(Problem("nowhere", "No such file or directory"))
    shown = json.loads(_render("json", report))
    expected = {
        "path": "val.py",
        "line": 3,
        "column": 5,
        "end_line": 4,
        "end_column": 17,
        "code": "EVL001",
        "name": "missing-eval",
        "message": "`model` is in training mode in this validation loop: call `model.eval()` before it",
        "confidence": "high",
        "severity": "warning",
        "function": "validate",
        "model": "model",
        "trail": [{"path": "val.py", "line": 7, "column": 1, "note": "`model.train()` here"}],
        "fix": {
            "applicability": "safe",
            "edits": [{"start_line": 3, "start_column": 1, "end_line": 3, "end_column": 1, "text": "    model.eval()\n"}],
        },
    }
    assert shown == {
        "version": 1,
        "findings": [expected, {**expected, "trail": [], "fix": None}],
        "files": 4,
        "parsed": 2,
        "errors": [{"path": "nowhere", "message": "No such file or directory"}],
    }


def test_colours_change_nothing_but_colour() -> None:
    import re

    for name in FORMATS:
        report = _report(_finding(), _finding(severity="error"), _finding(severity="note"))
        coloured = _render(name, report, coloured=True)
        assert ("\x1b" in coloured) is (name not in FOR_PROGRAMS)
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == _render(name, report)


def test_statistics() -> None:
    many = [_finding(code="EVL002", name="missing-no-grad")] * 10
    assert statistics.render(_report(_finding(), *many)) == "10  EVL002  missing-no-grad\n 1  EVL001  missing-eval"
    assert statistics.render(_report()) == ""


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "terminal", "pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_when_output_is_coloured(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], terminal: bool, pipe: bool) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert style_for(_Terminal()).coloured is terminal
    assert style_for(io.StringIO()).coloured is pipe


def test_formats_of_the_command_line_are_those_of_the_registry() -> None:
    from evallint.adapters.cli import FORMAT_NAMES

    assert tuple(FORMATS) == FORMAT_NAMES
