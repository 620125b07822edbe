"""Diffs: read as git and others write them, put onto the files, and what the command line makes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evallint.changes.diff import Block, DiffError, DoesNotFit, FileChange, parse
from tests.examples import environment, evallint, run
from tests.pull_request import EVALUATE, LEGACY, TRAIN, git, repository, write

NAMES = [
    *("plain.py", "with space.py", "é.py", 'quo"te.py', "back\\slash.py", "tab\there.py", "new\nline.py", "a/a.py", "b/a.py", "a b/c d.py"),
    *("trailing .py", "-dash.py", "$(touch x).py", "日本/語.py"),
]
OPTIONS = [
    (),
    ("--no-prefix",),
    ("-c", "diff.mnemonicPrefix=true"),
    ("-c", "core.quotePath=false"),
    ("--src-prefix=old/", "--dst-prefix=new/"),
    ("--unified=0",),
    ("--unified=10",),
    ("-c", "diff.suppressBlankEmpty=true"),
    ("--full-index", "--binary"),
    ("--patience",),
]


def diff(folder: Path, *options: str) -> bytes:
    """The bytes of `git diff main`; `-c` comes before its name."""
    at = 2 if options[:1] == ("-c",) else 0
    command = ["git", *options[:at], "diff", "--find-renames", *options[at:], "main"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment()).stdout


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_names_and_texts_come_back_from_real_diffs(options: tuple[str, ...], tmp_path: Path) -> None:
    """Each file before, as its diff and the file now say, is what it was."""
    before = {name: "".join(f"{name!r} {number}\n" for number in range(20)) for name in NAMES}
    before |= {"gone.py": "one\n\ntwo\n", "no_end.py": "one\ntwo", "dos.py": "one\r\ntwo\r\n", "empty.py": "", "mode.py": "x\n"}
    folder = repository(tmp_path / "project", before)
    now = {name: text.replace(" 3\n", " three\n\n-- x\n").replace(f"{name!r} 10\n", "") for name, text in before.items()}
    del now["gone.py"]
    now |= {
        "no_end.py": "one\ntwo\nthree\n",
        "dos.py": "zero\r\none\r\ntwo",
        "empty.py": "+++ b/x\n",
        "fresh.py": "--- a\n",
        "was plain.py": now.pop("plain.py"),
    }
    (folder / "gone.py").unlink()
    (folder / "plain.py").rename(folder / "was plain.py")
    (folder / "mode.py").chmod(0o755)
    write(folder, now)
    git(folder, "add", "--all")

    changes = {change.new or change.old: change for change in parse(diff(folder, *options))}
    assert changes.keys() == {*now, "gone.py"}
    for name, text in now.items():
        old = {"was plain.py": "plain.py", "fresh.py": None}.get(name, name)
        assert changes[name].old == old
        assert changes[name].text_before(text.encode()) == before.get(old or "", "").encode()
    assert changes["gone.py"].new is None
    assert changes["gone.py"].text_before(b"") == before["gone.py"].encode()


def test_lines_are_followed_through_a_diff() -> None:
    change = FileChange("a.py", "a.py", (Block(3, (b"x\n",), 3, ()), Block(6, (), 5, (b"y\n", b"z\n")), Block(8, (b"u\n",), 9, (b"v\n",))))
    assert [change.now(line) for line in range(1, 10)] == [1, 2, None, 3, 4, 7, 8, None, 10]
    assert [change.before(line) for line in range(1, 11)] == [1, 2, 4, 5, None, None, 6, 7, None, 9]
    assert [line for line in range(1, 12) if change.adds(line)] == [5, 6, 9]


def test_diffs_that_are_not_gits(tmp_path: Path) -> None:
    write(tmp_path, {"orig/pkg/a.py": "one\n", "mine/pkg/a.py": "one\ntwo\n", "a.py.orig": "x\n", "a.py": "y\n"})
    folders = run("diff", "-ru", "orig", "mine", cwd=tmp_path).stdout.encode()
    assert parse(folders) == [FileChange("pkg/a.py", "pkg/a.py", (Block(2, (), 2, (b"two\n",)),))]
    assert [change.new for change in parse(run("diff", "-u", "a.py.orig", "a.py", cwd=tmp_path).stdout.encode())] == ["a.py"]
    mail = b"From 1 Mon Sep 17\nSubject: x\n\n---\n a.py | 2 +-\n\n" + folders + b"-- \n2.39.5\n\n"
    assert parse(mail) == parse(folders)
    assert parse(b"Index: a.py\n====\n--- a.py\t(revision 1)\n+++ a.py\t(working copy)\n@@ -1 +1 @@\n-x\n+y\n")[0].new == "a.py"


def test_links_and_binary_files_are_passed_over(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project", {"a.py": "x\n"})
    (folder / "link.py").symlink_to("a.py")
    (folder / "binary.py").write_bytes(b"\0\1\2")
    git(folder, "add", "--all")
    assert {change.new: change.readable for change in parse(diff(folder))} == {"link.py": False, "binary.py": False}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"hello\n", "not a unified diff"),
        (b"\x1b[1mdiff --git a/a.py b/a.py\x1b[m\n", "--no-color"),
        (b"--- a.py\n+++ a.py\n@@ -1,3 +1,3 @@\n-x\n", "ends inside a hunk"),
        (b"--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n-x\nnonsense\n", "line 5"),
        (b"diff --cc a.py\nindex 1,2..3\n", "combined diff"),
    ],
)
def test_what_is_no_diff_is_said(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(DiffError, match=said):
        parse(data)
    write(tmp_path, {"a.py": "x = 1\n"})
    done = evallint("--diff-stdin", ".", cwd=tmp_path, stdin=data)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("evallint: error: --diff-stdin: ")


def test_a_diff_fits_the_text_that_it_leads_to_alone(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project", {"a.py": "".join(f"{number}\n" for number in range(20))})
    write(folder, {"a.py": "".join(f"{number}\n" for number in range(20) if number != 9)})
    (change,) = parse(diff(folder))
    with pytest.raises(DoesNotFit):
        change.text_before((folder / "a.py").read_bytes().replace(b"11\n", b"eleven\n"))
    with pytest.raises(DoesNotFit):
        change.text_before(b"")


# The command line


def found(*arguments: str, cwd: Path, stdin: bytes = b"", **changes: str) -> list[tuple[str, int, str]]:
    done = evallint("--output-format", "json", *arguments, cwd=cwd, stdin=stdin, **changes)
    assert done.stderr == ""
    rows = [(f["path"], f["line"], f["code"]) for f in json.loads(done.stdout)["findings"]]
    assert done.returncode == (1 if rows else 0)
    return rows


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A branch with two new bugs, one by a caller in another file, in files with spaces and accents in their names; none is committed."""
    folder = repository(tmp_path / "project")
    write(folder, {"train.py": TRAIN.replace("        model.eval()\n", ""), "new/é a.py": LEGACY.replace("legacy_loss", "new_loss")})
    (folder / "legacy.py").rename(folder / "renamed.py")
    return folder


