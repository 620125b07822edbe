"""Paths as programs want them: as seen from a project's folder, with slashes, and as URIs."""

from __future__ import annotations

import os
from contextlib import suppress
from urllib.parse import quote

from evallint.report.style import legible


def folder(*variables: str) -> str:
    """The project's folder: what one of these environment variables names, if the working folder is in it; else the working folder."""
    here = os.getcwd()
    for top in filter(None, map(os.environ.get, variables)):
        if _seen_from(os.path.realpath(top), here) is not None:
            return os.path.realpath(top)
    return here


def located(path: str, top: str) -> str:
    """`path` as seen from the folder `top`, or absolute where it is not in it; with slashes."""
    seen = _seen_from(top, path)
    return _slashes(os.path.abspath(path) if seen is None else seen)


def shown(path: str, top: str) -> str:
    """`located` as text that every encoding can write."""
    return legible(located(path, top))


def uri(path: str) -> str:
    """What `located` returns as a relative URI; of an absolute path, relative to the root of the file system."""
    try:
        data = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # not the bytes of a name: a program made it up
        data = path.encode("utf-8", "surrogatepass")
    return quote(data.lstrip(b"/"))


def folder_uri(path: str) -> str:
    """The `file:` URI of a folder."""
    inside = uri(_slashes(path))
    return f"file:///{inside}/" if inside else "file:///"


def _seen_from(top: str, path: str) -> str | None:
    """`path` relative to the folder `top`, or None if it is not in it, neither as it is written nor by its real place."""
    for one in (os.path.abspath(path), os.path.realpath(path)):
        with suppress(ValueError):  # another drive
            seen = os.path.relpath(one, top)
            if seen != os.pardir and not seen.startswith(os.pardir + os.sep):
                return seen
    return None


def _slashes(path: str) -> str:
    return path.replace(os.sep, "/")
