"""The linter, asked from inside a watched program: in a process of its own, so that the program's modules and memory stay as they are."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from evallint.finding import Finding

MOST_FILES = 400
"""Files of the project that are followed through imports."""

_CHILD = """\
import sys
if sys.path and sys.path[0] in ("", "."): del sys.path[0]
sys.path.insert(0, sys.argv[1])
from evallint.runtime.ahead import answer
answer()
"""


@dataclass(slots=True)
class Linted:
    """What the linter says: findings, the texts of the files with findings by the paths in them, and the files that were linted."""

    findings: list[Finding] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    problem: str = ""


def lint(paths: Sequence[str], texts: Sequence[tuple[str, str]] = (), *, follow: bool = False) -> Linted:
    """Lint files, and (`follow`) those of the project that they import, as `evallint` would from the working folder. Never raises."""
    if not paths and not texts:
        return Linted()
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, root],
            input=pickle.dumps((list(paths), list(texts), follow)),
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        linted = pickle.loads(done.stdout)
        assert isinstance(linted, Linted)
        return linted
    except Exception as error:
        said = done.stderr.decode(errors="replace").strip().split("\n")[-1] if "done" in locals() else str(error)
        return Linted(problem=f"the linter failed: {said[:200] or type(error).__name__}")


def answer() -> None:
    """The other side of `lint`: reads the question from standard input, writes the answer to standard output."""
    from evallint.linting import Text, lint_paths
    from evallint.settings import SettingsError

    paths, texts, follow = pickle.loads(sys.stdin.buffer.read())
    out = os.fdopen(os.dup(1), "wb")
    files = _followed(paths) if follow else list(paths)
    try:
        report = lint_paths(files, texts=[Text(name, text.encode()) for name, text in texts])
        linted = Linted(report.findings, report.texts, [*files, *(name for name, _ in texts)])
    except SettingsError as error:
        linted = Linted(problem=f"the settings are wrong: {error}")
    with out:
        out.write(pickle.dumps(linted))


def _followed(paths: Sequence[str]) -> list[str]:
    from evallint.source import neighbours

    found = dict.fromkeys(paths)
    pending = list(paths)
    while pending and len(found) < MOST_FILES:
        for path in neighbours.imported(pending.pop(0)):
            if path not in found:
                found[path] = None
                pending.append(path)
    return list(found)
