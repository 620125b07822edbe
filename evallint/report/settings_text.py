"""`--show-settings`: settings as they would stand in an `evallint.toml`, with where each comes from as a comment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from evallint.configuration import Row

WIDTH = 80


@dataclass(frozen=True, slots=True)
class Block:
    """The settings of `count` files, `file` first; the file that they are in, and the folder (empty: this one) that patterns start from."""

    file: str
    count: int
    path: str
    root: str
    rows: Sequence[Row]


def render(blocks: Sequence[Block]) -> str:
    """The blocks one after the other; each is TOML."""
    return "\n\n".join(_block(block) for block in blocks)


def _block(block: Block) -> str:
    more = f" and {block.count - 1} more" if block.count > 1 else ""
    lines = [f"# Settings for {block.file or 'this folder'}{more}, from {block.path or 'no configuration file'}."]
    lines.append(f"# Patterns are relative to {block.root or 'the working folder'}; those of the command line to the working folder.")
    for row in block.rows:
        value, *rest = _value(row.key, row.value).split("\n")
        lines += [f"{row.key} = {value}  # {row.origin}", *rest]
    return "\n".join(lines)


def _value(key: str, value: Any) -> str:
    """A value as TOML: a string, a list of strings (over several lines where it is long), or a table of such lists."""
    if isinstance(value, str):
        return _string(value)
    if key == "per-file-ignores":
        return _table(value)
    if key == "libraries":
        return _table([(name.replace("_", "-"), patterns) for name, patterns in value])
    short = _list(value)
    return short if len(f"{key} = {short}") <= WIDTH else "[\n" + "".join(f"    {_string(word)},\n" for word in value) + "]"


def _table(rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    inner = ", ".join(f"{_string(name)} = {_list(words)}" for name, words in rows)
    return f"{{ {inner} }}" if inner else "{}"


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_string, words))}]"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
