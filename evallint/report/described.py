"""What the formats for programs say of each code that a finding can have."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from evallint.finding import Severity
from evallint.rules import registry
from evallint.source.reading import UNREADABLE

HOME = "https://github.com/evallint/evallint"
_PAGES = f"{HOME}/blob/main/README.md"
_UNREADABLE_PAGE = """\
# {name} ({code})

## What it does
Says that a file cannot be read, decoded or parsed, and why, so that nothing in it was checked.

## Use instead
Mend the file, or leave it out: `exclude` in `[tool.evallint]`.
"""


@dataclass(frozen=True, slots=True)
class Described:
    """A code: its name, a phrase, a paragraph, the page (Markdown), where it is on the web, and what a finding weighs at most."""

    code: str
    name: str
    summary: str
    paragraph: str
    page: str
    severity: Severity


def described() -> list[Described]:
    """Every code, in order."""
    rows = [
        Described(rule.code, rule.name, rule.summary, _paragraph(inspect.cleandoc(rule.__doc__ or "")), registry.page(code), "warning")
        for code, rule in registry.RULES.items()
    ]
    code, name = UNREADABLE
    page = _UNREADABLE_PAGE.format(code=code, name=name)
    return [*rows, Described(code, name, "a file cannot be read, decoded or parsed", _paragraph(page), page, "error")]


def url(code: str) -> str:
    """Where a code is explained on the web."""
    return f"{_PAGES}#{'use' if code == UNREADABLE[0] else 'the-rules'}"


def _paragraph(page: str) -> str:
    """What a page says first below "What it does", on one line."""
    return " ".join(page.split("## What it does\n", 1)[1].split("\n\n", 1)[0].split())
