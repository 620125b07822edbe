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
    names_here, others_here = _split(settings.exclude_here)
    names |= names_here
    specs = [_compiled(root or os.path.realpath("."), rest) for root, rest in ((settings.root, others), ("", others_here)) if rest]

    def excluded(path: str, is_folder: bool) -> bool:
        return os.path.basename(path) in names or any(spec.says(path, is_folder) is True for spec in specs)

    return excluded


def excluded_with_parents(settings: Settings, path: str) -> bool:
    """Whether `path` is excluded, or a folder above it: up to that of the settings and the working folder, or up to the root."""
    here = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
    is_folder = os.path.isdir(here)
    if is_folder:
        here = os.path.realpath(here)
    within = [top for top in (settings.root, os.path.realpath(".")) if top and _is_below(here, top)]
    return _excluded_up(settings, here, is_folder, min(within, key=len, default=""))


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def excluded_below(settings: Settings, path: str, top: str) -> bool:
    """Whether a walk from the folder `top` would not come to the file at `path`, as it or a folder on the way is excluded."""
    return _excluded_up(settings, os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)), False, top)


def _excluded_up(settings: Settings, here: str, is_folder: bool, top: str) -> bool:
    """Whether a path is excluded, or a folder above it below `top`; with the empty string, up to the root."""
    excluded = excludes(settings)
    while here != top and (parent := os.path.dirname(here)) != here:
        if excluded(here, is_folder):
            return True
        here, is_folder = parent, True
    return False


def ignored_codes(settings: Settings, path: str) -> tuple[str, ...]:
    """The code prefixes that `per-file-ignores` silences in the file at `path`."""
    codes: list[str] = []
    if not (settings.per_file_ignores or settings.per_file_ignores_here):
        return ()
    place = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
    for root, table in ((settings.root, settings.per_file_ignores), ("", settings.per_file_ignores_here)):
        for pattern, silenced in table:
            if _compiled(root or os.path.realpath("."), (pattern,)).says(place):
                codes += silenced
    return tuple(codes)
