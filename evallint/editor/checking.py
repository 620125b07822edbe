"""An open document to its findings, as `evallint FILE` would tell them if all that is open were saved."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from evallint.cache.memory import Memory
from evallint.configuration import find_settings, forget
from evallint.editor.drift import carried, reads_the_same
from evallint.finding import Finding
from evallint.fixing import offer
from evallint.linting import Text, lint_paths, lint_text
from evallint.settings import Settings, SettingsError
from evallint.settings import replace as with_changes
from evallint.source.notebook import in_cells
from evallint.source.parsing import compiles
from evallint.source.patterns import excluded_below
from evallint.source.reading import UNREADABLE

Why = Literal["typed", "around", "shown"]
"""The document was edited; something around it has changed; or it was opened or saved, which is when a broken file is told to be so.

What comes later here counts for what comes before as well.
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a notebook: whether it is Python, and its text."""

    is_code: bool
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The findings of a document at the places of `text`, and the texts of other files that their trails name."""

    text: str
    findings: list[Finding] = field(default_factory=list)
    texts: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True
    """Not for a text that does not parse, which has what is left of the findings before."""
    problem: str = ""
    """What is wrong with the settings, which are the last good ones then."""


@dataclass(frozen=True, slots=True)
class Job:
    """A document to be checked: its path (a name, if it is no file), its text or cells, and the texts of the other open files."""

    path: str
    text: str
    why: Why
    is_file: bool = True
    top: str = ""
    """The workspace folder; the empty string if there is none."""
    others: Mapping[str, str] = field(default_factory=dict)
    cells: Sequence[Cell] | None = None
    before: Answer | None = None
    fixes: bool = False
    """Findings are to have their fixes, which takes some times as long."""


def joined(waiting: Job, newer: Job) -> Job:
    """The newer job, for the reasons of both."""
    reasons: tuple[Why, ...] = get_args(Why)
    return replace(newer, why=max(waiting.why, newer.why, key=reasons.index))


class Checker:
    """Checks documents, and keeps what the next check can use. `changes` override settings, by field name."""

    def __init__(self, changes: Mapping[str, Any] | None = None) -> None:
        self.changes = dict(changes or {})
        self._memory = Memory()
        self._good: dict[str, Settings] = {}

    def check(self, job: Job) -> Answer:
        """The findings of a document. Raises what the analysis raises, which is a bug of it."""
        before = job.before
        if (
            job.why == "typed"
            and not job.fixes
            and before
            and before.complete
            and job.cells is None
            and reads_the_same(before.text, job.text)
        ):
            return replace(before, text=job.text, findings=[replace(f, fix=None) for f in before.findings])
        forget()
        folder = os.path.dirname(job.path) if job.is_file else job.top
        settings, problem = self._settings(os.path.realpath(folder or "."))
        if job.is_file and excluded_below(settings, job.path, settings.root or os.path.realpath(job.top or folder)):
            return Answer(job.text, problem=problem)
        answer = self._linted(job, settings if problem else None)
        return replace(answer, problem=problem)

    def _settings(self, folder: str) -> tuple[Settings, str]:
        """The settings for a folder, or the last good ones and what is wrong."""
        try:
            self._good[folder] = with_changes(find_settings(folder), self.changes)
        except SettingsError as error:
            return self._good.get(folder, with_changes(Settings(), self.changes)), str(error)
        return self._good[folder], ""

    def _linted(self, job: Job, fixed: Settings | None) -> Answer:
        text = job.text if job.cells is None else _notebook(job.cells)
        texts: Mapping[str, str] = {}
        if job.is_file:
            others = [Text(path, other, context=True) for path, other in job.others.items()]
            given = [Text(job.path, text), *others]
            report = lint_paths(
                (), fixed, changes=None if fixed else self.changes, texts=given, cache=self._memory, mend=offer if job.fixes else None
            )
            findings, texts = in_cells(report.findings, report.notebooks), report.texts
        else:
            settings = fixed or with_changes(find_settings(os.path.realpath(job.top or ".")), self.changes)
            findings = lint_text(text, job.path, settings, cache=self._memory)
        if job.why == "shown":
            return Answer(job.text, findings, texts, complete=not _broken(findings))
        if job.cells is not None:
            return Answer(job.text, [f for f in findings if f.code != UNREADABLE[0]], texts)
        before = job.before
        if _broken(findings) or (before and before.findings and not findings and not compiles(text)):
            left = carried(before.findings, before.text, job.text) if before else []
            return Answer(job.text, left, before.texts if before else {}, complete=False)
        return Answer(job.text, findings, texts)


def _broken(findings: Sequence[Finding]) -> bool:
    return any(finding.code == UNREADABLE[0] for finding in findings)


def _notebook(cells: Sequence[Cell]) -> str:
    """The cells of a notebook as its file would have them."""
    rows = [{"cell_type": "code" if cell.is_code else "raw", "source": cell.text} for cell in cells]
    return json.dumps({"cells": rows, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4})
