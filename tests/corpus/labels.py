"""The labels: evaluation regions of public code, each with a verdict for every rule."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Verdict = Literal["ok", "missing", "na"]
Needs = Literal["local", "file", "project"]
Lines = tuple[int, int]
"""The first and the last line of something, both included."""

FOLDER = Path(__file__).resolve().parent.parent.parent / "fixtures" / "corpus"
VERDICTS: dict[str, str] = {"EVL001": "eval", "EVL002": "no_grad", "EVL003": "train_after"}
"""The label's field that says whether a rule should speak."""


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


@dataclass(frozen=True, slots=True)
class Region:
    """One labelled evaluation region. Lines are 1-based, first and last included."""

    id: str
    root: str
    source: str
    commit: str
    path: str
    function: str
    lines: Lines
    function_lines: Lines
    verdicts: dict[str, Verdict]
    """By the code of the rule."""
    needs: Needs = "local"
    why: str = ""
    train_after_lines: tuple[Lines, ...] = ()
    """Where EVL003 may be reported as well."""

    @property
    def file(self) -> str:
        """The file below the folder of its label file, with slashes."""
        return f"{self.root}/{self.path}"


def region(row: dict[str, Any]) -> Region:
    """A region from its row of a label file."""
    return Region(
        id=row["id"],
        root=row["root"],
        source=row["source"],
        commit=row["commit"],
        path=row["path"],
        function=row["function"],
        lines=(row["start"], row["end"]),
        function_lines=(row["function_start"], row["function_end"]),
        verdicts={code: row[verdict] for code, verdict in VERDICTS.items()},
        needs=row["needs"],
        why=row["why"],
        train_after_lines=tuple((first, last) for first, last in row.get("train_after_lines") or ()),
    )


def read_regions(path: Path) -> list[Region]:
    """The regions of a label file, in its order."""
    return [region(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def present(regions: list[Region], folder: Path) -> list[Region]:
    """The regions whose file is below `folder`."""
    return [each for each in regions if (folder / each.file).is_file()]
