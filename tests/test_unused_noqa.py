"""EVL910: comments that silence nothing, told on request, and what removing them leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evallint import Settings, lint_paths, lint_source
from evallint.finding import Edit, Finding
from evallint.linting import Text, lint_text
from tests.examples import CLEAN, LINE, MISSING_EVAL, NO_TORCH, SILENCED, evallint

ASKED = Settings(extend_select=("EVL910",))


def _applied(text: str, findings: list[Finding]) -> str:
    """The text with the fixes of all findings, from the last to the first."""
    lines = text.splitlines(keepends=True)
    edits: list[Edit] = [edit for finding in findings if finding.fix for edit in finding.fix.edits]
    for edit in sorted(edits, key=lambda e: (e.start_line, e.start_column), reverse=True):
        after = lines[edit.end_line - 1][edit.end_column - 1 :] if edit.end_line <= len(lines) else ""
        lines[edit.start_line - 1 : edit.end_line] = [lines[edit.start_line - 1][: edit.start_column - 1] + edit.text + after]
    return "".join(lines)


@pytest.mark.parametrize(
    ("line", "fixed"),
    [
        ("x = 1  # noqa: EVL001", "x = 1"),
        ("x = 1  # noqa:EVL001", "x = 1"),
        ("x = 1  # NoQA: evl001", "x = 1"),
        ("x = 1  # noqa: EVL001,EVL002", "x = 1"),
        ("x = 1  # noqa: EVL0", "x = 1"),
        ("x = 1  # noqa: EVL555", "x = 1"),
        ("x = 1  # noqa: E501, EVL001", "x = 1  # noqa: E501"),
        ("x = 1  # noqa: EVL001 E501,F401", "x = 1  # noqa: E501, F401"),
        ("x = 1  # noqa:EVL001,E501 they say", "x = 1  # noqa:E501 they say"),
        ("x = 1  # noqa: EVL001 they say", "x = 1  # they say"),
        ("x = 1  # noqa: EVL001 - they say", "x = 1  # they say"),
        ("x = 1  # noqa: EVL001  # they say", "x = 1  # they say"),
        ("x = 1  # type: ignore # noqa: EVL001", "x = 1  # type: ignore"),
        ("    # noqa: EVL001\nx = 1", "x = 1"),
        ("# flake8: noqa: EVL001\nx = 1", "x = 1"),
        ('x = """\na\n"""  # noqa: EVL001', 'x = """\na\n"""'),
        ("if x:\n\ty = 'é'  # noqa: EVL003", "if x:\n\ty = 'é'"),
    ],
)
def test_a_comment_that_silences_nothing(line: str, fixed: str) -> None:
    text = f"{line}\n"
    found = lint_text(text, "x.py", ASKED)
    assert [(f.code, f.name, f.severity) for f in found] == [("EVL910", "unused-noqa", "warning")]
    assert found[0].fix is not None
    assert found[0].fix.applicability == "safe"
    assert _applied(text, found) == f"{fixed}\n"
    assert lint_text(f"{fixed}\n", "x.py", ASKED) == []


@pytest.mark.parametrize(
    "text",
    [
        "x = 1  # noqa",
        "x = 1  # noqa: E501",
        "x = 1  # noqa: because",
        "x = 1  # noqa: EVL001, EVL910",
        "x = 1  # noqa: EVL910",
        "# flake8: noqa\nx = 1  # noqa: EVL001",
        "# flake8: noqa: EVL910\nx = 1  # noqa: EVL001",
        "x = '# noqa: EVL001'",
        '"""Write `# noqa: EVL001` there."""',
        "def f(:  # noqa: EVL001",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert [f for f in lint_text(text, "x.py", ASKED) if f.code != "EVL900"] == []


def test_the_place_is_the_comment() -> None:
    (found,) = lint_text("x = 1  # see # noqa: F401,EVL002 there\n", "x.py", ASKED)
    assert (found.place.line, found.place.column, found.place.end_column) == (1, 14, 33)
    assert "EVL002" in found.message
    assert "F401" not in found.message


def test_on_request_alone() -> None:
    text = "x = 1  # noqa: EVL001\n"
    assert lint_source(text, "x.py") == []
    for settings in (Settings(select=("EVL",)), Settings(select=("EVL9",)), Settings(extend_select=("EVL91",))):
        assert lint_text(text, "x.py", settings) == [], "the code must be named in full"
    both = Settings(select=("EVL001", "EVL910"))
    assert [f.code for f in lint_text(text, "x.py", both)] == ["EVL910"]
    assert lint_text(text, "x.py", Settings(extend_select=("EVL910",), ignore=("EVL910",))) == []
    assert lint_text(text, "x.py", ASKED, noqa=False) == [], "where comments do not count, none is unused"


@pytest.mark.parametrize(
    "settings",
    [
        Settings(select=("EVL002", "EVL910")),
        Settings(extend_select=("EVL910",), ignore=("EVL0",)),
        Settings(extend_select=("EVL910",), per_file_ignores=(("x.py", ("EVL001",)),)),
        Settings(extend_select=("EVL910",), per_file_ignores=(("x.py", ("EVL910",)),)),
        Settings(extend_select=("EVL910",), severity="error"),
    ],
)
def test_codes_that_are_not_looked_for_are_not_unused(settings: Settings) -> None:
    assert lint_text("x = 1  # noqa: EVL001\n", "x.py", settings) == []


def test_a_comment_that_silences_something() -> None:
    assert lint_text(SILENCED, "x.py", ASKED) == []
    more = SILENCED.replace("# noqa: EVL001", "# noqa: EVL001, EVL002")
    (found,) = lint_text(more, "x.py", ASKED)
    assert "EVL002" in found.message
    assert _applied(more, [found]) == SILENCED
    for settings in (Settings(extend_select=("EVL910",), severity="warning"), Settings(extend_select=("EVL910",), confidence="high")):
        assert lint_text(SILENCED, "x.py", settings) == [], "a finding that is not shown is a use of its comment"
    whole = "# flake8: noqa: EVL001\n" + MISSING_EVAL
    assert lint_text(whole, "x.py", ASKED) == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which three comments silence nothing, one of them in a file without PyTorch and one in a settled folder."""
    (tmp_path / "bad.py").write_text(MISSING_EVAL)
    (tmp_path / "silenced.py").write_text(SILENCED)
    (tmp_path / "mended.py").write_text(CLEAN.replace("in val_loader:\n", "in val_loader:  # noqa: EVL001\n"))
    (tmp_path / "plain.py").write_text(NO_TORCH.replace("import json", "import json  # noqa: EVL002"))
    (tmp_path / "blanket.py").write_text("import json  # noqa\n")
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked" / "evallint.toml").write_text('extend-select = ["EVL910"]\n')
    (tmp_path / "asked" / "plain.py").write_text("import json  # noqa: EVL003\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _found(folder: Path, *arguments: str, **changes: str) -> list[tuple[str, int, str]]:
    done = evallint("--output-format", "json", *arguments, cwd=folder, **changes)
    assert done.stderr == ""
    return [(f["path"], f["line"], f["code"]) for f in json.loads(done.stdout)["findings"]]


def test_folders_with_and_without_the_cache(folder: Path) -> None:
    cache = {"EVALLINT_CACHE_DIR": str(folder / "cache")}
    asked = [("asked/plain.py", 1, "EVL910"), ("bad.py", LINE, "EVL001")]
    everywhere = [*asked, ("mended.py", LINE + 1, "EVL910"), ("plain.py", 1, "EVL910")]
    for _ in range(2):  # the second run knows the whole answer
        assert _found(folder, ".", **cache) == asked
        assert _found(folder, "--extend-select", "EVL910", ".", **cache) == everywhere
    assert _found(folder, "--no-cache", "--extend-select", "EVL910", ".") == everywhere
    assert _found(folder, "--extend-select", "EVL910", "plain.py", "blanket.py") == [("plain.py", 1, "EVL910")]
    (folder / "plain.py").write_text(NO_TORCH)
    assert _found(folder, "--extend-select", "EVL910", ".", **cache) == everywhere[:-1]


def test_full_output_shows_the_comment(folder: Path) -> None:
    done = evallint("--extend-select", "EVL910", "plain.py", cwd=folder)
    assert done.returncode == 1
    assert done.stdout.splitlines()[3:5] == ["1 | import json  # noqa: EVL002", "  |              ^^^^^^^^^^^^^^"]


def test_texts_in_place_of_files(folder: Path) -> None:
    report = lint_paths(["plain.py"], changes={"extend_select": ("EVL910",)}, texts=[Text("plain.py", b"x = 1  # noqa: EVL003\n")])
    (found,) = report.findings
    assert (found.place.path, "EVL003" in found.message) == ("plain.py", True)


def test_pages() -> None:
    for word in ("EVL910", "unused-noqa", "EVL900"):
        assert evallint("rule", word, cwd=Path.cwd()).returncode == 0
