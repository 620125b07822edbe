"""A folder of small entries, shared by any number of processes. What goes wrong with it costs time, never a run or a wrong answer."""

from __future__ import annotations

import os
import re
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from evallint import __version__

FORMAT = 1
"""Of the entries and of what is kept in them; a new number leaves all old entries aside."""


def _code() -> str:
    """A digest of evallint's own files: whoever works on it keeps one version number while the answers change."""
    package = Path(__file__).parent.parent
    digest = blake2b(digest_size=5)
    for folder, inner, names in os.walk(package):
        inner.sort()
        for name in sorted(names):
            if name.endswith((".py", ".toml")):
                state = os.stat(os.path.join(folder, name))
                digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


VERSION = f"{__version__}-{_code()}-py{sys.version_info[0]}.{sys.version_info[1]}-{FORMAT}"
"""The folder of entries that this evallint on this Python understands."""

MARKERS = {
    ".gitignore": b"# Made by evallint.\n*\n",
    "CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55\n# A cache of evallint: `evallint clean` removes it.\n",
}
"""What says that a folder is ours to empty, and tells Git and backups to leave it out."""

STAMP = "pruned"
TEMPORARY = ".tmp-"
CHECKSUM = 16
DAY = 86400.0
MOST_BYTES = 512 << 20
_VERSIONS = re.compile(r"\d[^/\\]*-py\d+\.\d+-\d+")


class NotACache(ValueError):
    """A folder that evallint did not make, and so does not remove."""


class Store:
    """Entries in `<folder>/<version>`, by keys that are hexadecimal digests of all that the entry depends on.

    No method raises: a folder that cannot be read or written, or that is not empty and not ours, keeps nothing.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def get(self, key: str) -> bytes | None:
        """What was put under `key`; None if nothing was, or if it is not as it was put."""
        path = self._path(key)
        try:
            with Path(path).open("rb") as entry:
                data = entry.read()
                old = time.time() - os.fstat(entry.fileno()).st_mtime > DAY
            if old:  # `prune` removes first what was not used for long; a day is exact enough, and spares most reads a write
                with suppress(OSError):
                    os.utime(path)
            packed = data[CHECKSUM:]
            return zlib.decompress(packed) if _checksum(key, packed) == data[:CHECKSUM] else None
        except (OSError, zlib.error):
            return None

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`. Whoever reads meanwhile, in any process, gets all of it or what was there before."""
        path = self._path(key)
        # at level 1 an event tree is 2.5 times smaller; to unpack it takes a twentieth of the time that reading it takes
        packed = zlib.compress(data, 1)
        entry = _checksum(key, packed) + packed
        with suppress(OSError):
            try:
                _write(path, entry)
            except FileNotFoundError:
                if _adopt(self.folder):
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    _write(path, entry)

    def prune(self, most_bytes: int = MOST_BYTES, every: float = DAY) -> int:
        """Remove the entries that were not used for longest until `most_bytes` remain; how many. Does nothing twice in `every` seconds."""
        stamp = os.path.join(self.folder, STAMP)
        removed = 0
        with suppress(OSError):
            now = time.time()
            with suppress(FileNotFoundError):
                if now - os.stat(stamp).st_mtime < every:
                    return 0
            if not is_cache(self.folder):
                return 0
            Path(stamp).touch()
            entries: list[tuple[float, int, str]] = []
            for path in _files(self.folder):
                with suppress(FileNotFoundError):
                    found = os.stat(path)
                    if TEMPORARY not in path:
                        entries.append((found.st_mtime, found.st_size, path))
                    elif now - found.st_mtime > DAY:  # of a process that was killed
                        os.unlink(path)
            total = sum(size for _, size, _ in entries)
            for _, size, path in sorted(entries):
                if total <= most_bytes:
                    break
                with suppress(FileNotFoundError):
                    os.unlink(path)
                    removed += 1
                total -= size
        return removed

    def _path(self, key: str) -> str:
        return os.path.join(self.folder, VERSION, key[:2], key[2:])


