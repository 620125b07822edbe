"""What `--fix --unsafe-fixes` makes of the wrong fixtures, and of the rules' examples: `fixtures/fixed` holds it as one diff a program.

`python -m tests.fixed_fixtures` writes the diffs anew; read every change before you keep it.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import unified_diff
from functools import cache, partial
from pathlib import Path

from evallint.fixing import mend
from evallint.gathering import Text
from evallint.linting import Report, lint_paths
from evallint.rules.registry import RULES
from evallint.settings import Settings

from .fixture_files import ALL, FIXTURES, relative

FIXED = FIXTURES / "fixed"
WRONG = tuple(fixture for fixture in ALL if fixture.expected)


@dataclass(frozen=True)
class Program:
    """A wrong program to fix: a fixture's path, or the text of an example; and the file that holds what is expected of it."""

    name: str
    snapshot: Path
    paths: tuple[Path, ...] = ()
    texts: tuple[Text, ...] = ()

    def fixed(self, *, unsafe: bool) -> Report:
        """What is left of it after fixing, and its new texts."""
        return _fixed(self, unsafe)

    def described(self) -> str:
        """The diff; before it, which findings only `--unsafe-fixes` mends, and which nothing does."""
        report = self.fixed(unsafe=True)
        safely = set(self._rows(self.fixed(unsafe=False)))
        rows = [f"# unsafe: {row}" for row in self._rows(report) if row not in safely]
        rows += [f"# left: {self._named(f.place.path)} {f.code} {f.function}" for f in report.findings]
        parts = ["".join(f"{row}\n" for row in rows)]
        for path, (before, after) in sorted(report.rewritten.items()):
            name = self._named(path)
            parts.append("".join(unified_diff(before.splitlines(True), after.splitlines(True), name, name)))
        return "".join(parts)

    def _rows(self, report: Report) -> list[str]:
        return [f"{self._named(f.place.path)} {f.code} {f.function}" for f in report.fixed]

    def _named(self, path: str) -> str:
        return relative(Path(path)) if self.paths else path


@cache
def _fixed(program: Program, unsafe: bool) -> Report:
    return lint_paths(program.paths, Settings(), texts=program.texts, mend=partial(mend, unsafe=unsafe))


PROGRAMS = (
    *(Program(each.name, FIXED / f"{each.path.stem}.diff", paths=(each.path,)) for each in WRONG),
    *(
        Program(f"{code}-{number}", FIXED / "examples" / f"{code}-{number}.diff", texts=(Text("example.py", source),))
        for code, rule in RULES.items()
        for number, source in enumerate(rule.INVALID, start=1)
    ),
)


if __name__ == "__main__":
    (FIXED / "examples").mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        program.snapshot.write_text(program.described(), encoding="utf-8")
