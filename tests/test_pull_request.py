"""Pull requests on a real repository: what the Action's own command says of them, and the review that it would post."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.examples import ROOT, run
from tests.pull_request import EVALUATE, LEGACY, OLD_BUG, TRAIN, git, repository, write

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step.get("id") or step["name"]: step for step in ACTION["runs"]["steps"] if "name" in step}

Review = dict[str, Any]


def step(name: str, folder: Path, contexts: dict[str, str], **environment: str) -> tuple[int, str, dict[str, str]]:
    """Run a step as GitHub does; returns its exit code, its output and the outputs that it set. `contexts` are what expressions give."""
    values = {f"inputs.{key}": str(about.get("default", "")) for key, about in ACTION["inputs"].items()} | contexts
    given = {key: re.sub(r"\$\{\{ (.+?) \}\}", lambda found: values.get(found[1], ""), text) for key, text in STEPS[name]["env"].items()}
    outputs = folder.parent / "outputs.txt"
    outputs.write_text("")
    runner = {
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_OUTPUT": str(outputs),
        "RUNNER_TEMP": str(folder.parent),
        "GITHUB_WORKSPACE": str(folder),
    }
    done = run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"], cwd=folder, **runner, **given, **environment)
    rows = (line.split("=", 1) for line in outputs.read_text().splitlines())
    return done.returncode, done.stdout + done.stderr, dict(rows)


def lint(folder: Path, base: str = "main", **inputs: str) -> tuple[int, str, Review]:
    """The Action's lint step on a pull request against `base`: its exit code, its output, and the review."""
    program = shutil.which("evallint", path=str(Path(sys.executable).parent))
    assert program is not None, "evallint must be installed"
    contexts = {"steps.install.outputs.evallint": program, "github.event.pull_request.base.sha": git(folder, "rev-parse", base).strip()}
    status, said, outputs = step("lint", folder, contexts | {"inputs.review": "true"} | {f"inputs.{k}": v for k, v in inputs.items()})
    return status, said, json.loads(Path(outputs["review"]).read_text()) if "review" in outputs else {}


def commit(folder: Path, files: dict[str, str | None]) -> None:
    """Commit files (None: removed) to the branch."""
    for name, text in files.items():
        if text is None:
            (folder / name).unlink()
        else:
            write(folder, {name: text})
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", "change")


