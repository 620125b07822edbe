"""Paths to files: folders walked in a fixed order, `.gitignore` and excludes respected, no link followed twice."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evallint.configuration import find_settings
from evallint.settings import Settings
from evallint.source.patterns import Patterns, excluded_with_parents, excludes

SUFFIXES = (".py", ".ipynb")

SettingsIn = Callable[[str], Settings]
"""The settings for the files of a folder, an absolute path with links resolved."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to lint: its path as the user would write it, and whether the user named it."""

    path: str
    named: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """A path that cannot be linted, and why; it makes the run fail (exit code 2) and stops nothing."""

    path: str
    message: str


def find_files(paths: Iterable[str], settings_in: SettingsIn = find_settings, *, force_exclude: bool = False) -> Iterator[Found | Problem]:
    """Every file of `paths` once, folders depth first and sorted by name.

    The excludes for a folder are those of its settings; what is named itself is excluded only with `force_exclude`. Raises SettingsError.
    """
    seen: set[str] = set()
    for path in paths:
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            yield Problem(path, getattr(error, "strerror", None) or str(error))
            continue
        is_folder = stat.S_ISDIR(mode)
        folder = os.path.realpath(path if is_folder else os.path.dirname(path) or ".")
        if force_exclude and excluded_with_parents(settings_in(folder), path):
            continue
        if is_folder:
            yield from _Walk(settings_in, seen).folder(path)
            continue
        real = os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            yield Found(path, named=True)


class _Walk:
    """One folder that the user named, and everything below it."""

    def __init__(self, settings_in: SettingsIn, seen: set[str]) -> None:
        self.settings_in = settings_in
        self.seen = seen

    def folder(self, path: str) -> Iterator[Found | Problem]:
        """`path` is a folder as the user wrote it."""
        top = os.path.realpath(path)
        outer = _outer_ignores(top)
        if _ignored(outer, top, is_folder=True):  # naming an ignored folder asks for what is in it
            outer = ()
        pending = [("" if path in (".", "./") else path, top, outer)]
        while pending:
            shown, real, ignores = pending.pop()
            try:
                with os.scandir(real) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                yield Problem(shown or ".", f"cannot read the folder: {error.strerror or error}")
                continue
            excluded = excludes(self.settings_in(real))
            if any(entry.name == ".gitignore" for entry in entries):
                ignores = (*ignores, *_patterns_of(os.path.join(real, ".gitignore"), real))
            folders = []
            for entry in entries:
                here = os.path.join(real, entry.name)
                kind = _kind(entry)
                if kind is None or excluded(here, kind is _FOLDER) or _ignored(ignores, here, kind is _FOLDER):
                    continue
                if kind is _FOLDER:
                    folders.append((os.path.join(shown, entry.name), here, ignores))
                elif self._is_new(entry, here):
                    yield Found(os.path.join(shown, entry.name), named=False)
            pending += reversed(folders)

    def _is_new(self, entry: os.DirEntry[str], path: str) -> bool:
        key = os.path.realpath(path) if entry.is_symlink() else path
        new = key not in self.seen
        self.seen.add(key)
        return new


_FOLDER, _FILE = "folder", "file"


def _kind(entry: os.DirEntry[str]) -> str | None:
    """What a walk does with an entry: descend, lint, or (None) pass by. Linked folders are passed by, so no loop can arise."""
    try:
        if entry.is_dir(follow_symlinks=False):
            return _FOLDER
        if entry.name.endswith(SUFFIXES) and entry.is_file():  # is_file is false for pipes, sockets and dead or looping links
            return _FILE
    except OSError:
        pass
    return None


def _ignored(ignores: tuple[Patterns, ...], path: str, is_folder: bool) -> bool:
    """As git decides: the file nearest to the path that says anything has the word."""
    for patterns in reversed(ignores):
        said = patterns.says(path, is_folder)
        if said is not None:
            return said
    return False


def _outer_ignores(folder: str) -> tuple[Patterns, ...]:
    """The ignore files of the repository that hold for `folder`, outermost first (its own comes with the walk)."""
    above = [folder]
    while not os.path.exists(os.path.join(above[-1], ".git")):
        parent = os.path.dirname(above[-1])
        if parent == above[-1]:
            return ()
        above.append(parent)
    top = above[-1]
    found = [*_patterns_of(os.path.join(top, ".git", "info", "exclude"), top)]
    for one in reversed(above[1:]):
        found += _patterns_of(os.path.join(one, ".gitignore"), one)
    return tuple(found)


def _patterns_of(ignore_file: str, folder: str) -> list[Patterns]:
    try:
        text = Path(ignore_file).read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError:
        return []
    return [Patterns(folder, text.splitlines())]
