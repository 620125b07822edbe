"""What becomes of findings while their text is edited."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace

from evallint.finding import Finding, Place
from evallint.source.noqa import split_lines
from evallint.source.parsing import parsed
from evallint.source.screening import text_matters


def carried(findings: Iterable[Finding], before: str, after: str) -> list[Finding]:
    """Findings of one text at their places in another; those on lines that were edited are left out, and so are all fixes."""
    old, new = split_lines(before), split_lines(after)
    first, last = _unchanged(old, new)
    rows = []
    for finding in findings:
        place = _moved(finding.place, first, len(old) - last, len(new) - len(old))
        if place is None:
            continue
        steps = [
            (step, _moved(step.place, first, len(old) - last, len(new) - len(old)) if step.place.path == place.path else step.place)
            for step in finding.trail
        ]
        rows.append(replace(finding, place=place, trail=tuple(replace(s, place=p) for s, p in steps if p is not None), fix=None))
    return rows


def _unchanged(old: list[str], new: list[str]) -> tuple[int, int]:
    """How many lines at the start and at the end are the same."""
    most = min(len(old), len(new))
    first = next((n for n in range(most) if old[n] != new[n]), most)
    last = next((n for n in range(most - first) if old[-1 - n] != new[-1 - n]), most - first)
    return first, last


def _moved(place: Place, first: int, last: int, by: int) -> Place | None:
    """A place that lies within the `first` lines or after the line `last`, where it is now."""
    if place.end_line <= first:
        return place
    return replace(place, line=place.line + by, end_line=place.end_line + by) if place.line > last else None


def reads_the_same(before: str, after: str) -> bool:
    """Whether an edit changed nothing that the analysis reads: comments and spaces at ends of lines, other than `# noqa`."""
    if before == after:
        return True
    old, new = split_lines(before), split_lines(after)
    if len(old) != len(new) or text_matters(before) != text_matters(after):
        return False
    first, last = _unchanged(old, new)
    if any(_code(a) != _code(b) for a, b in zip(old[first : len(old) - last], new[first : len(new) - last], strict=True)):
        return False  # without a parse, which would take as long as the rest of the answer
    if any("noqa" in line.lower() for line in (*old[first : len(old) - last], *new[first : len(new) - last])):
        return False
    try:
        ours, theirs = parsed(before).body, parsed(after).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if len(ours) != len(theirs) or any(_span(a) != _span(b) for a, b in zip(ours, theirs, strict=True)):
        return False
    touched = [(a, b) for a, b in zip(ours, theirs, strict=True) if _span(a)[0] <= len(old) - last and (a.end_lineno or 0) > first]
    return all(ast.dump(a, include_attributes=True) == ast.dump(b, include_attributes=True) for a, b in touched)


def _code(line: str) -> str:
    """What of a line is no comment for certain."""
    return line.partition("#")[0].rstrip()


def _span(node: ast.stmt) -> tuple[int, int | None, int, int | None, int]:
    """Where a statement is, from its first decorator on."""
    first = min((each.lineno for each in getattr(node, "decorator_list", ())), default=node.lineno)
    return first, node.end_lineno, node.col_offset, node.end_col_offset, node.lineno
