"""What the language server is made of, without the protocol: texts, drifting findings, comments, fixes, memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from evallint.cache.memory import Latest, Memory
from evallint.editor import actions
from evallint.editor.checking import Checker, Job
from evallint.editor.drift import carried, reads_the_same
from evallint.editor.text import Unit, column, edited, position
from evallint.finding import Edit, Fix
from evallint.linting import Text, lint_paths, lint_source
from evallint.source.noqa import silencing
from tests.examples import CLEAN, LINE, MISSING_EVAL

LOOP = "for x, y in val_loader:"
UNITS: tuple[Unit, ...] = ("utf-8", "utf-16", "utf-32")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("text", ["", "a", "é🙂b\r\n🙂🙂\rz\n", "\x0c\u2028x\n\ud83d!"])
def test_positions_there_and_back(text: str, unit: Unit) -> None:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        for at in range(1, len(line) + 2):
            assert column(lines, position(lines, number, at, unit), unit) == (number, at)


@pytest.mark.parametrize("unit", UNITS)
def test_edits_beyond_the_text_are_brought_to_its_edge(unit: Unit) -> None:
    assert edited("ab\ncd", (0, 99), (0, 99), "!", unit) == "ab!\ncd"
    assert edited("ab\r\ncd", (0, 1), (1, 1), "-", unit) == "a-d"
    assert edited("ab\ncd", (7, 0), (9, 9), "\nef", unit) == "ab\ncd\nef"
    assert edited("ab", (0, 2), (0, 0), "c", unit) == "abc", "the end before the start"


def test_findings_move_with_their_lines() -> None:
    (finding,) = lint_source(MISSING_EVAL, "train.py")
    (moved,) = carried([finding], MISSING_EVAL, "#\n#\n" + MISSING_EVAL)
    assert (moved.place.line, moved.place.column) == (LINE + 2, finding.place.column)
    assert [step.place.line - 2 for step in moved.trail] == [step.place.line for step in finding.trail]
    assert carried([finding], MISSING_EVAL, MISSING_EVAL.replace(LOOP, LOOP + " ")) == []
    assert carried([finding], MISSING_EVAL, "") == []


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (LOOP, LOOP + "  # why", True),
        ("import torch\n", "import torch  \n", True),
        (LOOP, LOOP + "  # noqa", False),
        (LOOP, "for x, y in  val_loader:", False),
        (LOOP, "for x, z in val_loader:", False),
        (LOOP, LOOP + "\n", False),
        (LOOP, "for x, y in (", False),
        ("import torch\n", 'import torch; """\n', False),
    ],
)
def test_what_the_analysis_does_not_read(old: str, new: str, same: bool) -> None:
    assert reads_the_same(MISSING_EVAL, MISSING_EVAL.replace(old, new, 1)) is same


@pytest.mark.parametrize(
    ("loop", "comment"),
    [
        (LOOP, "  # noqa: EVL001"),
        (LOOP + "   ", "  # noqa: EVL001"),
        (LOOP + "  # noqa: E501", ", EVL001"),
        (LOOP + "  # noqa:E501,W1 and why", ", EVL001"),
        (LOOP + "  # type: ignore", "  # noqa: EVL001"),
        ("for x, y in \\\n            val_loader:", "  # noqa: EVL001"),
        ('for x, y in val_loader["""\n        """]:', "  # noqa: EVL001"),
    ],
)
def test_the_comment_is_put_where_it_is_honoured(loop: str, comment: str) -> None:
    text = MISSING_EVAL.replace(LOOP, loop)
    (finding,) = lint_source(text, "train.py")
    edit = silencing(text, finding)
    assert edit is not None
    assert edit.text == comment
    after = edited(text, (edit.start_line - 1, edit.start_column - 1), (edit.end_line - 1, edit.end_column - 1), edit.text, "utf-32")
    assert lint_source(after, "train.py") == []


def test_fixes_that_overlap_are_not_both_made() -> None:
    (finding,) = lint_source(MISSING_EVAL, "train.py")

    def fixed(applicability: str, *edits: Edit) -> object:
        return finding.__class__(finding.place, finding.code, finding.name, "", fix=Fix(applicability, edits))  # type: ignore[arg-type]

    insert, other = Edit(13, 1, 13, 1, "    model.eval()\n"), Edit(13, 1, 13, 1, "    net.eval()\n")
    far, wide = Edit(20, 1, 20, 5, "x"), Edit(19, 1, 20, 2, "y")
    rows = [
        fixed("safe", insert),
        fixed("safe", insert),
        fixed("unsafe", wide),
        fixed("safe", other),
        fixed("safe", far),
        fixed("safe", wide),
    ]
    assert actions.all_safe(rows) == [insert, far]  # type: ignore[arg-type]
    assert actions.title(finding, Fix("safe", (insert,))) == "evallint: insert `model.eval()`"
    assert actions.title(finding, Fix("unsafe", (far, wide))) == "evallint: fix EVL001 (missing-eval) (unsafe)"


def test_memory_changes_no_answer(tmp_path: Path) -> None:
    """A text is edited step by step, with what is kept of the steps before and without."""
    path = str(tmp_path / "train.py")
    memory = Memory()
    texts = [MISSING_EVAL, CLEAN, "\n" + MISSING_EVAL, MISSING_EVAL.replace("0.5", "0.0"), MISSING_EVAL, MISSING_EVAL + "x = (\n", CLEAN]
    for text in texts:
        kept = lint_paths((), texts=[Text(path, text)], cache=memory)
        assert kept.findings == lint_paths((), texts=[Text(path, text)]).findings


def test_the_table_forgets_what_was_not_used() -> None:
    table: Latest[str] = Latest(10)
    for key in "abc":
        table.put(key, key, 4)
        table.get("a")
    assert [table.get(key) for key in "abc"] == ["a", None, "c"]
    table.put("huge", "h", 99)
    assert [table.get(key) for key in ("a", "c", "huge")] == [None, None, "h"]


def test_typing_through_a_program_gives_the_answers_of_the_command_line(tmp_path: Path) -> None:
    """Every version of the text on the way, character by character, as the server checks it and as a new process would."""
    path = str(tmp_path / "train.py")
    checker, before = Checker(), None
    at = CLEAN.index("    model.eval()")
    for length in range(len("    model.eval()  # so") + 1):
        text = CLEAN[:at] + "    model.eval()  # so"[:length] + CLEAN[at + len("    model.eval()") :]
        before = checker.check(Job(path, text, "typed", before=before))
        expected = lint_paths((), texts=[Text(path, text)]).findings
        if any(finding.code == "EVL900" for finding in expected):
            assert not before.complete
        else:
            assert before.findings == expected