def test_a_diff_on_standard_input_says_what_a_revision_says(project: Path) -> None:
    expected = [("evaluate.py", 7, "EVL001"), (os.path.join("new", "é a.py"), 15, "EVL002")]
    assert found("--diff-base", "main", ".", cwd=project) == expected, "untracked files are new, a renamed one is not"
    git(project, "add", "--all")
    assert found("--diff-base", "main", ".", cwd=project) == expected
    for options in OPTIONS:
        assert found("--diff-stdin", ".", cwd=project, stdin=diff(project, *options)) == expected, options
    git(project, "commit", "-q", "-m", "change")
    assert found("--diff-base", "main", ".", cwd=project) == expected
    assert found("--diff-base", "HEAD", ".", cwd=project) == []


def test_paths_and_folders_are_the_users(project: Path) -> None:
    git(project, "add", "--all")
    changes = diff(project)
    inside = project / "new"
    for options, stdin in ((("--diff-base", "main"), b""), (("--diff-stdin",), changes)):
        assert found(*options, "..", cwd=inside, stdin=stdin) == [("../evaluate.py", 7, "EVL001"), ("../new/é a.py", 15, "EVL002")]
        assert found(*options, "é a.py", cwd=inside, stdin=stdin) == [("é a.py", 15, "EVL002")]
        assert found(*options, str(project / "evaluate.py"), cwd=inside, stdin=stdin) == [(str(project / "evaluate.py"), 7, "EVL001")]
        assert found(*options, "renamed.py", "models.py", cwd=project, stdin=stdin) == []
        assert found(*options, "project", cwd=project.parent, stdin=stdin)[0] == ("project/evaluate.py", 7, "EVL001")
    relative = run("git", "diff", "--relative", "main", cwd=inside).stdout.encode()
    assert found("--diff-stdin", ".", cwd=inside, stdin=relative) == [("é a.py", 15, "EVL002")]


