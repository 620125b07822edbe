"""`--fix`, `--unsafe-fixes` and `--diff`, as users run them: what is printed, what is written, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evallint.adapters.fixes import rewrite
from evallint.source.reading import Unreadable

from .examples import CLEAN, MISSING_EVAL, NO_TORCH, SILENCED, environment, evallint

FIXED = MISSING_EVAL.replace(
    "        for x, y in val_loader:\n", "        was_training = model.training\n        model.eval()\n        for x, y in val_loader:\n"
).replace("    return correct\n", "        model.train(was_training)\n    return correct\n")
BY_FLAG = """\
import torch
from torch import nn


def run_epoch(model, loader, optimizer=None):
    for x, y in loader:
        loss = nn.functional.mse_loss(model(x), y)
        if optimizer is not None:
            loss.backward()
            optimizer.step()
        print(loss.item())


def main(train_loader, val_loader):
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(9):
        run_epoch(model, train_loader, optimizer)
        with torch.no_grad():
            run_epoch(model, val_loader)
"""
"""Its fix leaves the model in another mode than before, so it is unsafe."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with one fault."""
    for name, text in {"bad.py": MISSING_EVAL, "good.py": CLEAN, "silenced.py": SILENCED, "plain.py": NO_TORCH}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def texts(folder: Path) -> dict[str, str]:
    """What is in a folder's Python files."""
    return {path.name: path.read_text() for path in folder.glob("*.py")}


def test_fix_writes_the_file_and_nothing_else(folder: Path) -> None:
    before = texts(folder)
    done = evallint("--fix", ".", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "Fixed 1 finding in 1 file\n")
    assert done.stdout.startswith("No findings")
    assert texts(folder) == {**before, "bad.py": FIXED}
    again = evallint("--fix", ".", cwd=folder)
    assert (again.returncode, again.stderr) == (0, "Nothing to fix\n")
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".evallint_cache")) == sorted(before)


def test_diff_changes_nothing_and_git_can_apply_it(folder: Path) -> None:
    before = texts(folder)
    done = evallint("--diff", ".", cwd=folder)
    assert (done.returncode, done.stderr) == (1, "Would fix 1 finding in 1 file\n")
    assert texts(folder) == before
    subprocess.run(["git", "apply", "-p0", "-"], cwd=folder, input=done.stdout, text=True, check=True)
    assert texts(folder) == {**before, "bad.py": FIXED}
    clean = evallint("--diff", ".", cwd=folder)
    assert (clean.returncode, clean.stdout, clean.stderr) == (0, "", "Nothing to fix\n")


