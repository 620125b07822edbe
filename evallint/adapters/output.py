"""Where a report goes: a file that is whole or as it was before, or standard output."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class CannotWrite(Exception):
    """The report's file cannot be written; the message says which and why."""


def check(path: str) -> None:
    """Raises `CannotWrite` if it is plain before the work that nothing can be written there."""
    if os.path.isdir(path):
        raise _failure(path, OSError(errno.EISDIR, os.strerror(errno.EISDIR)))
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise _failure(path, OSError(errno.ENOENT, os.strerror(errno.ENOENT)))


def write(path: str, text: str) -> None:
    """Write `text` as UTF-8, at once: a reader, or a full disk, never meets half a report. Raises `CannotWrite`."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            Path(path).write_bytes(data)  # a pipe or a device stays what it is
        else:
            put(path, data)
    except OSError as error:
        raise _failure(path, error) from None


def put(path: str, data: bytes) -> None:
    """Give a file other bytes, all at once; its permissions and links stay. Raises OSError."""
    target = Path(os.path.realpath(path))
    new = target.with_name(f".evallint-{os.getpid()}.tmp")
    try:
        new.write_bytes(data)
        if target.exists():
            new.chmod(target.stat().st_mode)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def _failure(path: str, error: OSError) -> CannotWrite:
    return CannotWrite(f"cannot write {path}: {error.strerror or error}")