def lines_of_diff(folder: Path) -> dict[tuple[str, str], dict[int, str]]:
    """What GitHub takes comments on: for each path and side, the lines that `git diff` shows, with their first character."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    path = ""
    old = new = 0
    for line in git(folder, "diff", "main...HEAD").splitlines():
        if line.startswith(("--- a/", "+++ b/")):
            path = line[6:]
        elif line.startswith("@@"):
            old, new = (int(n) for n in re.findall(r"[-+](\d+)", line)[:2])
        elif line[:1] == "-" and not line.startswith("---"):
            found.setdefault((path, "LEFT"), {})[old] = line
            old += 1
        elif line[:1] in "+ " and not line.startswith("+++"):
            found.setdefault((path, "RIGHT"), {})[new] = line
            old, new = old + (line[:1] == " "), new + 1
    return found


def told(folder: Path, review: Review) -> list[tuple[str, str, str]]:
    """The comments of a review as path, the first line of the diff that each is on, and code. Each must be one that GitHub takes."""
    shown = lines_of_diff(folder)
    rows = []
    for comment in review["comments"]:
        assert set(comment) <= {"path", "line", "side", "start_line", "start_side", "body"}
        lines = shown[comment["path"], comment["side"]]
        first = comment.get("start_line", comment["line"])
        assert comment.get("start_side", comment["side"]) == comment["side"]
        assert all(number in lines for number in range(first, comment["line"] + 1))
        rows.append((comment["path"], lines[first], re.findall(r"\[(EVL\d+)\]", comment["body"])[0]))
    return rows


def take_over(folder: Path, review: Review) -> int:
    """Commit every suggestion of a review, as GitHub does; returns how many there were."""
    found = [
        (comment, re.search(r"^```suggestion\n(.*?)^```", comment["body"], re.MULTILINE | re.DOTALL)) for comment in review["comments"]
    ]
    offers = [(comment, text[1]) for comment, text in found if text is not None]
    for comment, text in sorted(offers, key=lambda offer: -offer[0]["line"]):
        assert comment["side"] == "RIGHT"
        path = folder / comment["path"]
        lines = path.read_text().splitlines(keepends=True)
        lines[comment.get("start_line", comment["line"]) - 1 : comment["line"]] = [text]
        path.write_text("".join(lines))
    return len(offers)


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def function(text: str, name: str) -> str:
    """The text of a function at the top level, with the blank lines after it."""
    found = re.search(rf"^def {name}\(.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


LOSS = function(LEGACY, "legacy_loss")
COPY = LOSS.replace("legacy_loss", "new_loss").replace("inputs", "images")
WITHOUT = LEGACY.replace(LOSS, "")
HEAD = "import torch\n\nfrom models import Net\n\n\n"
PREDICT = function(EVALUATE, "predict")
INDENTED = "if True:\n" + "".join(f"    {line}" if line.strip() else line for line in LOSS.splitlines(keepends=True))

CASES: dict[str, tuple[dict[str, str | None], list[tuple[str, str, str]]]] = {
    "a bug is added to a file with an old one": (
        {"legacy.py": LEGACY + "\n\n" + COPY},
        [("legacy.py", "+" + OLD_BUG.replace("inputs", "images").rstrip("\n"), "EVL002")],
    ),
    "a bug is added in a new file": (
        {"extra/new.py": HEAD + COPY},
        [("extra/new.py", "+    for images, targets in test_loader:", "EVL002")],
    ),
    "the old bug is copied to a file that comes before": (
        {"a.py": HEAD + LOSS},
        [("a.py", "+" + OLD_BUG.rstrip("\n"), "EVL002")],
    ),
    "a call of eval is removed": (
        {"legacy.py": replaced(LEGACY, "    model.eval()\n", "")},
        [("legacy.py", "     for inputs, targets in test_loader:", "EVL001")],
    ),
    "a decorator is removed": (
        {"evaluate.py": replaced(EVALUATE, "@torch.no_grad()\n", "")},
        [("evaluate.py", " def accuracy(model, loader):", "EVL002")],
    ),
    "a with statement is removed": (
        {
            "evaluate.py": replaced(
                EVALUATE,
                "    with torch.no_grad():\n        for x, _ in loader:\n            outputs",
                "    for x, _ in loader:\n        outputs",
            )
        },
        [("evaluate.py", " def predict(model, loader):", "EVL002")],
    ),
    "the caller in another file loses its eval": (
        {"train.py": replaced(TRAIN, "        model.eval()\n", "")},
        [("train.py", "-        model.eval()", "EVL001")],
    ),
    "the caller in another file trains once more": (
        {"train.py": replaced(TRAIN, "        model.eval()\n", "        model.eval()\n        model.train()\n")},
        [("train.py", "+        model.train()", "EVL001")],
    ),
    "two kinds of bugs at once": (
        {"legacy.py": LEGACY + "\n\n" + COPY, "train.py": replaced(TRAIN, "        model.eval()\n", "")},
        [
            ("train.py", "-        model.eval()", "EVL001"),
            ("legacy.py", "+    for images, targets in test_loader:", "EVL002"),
        ],
    ),
    "the line of the old bug is edited": (
        {"legacy.py": replaced(LEGACY, OLD_BUG, "    for inputs, targets in list(test_loader):\n")},
        [("legacy.py", "+    for inputs, targets in list(test_loader):", "EVL002")],
    ),
    "a line of its trail is edited": (
        {"legacy.py": replaced(LEGACY, "model(inputs)", "model(inputs.float())")},
        [("legacy.py", "     for inputs, targets in test_loader:", "EVL002")],
    ),
    "the old bug moves down": ({"legacy.py": WITHOUT + "\n\n" + LOSS}, []),
    "the old bug moves up": ({"legacy.py": HEAD + LOSS + WITHOUT.removeprefix(HEAD)}, []),
    "the old bug moves to a new file": ({"legacy.py": WITHOUT, "moved.py": HEAD + LOSS}, []),
    "the old bug moves to a file that is there": ({"legacy.py": WITHOUT, "train.py": TRAIN + "\n\n" + LOSS}, []),
    "the old bug is indented": ({"legacy.py": replaced(LEGACY, LOSS, INDENTED)}, []),
    "the file of the old bug moves": ({"legacy.py": None, "archive.py": LEGACY}, []),
    "the file of the old bug moves and grows": (
        {"legacy.py": None, "archive.py": replaced(LEGACY, "import torch\n", "import os\nimport torch\n")},
        [],
    ),
    "clean code moves": (
        {"evaluate.py": EVALUATE.replace(PREDICT, ""), "train.py": TRAIN.replace("accuracy, predict", "accuracy") + "\n\n" + PREDICT},
        [],
    ),
    "a line is put beside the old bug": ({"legacy.py": replaced(LEGACY, "    total = 0.0\n", "    total = 0.0\n    count = 0\n")}, []),
    "a comment is put on the line of the old bug": ({"legacy.py": replaced(LEGACY, OLD_BUG, OLD_BUG.replace("\n", "  # all of it\n"))}, []),
    "a variable is renamed beside the old bug": (
        {"legacy.py": LEGACY.replace("text", "words").replace("path.upper()", "path.lower()")},
        [],
    ),
    "the function of the old bug is renamed": ({"legacy.py": LEGACY.replace("legacy_loss", "final_loss")}, []),
    "the old bug is fixed": ({"legacy.py": replaced(LEGACY, "def legacy", "@torch.no_grad()\ndef legacy")}, []),
    "the file of the old bug is removed": ({"legacy.py": None}, []),
    "nothing of Python changes": ({"README.md": "# model.eval() is for the wise\n"}, []),
}


@pytest.mark.parametrize("case", CASES)
def test_a_review_tells_exactly_what_a_branch_brings(case: str, tmp_path: Path) -> None:
    files, expected = CASES[case]
    folder = repository(tmp_path / "project")
    commit(folder, files)
    status, said, review = lint(folder)
    assert told(folder, review) == expected, said
    assert review["event"] == "COMMENT"
    assert review["body"] == f"evallint: {len(expected)} new finding{'' if len(expected) == 1 else 's'}."
    assert status == (1 if expected else 0)
    assert said.count("::warning") == len(expected)
    offers = take_over(folder, review)
    assert offers == sum(path != "train.py" for path, _, _ in expected), "a caller's mode is not for the loop to mend"
    if offers:
        git(folder, "commit", "-q", "-a", "-m", "suggestions")
        assert told(folder, lint(folder)[2]) == [row for row in expected if row[0] == "train.py"]


def test_the_base_itself_has_one_old_bug(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project")
    status, said, review = lint(folder, **{"changed-only": "false", "sarif-file": "all.sarif"})
    assert (status, review["comments"]) == (1, [])
    assert re.findall(r"^::warning title=evallint \((\w+)\),file=([^,]+),line=(\d+)", said, re.MULTILINE) == [("EVL002", "legacy.py", "15")]
    assert len(json.loads((folder / "all.sarif").read_text())["runs"][0]["results"]) == 1


# The Action


def test_no_input_is_part_of_a_command() -> None:
    for each in ACTION["runs"]["steps"]:
        assert "${{" not in each.get("run", ""), "what comes from outside is passed as environment variables"
    for script in (ROOT / "action").iterdir():
        assert "eval " not in script.read_text()


def test_inputs_are_words_and_never_commands(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project")
    hostile = "$(touch pwned)`touch pwned`; touch pwned"
    commit(folder, {f"{hostile}/a b.py": LEGACY.replace("legacy_loss", "new_loss"), "-x.py": COPY})
    status, said, review = lint(folder, paths=f"{hostile}\n-x.py\nlegacy.py\n", args=f"--stdin-filename {hostile.replace(' ', '')}")
    assert status == 1, said
    assert [comment["path"] for comment in review["comments"]] == [f"{hostile}/a b.py"]
    assert not list(tmp_path.rglob("pwned"))
    status, said, _ = lint(folder, paths="nowhere")
    assert status == 2
    assert "nowhere: No such file" in said


def test_options_and_outputs(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project")
    commit(folder, {"new.py": HEAD + COPY})
    status, said, review = lint(folder, annotations="false", args="--exit-zero --select EVL001", **{"upload-sarif": "true"})
    assert (status, review["comments"]) == (0, [])
    assert "::warning" not in said
    assert "No findings" in said
    assert json.loads((tmp_path / "evallint.sarif").read_text())["version"] == "2.1.0"
    status, said, review = lint(folder, review="false", args="")
    assert (status, review) == (1, {})


def test_on_a_push_everything_is_reported(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project")
    program = {"steps.install.outputs.evallint": shutil.which("evallint", path=str(Path(sys.executable).parent)) or ""}
    status, said, outputs = step("lint", folder, program | {"inputs.review": "true"})
    assert (status, outputs) == (1, {})
    assert said.count("::warning") == 1


def test_a_shallow_checkout_is_deepened(tmp_path: Path) -> None:
    origin = repository(tmp_path / "origin")
    commit(origin, {"new.py": HEAD + COPY})
    git(tmp_path, "clone", "-q", "--depth", "1", "--branch", "feature", f"file://{origin}", "project")
    (tmp_path / "project").joinpath("base").write_text(git(origin, "rev-parse", "main"))
    base = (tmp_path / "project" / "base").read_text().strip()
    program = {"steps.install.outputs.evallint": shutil.which("evallint", path=str(Path(sys.executable).parent)) or ""}
    status, said, _ = step("lint", tmp_path / "project", program | {"github.event.pull_request.base.sha": base})
    assert status == 1, said
    assert re.findall(r"file=([^,]+)", said) == ["new.py"]


GITHUB = """\
#!/bin/sh
# stands for GitHub: what was posted is kept, and told when it is asked for
here=$(dirname "$0")
case "$*" in
  *--method*) [ ! -e "$here/forbidden" ] || exit 1; while [ $# -gt 1 ]; do shift; done; cp "$1" "$here/posted.json" ;;
  *comments*) [ ! -e "$here/said.json" ] || jq -r '.comments[].body' "$here/said.json" ;;
  *reviews*) [ ! -e "$here/said.json" ] || jq -r '.body' "$here/said.json" ;;
