"""The real pre-commit on a small git repository: through the hook, and through flake8 with evallint as a dependency.

Both install evallint from this checkout into environments of pre-commit's own, for which pip needs its package index.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import CLEAN, COLUMN, LINE, MISSING_EVAL, NO_TORCH, ROOT, environment, notebook, run

IDENTITY = {f"GIT_{who}_{what}": "tests@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
PARTS = ("evallint", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".pre-commit-hooks.yaml")

HOOK = """\
repos:
  - repo: {checkout}
    rev: {revision}
    hooks:
      - id: evallint
"""
FLAKE8 = """\
repos:
  - repo: local
    hooks:
      - id: flake8
        name: flake8
        entry: flake8 --select EVL
        language: python
        types: [python]
        additional_dependencies: [flake8, "{checkout}"]
"""


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "init.defaultBranch=main", "-c", "commit.gpgSign=false", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=environment(**IDENTITY)).stdout.strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree as a commit of a repository of its own, because pre-commit clones what it installs."""
    folder = tmp_path_factory.mktemp("checkout") / "evallint"
    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    _git(folder, "init", "-q")
    _git(folder, "add", "--all")
    _git(folder, "commit", "-q", "-m", "the working tree")
    return folder


@pytest.mark.parametrize("config", [HOOK, FLAKE8], ids=["hook", "flake8"])
def test_pre_commit(checkout: Path, tmp_path: Path, config: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".pre-commit-config.yaml").write_text(config.format(checkout=checkout, revision=_git(checkout, "rev-parse", "HEAD")))
    (project / "train.py").write_text(MISSING_EVAL)
    (project / "plain.py").write_text(NO_TORCH)
    (project / "book.ipynb").write_text(notebook(MISSING_EVAL))
    (project / "old").mkdir()
    (project / "old" / "train.py").write_text(MISSING_EVAL)
    (project / "evallint.toml").write_text('extend-exclude = ["old"]\n')
    (project / "notes.txt").write_text("import torch, and more prose\n")
    _git(project, "init", "-q")
    _git(project, "add", "--all")

    def pre_commit(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "pre_commit", *arguments, "--color", "never")
        return run(*command, cwd=project, stdin=b"", PRE_COMMIT_HOME=str(tmp_path / "home"), **IDENTITY)

    found = pre_commit("run", "--all-files")
    assert found.returncode == 1, found.stdout + found.stderr
    assert f"train.py:{LINE}:{COLUMN}" in found.stdout, found.stdout + found.stderr
    assert f"book.ipynb:cell 2:{LINE}:{COLUMN}" in found.stdout or config is FLAKE8  # flake8 reads no notebooks
    assert found.stdout.count("EVL001") == (1 if config is FLAKE8 else 2), "what is excluded is passed over"
    assert "EVL900" not in found.stdout

    (project / "train.py").write_text(CLEAN)
    (project / "book.ipynb").write_text(notebook(CLEAN))
    _git(project, "add", "--all")
    clean = pre_commit("run")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert "Passed" in clean.stdout
