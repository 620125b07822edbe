"""Path patterns in the language of `.gitignore`; pathspec is imported only for those that are more than a name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cache

from evallint.settings import Settings


class Patterns:
    """Patterns that hold below one folder."""

    def __init__(self, folder: str, lines: Iterable[str]) -> None:
        from pathspec import GitIgnoreSpec

        self.folder = folder
        self._spec = GitIgnoreSpec.from_lines(_usable(lines))

    def says(self, path: str, is_folder: bool = False) -> bool | None:
        """Whether the last pattern that matches the absolute `path` takes it (True), re-admits it (False), or none matches (None)."""
        relative = os.path.relpath(path, self.folder).replace(os.sep, "/")
        if relative.startswith("../") or relative in (".", ".."):
            return None
        return self._spec.check_file(relative + "/" if is_folder else relative).include


def _usable(lines: Iterable[str]) -> list[str]:
    """The lines that are patterns; like git, passes over those that are none instead of failing."""
    from pathspec import GitIgnoreSpec

    good = []
    for line in lines:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            continue
        good.append(line)
    return good


@cache
def _compiled(folder: str, lines: tuple[str, ...]) -> Patterns:
    return Patterns(folder, lines)


def _is_name(pattern: str) -> bool:
    return not any(sign in pattern for sign in "*?[]!/\\# ")


@cache
def _split(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    return frozenset(filter(_is_name, patterns)), tuple(p for p in patterns if not _is_name(p))


def excludes(settings: Settings) -> Callable[[str, bool], bool]:
    """Whether `exclude` or `extend-exclude` keep a walk from a path (absolute, links resolved)."""
    names, others = _split(settings.exclude + settings.extend_exclude)
    spec = _compiled(settings.root or os.path.realpath("."), others) if others else None

    def excluded(path: str, is_folder: bool) -> bool:
        return os.path.basename(path) in names or (spec is not None and spec.says(path, is_folder) is True)

    return excluded


def excluded_below(settings: Settings, path: str, top: str) -> bool:
    """Whether a walk from the folder `top` would not come to the file at `path`, as it or a folder on the way is excluded."""
    excluded = excludes(settings)
    here, is_folder = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)), False
    while here != top and (parent := os.path.dirname(here)) != here:
        if excluded(here, is_folder):
            return True
        here, is_folder = parent, True
    return False


def ignored_codes(settings: Settings, path: str) -> tuple[str, ...]:
    """The code prefixes that `per-file-ignores` silences in the file at `path`."""
    codes: list[str] = []
    if not settings.per_file_ignores:
        return ()
    root = settings.root or os.path.realpath(".")
    place = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
    for pattern, silenced in settings.per_file_ignores:
        if _compiled(root, (pattern,)).says(place):
            codes += silenced
    return tuple(codes)
