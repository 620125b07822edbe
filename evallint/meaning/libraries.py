"""Reads `libraries.toml`: what code outside the project does to models, modes and gradients."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from fnmatch import translate
from functools import lru_cache
from importlib.resources import files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Libraries:
    """The table, each list of patterns as one regular expression; `more` are the user's own patterns, by the name of their list."""

    def __init__(self, text: str, more: Mapping[str, Iterable[str]] | None = None) -> None:
        data = tomllib.loads(text)
        for name, patterns in (more or {}).items():
            data[name] += patterns
        self.star_modules: dict[str, frozenset[str]] = {k: frozenset(v) for k, v in data.pop("star_modules").items()}
        self.libraries = frozenset(data.pop("libraries"))
        self.patterns: dict[str, re.Pattern[str]] = {
            name: re.compile("|".join(translate(p) for p in patterns) or r"(?!)") for name, patterns in data.items()
        }
        self.restores = bool(data["restoring_contexts"])
        self.matches = lru_cache(maxsize=50000)(self._matches)

    def _matches(self, table: str, dotted: str) -> bool:
        return self.patterns[table].match(dotted) is not None

    def is_module_class(self, dotted: str) -> bool:
        """Whether a base class of this dotted name is an `nn.Module`."""
        return self.matches("module_classes", dotted) and not dotted.endswith(("Function", "Dataset", "Config", "Parameter"))


@lru_cache(maxsize=1)
def load() -> Libraries:
    """The table that comes with evallint."""
    return Libraries(_text())


@lru_cache(maxsize=8)
def extended(more: tuple[tuple[str, tuple[str, ...]], ...]) -> Libraries:
    """The table with the user's own patterns, (list, patterns) each. Raises KeyError on a list that the table does not have."""
    return Libraries(_text(), dict(more)) if more else load()


def lists() -> tuple[str, ...]:
    """The names of the lists of patterns that users may extend."""
    return ("libraries", *load().patterns)


def _text() -> str:
    return (files("evallint.meaning") / "libraries.toml").read_text(encoding="utf-8")


LIBRARIES = load()
