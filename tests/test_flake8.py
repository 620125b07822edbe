"""The plugin inside the real flake8: the same findings at the same places as the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import CLEAN, COLUMN, LINE, MISSING_EVAL, NO_TORCH, SILENCED, evallint, run

ROW = re.compile(r"(?P<path>[^:]+):(?P<line>\d+):(?P<column>\d+): (?P<code>\w+) (?P<message>.*)")


def _flake8(*arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "flake8", "--isolated", *arguments, cwd=cwd, stdin=stdin)


def _places(output: str) -> list[tuple[str, int, int, str]]:
    rows = [ROW.fullmatch(line) for line in output.splitlines()]
    return [(row["path"].removeprefix("./"), int(row["line"]), int(row["column"]), row["code"]) for row in rows if row]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with one file of each kind."""
    for name, text in {"bad.py": MISSING_EVAL, "good.py": CLEAN, "silenced.py": SILENCED, "plain.py": NO_TORCH}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_it_is_registered(tmp_path: Path) -> None:
    assert re.search(r"\bevallint: \d+\.\d+", _flake8("--version", cwd=tmp_path).stdout)


def test_the_same_as_the_command_line(folder: Path) -> None:
    done = _flake8("--select", "EVL", ".", cwd=folder)
    assert done.returncode == 1
    assert done.stderr == ""
    assert _places(done.stdout) == [("bad.py", LINE, COLUMN, "EVL001")]
    (ours,) = json.loads(evallint("--output-format", "json", ".", cwd=folder).stdout)["findings"]
    assert done.stdout == f"./bad.py:{ours['line']}:{ours['column']}: {ours['code']} {ours['message']}\n"


def test_without_options_it_speaks_beside_the_others(folder: Path) -> None:
    (folder / "bad.py").write_text("import os\n" + MISSING_EVAL)
    codes = {code for _, _, _, code in _places(_flake8("bad.py", cwd=folder).stdout)}
    assert {"EVL001", "F401"} <= codes


def test_selection_and_noqa_are_those_of_flake8(folder: Path) -> None:
    assert _flake8("--select", "EVL002", ".", cwd=folder).stdout == ""
    assert _flake8("--select", "EVL", "--extend-ignore", "EVL001", ".", cwd=folder).stdout == ""
    assert _flake8("--select", "EVL", "silenced.py", cwd=folder).stdout == ""
    shown = _flake8("--select", "EVL", "--disable-noqa", "silenced.py", cwd=folder).stdout
    assert _places(shown) == [("silenced.py", LINE, COLUMN, "EVL001")]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + MISSING_EVAL.encode(),
        MISSING_EVAL.replace("\n", "\r\n").encode(),
        MISSING_EVAL.replace("def validate", "\x0cdef validate").encode(),
        MISSING_EVAL.replace("import torch\nfrom", "# coding: latin-1 é\nimport torch; from").encode("latin-1"),
    ],
)
def test_encodings_and_line_ends(folder: Path, data: bytes) -> None:
    (folder / "bad.py").write_bytes(data)
    assert _places(_flake8("--select", "EVL", "bad.py", cwd=folder).stdout) == [("bad.py", LINE, COLUMN, "EVL001")]


def test_parallel_jobs(folder: Path) -> None:
    for number in range(12):
        (folder / f"bad{number:02}.py").write_text(MISSING_EVAL)
    alone = _flake8("--select", "EVL", "--jobs", "1", ".", cwd=folder)
    together = _flake8("--select", "EVL", "--jobs", "3", ".", cwd=folder)
    assert len(alone.stdout.splitlines()) == 13
    assert together.stdout == alone.stdout
    assert together.stderr == ""


def test_standard_input(folder: Path) -> None:
    shown = _flake8("--select", "EVL", "--stdin-display-name", "x.py", "-", cwd=folder, stdin=MISSING_EVAL.encode()).stdout
    assert _places(shown) == [("x.py", LINE, COLUMN, "EVL001")]


def test_settings_of_the_project_hold(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.evallint.per-file-ignores]\n"bad.py" = ["EVL001"]\n')
    assert _flake8("--select", "EVL", ".", cwd=folder).stdout == ""


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ("", True),
        ('per-file-ignores = {"bad.py" = ["EVL001"]}', False),
        ('ignore = ["EVL001"]', False),
        ('select = ["EVL002"]', False),
        ('select = ["EVL001", "EVL910"]', True),
        ('severity = "error"', False),
        ('confidence = "high"', True),
        ('extend-exclude = ["b*.py"]', False),
        ('extend-exclude = ["c*.py"]', True),
    ],
)
@pytest.mark.parametrize("name", ["evallint.toml", ".evallint.toml", "pyproject.toml"])
def test_the_same_settings_as_the_command_line(folder: Path, name: str, table: str, shown: bool) -> None:
    (folder / name).write_text(f"[tool.evallint]\n{table}\n" if name == "pyproject.toml" else table)
    (folder / "bad.py").write_text(MISSING_EVAL + "x = 1  # noqa: EVL003\n")
    wanted = [("bad.py", LINE, COLUMN, "EVL001")] if shown else []
    assert _places(_flake8("--select", "EVL", "bad.py", cwd=folder).stdout) == wanted, "comments are flake8's affair: no EVL910"
    ours = json.loads(evallint("--output-format", "json", "--force-exclude", "bad.py", cwd=folder).stdout)["findings"]
    assert [(f["path"], f["line"], f["column"], f["code"]) for f in ours if f["code"] != "EVL910"] == wanted


def test_models_and_contexts_of_the_user(folder: Path) -> None:
    calm = MISSING_EVAL.replace("import torch\n", "import torch; from acme import quietly\n", 1)
    (folder / "bad.py").write_text(calm.replace("torch.no_grad():", "torch.no_grad(), quietly(model):"))
    assert [row[3] for row in _places(_flake8("--select", "EVL", "bad.py", cwd=folder).stdout)] == ["EVL001"]
    (folder / "evallint.toml").write_text('restoring-contexts = ["acme.quietly"]\n')
    assert _flake8("--select", "EVL", "bad.py", cwd=folder).stdout == ""


def test_a_mistake_in_the_settings_is_said_where_flake8_shows_it(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.evallint]\nselekt = []\n")
    done = _flake8("--select", "EVL", "bad.py", "plain.py", cwd=folder)
    assert _places(done.stdout) == [("bad.py", 1, 1, "EVL900")]
    assert "pyproject.toml: tool.evallint: unknown key 'selekt'" in done.stdout
    assert done.stderr == ""


def test_a_broken_file_is_flake8s_own_affair(folder: Path) -> None:
    (folder / "bad.py").write_text("import torch\ndef f(:\n")
    assert {code for _, _, _, code in _places(_flake8("--select", "EVL,E9", "bad.py", cwd=folder).stdout)} == {"E999"}


IMPORTS = """
import sys
from flake8.main.cli import main
status = main(["--isolated", "--jobs", "1", "--select", "EVL", sys.argv[1]])
print(status, *sorted(m for m in ("libcst", "evallint.analysis", "pathspec", "torch") if m in sys.modules))
"""


@pytest.mark.parametrize(("name", "imported"), [("plain.py", "0"), ("good.py", "0 evallint.analysis libcst")])
def test_nothing_heavy_is_imported_without_need(folder: Path, name: str, imported: str) -> None:
    done = run(sys.executable, "-c", IMPORTS, name, cwd=folder, EVALLINT_NO_CACHE="1")
    assert done.stdout.splitlines()[-1] == imported, done.stderr
