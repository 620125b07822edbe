"""What the analysis calls the files of one program, so that it can resolve their imports of each other."""

from __future__ import annotations

import os
from collections.abc import Iterable

from evallint.source.neighbours import outermost_package


def program_names(paths: Iterable[str]) -> dict[str, str]:
    """For each path the name under which imports find it, where the paths themselves will not do; else nothing.

    They will not do inside a package and with `..`: from there `from package.module import f` names a folder that no path shows.
    """
    given = list(paths)
    relative = [path for path in given if not os.path.isabs(path)]
    try:
        here = os.getcwd()
        outside = {os.path.dirname(os.path.abspath(path)) for path in relative if os.path.normpath(path).startswith(os.pardir)}
        if not relative or not (outside or os.path.isfile(os.path.join(here, "__init__.py"))):
            return {}
        base = os.path.commonpath([_root(folder) for folder in (here, *outside)])
        return {path: os.path.relpath(os.path.abspath(path), base) for path in given}
    except (OSError, ValueError):  # a working folder that is gone; on Windows, other drives
        return {}


def _root(folder: str) -> str:
    """The folder from which Python would import what is in `folder`."""
    top = outermost_package(folder)
    return os.path.dirname(top) if os.path.isfile(os.path.join(top, "__init__.py")) else top