def test_unsafe_fixes_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(BY_FLAG)
    safe = evallint("--fix", "x.py", cwd=tmp_path)
    assert (safe.returncode, safe.stderr) == (1, "Nothing to fix (1 more with --unsafe-fixes)\n")
    assert "EVL001" in safe.stdout and (tmp_path / "x.py").read_text() == BY_FLAG
    shown = evallint("--diff", "--unsafe-fixes", "x.py", cwd=tmp_path)
    assert (shown.returncode, "+    model.train(optimizer is not None)\n" in shown.stdout) == (1, True)
    done = evallint("--fix", "--unsafe-fixes", "x.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "Fixed 1 finding in 1 file\n")
    assert "    model.train(optimizer is not None)\n    for x, y in loader:\n" in (tmp_path / "x.py").read_text()


def test_what_is_left_is_reported_as_it_stands_after_fixing(folder: Path) -> None:
    (folder / "bad.py").write_text(MISSING_EVAL + BY_FLAG.partition("\n\n\n")[2])
    done = evallint("--fix", "--output-format", "concise", "bad.py", cwd=folder)
    line = (folder / "bad.py").read_text().splitlines().index("    for x, y in loader:") + 1
    assert done.returncode == 1
    assert done.stdout.startswith(f"bad.py:{line}:5: EVL001 ") and done.stdout.count("\n") == 1
    assert evallint("--fix", "--exit-zero", "bad.py", cwd=folder).returncode == 0


def test_standard_input_is_fixed_to_standard_output(folder: Path) -> None:
    done = evallint("--fix", "-", cwd=folder, stdin=MISSING_EVAL.encode())
    assert (done.returncode, done.stdout) == (0, FIXED)
    assert "Fixed 1 finding" in done.stderr and "No findings" in done.stderr
    untouched = evallint("--fix", "-", cwd=folder, stdin=NO_TORCH.encode())
    assert (untouched.returncode, untouched.stdout) == (0, NO_TORCH)
    shown = evallint("--diff", "--stdin-filename", "net.py", "-", cwd=folder, stdin=MISSING_EVAL.encode())
    assert shown.returncode == 1 and shown.stdout.startswith("--- net.py\n+++ net.py\n")


@pytest.mark.parametrize(
    ("mark", "coding", "end"),
    [
        (b"\xef\xbb\xbf", "utf-8", "\n"),
        (b"", "latin-1", "\n"),
        (b"", "utf-8", "\r\n"),
        (b"\xef\xbb\xbf", "utf-8", "\r\n"),
    ],
)
def test_encoding_and_line_ends_stay(tmp_path: Path, mark: bytes, coding: str, end: str) -> None:
    first = f"# -*- coding: {coding} -*-\nNAME = 'Größe'\n"
    file = tmp_path / "x.py"
    file.write_bytes(mark + (first + MISSING_EVAL).replace("\n", end).encode(coding))
    assert evallint("--fix", "x.py", cwd=tmp_path).returncode == 0
    assert file.read_bytes() == mark + (first + FIXED).replace("\n", end).encode(coding)


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "code" / "x.py", tmp_path / "link.py"
    target.parent.mkdir()
    target.write_text(MISSING_EVAL)
    target.chmod(0o750)
    link.symlink_to(target)
    assert evallint("--fix", "link.py", cwd=tmp_path).returncode == 0
    assert link.is_symlink() and target.read_text() == FIXED
    assert target.stat().st_mode & 0o777 == 0o750
    assert os.listdir(target.parent) == ["x.py"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(MISSING_EVAL)
    (tmp_path / "x.py").chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        done = evallint("--fix", "--no-cache", "x.py", cwd=tmp_path)
    finally:
        tmp_path.chmod(0o755)
    assert done.returncode == 2
    assert "evallint: error: x.py: cannot be written: Permission denied" in done.stderr


def test_a_file_that_has_changed_since_it_was_read_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("print()\n")
    with pytest.raises(Unreadable, match="changed in the meantime"):
        rewrite(str(file), MISSING_EVAL, FIXED)
    assert file.read_text() == "print()\n" and os.listdir(tmp_path) == ["x.py"]


def test_json_carries_the_fix(folder: Path) -> None:
    done = evallint("--output-format", "json", "bad.py", cwd=folder)
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["fix"]["applicability"] == "safe"
    assert [edit["start_line"] for edit in finding["fix"]["edits"]] == [15, 17]
    rows = MISSING_EVAL.splitlines(keepends=True)
    for edit in reversed(finding["fix"]["edits"]):
        assert edit["start_column"] == edit["end_column"] == 1
        rows[edit["start_line"] - 1 : edit["end_line"] - 1] = [edit["text"]]
    assert "".join(rows) == FIXED


def test_files_of_a_program_are_fixed_together(tmp_path: Path) -> None:
    network, evaluation = MISSING_EVAL.split("def validate", 1)
    body, training = evaluation.split("def main", 1)
    (tmp_path / "net.py").write_text(network)
    (tmp_path / "check.py").write_text(f"import torch\n\n\ndef validate{body}".rstrip() + "\n")
    (tmp_path / "train.py").write_text(
        f"import torch\nfrom torch import nn\nfrom check import validate\nfrom net import Net\n\n\ndef main{training}"
    )
    done = evallint("--fix", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "Fixed 1 finding in 1 file\n")
    assert "        model.eval()\n" in (tmp_path / "check.py").read_text()


def test_nothing_is_imported_for_fixes_that_nobody_asks_for(folder: Path) -> None:
    code = "import sys\nfrom evallint.adapters.cli import main\nmain(['--no-cache', 'bad.py'])\n"
    code += "assert 'evallint.fixes.proposals' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_fix_takes_comments_away_that_silence_nothing(tmp_path: Path) -> None:
    text = MISSING_EVAL.replace("    correct = 0\n", "    # noqa: EVL003\n    correct = 0  # noqa: EVL002, E501\n")
    text = text.replace("def main", "# noqa: EVL001\ndef main").replace("    model = Net()\n", "    model = Net()  # noqa: E501\n")
    (tmp_path / "bad.py").write_text(text)
    (tmp_path / "plain.py").write_text("x = 1  # noqa: EVL002\n")
    asked = ("--extend-select", "EVL910", ".")
    seen = evallint("--diff", *asked, cwd=tmp_path)
    done = evallint("--fix", *asked, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "Fixed 5 findings in 2 files\n")
    assert texts(tmp_path) == {
        "bad.py": FIXED.replace("correct = 0\n", "correct = 0  # noqa: E501\n").replace("= Net()\n", "= Net()  # noqa: E501\n"),
        "plain.py": "x = 1\n",
    }
    assert (seen.returncode, seen.stderr) == (1, "Would fix 5 findings in 2 files\n")
    assert evallint("--fix", *asked, cwd=tmp_path).stderr == "Nothing to fix\n"


def test_what_is_left_is_told_where_it_is_without_the_comments(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("# noqa: EVL003\n" + BY_FLAG)
    done = evallint("--fix", "--extend-select", "EVL910", "--output-format", "json", ".", cwd=tmp_path)
    assert (tmp_path / "bad.py").read_text() == BY_FLAG
    plain = evallint("--fix", "--output-format", "json", ".", cwd=tmp_path)
    assert json.loads(done.stdout)["findings"] == json.loads(plain.stdout)["findings"] != []
