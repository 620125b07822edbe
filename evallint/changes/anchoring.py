"""Where in a diff a finding can be told: reviews take comments on a diff's lines alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from evallint.changes.diff import Block, FileChange
from evallint.changes.functions import Function, function_at
from evallint.changes.placing import Diff
from evallint.finding import Anchor, Shown

At = tuple[str, int]
"""A line: the real path of its file, and its 1-based number."""
FunctionsOf = Callable[[str], tuple[Function, ...]]

_CONTEXT = 3
"""Lines that a diff shows around those that it changes."""
_PROTECTS = re.compile(rb"\b(?:eval|train|no_grad|inference_mode|enable_grad|set_grad_enabled)\b")


def anchor(own: At, trail: Sequence[At], diff: Diff, functions_of: FunctionsOf) -> Anchor | None:
    """The line of a finding, or the nearest of its trail, that the diff adds; else the changed line that is likest to have caused it."""
    path, line = own
    touched = [at for at in (own, *trail) if diff.adds(*at)]
    if touched:
        there, number = min(touched, key=lambda at: (at != own, at[0] != path, abs(at[1] - line)))
        return Anchor(_name(diff.by_new[there]), number, "now")
    ranked = list(_others(own, trail, diff, functions_of))
    return min(ranked, key=lambda row: row[0])[1] if ranked else None


def loses(places: Sequence[At], diff: Diff, functions_of: FunctionsOf) -> bool:
    """Whether the diff removes a line of a function that one of `places` is in."""
    return any(
        block.removed and _inside(path, block, places, functions_of) for path, change in diff.by_new.items() for block in change.blocks
    )


def shown(path: str, diff: Diff, lines: int) -> Shown | None:
    """What the diff shows of a file (by its real path) that has as many lines now; None if it does not touch it."""
    change = diff.by_new.get(path)
    if change is None:
        return None
    ranges = [range(max(1, b.new - _CONTEXT), min(lines + 1, b.new + len(b.added) + _CONTEXT)) for b in change.blocks]
    return Shown(_name(change), frozenset(number for some in ranges for number in some))


def _others(own: At, trail: Sequence[At], diff: Diff, functions_of: FunctionsOf) -> Iterator[tuple[tuple[int, int, int], Anchor]]:
    """Changed lines that may have caused a finding, each with its rank: the lowest is the likeliest."""
    path, line = own
    files = {at[0] for at in (own, *trail)}
    for change in diff.files:
        there = diff.real(_name(change))
        for block in change.blocks:
            inside = _inside(there, block, (own, *trail), functions_of)
            distance = abs(block.new - line) if there == path else line + block.new
            for missing, (first, rows) in enumerate(((block.old, block.removed), (block.new, block.added))):
                for number, text in enumerate(rows, first):
                    protects = _PROTECTS.search(text) is not None
                    if inside or protects:
                        rank = 0 if inside and protects else 2 if inside else 1 if there in files else 3
                        yield (rank, missing, distance), Anchor(_name(change), number, "now" if missing else "before")


def _inside(path: str, block: Block, places: Sequence[At], functions_of: FunctionsOf) -> bool:
    """Whether a block is in a function that one of `places` is in; outside of functions, whether both are."""
    for there, line in places:
        if there == path:
            found = functions_of(path)
            function = function_at(found, line)
            if function is None:
                if function_at(found, block.new) is None:
                    return True
            elif function.first <= block.new <= function.last + 1:  # the last line of a function may have been removed
                return True
    return False


def _name(change: FileChange) -> str:
    return change.new or change.old or ""
