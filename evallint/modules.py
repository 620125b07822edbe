"""Which file of a program an import stands for."""

from __future__ import annotations

import posixpath
import sys
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

Parts = tuple[str, ...]
MOST_PATHS = 20_000
"""Files whose folders are kept in mind."""


def plain_path(path: str) -> str:
    """A path with forward slashes, without `.` and `..` where they can be resolved."""
    return posixpath.normpath(path.replace("\\", "/"))


@lru_cache(maxsize=MOST_PATHS)
def folders_of(path: str) -> Parts:
    """The names on the way to a file, its own last."""
    return tuple(p for p in plain_path(path).split("/") if p)


def connected(paths: Iterable[str], links: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """For each path one of those that `links` connect it with, the same for all of them; a link to None connects nothing."""
    leader = {path: path for path in paths}

    def find(path: str) -> str:
        while leader[path] != path:
            leader[path] = path = leader[leader[path]]
        return path

    for path, other in links:
        if other is not None:
            leader[find(path)] = find(other)
    return {path: find(path) for path in leader}


class Modules:
    """The modules of one program by their dotted names; `libraries` are the names of packages that are not of the program."""

    def __init__(self, paths: Iterable[str], libraries: frozenset[str]) -> None:
        self._outside = libraries | sys.stdlib_module_names
        self._by_stem: dict[str, list[tuple[Parts, str]]] = defaultdict(list)
        for path in paths:
            if not path.endswith(".py"):  # nobody can import a notebook
                continue
            parts = folders_of(path)
            stem = parts[-1].rsplit(".", 1)[0]
            dotted = parts[:-1] if stem == "__init__" else (*parts[:-1], stem)
            if dotted:
                self._by_stem[dotted[-1]].append((dotted, path))

    def find(self, path: str, dotted: str, level: int) -> str | None:
        """The file that `dotted`, imported in `path` with `level` leading dots, stands for; None outside the program."""
        wanted = tuple(p for p in dotted.split(".") if p)
        here = folders_of(path)[:-1]
        if level:
            target = here[: len(here) - level + 1] + wanted
            return next((f for d, f in self._by_stem.get(target[-1], ()) if d == target), None) if target else None
        # a folder called torch is never what `import torch` means
        if not wanted or wanted[-1] not in self._by_stem or wanted[0] == "torch":
            return None
        best: str | None = None
        score = -1
        outside = wanted[0] in self._outside
        for parts, file in self._by_stem[wanted[-1]]:
            if parts[-len(wanted) :] != wanted:
                continue
            root = parts[: -len(wanted)]
            common = next((n for n, (a, b) in enumerate(zip(root, here, strict=False)) if a != b), min(len(root), len(here)))
            if outside and (self.is_package(root) or common < len(root)):
                continue  # a module of a package does not hide a library of the same name
            if common == len(root):  # a folder above the importing file, or its own
                rank = 1000 + common
            elif len(root) - common <= 2:  # a sibling folder: src layouts, scripts beside packages
                rank = common
            else:
                continue
            if rank > score and file != path:
                best, score = file, rank
        return best

    def is_package(self, folder: Parts) -> bool:
        """Whether a folder is a package of the program."""
        return bool(folder) and any(d == folder for d, _ in self._by_stem.get(folder[-1], ()))
