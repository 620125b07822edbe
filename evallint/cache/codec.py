"""What the cache keeps, to bytes and back: the event tree of a file, and findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from functools import cache

from evallint import events as ev
from evallint.cache.columns import Tables
from evallint.finding import Edit, Finding, Fix, Passage, Place, Receiver, Repair, Step


@cache
def _of_files() -> Tables:
    """The tables of event trees: every class of `events`, so that a new one needs nothing here."""
    bases = (ev.Value, ev.Event)
    return Tables((c for c in vars(ev).values() if isinstance(c, type) and is_dataclass(c) and c not in bases), known=(ev.NOTHING,))


@cache
def _of_findings() -> Tables:
    return Tables((Place, Step, Edit, Fix, Passage, Receiver, Repair, Finding))


def encode(file: ev.File) -> bytes:
    """A file's event tree as bytes, the same for the same tree in every process. Raises ValueError for what is no such tree."""
    return _of_files().dump([file])


def decode(data: bytes) -> ev.File:
    """The event tree that `encode` was given: equal in all, and one object wherever it was one. Raises ValueError for other bytes."""
    (file,) = _of_files().load(data)
    if not isinstance(file, ev.File):
        raise ValueError("not the event tree of a file")
    return file


def encode_findings(findings: Sequence[Finding]) -> bytes:
    """Findings as bytes, in their order. Raises ValueError for what are none."""
    return _of_findings().dump(findings)


def decode_findings(data: bytes) -> list[Finding]:
    """The findings that `encode_findings` was given. Raises ValueError for other bytes."""
    findings = _of_findings().load(data)
    if not all(isinstance(finding, Finding) for finding in findings):
        raise ValueError("not findings")
    return findings
