"""The files around one file: which import it, and which it imports, told from import statements in bytes, without a parser.

What is looked at is the surrounding program: the package, its project (the folder with `.git` or `pyproject.toml`) and scripts beside
it, the nearest folders first, and never more than `MOST_FILES`. Links are followed as the analysis follows them.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path

from evallint.configuration import find_settings
from evallint.modules import Modules
from evallint.settings import Settings, SettingsError
from evallint.source.imports import ALL, Import, imports_in
from evallint.source.notebook import SUFFIX, read_notebook
from evallint.source.patterns import excludes
from evallint.source.reading import Unreadable

MOST_FILES = 400
"""Files that are searched for imports, around one file."""
MOST_FOLDERS = 200
MOST_ENTRIES = 5000
"""Entries of one folder that are looked at."""
MOST_BYTES = 1 << 20
"""Of each file, the bytes that are searched."""
MOST = 30
"""Files that one answer names."""

_MARKERS = (".git", "pyproject.toml")


@dataclass(slots=True)
class _Links:
    """Who imports whom among some files, and which names (`*`: any)."""

    unsaved: dict[str, bytes] = field(default_factory=dict)
    to: dict[str, dict[str, frozenset[str]]] = field(default_factory=dict)
    back: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    beyond: dict[str, dict[str, frozenset[str]]] = field(default_factory=dict)
    """What is imported by files that were looked at on their way, outside of those among which was searched."""


Unsaved = tuple[tuple[str, bytes], ...]
"""Files, by their paths with links resolved, with what is read in place of what the disk has."""


def importers(path: str, unsaved: Unsaved = ()) -> list[str]:
    """The files that import the module at `path`, the nearest first: by its name, or through the `__init__.py` of its package."""
    if not path.endswith(".py"):
        return []
    here = _real(path)
    links = _links(_surroundings(os.path.dirname(here)), unsaved)
    found: set[str] = set()
    queue = [(here, ALL)]
    while queue:
        target, wanted = queue.pop()
        for importer in links.back.get(target, ()):
            names = links.to[importer][target]
            if importer not in found and importer != here and (wanted & names or "*" in wanted | names):
                found.add(importer)
                if os.path.basename(importer) == "__init__.py":
                    queue.append((importer, names))
    return _answer(path, here, sorted(found, key=lambda file: _distance(here, file)))


def imported(path: str, unsaved: Unsaved = ()) -> list[str]:
    """The files of the project that the module at `path` imports, and then those that these import."""
    if not path.endswith((".py", SUFFIX)):
        return []
    here = _real(path)
    files = _surroundings(os.path.dirname(here))
    links = _links(files, unsaved)
    found = dict.fromkeys(_reached(here, links))
    for file in list(found):
        found.update(dict.fromkeys(_reached(file, links)))
    found.pop(here, None)
    return _answer(path, here, list(found))


def forget() -> None:
    """Let the next question look at the folders anew."""
    _surroundings.cache_clear()
    _links.cache_clear()


def _reached(file: str, links: _Links) -> Iterator[str]:
    """What `file` imports; of an `__init__.py` also the files from which it has the names that `file` takes."""
    pending = list(_taken(file, links).items())
    seen = {file}
    while pending:
        target, names = pending.pop(0)
        if target in seen:
            continue
        seen.add(target)
        yield target
        if os.path.basename(target) == "__init__.py":
            behind = _taken(target, links)
            for other, given in behind.items():
                if given & names or "*" in given | names:
                    pending.append((other, names if "*" in given else given & names or given))


def _taken(file: str, links: _Links) -> dict[str, frozenset[str]]:
    """The files that `file` imports with the names that it takes, also beyond the files that were searched."""
    direct = links.to.get(file, {})
    if file in links.to and len(links.to) < MOST_FILES:
        return direct
    if file not in links.beyond:  # many files of a large package ask for what its `__init__.py` takes
        links.beyond[file] = {**_targets(file, None, links.unsaved), **direct}
    return links.beyond[file]


# Folders


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return os.path.abspath(path)


def _is_package(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "__init__.py"))


def _is_project(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, marker)) for marker in _MARKERS)


@lru_cache(maxsize=4096)
def _project(folder: str) -> str | None:
    """The nearest folder upward that is a project's."""
    while not _is_project(folder):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


def outermost_package(folder: str) -> str:
    """The outermost package that holds `folder` without leaving its project, or `folder` itself."""
    top = folder
    while _is_package(top):
        folder, parent = top, os.path.dirname(top)
        if _is_project(top) or parent == top:
            break
        top = parent
    return folder


