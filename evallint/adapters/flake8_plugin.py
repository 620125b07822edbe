"""The flake8 plugin: findings that the command line has as well, at the same places.

It reads no other file's code; it has the settings of the command line, and keeps what it found out, as that does. Where other files
import the one at hand, what their calls decide is left unsaid.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evallint import __version__
from evallint.source.screening import text_matters


class Plugin:
    """What flake8 makes for each file; libcst is imported only for a file that mentions PyTorch or a mode."""

    name = "evallint"
    version = __version__

    def __init__(self, tree: ast.AST, filename: str, lines: list[str]) -> None:
        self._filename = filename
        self._lines = lines

    def run(self) -> Iterator[tuple[int, int, str, type]]:
        """Findings as (1-based line, 0-based column, text, type). `# noqa` is left to flake8, so that its --disable-noqa works."""
        text = "".join(self._lines)
        if not text_matters(text):
            return
        from evallint.cache.store import default_folder, keeper
        from evallint.configuration import settings_for
        from evallint.linting import lint_text
        from evallint.settings import SettingsError
        from evallint.source.neighbours import imported, importers
        from evallint.source.patterns import excluded_with_parents

        try:
            settings = settings_for(self._filename)
        except SettingsError as error:
            yield 1, 0, f"EVL900 {error}", type(self)
            return
        if excluded_with_parents(settings, self._filename):
            return
        hidden = bool(importers(self._filename) or imported(self._filename))  # what decides may be in a file that is not read here
        cache = keeper(default_folder(settings.root or None))
        for finding in lint_text(text, self._filename, settings, noqa=False, imported=hidden, cache=cache):
            yield finding.place.line, finding.place.column - 1, f"{finding.code} {finding.message}", type(self)
