"""The labels: evaluation regions of public code, each with a verdict for every rule, and marks, places with one for one rule."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

Verdict = Literal["ok", "missing", "na"]
Needs = Literal["local", "file", "project"]
Lines = tuple[int, int]
"""The first and the last line of something, both included."""

FOLDER = Path(__file__).resolve().parent.parent.parent / "fixtures" / "corpus"
VERDICTS: dict[str, str] = {"EVL001": "eval", "EVL002": "no_grad", "EVL003": "train_after"}
"""The label's field that says whether a rule should speak."""
IS_BUG = {"bug": True, "right": False}
"""The verdicts of a mark."""


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A file of labels, and the subfolder of the corpus that holds the code it speaks of."""

    name: str
    labels: Path
    subfolder: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Labels of packages and of repositories that are scored together, and the packages' pins."""

    packages: LabelFile
    repositories: LabelFile
    pins: Path

    @property
    def label_files(self) -> tuple[LabelFile, LabelFile]:
        """Both label files."""
        return self.packages, self.repositories


PACKAGES = LabelFile("PyPI packages", FOLDER / "labels.jsonl", "pypi")
REPOSITORIES = LabelFile("GitHub repositories", FOLDER / "github-labels.jsonl", "github")
FIRST = Collection(PACKAGES, REPOSITORIES, FOLDER / "packages.txt")
MORE = Collection(
    LabelFile("more PyPI packages", FOLDER / "more-labels.jsonl", "more-pypi"),
    LabelFile("more GitHub repositories", FOLDER / "more-github-labels.jsonl", "more-github"),
    FOLDER / "more-packages.txt",
)
LABEL_FILES = (*FIRST.label_files, *MORE.label_files)
BESIDE = FOLDER / "beside.jsonl"
"""The marks; their code is kept with that of the second collection."""


@dataclass(frozen=True, slots=True)
class Label:
    """What reading told of some lines of a function. Lines are 1-based, first and last included."""

    id: str
    root: str
    """The name of the folder that the source is unpacked to."""
    source: str
    """The source's name, `pypi:` or `github:` first."""
    commit: str
    """The SHA-256 of the wheel, or the commit."""
    path: str
    function: str
    lines: Lines

    @property
    def file(self) -> str:
        """The file below the folder of sources, with slashes."""
        return f"{self.root}/{self.path}"


AnyLabel = TypeVar("AnyLabel", bound=Label)


@dataclass(frozen=True, slots=True)
class Region(Label):
    """One labelled evaluation region."""

    function_lines: Lines
    verdicts: dict[str, Verdict]
    """By the code of the rule."""
    needs: Needs = "local"
    why: str = ""
    train_after_lines: tuple[Lines, ...] = ()
    """Where EVL003 may be reported as well."""


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def _whereabouts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "root", "source", "commit", "path", "function")}


def region(row: dict[str, Any]) -> Region:
    """A region from its row of a label file."""
    return Region(
        **_whereabouts(row),
        lines=(row["start"], row["end"]),
        function_lines=(row["function_start"], row["function_end"]),
        verdicts={code: row[verdict] for code, verdict in VERDICTS.items()},
        needs=row["needs"],
        why=row["why"],
        train_after_lines=tuple((first, last) for first, last in row.get("train_after_lines") or ()),
    )


def read_regions(path: Path) -> list[Region]:
    """The regions of a label file, in its order."""
    return [region(row) for row in _rows(path)]


@dataclass(frozen=True, slots=True)
class Mark(Label):
    """A place where one rule should speak, or one alike where it should not."""

    code: str
    is_bug: bool
    why: str = ""

    @property
    def subfolder(self) -> str:
        """The subfolder of the corpus that holds its source."""
        return (MORE.packages if self.source.startswith("pypi:") else MORE.repositories).subfolder


def read_marks(path: Path) -> list[Mark]:
    """The marks of a file such as `beside.jsonl`, in its order."""
    return [
        Mark(
            **_whereabouts(row),
            lines=(row["line"], row["end"]),
            code=row["code"],
            is_bug=IS_BUG[row["verdict"]],
            why=row["why"],
        )
        for row in _rows(path)
    ]


def present(labels: Sequence[AnyLabel], folder: Path) -> list[AnyLabel]:
    """Those of the regions, or of the marks, whose file is below `folder`."""
    return [each for each in labels if (folder / each.file).is_file()]
