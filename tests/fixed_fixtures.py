"""What `--fix --unsafe-fixes` makes of the wrong fixtures: `fixtures/fixed` holds it as one diff a program.

`python -m tests.fixed_fixtures` writes the diffs anew; read every change before you keep it.
"""

from __future__ import annotations

from difflib import unified_diff
from functools import partial
from pathlib import Path

from evallint.fixing import mend
from evallint.linting import Report, lint_paths
from evallint.settings import Settings

from .fixture_files import ALL, FIXTURES, Fixture, relative

FIXED = FIXTURES / "fixed"
WRONG = tuple(fixture for fixture in ALL if fixture.expected)


def fixed(path: Path, *, unsafe: bool) -> Report:
    """What is left of a program after fixing, and its new texts."""
    return lint_paths([path], Settings(), mend=partial(mend, unsafe=unsafe))


def described(fixture: Fixture) -> str:
    """The diff of a fixture; before it, which findings only `--unsafe-fixes` mends, and which nothing does."""
    report = fixed(fixture.path, unsafe=True)
    safely = set(_rows(fixed(fixture.path, unsafe=False)))
    rows = [f"# unsafe: {row}" for row in _rows(report) if row not in safely]
    rows += [f"# left: {relative(Path(f.place.path))} {f.code} {f.function}" for f in report.findings]
    parts = ["".join(f"{row}\n" for row in rows)]
    for path, (before, after) in sorted(report.rewritten.items()):
        name = relative(Path(path))
        parts.append("".join(unified_diff(before.splitlines(True), after.splitlines(True), name, name)))
    return "".join(parts)


def _rows(report: Report) -> list[str]:
    return [f"{relative(Path(f.place.path))} {f.code} {f.function}" for f in report.fixed]


def snapshot(fixture: Fixture) -> Path:
    """The file that holds what is expected of a fixture."""
    return FIXED / f"{fixture.path.stem}.diff"


if __name__ == "__main__":
    FIXED.mkdir(exist_ok=True)
    for each in WRONG:
        snapshot(each).write_text(described(each), encoding="utf-8")
