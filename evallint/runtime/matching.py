"""Which observations a finding speaks of: every frame of the user's counts, since the flagged loop is often the caller of the forward."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from evallint.finding import Finding, Place
from evallint.runtime.observing import Observations, Seen, Spot, Turned

OF_CALLS = ("EVL001", "EVL002")
OF_CODE = ("EVL201", "EVL202", "EVL203")
"""Rules whose findings stand where a module's own code is wrong."""
CODES = (*OF_CALLS, "EVL003", "EVL102", *OF_CODE, "EVL301")
"""The rules that a run can settle."""
Key = tuple[str, Place]
ANOTHER_RANK = "it may have run on another rank"
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True)
class Claim:
    """A finding, and the part of its file that it speaks of."""

    finding: Finding
    path: str
    """Absolute, links resolved."""
    span: Place
    """The whole loop for a loop's header, else the finding's own place."""
    folder: str
    """What the finding's paths are relative to."""

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return (self.finding.code, self.finding.place)

    def holds(self, spot: Spot) -> bool:
        """Whether a frame stood inside of the span."""
        here = spot.place
        if real(here.path) != self.path or not self.span.line <= here.line <= self.span.end_line:
            return False
        if here.line == here.end_line and here.column == here.end_column:  # columns are unknown
            return True
        begins_before_end = (here.line, here.column) < (self.span.end_line, self.span.end_column)
        return begins_before_end and (here.end_line, here.end_column) > (self.span.line, self.span.column)


@lru_cache(maxsize=4096)
def real(path: str) -> str:
    """The one name of a file."""
    return os.path.realpath(path)


def claims(findings: Iterable[Finding], texts: Mapping[str, str], folder: str) -> list[Claim]:
    """The findings that a run can settle; their paths are relative to `folder`. `texts` are by absolute path."""
    found = []
    for finding in findings:
        if finding.code in CODES:
            path = real(os.path.join(folder, finding.place.path))
            found.append(Claim(finding, path, span_of(finding, texts.get(path, "")), folder))
    return found


def span_of(finding: Finding, text: str) -> Place:
    """The loop whose header the finding names, or its own place."""
    here = finding.place
    if finding.code not in OF_CALLS:
        return here
    best: ast.AST | None = None
    for node in _nodes(text):
        if isinstance(node, _LOOPS):
            if (node.lineno, node.col_offset) == (here.line, _bytes_before(text, here)):
                return _place(here.path, node, text)
        elif (
            isinstance(node, _COMPREHENSIONS)
            and (node.lineno, node.col_offset) <= (here.line, _bytes_before(text, here))
            and _ends(node) >= (here.line, here.column)
        ):
            if best is None or _ends(node) <= _ends(best):
                best = node
    return _place(here.path, best, text) if best is not None and _is_part(best, here) else here


def _is_part(comprehension: ast.AST, here: Place) -> bool:
    """Whether the place is the comprehension, or the `for` of one, and not a call in its element."""
    generators = comprehension.generators  # type: ignore[attr-defined]
    starts = comprehension.lineno == here.line and comprehension.col_offset + 1 == here.column  # type: ignore[attr-defined]
    target = generators[0].target
    return starts or (here.line, here.column) <= (target.lineno, target.col_offset + 1) <= (here.end_line, here.end_column)


@lru_cache(maxsize=64)
def _nodes(text: str) -> tuple[ast.AST, ...]:
    """Every node of a text; none if it does not parse."""
    try:
        return tuple(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):
        return ()


def _ends(node: ast.AST) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset + 1  # type: ignore[attr-defined]


def _place(path: str, node: ast.AST, text: str) -> Place:
    lines = text.split("\n")
    first, last = node.lineno, node.end_lineno  # type: ignore[attr-defined]
    column = len(lines[first - 1].encode()[: node.col_offset].decode(errors="ignore")) + 1  # type: ignore[attr-defined]
    end = len(lines[last - 1].encode()[: node.end_col_offset].decode(errors="ignore")) + 1  # type: ignore[attr-defined]
    return Place(path, first, column, last, end)


def _bytes_before(text: str, here: Place) -> int:
    lines = text.split("\n")
    return len(lines[here.line - 1][: here.column - 1].encode()) if here.line <= len(lines) else 0


