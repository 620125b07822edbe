"""Options: their defaults, `[tool.evallint]` of `pyproject.toml`, and where it is found."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from evallint.finding import CONFIDENCES, SEVERITIES, Confidence, Severity

DEFAULT_EXCLUDE: tuple[str, ...] = (
    ".bzr",
    ".direnv",
    ".eggs",
    ".git",
    ".git-rewrite",
    ".hg",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".nox",
    ".pants.d",
    ".pyenv",
    ".pytest_cache",
    ".pytype",
    ".ruff_cache",
    ".svn",
    ".tox",
    ".venv",
    ".vscode",
    "__pycache__",
    "__pypackages__",
    "_build",
    "buck-out",
    "build",
    "dist",
    "node_modules",
    "site-packages",
    "venv",
)

_PREFIX = re.compile(r"EVL[0-9]{0,3}", re.ASCII)


class SettingsError(Exception):
    """A setting that cannot be used; the message names the file and the key, and is fit to show."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is reported and how names are read.

    Codes are prefixes (`EVL`, `EVL0`, `EVL001`); the longer prefix wins, and `ignore` wins a tie. No `select` means all.
    Patterns are those of `.gitignore`, relative to `root`, the folder of the `pyproject.toml` (the empty string: the working folder).
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    confidence: Confidence = "medium"
    severity: Severity = "note"
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    extend_exclude: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    extend_models: tuple[str, ...] = ()
    evaluation_functions: tuple[str, ...] = ()
    training_calls: tuple[str, ...] = ()
    libraries: tuple[tuple[str, tuple[str, ...]], ...] = ()
    root: str = field(default="")

    def selects(self, code: str) -> bool:
        """Whether findings of `code` are reported. A file that cannot be read (EVL900) is hidden by `ignore` alone."""
        chosen = max((len(p) for p in (*self.select, *self.extend_select) if code.startswith(p)), default=-1)
        if not self.select or code == "EVL900":
            chosen = max(chosen, 0)
        ignored = max((len(p) for p in self.ignore if code.startswith(p)), default=-1)
        return chosen > ignored

    def shows(self, confidence: Confidence, severity: Severity) -> bool:
        """Whether a finding of this confidence and severity is above both thresholds."""
        return CONFIDENCES.index(confidence) >= CONFIDENCES.index(self.confidence) and SEVERITIES.index(severity) >= SEVERITIES.index(
            self.severity
        )

    def asked(self) -> tuple[Any, ...]:
        """What of the settings the analysis depends on; the others decide what is read and shown."""
        return self.knowledge(), self.extend_models, self.evaluation_functions

    def knowledge(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What the user knows of code outside the project: patterns of dotted names, by the list of `libraries.toml` that they extend."""
        calls = tuple(pattern for name in self.training_calls for pattern in (name, f"*.{name}"))
        classes = tuple(name for name in self.extend_models if "." in name)
        own = {"training_calls": calls, "module_classes": classes, "models_in_training_mode": classes}
        rows = [*self.libraries, *((name, patterns) for name, patterns in own.items() if patterns)]
        merged: dict[str, tuple[str, ...]] = {}
        for name, patterns in rows:
            merged[name] = merged.get(name, ()) + patterns
        return tuple(merged.items())


def replace(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """`settings` with the fields of `changes` (by field name), which command-line options are."""
    return dataclasses.replace(settings, **changes) if changes else settings


def code_prefix(text: str) -> str:
    """One code prefix, in capitals. Raises ValueError on anything that cannot start a code."""
    code = text.strip().upper()
    if not _PREFIX.fullmatch(code):
        raise ValueError(f"{text.strip()!r} is not a code or the start of one (such as EVL001, EVL0 or EVL)")
    return code


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError("wants a list of strings")
    return tuple(value)


def _codes(value: object) -> tuple[str, ...]:
    return tuple(code_prefix(v) for v in _strings(value))


def _one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"wants one of {', '.join(map(repr, words))}, not {value!r}")
        return value

    return check


def _code_table(value: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise ValueError("wants a table of patterns, each with a list of codes")
    return tuple((pattern, _entry(pattern, codes, _codes)) for pattern, codes in value.items())


def _entry(key: str, value: object, read: Callable[[object], tuple[str, ...]]) -> tuple[str, ...]:
    """One list of a table; what is wrong with it is said of its key."""
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"at {key!r} {error}") from None


def _library_table(value: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    from evallint.meaning.libraries import lists  # read where somebody extends it alone

    if not isinstance(value, dict):
        raise ValueError("wants a table of lists of patterns")
    rows = []
    for key, patterns in value.items():
        name = key.replace("-", "_")
        if name not in lists():
            raise ValueError(f"has an unknown list {key!r}{_hint(key, [known.replace('_', '-') for known in lists()])}")
        rows.append((name, _entry(key, patterns, _strings)))
    return tuple(rows)


_READERS: dict[str, Callable[[object], Any]] = {
    "select": _codes,
    "ignore": _codes,
    "extend-select": _codes,
    "confidence": _one_of(CONFIDENCES),
    "severity": _one_of(SEVERITIES),
    "exclude": _strings,
    "extend-exclude": _strings,
    "per-file-ignores": _code_table,
    "extend-models": _strings,
    "evaluation-functions": _strings,
    "training-calls": _strings,
    "libraries": _library_table,
}


def checked(table: Mapping[str, object], origin: str) -> dict[str, Any]:
    """The fields of settings that a table gives, by their names. Raises SettingsError, which names the `origin` and the key."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _READERS:
            raise SettingsError(f"{origin}: unknown key {key!r}{_hint(key, _READERS)}")
        try:
            values[key.replace("-", "_")] = _READERS[key](value)
        except ValueError as error:
            raise SettingsError(f"{origin}.{key}: {error}") from None
    return values


def read_settings(pyproject: str) -> Settings | None:
    """The `[tool.evallint]` table of one `pyproject.toml`, or None if it has none.

    Raises SettingsError on a file that cannot be read, on an unknown key and on a value of the wrong type.
    """
    try:
        data = Path(pyproject).read_bytes()
    except OSError as error:
        raise SettingsError(f"{pyproject}: cannot be read: {error.strerror or error}") from None
    if b"evallint" not in data:  # spares the TOML parser in most projects
        return None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        tool = tomllib.loads(data.decode("utf-8-sig")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{pyproject}: is not valid TOML: {error}") from None
    table = tool.get("evallint") if isinstance(tool, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise SettingsError(f"{pyproject}: tool.evallint: wants a table")
    values = checked(table, f"{pyproject}: tool.evallint")
    return Settings(root=os.path.dirname(os.path.realpath(pyproject)), **values)


def _hint(key: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key.replace("_", "-"), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"


@cache
def settings_in(folder: str) -> Settings | None:
    """The settings that `folder` itself holds, read once a process. Raises SettingsError as `read_settings` does."""
    candidate = os.path.join(folder, "pyproject.toml")
    return read_settings(candidate) if os.path.isfile(candidate) else None


def forget() -> None:
    """Let the next question read the files anew."""
    settings_in.cache_clear()


def find_settings(folder: str) -> Settings:
    """The settings for files in `folder`: of the nearest `pyproject.toml` upward that has `[tool.evallint]`, else the defaults.

    `folder` is an absolute path with links resolved. Raises SettingsError as `read_settings` does.
    """
    while True:
        found = settings_in(folder)
        parent = os.path.dirname(folder)
        if found is not None or parent == folder:
            return found or Settings()
        folder = parent


def settings_for(path: str) -> Settings:
    """The settings for the file at `path` (it need not exist). Raises SettingsError as `read_settings` does."""
    return find_settings(os.path.realpath(os.path.dirname(path) or "."))
