"""Baselines on the command line: old findings are left out, new ones are not, and what is found no more can be taken off."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.examples import evallint
from tests.pull_request import BASE, EVALUATE, LEGACY, OLD_BUG, TRAIN, git, repository, write

ANOTHER = (
    LEGACY.replace("legacy_loss", "another_loss").replace("inputs, targets", "images, labels").replace("model(inputs)", "model(images)")
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two old bugs in two files, and a baseline of them."""
    write(tmp_path, {**BASE, "sub/another.py": ANOTHER})
    done = evallint("--write-baseline", "old.json", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "evallint: 2 findings written to old.json\n")
    return tmp_path


def shown(folder: Path, *arguments: str, said: str = "") -> list[tuple[str, int]]:
    """The paths and lines that are reported with the baseline, of which nothing else may be said."""
    done = evallint("--output-format", "json", "--baseline", "old.json", *(arguments or (".",)), cwd=folder)
    assert done.stderr == said
    rows = [(f["path"], f["line"]) for f in json.loads(done.stdout)["findings"]]
    assert done.returncode == (1 if rows else 0)
    return rows


def test_a_baseline_is_plain_and_stable(project: Path) -> None:
    text = (project / "old.json").read_text()
    whole = json.loads(text)
    assert whole["version"] == 1
    rows = [(row["path"], row["code"], row["function"], row["model"]) for row in whole["findings"]]
    assert rows == [("legacy.py", "EVL002", "legacy_loss", "model"), ("sub/another.py", "EVL002", "another_loss", "model")]
    assert "line" not in text
    write(project, {"legacy.py": "\n\n" + LEGACY})
    evallint("--write-baseline", "old.json", "sub", "legacy.py", cwd=project)
    assert (project / "old.json").read_text() == text


def test_old_findings_are_left_out(project: Path) -> None:
    assert shown(project) == []
    assert shown(project, "legacy.py") == []
    write(project, {"legacy.py": "import os\n" + LEGACY.replace("text", "words")})
    assert shown(project) == [], "lines put in, and names elsewhere"
    write(project, {"legacy.py": LEGACY.replace(OLD_BUG, OLD_BUG.replace(":\n", ":  # all\n"))})
    assert shown(project) == [], "a comment"


def test_new_ones_are_not(project: Path) -> None:
    write(project, {"new.py": LEGACY.replace("inputs, targets", "x, y").replace("model(inputs)", "model(x)")})
    assert shown(project) == [("new.py", 15)]
    write(project, {"new.py": "", "train.py": TRAIN.replace("        model.eval()\n", "")})
    assert shown(project) == [("evaluate.py", 7)]


def test_an_entry_stands_for_one_finding(project: Path) -> None:
    write(project, {"twin.py": LEGACY})
    assert shown(project) == [("twin.py", 15)], "the entry is that of legacy.py"
    assert shown(project, "twin.py") == [("twin.py", 15)], "and legacy.py is there, if it was not linted"
    (project / "legacy.py").unlink()
    assert shown(project) == [], "a file that moved"
    assert shown(project, "twin.py") == []


def test_a_function_that_moves_takes_its_entry_along(project: Path) -> None:
    function = LEGACY[LEGACY.index("def legacy_loss") : LEGACY.index("def shout")]
    write(project, {"legacy.py": LEGACY.replace(function, ""), "evaluate.py": "from models import Net\n" + EVALUATE + "\n\n" + function})
    assert shown(project) == []


def test_stale_entries_are_told_and_pruned(project: Path) -> None:
    fixed = LEGACY.replace("def legacy", "@torch.no_grad()\ndef legacy")
    write(project, {"legacy.py": fixed})
    told = "evallint: 1 entry of old.json matches nothing any more (--prune-baseline removes them)\n"
    assert shown(project, said=told) == []
    assert shown(project, "sub") == [], "a file that was not linted may still have its bug"
    text = (project / "old.json").read_text()
    assert shown(project, "--prune-baseline", "sub") == []
    assert (project / "old.json").read_text() == text
    assert shown(project, "--prune-baseline", ".", said="evallint: 1 entry of old.json removed\n") == []
    assert [row["path"] for row in json.loads((project / "old.json").read_text())["findings"]] == ["sub/another.py"]
    assert shown(project) == []
    (project / "sub" / "another.py").unlink()
    assert shown(project, said=told) == [], "a file that is gone"


