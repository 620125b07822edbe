"""The fixtures: which programs there are, what is expected on which line, and which lines protect right code."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
"""The folder that holds `right/` and `wrong/`."""

Spot = tuple[str, int, int, str]
"""File (relative to `FIXTURES`, with slashes), 1-based line, 1-based column, code."""

_EXPECT = re.compile(r"#((?: EVL\d{3}: \d+)+)")
_PROTECT = re.compile(r"# protects:((?: EVL\d{3})+)")


@dataclass(frozen=True)
class Protection:
    """A line of right code without which `codes` are to be found."""

    file: str
    line: int
    codes: tuple[str, ...]


@dataclass(frozen=True)
class Fixture:
    """One program: a file, or a folder of files that are linted together."""

    name: str
    path: Path
    files: tuple[Path, ...]
    expected: frozenset[Spot]
    protections: tuple[Protection, ...]

    @property
    def is_folder(self) -> bool:
        """Whether the program is a folder of files."""
        return self.path.is_dir()

    @property
    def number(self) -> str:
        """The shape that it shows: A1 to A27, B1 to B27."""
        stem = self.path.stem
        return f"{stem[0].upper()}{int(stem[1:3])}"

    def text(self) -> str:
        """The text of a single-file fixture."""
        return self.path.read_text(encoding="utf-8")


def relative(path: Path) -> str:
    """A fixture's file as `Spot` names it."""
    return path.resolve().relative_to(FIXTURES).as_posix()


def comments(text: str) -> list[tuple[int, str]]:
    """Every comment of a Python text, with its 1-based line."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]


def _read(path: Path) -> tuple[set[Spot], list[Protection]]:
    expected: set[Spot] = set()
    protections: list[Protection] = []
    file = relative(path)
    for line, comment in comments(path.read_text(encoding="utf-8")):
        if found := _EXPECT.fullmatch(comment):
            for code, column in re.findall(r"(EVL\d{3}): (\d+)", found[1]):
                expected.add((file, line, int(column), code))
        elif found := _PROTECT.fullmatch(comment):
            protections.append(Protection(file, line, tuple(found[1].split())))
        elif "EVL" in comment or "protects" in comment:
            raise ValueError(f"{path}:{line}: neither an expectation nor a protection: {comment}")
    return expected, protections


def _fixture(path: Path) -> Fixture:
    files = tuple(sorted(path.rglob("*.py"))) if path.is_dir() else (path,)
    expected: set[Spot] = set()
    protections: list[Protection] = []
    for file in files:
        spots, protecting = _read(file)
        expected |= spots
        protections += protecting
    return Fixture(relative(path), path, files, frozenset(expected), tuple(protections))


def _fixtures() -> tuple[Fixture, ...]:
    found = [p for side in ("right", "wrong") for p in sorted((FIXTURES / side).iterdir())]
    return tuple(_fixture(p) for p in found if p.suffix == ".py" or (p.is_dir() and p.name != "__pycache__"))


ALL = _fixtures()
SINGLE = tuple(f for f in ALL if not f.is_folder)
FOLDERS = tuple(f for f in ALL if f.is_folder)


def difference(expected: set[Spot] | frozenset[Spot], found: set[Spot], *, allow_fewer: bool = False) -> str:
    """What is missing and what is too much, with the source lines; empty if nothing is."""
    rows = [] if allow_fewer else [("missing", spot) for spot in expected - found]
    rows += [("unexpected", spot) for spot in found - expected]
    return "".join(f"\n  {word:10} {_show(spot)}" for word, spot in sorted(rows, key=lambda row: row[1]))


def _show(spot: Spot) -> str:
    file, line, column, code = spot
    path = FIXTURES / file
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    source = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    return f"{file}:{line}:{column} {code}    {source}"