def loop_around(path: str, text: str, line: int) -> Place | None:
    """The innermost loop around a line, in the same function; None outside of any."""
    functions = (node for node in _nodes(text) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))
    begins = max((node.lineno for node in functions if node.lineno <= line <= (node.end_lineno or 0)), default=0)
    loops = (node for node in _nodes(text) if isinstance(node, (*_LOOPS, *_COMPREHENSIONS)))
    around = [node for node in loops if begins <= node.lineno <= line <= (node.end_lineno or 0)]
    return _place(path, max(reversed(around), key=lambda node: node.lineno), text) if around else None  # the walk goes inward


@lru_cache(maxsize=64)
def discarded(text: str) -> frozenset[Place]:
    """The calls that are statements of their own, as places without a path."""
    statements = (node for node in _nodes(text) if isinstance(node, ast.Expr))
    return frozenset(_place("", node.value, text) for node in statements if isinstance(node.value, ast.Call))


def inside(claim: Claim, spots: tuple[Spot, ...]) -> bool:
    """Whether one of the frames stood in the claim's span."""
    return any(claim.holds(spot) for spot in spots)


def calls_of(claim: Claim, observed: Observations, texts: Mapping[str, str]) -> list[Seen]:
    """The forward calls that the claim speaks of: those of its model, as far as the code tells which that is."""
    within = [seen for seen in observed.calls if inside(claim, seen.spots)]
    last = claim.finding.trail[-1].place if claim.finding.trail else None
    if last is not None and last.line != claim.finding.place.line:
        there = real(os.path.join(claim.folder, last.path))
        at = [s for s in within if any(real(p.place.path) == there and last.line <= p.place.line <= last.end_line for p in s.spots)]
        within = at or within
    model = claim.finding.model
    named = [s for s in within if model and any(_called(p, texts).split(".forward")[0] == model for p in s.spots if claim.holds(p))]
    return named or within


def spans(claim: Claim) -> list[tuple[str, Place]]:
    """The parts of files in which the calls stand that the claim speaks of: its own, or for EVL102 and EVL301 that of the forward."""
    if claim.finding.code not in ("EVL102", "EVL301"):
        return [(claim.path, claim.span)]
    return [(real(os.path.join(claim.folder, step.place.path)), step.place) for step in claim.finding.trail[1:2]]


def forwards_of(claim: Claim, observed: Observations) -> list[Seen]:
    """The calls at the forward that a finding of EVL102 or EVL301 speaks of."""
    there = [replace(claim, path=path, span=place) for path, place in spans(claim)]
    return [seen for seen in observed.calls if any(inside(each, seen.spots) for each in there)]


def turns_of(claim: Claim, observed: Observations) -> list[Turned]:
    """The switches to evaluation mode that the claim speaks of."""
    return [turned for turned in observed.turns if not turned.switch.mode and inside(claim, turned.spots)]


def _called(spot: Spot, texts: Mapping[str, str]) -> str:
    """What is called at a spot, as written: `self.model` of `self.model(x)`."""
    here = spot.place
    text = texts.get(real(here.path), "")
    lines = text.split("\n")
    if not text or (here.line == here.end_line and here.column == here.end_column) or here.end_line > len(lines):
        return ""
    rows = lines[here.line - 1 : here.end_line]
    rows[-1] = rows[-1][: here.end_column - 1]
    rows[0] = rows[0][here.column - 1 :]
    return _function_of("\n".join(rows))


@lru_cache(maxsize=1024)
def _function_of(text: str) -> str:
    try:
        node = ast.parse(f"({text}\n)", mode="eval").body
    except (SyntaxError, ValueError):
        return ""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def hidden(claim: Claim, observed: Observations) -> str:
    """Why a place that was not reached may have run all the same, or nothing."""
    trail = [(real(os.path.join(claim.folder, step.place.path)), step.place.line) for step in claim.finding.trail]
    places = [(claim.path, claim.finding.place.line), *trail]
    for path, line in places:
        if any(real(where) == path and first <= line <= last for where, first, last in observed.compiled):
            return "inside a compiled function (`--eager` runs it so that it can be seen)"
    name = claim.finding.function.rpartition(".")[2]
    if observed.workers and name in ("__getitem__", "__getitems__", "__iter__", "__call__", "collate", "collate_fn"):
        return "it may have run in a worker of a data loader"
    if observed.ranks > 1:
        return ANOTHER_RANK
    if observed.processes:
        return "it may have run in another process"
    return ""
