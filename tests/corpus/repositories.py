"""Brings the labelled repositories: the Python files of the labelled commits, out of bare clones that the user has.

Nothing of a repository is run.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tests.corpus.labels import Label
from tests.corpus.packages import SUFFIXES

SYMBOLIC_LINK = b"120000"


@dataclass(frozen=True, slots=True, order=True)
class Tree:
    """One commit of one repository."""

    repository: str
    """Owner and name, with a slash."""
    commit: str
    root: str
    """The name of the folder it is laid out in."""


def trees_of(labels: Iterable[Label]) -> list[Tree]:
    """The commits that the labels, which are all of repositories, speak of."""
    return sorted({Tree(each.source.removeprefix("github:"), each.commit, each.root) for each in labels})


def clone_of(repository: str, clones: Path) -> Path:
    """Where the bare clone of a repository is expected: `owner+name/repo`."""
    return clones / repository.replace("/", "+") / "repo"


def bring_repositories(trees: list[Tree], clones: Path, folder: Path) -> list[str]:
    """Lay out what is not yet below `folder`; returns the repositories whose clone, or whose commit in it, is absent."""
    absent = set()
    for tree in trees:
        target = folder / tree.root
        if target.is_dir():
            continue
        part = target.with_name(f"{target.name}.part")  # so that an interrupted run leaves no half tree behind
        shutil.rmtree(part, ignore_errors=True)
        try:
            clone = clone_of(tree.repository, clones)
            for path, content in _files(clone, list(_blobs(clone, tree.commit))):
                (part / path).parent.mkdir(parents=True, exist_ok=True)
                (part / path).write_bytes(content)
        except (OSError, subprocess.CalledProcessError):
            absent.add(tree.repository)
            continue
        part.mkdir(parents=True, exist_ok=True)
        part.rename(target)
    return sorted(absent)


def _git(clone: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    # a partial clone must not be completed behind the user's back
    command = ["git", "-C", str(clone), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True, env={"GIT_NO_LAZY_FETCH": "1", "PATH": _path()}).stdout


def _path() -> str:
    git = shutil.which("git")
    return str(Path(git).parent) if git else ""


def _blobs(clone: Path, commit: str) -> Iterator[tuple[bytes, str]]:
    """The object name and the path of each Python file of a commit."""
    for row in _git(clone, "ls-tree", "-r", "-z", commit).split(b"\0"):
        described, _, name = row.partition(b"\t")
        path = name.decode("utf-8", "surrogateescape")
        if PurePosixPath(path).suffix in SUFFIXES:
            mode, kind, blob = described.split()
            if kind == b"blob" and mode != SYMBOLIC_LINK:
                yield blob, path


def _files(clone: Path, blobs: list[tuple[bytes, str]]) -> Iterator[tuple[str, bytes]]:
    """The path and the content of each blob that the clone has (a partial one may lack some)."""
    answer = _git(clone, "cat-file", "--batch", stdin=b"".join(blob + b"\n" for blob, _ in blobs))
    at = 0
    for _, path in blobs:
        end = answer.index(b"\n", at)
        described = answer[at:end].split()
        at = end + 1
        if described[1] != b"missing":
            size = int(described[2])
            yield path, answer[at : at + size]
            at += size + 1
