"""The options that are settings or say where these come from, `--show-settings` and `--show-files`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from evallint.adapters.parsing import Parser
from evallint.finding import CONFIDENCES, SEVERITIES

if TYPE_CHECKING:
    from evallint.configuration import Configuration
    from evallint.settings import Settings

_FIELDS = (
    *("select", "ignore", "extend_select", "per_file_ignores", "confidence", "severity"),
    *("exclude", "extend_exclude"),
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The configuration that holds for every file (None: each has the nearest), and what the command line changes, by field name."""

    configuration: Configuration | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings | None:
        """The settings of the one configuration."""
        return None if self.configuration is None else self.configuration.settings


def add_selection(parser: Parser) -> None:
    """What is reported."""
    group = parser.add_argument_group("what is reported")
    codes: dict[str, Any] = {"type": _codes, "metavar": "CODES", "action": "extend"}
    group.add_argument("--select", help="report only codes that start so: EVL001,EVL1", **codes)
    group.add_argument("--ignore", help="report no codes that start so (the longer wins)", **codes)
    group.add_argument("--extend-select", help="report these codes as well", **codes)
    group.add_argument(
        "--per-file-ignores",
        type=_codes_by_file,
        metavar="MAP",
        action="extend",
        help="not these codes in some files: 'tests/*:EVL002'",
    )
    level: dict[str, Any] = {"metavar": "LEVEL"}
    group.add_argument("--confidence", choices=CONFIDENCES, help="least certainty: low, medium (default), high", **level)
    group.add_argument("--severity", choices=SEVERITIES, help="least weight: note (default), warning, error", **level)


def add_files(parser: Parser) -> None:
    """Which files are linted."""
    group = parser.add_argument_group("which files")
    patterns: dict[str, Any] = {"type": _patterns, "metavar": "GLOBS", "action": "extend"}
    group.add_argument("--exclude", help="pass over files and folders, as .gitignore would", **patterns)
    group.add_argument("--extend-exclude", help="pass over these as well", **patterns)
    group.add_argument("--force-exclude", action="store_true", help="exclude also what is named on the command line")
    group.add_argument("--stdin-filename", metavar="NAME", help="what to call standard input")
    group.add_argument("--show-files", action="store_true", help="list the files that would be linted")


def add_configuration(parser: Parser) -> None:
    """Where the settings come from."""
    group = parser.add_argument_group("configuration")
    group.add_argument(
        "--config", action="append", metavar="CONFIG", help="a TOML file for all files, or one setting as TOML: 'confidence = \"low\"'"
    )
    group.add_argument("--isolated", action="store_true", help="read no configuration files")
    group.add_argument("--show-settings", action="store_true", help="show the settings, and where each comes from")


def chosen(options: argparse.Namespace) -> Chosen:
    """What the options say of settings. Raises SettingsError."""
    from evallint.configuration import Configuration, checked, parsed, read_configuration
    from evallint.settings import SettingsError

    configuration = Configuration() if options.isolated else None
    changes: dict[str, Any] = {}
    for text in options.config or ():
        if "=" in text and not os.path.exists(text):
            _add(changes, checked(parsed(text, "--config"), "--config"))
            continue
        if options.isolated:
            raise SettingsError(f"--isolated reads no configuration file, but --config names one: {text}")
        if configuration is not None:
            raise SettingsError(f"--config names two files: {configuration.path} and {text}")
        configuration = read_configuration(text)
        if configuration is None:
            raise SettingsError(f"{text}: has no table [tool.evallint]")
        configuration = replace(configuration, settings=replace(configuration.settings, root=""))
    _add(changes, {name: _frozen(value) for name in _FIELDS if (value := getattr(options, name)) is not None})
    return Chosen(configuration, changes)


def _add(changes: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        changes[name] = changes.get(name, ()) + value if name.startswith("extend_") else value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def show_files(paths: Iterable[str], texts: Iterable[str], given: Chosen, *, force_exclude: bool) -> list[str]:
    """Print the files that would be linted, one a line; returns what is wrong with the paths. `texts` are names of what is no file."""
    files, wrong = _files(paths, texts, given, force_exclude)
    for path in files:
        print(path)
    return wrong


def show_settings(paths: Iterable[str], texts: Iterable[str], given: Chosen, *, force_exclude: bool) -> list[str]:
    """Print the settings for each set of files that has its own, with where they come from; returns what is wrong with the paths."""
    from evallint.configuration import find_configuration, resolved
    from evallint.report.settings_text import Block, render

    files, wrong = _files(paths, texts, given, force_exclude)
    groups: dict[str, tuple[Configuration, list[str]]] = {}
    for path in files or ["."]:
        folder = path if not files else os.path.dirname(path) or "."
        configuration = given.configuration or find_configuration(os.path.realpath(folder))
        groups.setdefault(configuration.path, (configuration, []))[1].append(path)
    blocks = [
        Block(rows[0] if files else "", len(rows), configuration.path, configuration.settings.root, resolved(configuration, given.changes))
        for configuration, rows in groups.values()
    ]
    print(render(blocks))
    return wrong


def _files(paths: Iterable[str], texts: Iterable[str], given: Chosen, force_exclude: bool) -> tuple[list[str], list[str]]:
    from evallint.gathering import settings_by_file, settings_by_folder
    from evallint.source.patterns import excluded_with_parents
    from evallint.source.walking import Problem, find_files

    settings_in = settings_by_folder(given.settings, given.changes)
    settings_of = settings_by_file(settings_in)
    files = [name for name in texts if not (force_exclude and excluded_with_parents(settings_of(name), name))]
    wrong: list[str] = []
    for found in find_files(paths, settings_in, force_exclude=force_exclude):
        if isinstance(found, Problem):
            wrong.append(f"{found.path}: {found.message}")
        else:
            files.append(found.path)
    return files, wrong


def _codes(text: str) -> tuple[str, ...]:
    from evallint.settings import code_prefix

    try:
        return tuple(code_prefix(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _codes_by_file(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """`tests/*:EVL002,EVL003,b.py:EVL1`: what follows a pattern without a colon of its own is one more code for it."""
    table: dict[str, tuple[str, ...]] = {}
    last = ""
    for part in _patterns(text):
        pattern, colon, code = part.rpartition(":")
        last = pattern if colon else last
        if not last:
            raise argparse.ArgumentTypeError(f"{part!r} has no pattern: write PATTERN:CODE")
        table[last] = table.get(last, ()) + _codes(code)
    return tuple(table.items())