def test_what_main_did_since_is_not_the_branchs(project: Path) -> None:
    git(project, "add", "--all")
    git(project, "commit", "-q", "-m", "change")
    git(project, "checkout", "-q", "main")
    write(project, {"evaluate.py": EVALUATE + "\n\ndef later():\n    pass\n"})
    git(project, "commit", "-q", "-a", "-m", "main goes on")
    git(project, "checkout", "-q", "feature")
    assert [row[0] for row in found("--diff-base", "main", ".", cwd=project)] == ["evaluate.py", "new/é a.py"]


def test_no_configuration_of_git_changes_the_answer(project: Path) -> None:
    expected = found("--diff-base", "main", ".", cwd=project)
    for key, value in {
        **{
            "diff.noprefix": "true",
            "diff.mnemonicPrefix": "true",
            "diff.context": "9",
            "diff.interHunkContext": "50",
            "color.ui": "always",
        },
        **{
            "diff.renames": "false",
            "diff.external": "false",
            "diff.algorithm": "patience",
            "core.quotePath": "true",
            "diff.relative": "true",
        },
        **{"diff.wordRegex": ".", "core.pager": "false", "diff.orderFile": "nowhere", "diff.submodule": "log", "diff.py.command": "false"},
    }.items():
        git(project, "config", key, value)
    write(project, {".gitattributes": "*.py -diff\n"})
    disturbed = {"GIT_EXTERNAL_DIFF": "false", "GIT_DIFF_OPTS": "--unified=7", "GIT_PAGER": "false", "GIT_LITERAL_PATHSPECS": "1"}
    assert found("--diff-base", "main", ".", cwd=project, **disturbed) == expected


def test_a_note_that_becomes_a_warning_is_new(tmp_path: Path) -> None:
    plain = "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    code = (
        plain
        + "        self.fc = nn.Linear(4, 2)\n\n    def forward(self, x):\n        return self.fc(x)\n\n\n"
        + "@torch.no_grad()\ndef test(loader):\n    model = Net()\n    return [model(x) for x in loader]\n"
    )
    folder = repository(tmp_path / "project", {"net.py": code})
    write(
        folder,
        {
            "net.py": code.replace("return self.fc(x)", "return self.fc(self.drop(x))").replace(
                "        self.fc", "        self.drop = nn.Dropout(0.5)\n        self.fc"
            )
        },
    )
    assert [row[::2] for row in found("--diff-base", "main", ".", cwd=folder)] == [("net.py", "EVL001")]
    write(folder, {"net.py": code.replace("Linear(4, 2)", "Linear(4, 3)")})
    assert found("--diff-base", "main", ".", cwd=folder) == []


