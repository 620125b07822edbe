"""`with evallint.watch() as watch:` for notebooks, tests and parts of a program."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Sequence
from types import TracebackType

from evallint.report.style import Style
from evallint.report.verdicts import render
from evallint.runtime.companion import PROBES, Companion, project_files
from evallint.runtime.verdicts import RunReport


class WatchReport(RunReport):
    """A report that prints itself for people."""

    def __str__(self) -> str:
        return render(self, Style())


class watch:
    """Watch the models that run inside of the `with` block; `report()` then gives a verdict on each finding.

    `paths` are files and folders whose findings are to be settled; by default the caller's file or cell, and what this process has imported
    from the folder below it. Each place is measured at most `probes` times; 0 measures nothing. Imports torch, and raises ImportError
    without it. Watches do not nest.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]] | None = None, *, probes: int = PROBES) -> None:
        import torch  # noqa: F401

        self.paths = None if paths is None else [os.fspath(path) for path in paths]
        caller = sys._getframe(1).f_code.co_filename
        self._companion = Companion(probes=probes)
        self._caller = caller

    def __enter__(self) -> watch:
        """Lint, and begin to watch."""
        if self.paths is not None:
            self._companion.lint(self.paths)
        elif os.path.isfile(self._caller):
            files = project_files(os.path.dirname(os.path.abspath(self._caller)))
            self._companion.lint([self._companion.written(path) for path in dict.fromkeys([os.path.abspath(self._caller), *files])])
        else:
            text = "".join(linecache.getlines(self._caller))  # a cell
            self._companion.lint([], [(self._caller, text)] if text else [])
        self._companion.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop watching; an exception passes."""
        self._companion.stop()

    def report(self) -> WatchReport:
        """The verdicts on what has been seen so far; `str()` of it is for people, `to_json()` for programs."""
        report = self._companion.report()
        return WatchReport(report.verdicts, report.unseen, report.environment, report.texts)
