"""What git knows: the diff from a revision to the files as they are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from evallint.changes.diff import Block, DiffError, FileChange, parse
from evallint.source.walking import SUFFIXES

_OUT = ("GIT_DIFF_OPTS", "GIT_EXTERNAL_DIFF", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS")
"""Variables that would change what git prints here."""
# what the user's configuration could change is said, so that the diff is the one that GitHub shows
_DIFF = (
    *("diff", "--unified=0", "--inter-hunk-context=0", "--diff-algorithm=myers", "--indent-heuristic", "--find-renames", "--text"),
    *("--src-prefix=a/", "--dst-prefix=b/", "--no-relative", "--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all"),
    *("-O", os.devnull),
)
_SHALLOW = "; this is a shallow clone: fetch the history (git fetch --unshallow, or fetch-depth: 0 of actions/checkout)"


def top(folder: str) -> str | None:
    """The top folder of the repository that `folder` is in, links resolved; None if it is in none. Raises DiffError without git."""
    done = _git(folder, "rev-parse", "--show-toplevel")
    return os.path.realpath(os.fsdecode(done.stdout.removesuffix(b"\n"))) if done.returncode == 0 and done.stdout.strip() else None


def changes_since(revision: str, folder: str, named: Sequence[str]) -> list[FileChange]:
    """What changed since the current branch left `revision`, as a pull request counts: committed, staged or not, and untracked files.

    `folder` is the repository's top; `named` are paths in it of files to look at whatever they are called. Raises DiffError.
    """
    base = _merge_base(revision, folder)
    patterns = [*(f":(top,glob)**/*{suffix}" for suffix in SUFFIXES), *(f":(top,literal){name}" for name in named)]
    found = parse(_output(folder, *_DIFF, base, "--", *patterns))
    others = _output(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", *patterns)
    return [*found, *(_new(folder, os.fsdecode(name)) for name in others.split(b"\0") if name)]


def _merge_base(revision: str, folder: str) -> str:
    if revision.startswith("-") or not revision:
        raise DiffError(f"{revision!r} is not a revision")
    commits = []
    for name in (revision, "HEAD"):
        done = _git(folder, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")
        if done.returncode:
            raise DiffError(f"git knows no revision {name!r}{_advice(folder)}")
        commits.append(os.fsdecode(done.stdout.strip()))
    done = _git(folder, "merge-base", *commits)
    if done.returncode:
        raise DiffError(f"{revision!r} and HEAD have no commit in common{_advice(folder)}")
    return os.fsdecode(done.stdout.strip())


def _advice(folder: str) -> str:
    return _SHALLOW if _git(folder, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true" else ""


def _new(folder: str, name: str) -> FileChange:
    """A file that git does not know yet: all of it is new."""
    path = Path(folder, name)
    try:
        lines = tuple(path.read_bytes().splitlines(keepends=True)) if not path.is_symlink() else ()
    except OSError:
        lines = ()  # the linter says what is wrong with it
    return FileChange(None, name, (Block(1, (), 1, lines),) if lines else (), readable=bool(lines))


def _output(folder: str, *arguments: str) -> bytes:
    done = _git(folder, *arguments)
    if done.returncode:
        said = os.fsdecode(done.stderr).strip().split("\n")[-1]
        raise DiffError(f"git {arguments[0]} failed: {said or f'exit code {done.returncode}'}")
    return done.stdout


def _git(folder: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if name not in _OUT}
    command = ["git", "-c", "core.quotePath=off", *arguments]
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, env={**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
        )
    except FileNotFoundError:
        raise DiffError("git is not installed (--diff-stdin reads any unified diff)") from None
    except OSError as error:
        raise DiffError(f"git cannot be run: {error.strerror or error}") from None
