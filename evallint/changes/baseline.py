"""Baselines: files that list old findings, which are not reported. Entries are matched by what a finding says, not by its line."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from evallint.fingerprints import VERSION as FINGERPRINTS
from evallint.fingerprints import shared_fingerprints
from evallint.linting import Report

VERSION = 1


class BaselineError(Exception):
    """A baseline that cannot be read; the message names the file and is fit to show."""


@dataclass(frozen=True, order=True, slots=True)
class Entry:
    """An old finding; the path is relative to the baseline's folder, with slashes."""

    path: str
    code: str
    function: str
    model: str
    fingerprint: str


def entries_of(report: Report, file: str) -> list[Entry]:
    """An entry for each finding, in their order, for a baseline in `file`."""
    marks = shared_fingerprints(report.findings, report.texts)
    return [Entry(_from(file, f.place.path), f.code, f.function, f.model, mark) for f, mark in zip(report.findings, marks, strict=True)]


def dumped(entries: Iterable[Entry]) -> str:
    """The text of a baseline: sorted JSON, the same for the same entries."""
    rows = [asdict(entry) for entry in sorted(entries)]
    return json.dumps({"version": VERSION, "fingerprints": FINGERPRINTS, "findings": rows}, indent=2) + "\n"


def read_baseline(file: str) -> list[Entry]:
    """The entries of a baseline. Raises BaselineError."""
    try:
        whole = json.loads(Path(file).read_bytes())
    except OSError as error:
        raise BaselineError(f"cannot read the baseline {file}: {error.strerror or error} (--write-baseline writes one)") from None
    except (ValueError, RecursionError):
        raise BaselineError(f"{file} is not a baseline: it is not JSON") from None
    if not isinstance(whole, dict) or not isinstance(whole.get("findings"), list) or "fingerprints" not in whole:
        raise BaselineError(f"{file} is not a baseline of evallint's")
    if (whole.get("version"), whole["fingerprints"]) != (VERSION, FINGERPRINTS):
        raise BaselineError(f"the baseline {file} is of another version of evallint: write it anew (--write-baseline)")
    return [_entry(row, number, file) for number, row in enumerate(whole["findings"], 1)]


def _entry(row: Any, number: int, file: str) -> Entry:
    names = [field.name for field in fields(Entry)]
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in names):
        raise BaselineError(f"the baseline {file} is damaged: entry {number} wants the texts {', '.join(names)}")
    return Entry(**{name: row[name] for name in names})


def match(report: Report, entries: Sequence[Entry], file: str, linted: Callable[[], frozenset[str]]) -> tuple[list[bool], list[Entry]]:
    """For each finding whether an entry has it, and the entries that have none. An entry has one finding, in its own file if it can.

    `linted` are the real paths of the files that were linted. What an entry says of another file that is still there stays with that.
    """
    free: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        free[entry.fingerprint].append(entry)
    mine = entries_of(report, file)
    had = [False] * len(mine)
    for number, entry in enumerate(mine):
        same = next((one for one in free[entry.fingerprint] if one.path == entry.path), None)
        if same is not None:
            free[entry.fingerprint].remove(same)
            had[number] = True
    for number, entry in enumerate(mine):
        if not had[number]:
            moved = next((one for one in free[entry.fingerprint] if _may_have_moved(real_path(one, file), linted)), None)
            if moved is not None:
                free[entry.fingerprint].remove(moved)
                had[number] = True
    return had, sorted(entry for rows in free.values() for entry in rows)


def real_path(entry: Entry, file: str) -> str:
    """The real path of the file that an entry of the baseline `file` is about."""
    return os.path.realpath(os.path.join(_folder(file), entry.path))


def _may_have_moved(path: str, linted: Callable[[], frozenset[str]]) -> bool:
    return not os.path.exists(path) or path in linted()


def _folder(file: str) -> str:
    return os.path.dirname(os.path.realpath(file))


def _from(file: str, path: str) -> str:
    real = os.path.realpath(path)
    try:
        return os.path.relpath(real, _folder(file)).replace(os.sep, "/")
    except ValueError:  # another drive
        return real.replace(os.sep, "/")