@lru_cache(maxsize=256)
def _surroundings(folder: str) -> tuple[str, ...]:
    """The Python files of the program around `folder`, sorted; of a big one, those in the nearest folders."""
    project, package = _project(folder), outermost_package(folder)
    single = [folder]  # looked at first, without what is below
    while single[-1] not in (package, os.path.dirname(single[-1])):
        single.append(os.path.dirname(single[-1]))
    if package != project:
        single.append(os.path.dirname(package))
        if os.path.basename(single[-1]) == "src" and single[-1] != project:
            single.append(os.path.dirname(single[-1]))
    files: list[str] = []
    seen: set[str] = set()
    below: dict[str, list[str]] = {}

    def look(place: str) -> None:
        seen.add(place)
        found, below[place] = _entries(place)
        files.extend(found[: MOST_FILES - len(files)])

    for place in single:
        if len(files) < MOST_FILES and place not in seen:
            look(place)
    for top in dict.fromkeys((folder, package, project or package)):
        level = [top]
        while level:
            following: list[str] = []
            for place in level:
                if place not in seen and len(files) < MOST_FILES and len(seen) < MOST_FOLDERS:
                    look(place)
                following += below.get(place, ())
            level = following
    return tuple(sorted(files))


def _entries(folder: str) -> tuple[list[str], list[str]]:
    """The Python files and the folders in `folder` that the settings do not exclude."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(islice(scan, MOST_ENTRIES), key=lambda entry: entry.name)
    except OSError:
        return [], []
    try:
        excluded = excludes(find_settings(folder))
    except SettingsError:
        excluded = excludes(Settings())
    files: list[str] = []
    folders: list[str] = []
    for entry in entries:
        here = os.path.join(folder, entry.name)
        try:
            is_folder = entry.is_dir(follow_symlinks=False)
            wanted = not entry.name.startswith(".") if is_folder else entry.name.endswith(".py") and entry.is_file()
        except OSError:
            continue
        if wanted and not excluded(here, is_folder):
            (folders if is_folder else files).append(here)
    return files, folders


# Imports


@lru_cache(maxsize=16)
def _links(files: tuple[str, ...], unsaved: Unsaved) -> _Links:
    modules = Modules(files, frozenset())
    links = _Links(dict(unsaved))
    for file in files:
        links.to[file] = _targets(file, modules, links.unsaved)
        for target in links.to[file]:
            links.back[target].append(file)
    return links


def _targets(file: str, modules: Modules | None, unsaved: Mapping[str, bytes]) -> dict[str, frozenset[str]]:
    """The files that `file` imports and the names that it takes; without `modules`, looked up on the disk."""
    folder = Path(file).parts[:-1]
    found: dict[str, frozenset[str]] = {}
    try:
        if file in unsaved:
            statements = _imports_in(file, unsaved[file])
        else:
            state = os.stat(file)
            statements = _imports(file, state.st_mtime_ns, state.st_size)
    except (OSError, ValueError):
        return found

    def add(dotted: str, level: int, names: frozenset[str]) -> None:
        if modules is not None:
            target = modules.find(file, dotted, level)
        else:
            target = _on_disk(folder, tuple(part for part in dotted.split(".") if part), level)
        if target is not None and target != file:
            found[target] = found.get(target, frozenset()) | names

    for one in statements:
        add(one.module, one.level, one.names or ALL)
        for name in one.names - ALL:
            add(f"{one.module}.{name}", one.level, ALL)
    return found


def _on_disk(folder: tuple[str, ...], wanted: tuple[str, ...], level: int) -> str | None:
    """The same for a file that lies beyond the surroundings."""
    if level:
        bases = [folder[: len(folder) - level + 1]]
    else:
        project = _project(os.path.join(*folder))
        least = len(Path(project).parts) if project else max(len(folder) - 3, 1)
        bases = [folder[:n] for n in range(len(folder), least - 1, -1)] if wanted else []
    for base in filter(None, bases):
        for place in (os.path.join(*base, *wanted), os.path.join(*base, "src", *wanted)):
            for candidate in (place + ".py", os.path.join(place, "__init__.py")):
                if (wanted or level) and os.path.isfile(candidate):
                    return candidate
    return None


@lru_cache(maxsize=20_000)
def _imports(file: str, _time: int, _size: int) -> tuple[Import, ...]:
    """The imports that a file's bytes show; none if it cannot be read."""
    try:
        with Path(file).open("rb") as stream:
            return _imports_in(file, stream.read(-1 if file.endswith(SUFFIX) else MOST_BYTES))
    except (OSError, ValueError):
        return ()


def _imports_in(file: str, data: bytes) -> tuple[Import, ...]:
    if not file.endswith(SUFFIX):
        return imports_in(data)
    try:
        return imports_in(read_notebook(data).text.encode("utf-8", "replace"))
    except Unreadable:
        return ()


# Answers


def _distance(a: str, b: str) -> tuple[int, str]:
    """How many folders lie between two files."""
    ours, theirs = Path(a).parts, Path(b).parts
    common = next((n for n, (x, y) in enumerate(zip(ours, theirs, strict=False)) if x != y), 0)
    return len(ours) + len(theirs) - 2 * common, b


def _answer(path: str, here: str, found: list[str]) -> list[str]:
    """The first of the files found, as the user would write them who wrote `path`."""
    return [_as_written(path, here, file) for file in found[:MOST]]


def _as_written(path: str, here: str, file: str) -> str:
    try:
        relative = os.path.relpath(file, os.path.dirname(here))
        written = os.path.normpath(os.path.join(os.path.dirname(path), relative))
        if os.path.realpath(written) == os.path.realpath(file):  # not where `..` leads out of a linked folder
            return written
    except (OSError, ValueError):
        pass
    return file
