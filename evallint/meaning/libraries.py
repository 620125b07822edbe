"""Reads `libraries.toml`: what code outside the project does to models, modes and gradients."""

from __future__ import annotations

import re
import sys
from fnmatch import translate
from functools import lru_cache
from importlib.resources import files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Libraries:
    """The table, each list of patterns as one regular expression."""

    def __init__(self, text: str) -> None:
        data = tomllib.loads(text)
        self.star_modules: dict[str, frozenset[str]] = {k: frozenset(v) for k, v in data.pop("star_modules").items()}
        self.libraries = frozenset(data.pop("libraries"))
        self.patterns: dict[str, re.Pattern[str]] = {
            name: re.compile("|".join(translate(p) for p in patterns)) for name, patterns in data.items()
        }
        self.matches = lru_cache(maxsize=50000)(self._matches)

    def _matches(self, table: str, dotted: str) -> bool:
        return self.patterns[table].match(dotted) is not None

    def is_module_class(self, dotted: str) -> bool:
        """Whether a base class of this dotted name is an `nn.Module`."""
        return self.matches("module_classes", dotted) and not dotted.endswith(("Function", "Dataset", "Config", "Parameter"))


@lru_cache(maxsize=1)
def load() -> Libraries:
    """The table that comes with evallint."""
    return Libraries((files("evallint.meaning") / "libraries.toml").read_text(encoding="utf-8"))


LIBRARIES = load()
