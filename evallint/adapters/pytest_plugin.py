"""`pytest --evallint`: watches the tests, and tells the verdicts in the terminal summary. Costs nothing without the option."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from evallint.runtime.companion import Companion
    from evallint.runtime.verdicts import RunReport


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, all in one group."""
    group = parser.getgroup("evallint", "evallint: which PyTorch mode and grad bugs are real")
    group.addoption("--evallint", action="store_true", help="watch the models that the tests run, and give each finding a verdict")
    group.addoption("--evallint-report", metavar="FILE", help="write the verdicts as JSON")
    group.addoption("--evallint-probes", metavar="N", type=int, default=3, help="measure the effect at most N times a place (3)")
    group.addoption(
        "--evallint-fail-on",
        choices=("confirmed", "any"),
        help="fail the run on a confirmed bug, or on any finding that the tests neither refute nor show harmless",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Watch only when asked; under pytest-xdist only the main process could tell, and it runs no test."""
    if config.getoption("--evallint"):
        config.pluginmanager.register(_Plugin(config), "evallint-companion")


class _Plugin:
    def __init__(self, config: pytest.Config) -> None:
        from evallint.runtime.companion import Companion

        self.config = config
        self.root = str(config.rootpath)
        self.companion: Companion = Companion(max(0, config.getoption("--evallint-probes")), folder=self.root)
        self.result: RunReport | None = None
        self.started = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What the tests import is known now: lint it, then watch."""
        from evallint.runtime.companion import project_files

        here = os.getcwd()
        files = [os.path.relpath(path, here) for path in project_files(self.root)]
        self.companion.folder = here
        self.companion.lint(files)
        self.companion.start()
        self.started = True

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Decide whether the run fails."""
        if not self.started:
            return
        self.companion.stop()
        self.result = self.companion.report(program="pytest")
        on = self.config.getoption("--evallint-fail-on")
        if on and exitstatus == pytest.ExitCode.OK and self.result.fails(on):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The verdicts, after the tests' own summary."""
        if self.result is None:
            return
        from evallint.report.style import style_for
        from evallint.report.verdicts import render

        terminalreporter.section("evallint")
        terminalreporter.write_line(render(self.result, style_for(sys.stdout)))
        path = self.config.getoption("--evallint-report")
        if path:
            from evallint.adapters.run import write

            try:
                write(self.result, path)
            except OSError as error:
                terminalreporter.write_line(f"evallint: error: cannot write {path}: {error.strerror or error}")
