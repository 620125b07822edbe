"""The import statements that bytes show, told without a parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ALL = frozenset("*")
_IMPORT = re.compile(
    rb"""
    (?: ^ | [;:] ) [ \t]*
    (?: from \b [ \t]* (?P<module> [.\w\x80-\xff]+? ) [ \t]* \b import \b [ \t]*
        (?: \( (?P<block> [^)]{0,4000} ) \) | (?P<names> (?: \\\r?\n | [^\r\n\#;\\(] )* ) )
      | import [ \t]+ (?P<whole> (?: \\\r?\n | [^\r\n\#;\\] )* ) )
    """,
    re.VERBOSE | re.MULTILINE,
)
_HEAD = re.compile(rb"(?:^|[;:])[ \t]*(?:from|import)\b", re.MULTILINE)
_COMMENT = re.compile(rb"#[^\r\n]*")


@dataclass(frozen=True, slots=True)
class Import:
    """One import: of a whole module (no names), or of names from it; an alias counts as a name as well."""

    module: str
    level: int
    names: frozenset[str] = frozenset()


def imports_in(data: bytes) -> tuple[Import, ...]:
    """The imports of a file, also those in functions, and in strings; each once."""
    found: dict[Import, None] = {}
    for match in _statements(data):
        module, block, names, whole = match.group("module", "block", "names", "whole")
        if module is None:
            for words in _words(whole):
                found[Import(words[0], 0)] = None
            continue
        text = module.decode("utf-8", "replace")
        dotted = text.lstrip(".")
        taken = frozenset(words[place] for words in _words(names if block is None else block) for place in (0, -1))
        if taken:
            found[Import(dotted, len(text) - len(dotted), taken)] = None
    return tuple(found)


def _statements(data: bytes) -> Iterator[re.Match[bytes]]:
    """The matches of `_IMPORT`; only lines that have the word are looked at, for there are few."""
    done = 0
    while (at := data.find(b"import", done)) >= 0:
        line = max(data.rfind(b"\n", done, at) + 1, done)
        found = next((m for head in _HEAD.finditer(data, line, at + 6) if (m := _IMPORT.match(data, head.start())) is not None), None)
        done = max(at + 6, found.end() if found is not None else 0)
        if found is not None:
            yield found


def _words(data: bytes) -> Iterator[list[str]]:
    """The words of each part between commas: a name, or a name, `as` and another."""
    for part in _COMMENT.sub(b"", data).replace(b"\\", b" ").decode("utf-8", "replace").split(","):
        words = part.split()
        if words:
            yield words
