"""The companion's life: lint ahead, install when torch comes, and tell at the end."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evallint.finding import Finding
from evallint.runtime.ahead import Linted, lint
from evallint.runtime.frames import installed_folders, is_users
from evallint.runtime.importing import After
from evallint.runtime.judging import judge
from evallint.runtime.matching import Claim, claims, real
from evallint.runtime.observing import Observations, environment, observations
from evallint.runtime.unseen import unseen
from evallint.runtime.verdicts import RunReport

if TYPE_CHECKING:
    from evallint.runtime.watcher import Watcher

PROBES = 3
"""Probes of one place, unless told otherwise."""


class Companion:
    """Watches this process from `start` to `stop`. Imports torch never itself."""

    def __init__(self, probes: int = PROBES, folder: str | None = None) -> None:
        self.probes = probes
        self.folder = folder or os.getcwd()
        self.notes: list[str] = []
        self.claims: list[Claim] = []
        self.linted: set[str] = set()
        self.texts: dict[str, str] = {}
        self.watcher: Watcher | None = None
        self._after: After | None = None

    def lint(self, paths: Sequence[str], texts: Sequence[tuple[str, str]] = (), *, follow: bool = False) -> None:
        """Lint files (and texts, by name) whose findings are to be settled."""
        self._take(lint(paths, texts, follow=follow))

    def _take(self, linted: Linted) -> None:
        if linted.problem:
            self.notes.append(linted.problem)
        absolute = {self._real(path): text for path, text in linted.texts.items()}
        self.texts |= absolute
        self.linted |= {self._real(path) for path in linted.files}
        self.claims += claims(linted.findings, absolute, self.folder)

    def _real(self, path: str) -> str:
        return real(os.path.join(self.folder, path))

    def start(self) -> None:
        """Install the hooks, now or when torch is imported."""
        self._after = After("torch", self._install)

    def _install(self) -> None:
        try:
            from evallint.runtime.watcher import Watcher

            self.watcher = Watcher(self.claims, self.probes)
            note = self.watcher.start()
            if note:
                self.notes.append(note)
        except Exception as error:  # the user's import must not fail for us
            self.notes.append(f"nothing was watched: {type(error).__name__}: {error}")

    def stop(self) -> None:
        """Take the hooks away."""
        if self._after is not None:
            self._after.cancel()
        if self.watcher is not None:
            self.watcher.stop()

    def report(self, **more: Any) -> RunReport:
        """The verdicts on what was seen so far; `more` goes into the environment."""
        observed = observations(self.watcher) if self.watcher is not None else Observations()
        spots = [*(seen.spots for seen in observed.calls), *(turned.spots for turned in observed.turns)]
        observed.ranks = more.get("world_size", 1)
        files = {spot.place.path for row in spots for spot in row}
        self._lint_late(files)
        texts = dict(self.texts)
        for path in files:
            texts.setdefault(real(path), "".join(linecache.getlines(path)))
        verdicts = judge(self.claims, observed, texts)
        others = unseen(self.claims, observed, texts)
        for verdict in others:
            verdict.finding = self._shown(verdict.finding)
        for verdict in (*verdicts, *others):
            for site in verdict.evidence.get("sites", ()):
                site["path"] = self.written(site["path"])
        about = environment(self.watcher, probes=self.probes, **more)
        if self.watcher is None and not self.notes:
            self.notes.append("torch was not imported, so nothing was watched")
        if self.notes:
            about["notes"] = list(dict.fromkeys(self.notes))
        report = RunReport(verdicts, others, about)
        for verdict in (*verdicts, *others):
            path = verdict.finding.place.path
            report.texts[path] = texts.get(self._real(path), "")
        return report

    def _lint_late(self, files: set[str]) -> None:
        """Lint what ran and was not known of before, such as modules imported by name; a notebook's cells are texts."""
        late = sorted(path for path in files if real(path) not in self.linted and self._real(path) not in self.linted)
        paths = [self.written(path) for path in late if os.path.isfile(path)]
        texts = [(path, "".join(linecache.getlines(path))) for path in late if not os.path.isfile(path)]
        if late:
            self.lint(paths, [(name, text) for name, text in texts if text])

    def written(self, path: str) -> str:
        """A path as one would write it in the folder where the run began."""
        try:
            relative = os.path.relpath(path, self.folder)
        except ValueError:
            return path
        return path if relative.startswith(os.pardir) or not os.path.isabs(path) else relative

    def _shown(self, finding: Finding) -> Finding:
        return replace(finding, place=replace(finding.place, path=self.written(finding.place.path)))


def project_files(folder: str) -> list[str]:
    """The files below a folder that this process has imported and that are not installed."""
    installed = installed_folders()
    found = []
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.endswith(".py") and is_users(path, installed) and real(path).startswith(real(folder) + os.sep):
            found.append(path)
    return sorted(set(found))
