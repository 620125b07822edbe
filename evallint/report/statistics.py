"""`--statistics`: how many findings each code has."""

from __future__ import annotations

from collections import Counter

from evallint.linting import Report


def render(report: Report) -> str:
    """A table of count, code and name, most first; nothing where there is no finding."""
    counts = Counter((f.code, f.name) for f in report.findings)
    digits = len(str(max(counts.values(), default=0)))
    return "\n".join(f"{n:>{digits}}  {code}  {name}" for (code, name), n in sorted(counts.items(), key=lambda row: (-row[1], row[0])))