def test_a_file_that_the_diff_leaves_broken(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project", {"a.py": LEGACY, "b.py": "import torch\ndef f(:\n"})
    write(folder, {"a.py": LEGACY + "\ndef f(:\n"})
    assert [row[::2] for row in found("--diff-base", "main", ".", cwd=folder)] == [("a.py", "EVL900")]
    write(folder, {"a.py": LEGACY, "b.py": "import torch\n\ndef f(:\n"})
    assert [row[::2] for row in found("--diff-base", "main", ".", cwd=folder)] == [("b.py", "EVL900")]


def test_comments_and_settings_go_first(project: Path) -> None:
    write(project, {"pyproject.toml": '[tool.evallint]\nignore = ["EVL002"]\n'})
    assert [row[2] for row in found("--diff-base", "main", ".", cwd=project)] == ["EVL001"]
    write(project, {"evaluate.py": EVALUATE.replace("    for x, y in loader:\n", "    for x, y in loader:  # noqa: EVL001\n")})
    assert found("--diff-base", "main", ".", cwd=project) == []


def test_comments_that_silence_nothing_are_new_or_old_as_well(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project", {"a.py": "import torch\n\n\nx = 1  # noqa: EVL001\n", "b.py": "y = 1  # noqa: EVL002\n"})
    assert found("--extend-select", "EVL910", ".", cwd=folder) == [("a.py", 4, "EVL910"), ("b.py", 1, "EVL910")]
    write(folder, {"a.py": "import torch\nz = 2  # noqa: EVL003\n\n\nx = 1  # noqa: EVL001\n", "b.py": "\ny = 1  # noqa: EVL002\n"})
    assert found("--extend-select", "EVL910", "--diff-base", "main", ".", cwd=folder) == [("a.py", 2, "EVL910")]


def test_a_notebook(tmp_path: Path) -> None:
    def notebook(*cells: str) -> str:
        rows = [{"cell_type": "code", "source": cell.splitlines(keepends=True), "metadata": {}, "outputs": []} for cell in cells]
        return json.dumps({"cells": rows, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)

    folder = repository(tmp_path / "project", {"models.py": "", "a.ipynb": notebook("import torch", LEGACY)})
    write(folder, {"a.ipynb": notebook("import torch\nimport os", LEGACY)})
    assert found("--diff-base", "main", ".", cwd=folder) == []
    write(folder, {"a.ipynb": notebook("import torch", LEGACY, LEGACY.replace("legacy_loss", "another_loss"))})
    done = evallint("--output-format", "github-review", "--diff-base", "main", ".", cwd=folder)
    (comment,) = json.loads(done.stdout)["comments"]
    assert "for inputs, targets in test_loader" in (folder / "a.ipynb").read_text().splitlines()[comment["line"] - 1]
    assert "`a.ipynb:cell 3:15`" in comment["body"]


def test_a_diff_that_does_not_lead_to_the_files(project: Path) -> None:
    git(project, "add", "--all")
    changes = diff(project)
    write(project, {"new/é a.py": "import os\n" + (project / "new/é a.py").read_text()})
    done = evallint("--output-format", "json", "--diff-stdin", ".", cwd=project, stdin=changes)
    assert "does not lead to the files" in done.stderr
    rows = [(f["path"], f["line"], f["code"]) for f in json.loads(done.stdout)["findings"]]
    assert rows == [("evaluate.py", 7, "EVL001"), ("new/é a.py", 16, "EVL002")]
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--diff-base", "nowhere", "."), "git knows no revision 'nowhere'"),
        (("--diff-base=--output=x", "."), "'--output=x' is not a revision"),
        (("--diff-base", "", "."), "is not a revision"),
        (("--diff-base", "main", "--diff-stdin", "."), "not allowed with"),
        (("--diff-base", "main", "-"), "standard input"),
        (("--diff-stdin", "-"), "standard input"),
        (("--diff-base", "main", "--write-baseline", "x.json", "."), "--write-baseline"),
        (("--diff-base", "main", ".", ".."), "is not in the repository"),
        (("--diff-base", "other", "."), "no commit in common"),
    ],
)
def test_a_base_that_cannot_be_compared_with(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    folder = repository(tmp_path / "project")
    git(folder, "checkout", "-q", "--orphan", "other")
    git(folder, "commit", "-q", "-m", "alone")
    git(folder, "checkout", "-q", "feature")
    done = evallint(*arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "x").exists()


def test_without_a_repository_or_git(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": LEGACY})
    done = evallint("--diff-base", "main", ".", cwd=tmp_path, GIT_CEILING_DIRECTORIES=str(tmp_path.parent))
    assert (done.returncode, done.stdout) == (2, "")
    assert "in no git repository" in done.stderr
    (tmp_path / "empty").mkdir()
    alone = run(sys.executable, "-m", "evallint", "--diff-base", "main", ".", cwd=tmp_path, PATH=str(tmp_path / "empty"))
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "git is not installed" in alone.stderr
    added = (
        b"--- /dev/null\n+++ b/a.py\n"
        + f"@@ -0,0 +1,{LEGACY.count(chr(10))} @@\n".encode()
        + b"".join(b"+" + line + b"\n" for line in LEGACY.encode().splitlines())
    )
    assert found("--diff-stdin", ".", cwd=tmp_path, stdin=added, PATH=str(tmp_path / "empty")) == [("a.py", 15, "EVL002")]
    assert found("--diff-stdin", ".", cwd=tmp_path) == [], "an empty diff changes nothing"


def test_a_shallow_clone_is_told_what_to_fetch(project: Path, tmp_path: Path) -> None:
    git(project, "add", "--all")
    git(project, "commit", "-q", "-m", "change")
    git(tmp_path, "clone", "-q", "--depth", "1", "--no-single-branch", f"file://{project}", "clone")
    done = evallint("--diff-base", "origin/main", ".", cwd=tmp_path / "clone")
    assert (done.returncode, done.stdout) == (2, "")
    assert "shallow clone" in done.stderr
    assert "--unshallow" in done.stderr
