"""Fingerprints: which finding of one version of the code is which of another. They hold no line and no path."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

from evallint.finding import Finding
from evallint.source.noqa import split_lines

VERSION = 1
"""Goes up when the same finding gets another fingerprint than before."""

_COMMENT = re.compile(r"(?:^|\s)#.*$")


def fingerprints(findings: Sequence[Finding], texts: Mapping[str, str]) -> list[str]:
    """A fingerprint (32 hexadecimal digits) for each of `findings`, given the text of each path; no two are equal.

    One says what the line of a finding says, in which function, of which model; so it survives lines put in elsewhere, other names
    elsewhere, and a function that moves, even to another file. Equal findings are numbered in their order.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for says in _contents(findings, texts):
        found.append(_digest((VERSION, *says, seen[says])))
        seen[says] += 1
    return found


def shared_fingerprints(findings: Sequence[Finding], texts: Mapping[str, str]) -> list[str]:
    """`fingerprints` without the numbers: equal findings have equal ones."""
    return [_digest((VERSION, *says)) for says in _contents(findings, texts)]


def _digest(parts: tuple[object, ...]) -> str:
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _contents(findings: Sequence[Finding], texts: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    lines: dict[str, list[str]] = {}
    for finding in findings:
        path = finding.place.file
        if path not in lines:
            lines[path] = split_lines(texts.get(path, ""))
        yield content(finding, lines[path])


def content(finding: Finding, lines: Sequence[str]) -> tuple[str, ...]:
    """What a finding in a file with these lines is told apart by: rule, function, model and line, without spaces and comments."""
    number = finding.place.line
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    return finding.code, finding.function.rpartition(".")[2], finding.model, essence(line)


def essence(line: str) -> str:
    """What a line says, without spaces and its comment."""
    return "".join(_COMMENT.sub("", line).split())