esac
"""


@pytest.mark.skipif(shutil.which("jq") is None, reason="wants jq, as GitHub's runners have it")
def test_a_review_is_posted_once_and_refusals_do_not_fail(tmp_path: Path) -> None:
    folder = repository(tmp_path / "project")
    commit(folder, {"new.py": HEAD + COPY})
    programs = tmp_path / "programs"
    write(programs, {"gh": GITHUB})
    (programs / "gh").chmod(0o755)
    posted = programs / "posted.json"

    def post() -> str:
        head = git(folder, "rev-parse", "HEAD").strip()
        _, _, review = lint(folder)
        contexts = {
            "github.repository": "o/r",
            "github.event.pull_request.number": "7",
            "github.event.pull_request.head.sha": head,
            "steps.lint.outputs.review": str(tmp_path / "evallint-review.json"),
        }
        status, said, _ = step("Post the review", folder, contexts, PATH=f"{programs}:{os.environ['PATH']}")
        assert status == 0, said
        if posted.exists():
            sent = json.loads(posted.read_text())
            assert sent.pop("commit_id") == head
            assert [c for c in review["comments"] if c in sent["comments"]] == sent["comments"]
        return said

    (programs / "forbidden").touch()
    assert post().startswith("::warning title=evallint::No review: it cannot be posted")
    (programs / "forbidden").unlink()
    post()
    assert [comment["path"] for comment in json.loads(posted.read_text())["comments"]] == ["new.py"]
    posted.rename(programs / "said.json")
    post()
    assert not posted.exists(), "there is nothing new to say"
    commit(folder, {"newer.py": HEAD + COPY.replace("new_loss", "newer_loss")})
    post()
    assert [comment["path"] for comment in json.loads(posted.read_text())["comments"]] == ["newer.py"]
    git(folder, "commit", "-q", "--allow-empty", "-m", "another head")
    contexts = {"github.event.pull_request.head.sha": "0" * 40, "steps.lint.outputs.review": "x"}
    assert "actions/checkout" in step("Post the review", folder, contexts)[1]
