"""What every later step speaks: places, trails, edits and findings. Plain, picklable values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Confidence = Literal["low", "medium", "high"]
Severity = Literal["note", "warning", "error"]
Applicability = Literal["safe", "unsafe"]

CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")
SEVERITIES: tuple[Severity, ...] = ("note", "warning", "error")


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """A span of source text. Lines and columns are 1-based and count characters; the end is exclusive.

    In a notebook the lines are those of its code cells, joined (`Report.notebooks` leads back), or, with `cell` (1-based), of one cell.
    """

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    cell: int = 0

    @property
    def file(self) -> str:
        """The file, and in a notebook the cell, that the line is a line of: as people read it."""
        return f"{self.path}:cell {self.cell}" if self.cell else self.path


@dataclass(frozen=True, slots=True)
class Anchor:
    """A line of a diff: the path that the diff gives, a 1-based line, and whether that is one of the file as it is now or as it was."""

    path: str
    line: int
    side: Literal["now", "before"]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a diff shows of a file as it is now: the path that the diff gives, and the 1-based lines, with those around changes."""

    path: str
    lines: frozenset[int]


@dataclass(frozen=True, slots=True)
class Step:
    """One stop of a trail: a place and what happens there (Markdown, one line)."""

    place: Place
    note: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text between two positions (1-based, end exclusive) by `text`."""

    start_line: int
    start_column: int
    end_line: int
    end_column: int
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits of one file that together remove one finding."""

    applicability: Applicability
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A call on the way to a forward, and the function that it enters, from its `def` on."""

    call: Place
    function: Place


@dataclass(frozen=True, slots=True)
class Receiver:
    """A model as it is written in the call at `spot`, and the calls that lead there from the function of the finding."""

    text: str
    spot: Place
    way: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Repair:
    """What would mend a finding, as far as the analysis knows; whether the text lets it is for `fixes` to find out."""

    kind: Literal["eval", "no-grad", "train", "call", "enter", "flag", "register", "detach", "override"]
    receivers: tuple[Receiver, ...] = ()
    switch: str = ""
    """The object that is switched to eval and never back, as it is written there."""
    untrained: bool = False
    """Nothing trains the models: their mode need not be put back."""
    divided: bool = False
    """Parts of them have modes of their own, which a `train()` of the whole would overwrite."""
    whole: bool = False
    """The function of the finding evaluates and does nothing else."""
    shared: bool = False
    """What is on the way to the forward serves training as well."""
    both: bool = False
    """The region itself trains in other calls: it wants the mode by what tells them apart."""
    sort: str = ""
    """What is wrong at the place itself, in a word: of a call, of a collection, of an override."""
    text: str = ""
    """What it is wrong with, as it is written: a rate, a collection."""
    given: str = ""
    """What a call hands over that it should not hand over as it is, as it is written."""
    doubtful: bool = False
    """It may have been meant otherwise."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim about one place, with the few places that make it true, in the order they happen."""

    place: Place
    code: str
    name: str
    message: str
    confidence: Confidence = "high"
    severity: Severity = "warning"
    function: str = ""
    model: str = ""
    trail: tuple[Step, ...] = ()
    fix: Fix | None = None
    repair: Repair | None = field(default=None, compare=False)

    def sort_key(self) -> tuple[Place, str, str]:
        """The order of findings in every output: by place, then code, then message."""
        return (self.place, self.code, self.message)

    def to_json(self) -> dict[str, Any]:
        """The finding as the JSON object of the `json` format."""
        here = self.place
        row: dict[str, Any] = {
            **_start(here),
            "end_line": here.end_line,
            "end_column": here.end_column,
            "code": self.code,
            "name": self.name,
            "message": self.message,
            "confidence": self.confidence,
            "severity": self.severity,
            "function": self.function,
            "model": self.model,
            "trail": [{**_start(s.place), "note": s.note} for s in self.trail],
            "fix": None,
        }
        if self.fix is not None:
            row["fix"] = {
                "applicability": self.fix.applicability,
                "edits": [
                    {
                        "start_line": e.start_line,
                        "start_column": e.start_column,
                        "end_line": e.end_line,
                        "end_column": e.end_column,
                        "text": e.text,
                    }
                    for e in self.fix.edits
                ],
            }
        return row


def _start(place: Place) -> dict[str, Any]:
    """Where a place begins, as JSON; `cell` is there in a notebook alone."""
    cell = {"cell": place.cell} if place.cell else {}
    return {"path": place.path, **cell, "line": place.line, "column": place.column}