def test_what_settings_hide_is_not_stale(project: Path) -> None:
    assert shown(project, "--select", "EVL001", ".") == []
    assert shown(project, "--ignore", "EVL", "--prune-baseline", ".") == []
    write(project, {"pyproject.toml": '[tool.evallint]\nexclude = ["sub"]\n[tool.evallint.per-file-ignores]\n"legacy.py" = ["EVL"]\n'})
    assert shown(project) == []


def test_what_is_found_on_request_alone_is_not_stale(project: Path) -> None:
    write(project, {"evaluate.py": EVALUATE.replace("correct = 0", "correct = 0  # noqa: EVL003")})
    evallint("--write-baseline", "old.json", "--extend-select", "EVL910", ".", cwd=project)
    assert "EVL910" in (project / "old.json").read_text()
    assert shown(project) == []
    assert shown(project, "--extend-select", "EVL910", ".") == []


def test_from_any_folder_and_by_any_path(project: Path) -> None:
    done = evallint("--baseline", "../old.json", "..", cwd=project / "sub")
    assert (done.returncode, done.stderr) == (0, "")
    done = evallint("--baseline", str(project / "old.json"), str(project), cwd=project.parent)
    assert (done.returncode, done.stderr) == (0, "")
    (project / "ci").mkdir()
    evallint("--write-baseline", "ci/old.json", ".", cwd=project)
    assert json.loads((project / "ci/old.json").read_text())["findings"][0]["path"] == "../legacy.py"
    assert evallint("--baseline", "ci/old.json", ".", cwd=project).returncode == 0


def test_with_a_diff(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project")
    evallint("--write-baseline", "old.json", ".", cwd=folder)
    write(folder, {"legacy.py": LEGACY.replace("total = 0.0", "total = 0"), "new.py": ANOTHER})
    git(folder, "add", "--all")
    assert shown(folder, "--diff-base", "main", ".") == [("new.py", 15)]
    write(folder, {"legacy.py": LEGACY.replace("model(inputs)", "model(inputs + 0)")})
    assert shown(folder, "--diff-base", "main", ".") == [("new.py", 15)], "the loop is that of the baseline"


def test_comments_go_first(project: Path) -> None:
    write(project, {"legacy.py": LEGACY.replace(OLD_BUG, OLD_BUG.replace(":\n", ":  # noqa\n"))})
    assert shown(project, said="evallint: 1 entry of old.json matches nothing any more (--prune-baseline removes them)\n") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read the baseline old.json: No such file"),
        ("{", "not JSON"),
        ("[]", "not a baseline"),
        ('{"version": 1, "findings": []}', "not a baseline"),
        ('{"version": 99, "fingerprints": 1, "findings": []}', "another version"),
        ('{"version": 1, "fingerprints": 99, "findings": []}', "another version"),
        ('{"version": 1, "fingerprints": 1, "findings": [{"path": 3}]}', "damaged: entry 1"),
    ],
)
def test_a_baseline_that_cannot_be_used(project: Path, text: str | None, said: str) -> None:
    (project / "old.json").unlink()
    if text is not None:
        write(project, {"old.json": text})
    done = evallint("--baseline", "old.json", ".", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_fails_writes_and_prunes_nothing(project: Path) -> None:
    text = (project / "old.json").read_text()
    write(project, {"legacy.py": ""})
    assert evallint("--write-baseline", "old.json", ".", "nowhere", cwd=project).returncode == 2
    assert evallint("--baseline", "old.json", "--prune-baseline", ".", "nowhere", cwd=project).returncode == 2
    assert (project / "old.json").read_text() == text
    done = evallint("--write-baseline", os.path.join("nowhere", "old.json"), ".", cwd=project)
    assert (done.returncode, "nowhere" in done.stderr) == (2, True)
    assert evallint("--prune-baseline", ".", cwd=project).returncode == 2
    assert evallint("--baseline", "old.json", "--write-baseline", "old.json", ".", cwd=project).returncode == 2
