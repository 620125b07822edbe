"""Configuration files: `evallint.toml`, `.evallint.toml` and `[tool.evallint]` of `pyproject.toml`, checked and turned into settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from evallint.finding import CONFIDENCES, SEVERITIES
from evallint.settings import Settings, SettingsError, code_prefix

FILE_NAMES = (".evallint.toml", "evallint.toml", "pyproject.toml")
"""The files that hold settings; of those in one folder the first counts."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of one file (`path`; empty: there is none), and the values that it sets, by the names of the settings' fields."""

    settings: Settings = field(default_factory=Settings)
    path: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"wants a list of strings, not {_kind(value)}")
    for number, entry in enumerate(value, 1):
        if not isinstance(entry, str):
            raise ValueError(f"wants a list of strings; its entry {number} is {_kind(entry)}")
    return tuple(value)


def _kind(value: object) -> str:
    """What TOML calls a value."""
    kinds = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array", dict: "a table"}
    return kinds.get(type(value), "a date or time")


def _codes(value: object) -> tuple[str, ...]:
    return tuple(code_prefix(v) for v in _strings(value))


def _one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            near = _nearest(value, words) if isinstance(value, str) else ""
            raise ValueError(f"wants one of {', '.join(map(repr, words))}, not {value!r}{near and f' (did you mean {near!r}?)'}")
        return value

    return check


def _code_table(value: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise ValueError(f"wants a table of patterns, each with a list of codes, not {_kind(value)}")
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
        raise ValueError(f"wants a table of lists of patterns, not {_kind(value)}")
    rows = []
    for key, patterns in value.items():
        name = key.replace("-", "_")
        if name not in lists():
            raise ValueError(f"has an unknown list {key!r}{_hint(key, [known.replace('_', '-') for known in lists()])}")
        rows.append((name, _entry(key, patterns, _strings)))
    return tuple(rows)


KEYS: dict[str, Callable[[object], Any]] = {
    "select": _codes,
    "ignore": _codes,
    "extend-select": _codes,
    "per-file-ignores": _code_table,
    "confidence": _one_of(CONFIDENCES),
    "severity": _one_of(SEVERITIES),
    "exclude": _strings,
    "extend-exclude": _strings,
    "extend-models": _strings,
    "evaluation-functions": _strings,
    "training-calls": _strings,
    "restoring-contexts": _strings,
    "libraries": _library_table,
}
"""Every key of a configuration file, and what checks its value: that raises ValueError, whose message says what is wanted."""


def _hint(key: str, known: Iterable[str]) -> str:
    near = _nearest(key.replace("_", "-"), known)
    return f" (did you mean {near!r}?)" if near else f" (known: {', '.join(known)})"


def _nearest(word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(word.lower(), list(known), n=1)), "")


def parsed(text: str, origin: str) -> dict[str, Any]:
    """A text as TOML; `origin` is what a SettingsError calls it."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error).replace("(at end of document)", f"(at the end, line {max(1, len(text.splitlines()))})")
        raise SettingsError(f"{origin}: is not valid TOML: {said}") from None
    return table


def checked(table: Mapping[str, object], origin: str, prefix: str = "") -> dict[str, Any]:
    """The values of a table of settings, by field name. Raises SettingsError on an unknown key and on a value of the wrong type."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in KEYS:
            where = f"{origin}: {prefix.removesuffix('.')}: " if prefix else f"{origin}: "
            if key == "tool" and not prefix:
                raise SettingsError(f"{where}unknown key 'tool': in this file the keys stand by themselves, without [tool.evallint]")
            raise SettingsError(f"{where}unknown key {key!r}{_hint(key, KEYS)}")
        try:
            values[key.replace("-", "_")] = KEYS[key](value)
        except ValueError as error:
            raise SettingsError(f"{origin}: {prefix}{key}: {error}") from None
    return values


def read_configuration(path: str) -> Configuration | None:
    """What one file holds; None for a `pyproject.toml` without `[tool.evallint]`. In any other file the keys stand at the top.

    Raises SettingsError on a file that cannot be read, on an unknown key and on a value of the wrong type.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None
    in_table = os.path.basename(path) == "pyproject.toml"
    if in_table and b"evallint" not in data:  # spares the TOML parser in most projects
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}: is not valid TOML: it is not UTF-8 (at line {line})") from None
    table: object = parsed(text, path)
    if in_table:
        tool = table.get("tool", {}) if isinstance(table, dict) else {}
        table = tool.get("evallint") if isinstance(tool, dict) else None
        if table is None:
            return None
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: tool.evallint: wants a table, not {_kind(table)}")
    values = checked(table, path, "tool.evallint." if in_table else "")
    return Configuration(Settings(root=os.path.dirname(os.path.realpath(path)), **values), path, values)


@cache
def configuration_in(folder: str) -> Configuration | None:
    """What `folder` itself holds, read once a process. Raises SettingsError as `read_configuration` does."""
    for name in FILE_NAMES:
        candidate = os.path.join(folder, name)
        if os.path.isfile(candidate) and (found := read_configuration(candidate)) is not None:
            return found
    return None


def forget() -> None:
    """Let the next question read the files anew."""
    configuration_in.cache_clear()


def find_configuration(folder: str) -> Configuration:
    """What holds for files in `folder`: the nearest file upward that has settings, else the defaults.

    `folder` is an absolute path with links resolved. Raises SettingsError as `read_configuration` does.
    """
    while True:
        found = configuration_in(folder)
        parent = os.path.dirname(folder)
        if found is not None or parent == folder:
            return found or Configuration()
        folder = parent


def find_settings(folder: str) -> Settings:
    """The settings for files in `folder`, an absolute path with links resolved. Raises SettingsError as `read_configuration` does."""
    return find_configuration(folder).settings


def settings_for(path: str) -> Settings:
    """The settings for the file at `path` (it need not exist). Raises SettingsError as `read_configuration` does."""
    return find_settings(os.path.realpath(os.path.dirname(path) or "."))


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as it holds: its key, its value, and where that comes from (a file's path, the command line, or `default`)."""

    key: str
    value: Any
    origin: str


def resolved(configuration: Configuration, changes: Mapping[str, Any]) -> list[Row]:
    """Every setting of a configuration with the changes of the command line, as `settings.replace` puts them together."""
    rows = []
    for key in KEYS:
        name = key.replace("-", "_")
        values = {} if name == "extend_select" and "select" in changes else configuration.values
        origins = [origin for origin, given in ((configuration.path, values), ("command line", changes)) if name in given]
        if name.startswith("extend_"):
            value = values.get(name, ()) + changes.get(name, ())
        else:
            value = changes.get(name, values.get(name, getattr(Settings(), name)))
            origins = origins[-1:]
        rows.append(Row(key, value, " and ".join(origins) or "default"))
    return rows