class Keeper(Protocol):
    """What keeps things for the next run, or does not."""

    def get(self, key: str) -> bytes | None:
        """What was put under `key`, or None."""

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`."""

    def prune(self) -> int:
        """Remove what was not used for long; how much."""


class NoStore:
    """A store that keeps nothing: `--no-cache`."""

    def get(self, key: str) -> bytes | None:
        """None."""
        return None

    def put(self, key: str, data: bytes) -> None:
        """Does nothing."""

    def prune(self, most_bytes: int = MOST_BYTES, every: float = DAY) -> int:
        """Does nothing."""
        return 0


def keeper(folder: str) -> Keeper:
    """The cache in `folder`; none where the environment has `EVALLINT_NO_CACHE`."""
    return NoStore() if os.environ.get("EVALLINT_NO_CACHE") else Store(folder)


def default_folder(root: str | None) -> str:
    """Where the cache of the project at `root` is: `EVALLINT_CACHE_DIR`, else `.evallint_cache` there or in the working folder."""
    return os.environ.get("EVALLINT_CACHE_DIR") or os.path.join(root or os.getcwd(), ".evallint_cache")


def is_cache(folder: str) -> bool:
    """Whether the folder carries the marks of one that evallint made."""
    return all(_content(os.path.join(folder, name)) == content for name, content in MARKERS.items())


def clean(folder: str) -> int:
    """Remove a cache folder, of all versions; the number of entries that it had, 0 if there is no such folder.

    Raises NotACache for a folder that is not marked as ours, and OSError where something cannot be removed. What somebody else
    has put into the folder is left.
    """
    if not os.path.lexists(folder):
        return 0
    if not is_cache(folder):
        raise NotACache(f"{folder} is not a cache of evallint (it has no CACHEDIR.TAG and .gitignore made by evallint), and is left alone")
    removed = 0
    for path in _files(folder):
        with suppress(FileNotFoundError):  # another process cleans as well
            os.unlink(path)
            removed += TEMPORARY not in path
    for version in _versions(folder):
        for inner, _, _ in os.walk(version, topdown=False):
            with suppress(OSError):  # another process writes into it
                os.rmdir(inner)
    for name in os.listdir(folder):
        if _is_mark(name):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
    with suppress(OSError):
        os.rmdir(folder)
    return removed


def _checksum(key: str, packed: bytes) -> bytes:
    digest = blake2b(key.encode(), digest_size=CHECKSUM)
    digest.update(b"\0" + packed)
    return digest.digest()


def _write(path: str, data: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    temporary = f"{path}{TEMPORARY}{os.urandom(8).hex()}"
    try:
        with Path(temporary).open("xb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _adopt(folder: str) -> bool:
    """Make the folder and mark it as ours; false for one that has anything else in it: it is somebody's, and they may give it to Git."""
    os.makedirs(folder, exist_ok=True)
    names = os.listdir(folder)
    if not all(_is_mark(name) or _VERSIONS.fullmatch(name) for name in names):
        return is_cache(folder)
    missing = [name for name in MARKERS if name not in names]
    if any(_content(os.path.join(folder, name)) != content for name, content in MARKERS.items() if name not in missing):
        return False
    for name in missing:
        _write(os.path.join(folder, name), MARKERS[name])
    return True


def _is_mark(name: str) -> bool:
    """Whether a file of this name lies in a cache folder beside its versions."""
    return name.split(TEMPORARY)[0] in (*MARKERS, STAMP)


def _content(path: str) -> bytes | None:
    """The first bytes of a file, or None."""
    try:
        with Path(path).open("rb") as file:
            return file.read(1000)
    except OSError:
        return None


def _versions(folder: str) -> list[str]:
    """The version folders of a cache folder."""
    found = [os.path.join(folder, name) for name in os.listdir(folder) if _VERSIONS.fullmatch(name)]
    return [path for path in found if not os.path.islink(path)]


def _files(folder: str) -> Iterator[str]:
    """Every file of the version folders."""
    for version in _versions(folder):
        for inner, _, names in os.walk(version):
            yield from (os.path.join(inner, name) for name in names)
