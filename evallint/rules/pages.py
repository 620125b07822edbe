"""The rules' pages as files: `python -m evallint.rules.pages [FOLDER]` writes one Markdown file a rule, and an index."""

from __future__ import annotations

import sys
from pathlib import Path

from evallint.rules import registry
from evallint.rules.base import Rule

FOLDER = "docs/rules"
HEADER = ("code", "name", "reported when")


def pages() -> dict[str, str]:
    """Every page by its file name: `index.md`, and one a rule."""
    rows = [f"| [{rule.code}]({rule.code}.md) | {rule.name} | {rule.summary} |" for rule in registry.RULES.values()]
    lead = "Written by `python -m evallint.rules.pages`; `evallint rule CODE` shows the same."
    index = "\n".join(("# Rules", "", lead, "", f"| {' | '.join(HEADER)} |", "|---|---|---|", *rows))
    return {"index.md": f"{index}\n", **{f"{code}.md": registry.page(code) for code in registry.RULES}}


def listing() -> str:
    """All rules as a table for people."""
    rows = [HEADER, *((rule.code, rule.name, rule.summary) for rule in registry.RULES.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{code:{widths[0]}}  {name:{widths[1]}}  {summary}" for code, name, summary in rows)


def rows() -> list[dict[str, str]]:
    """All rules as plain data: code, name, summary, and the page's text (Markdown)."""
    return [row(rule) for rule in registry.RULES.values()]


def row(rule: type[Rule]) -> dict[str, str]:
    """One rule as plain data."""
    return {"code": rule.code, "name": rule.name, "summary": rule.summary, "page": registry.page(rule.code)}


def write(folder: Path) -> list[str]:
    """Write every page that differs from what is there, remove pages of no rule, and return the names of both."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    changed = [name for name, text in wanted.items() if not is_same(folder / name, text)]
    for name in changed:
        (folder / name).write_text(wanted[name], encoding="utf-8", newline="\n")
    gone = [path for path in folder.glob("EVL*.md") if path.name not in wanted]
    for path in gone:
        path.unlink()
    return [*changed, *(path.name for path in gone)]


def is_same(path: Path, text: str) -> bool:
    """Whether a file holds this text."""
    return path.is_file() and path.read_bytes() == text.encode()


if __name__ == "__main__":
    for name in write(Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER)):
        print(name)
