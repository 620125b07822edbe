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
    for match in _IMPORT.finditer(data):
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


def _words(data: bytes) -> Iterator[list[str]]:
    """The words of each part between commas: a name, or a name, `as` and another."""
    for part in _COMMENT.sub(b"", data).replace(b"\\", b" ").decode("utf-8", "replace").split(","):
        words = part.split()
        if words:
            yield words
